// SPDX-License-Identifier: MIT
#include "imported.h"

namespace superd::ctl::command_tests {

namespace {

Import from(std::vector<std::string> words, Answers answers = {}) {
    return import_command(words, machine(std::move(answers)));
}

std::string number(std::uint32_t value) {
    std::string out;
    for (int i = 0; i < 4; ++i, value >>= 8) out += static_cast<char>(value & 0xff);
    return out;
}

/// A cdb of these records; its tables are empty, since nothing reads them here.
std::string cdb(const std::vector<std::pair<std::string, std::string>>& records) {
    std::string body;
    for (const auto& [key, value] : records)
        body += number(static_cast<std::uint32_t>(key.size())) + number(static_cast<std::uint32_t>(value.size())) +
                key + value;
    std::string head;
    for (int i = 0; i < 256; ++i) head += number(static_cast<std::uint32_t>(2048 + body.size())) + number(0);
    return head + body;
}

}  // namespace

TEST_CASE("command: tcpserver") {
    const Import import =
        from({"/usr/bin/tcpserver", "-vRHl0", "-c", "5", "-u65534", "-g", "65533", "0", "7777", "prog", "-c", "x y"});
    const Imported& prog = service(import, "prog");
    CHECK(value(prog, "listen") == R"("tcp://0.0.0.0:7777")");
    CHECK(value(prog, "model") == R"("fork")");
    CHECK(value(prog, "limits.instances") == "5");
    CHECK(value(prog, "socket.backlog") == "20");
    CHECK(value(prog, "exec") == R"(["prog", "-c", "x y"])");
    CHECK(value(prog, "user") == R"("65534")");
    CHECK(value(prog, "group") == R"("65533")");
    CHECK(import.notes.empty());
    const Import plain = from({"tcpserver", "127.0.0.1", "1", "./prog"});
    CHECK(value(service(plain, "prog"), "exec") == R"(["/here/prog"])");
    CHECK(value(service(plain, "prog"), "limits.instances") == "40");
    CHECK(value(service(plain, "prog"), "user") == R"("root")");
    CHECK(notes(plain, 0, Fate::lost, "without -H") == 1);
    CHECK(from({"tcpserver", "0", "7777"}).services.empty());
    CHECK(errors(from({"tcpserver", "-c"})) == 1);
    CHECK(errors(from({"httpd"})) == 1);
}

TEST_CASE("command: rules of tcprules, from a cdb or their text") {
    const std::string data = cdb({{"10.", "D"}, {"10.1.2.3", "+A=\"1\""}, {"10.2.", ""}, {"", "D"}});
    const auto with = [](const std::string& content) {
        return from({"tcpserver", "-H", "-x", "r", "0", "7", "/bin/a"}, {.files = {{"r", content}}});
    };
    CHECK(value(service(with(data), "a"), "access.allow") == R"(["10.2.0.0/16", "10.1.2.3"])");
    CHECK(value(service(with(data), "a"), "access.deny").empty());
    const Import text = with("# rules\n10.0.0.1-2:deny\n192.168.:deny\n192.168.1.:allow\n");
    CHECK(value(service(text, "a"), "access.deny") == R"(["192.168.0.0/16", "10.0.0.1", "10.0.0.2"])");
    CHECK(value(service(text, "a"), "access.allow") == R"(["192.168.1.0/24", "0.0.0.0/0", "::/0"])");
    CHECK_FALSE(service(with("=.example.org:deny\n"), "a").enabled());
    CHECK(service(with("=.example.org:allow\n:deny\n"), "a").enabled());
    CHECK_FALSE(service(from({"tcpserver", "-x", "r", "0", "7", "/bin/a"}), "a").enabled());
    CHECK(service(from({"tcpserver", "-X", "-x", "r", "0", "7", "/bin/a"}), "a").enabled());
}

TEST_CASE("command: tcpsvd and udpsvd, with a folder of rules") {
    const Answers answers{
        .files = {{"i/0", ""}, {"i/10.1", ""}, {"i/10.1.2.3", "C5"}, {"i/host.example", "C5"}, {"x/10.1", ""}},
        .modes = {{"i/0", 0}, {"i/10.1", 0400}, {"i/10.1.2.3", 0}, {"i/host.example", 0400}, {"x/10.1", 0700}}};
    const Import import =
        from({"tcpsvd", "-u", "www:web:more", "-C", "3:busy", "-i", "i", "0", "80", "/bin/a"}, answers);
    const Imported& a = service(import, "a");
    CHECK(value(a, "limits.instances") == "30");
    CHECK(value(a, "limits.per_source") == "3");
    CHECK(value(a, "limits.on_excess") == R"("reject")");
    CHECK(value(a, "limits.reject_text") == R"("busy")");
    CHECK(value(a, "user") == R"("www")");
    CHECK(value(a, "group") == R"("web")");
    CHECK(value(a, "supplementary_groups") == R"(["web", "more"])");
    CHECK(value(a, "access.allow") == R"(["10.1.0.0/16"])");
    CHECK(value(a, "access.deny") == R"(["10.1.2.3"])");
    CHECK(a.enabled());
    CHECK_FALSE(service(from({"tcpsvd", "-i", "x", "0", "80", "/bin/a"}, answers), "a").enabled());
    const Import udp = from({"udpsvd", "::1", "69", "/bin/a"});
    CHECK(notes(udp, 0, Fate::skipped, "::1") == 1);
    CHECK(value(service(from({"udpsvd", "127.0.0.1", "69", "/bin/a"}), "a"), "model") == R"("iterative")");
}

TEST_CASE("command: socat") {
    const Import import =
        from({"socat", "-d", "-d",
              "TCP-LISTEN:7,fork,reuseaddr,bind=127.0.0.1,backlog=9,max-children=4,range=10.0.0.0/8,su=nobody",
              "EXEC:\"/bin/a 'b c'\",stderr,pty"});
    const Imported& a = service(import, "a");
    CHECK(value(a, "listen") == R"("tcp://127.0.0.1:7")");
    CHECK(value(a, "exec") == R"(["/bin/a", "b c"])");
    CHECK(value(a, "socket.backlog") == "9");
    CHECK(value(a, "limits.instances") == "4");
    CHECK(value(a, "access.allow") == R"(["10.0.0.0/8"])");
    CHECK(value(a, "user") == R"("nobody")");
    CHECK(value(a, "stderr") == R"("socket")");
    CHECK(notes(import, 0, Fate::lost, "pty") == 1);
    const Import words = from({"socat", "TCP6-LISTEN:7,fork", "EXEC:/bin/a b"});
    CHECK(value(service(words, "a"), "exec") == R"(["/bin/a", "b"])");
    CHECK(value(service(words, "a"), "listen") == R"("tcp://*:7")");
    const Import system = from({"socat", "UNIX-LISTEN:s,fork,mode=660", "SYSTEM:echo a, b"});
    CHECK(value(service(system, "system"), "listen") == R"("unix:///here/s")");
    CHECK(value(service(system, "system"), "exec") == R"(["/bin/sh", "-c", "echo a"])");  // a comma ends it
    CHECK(value(service(system, "system"), "socket.mode") == R"("0660")");
    CHECK(notes(from({"socat", "TCP-LISTEN:7", "EXEC:/bin/a"}), 0, Fate::skipped, "without fork") == 1);
    CHECK(notes(from({"socat", "TCP-LISTEN:7,fork", "TCP:host:80"}), 0, Fate::skipped, "does not forward") == 1);
    CHECK_FALSE(service(from({"socat", "TCP-LISTEN:7,fork,sourceport=20", "EXEC:/bin/a"}), "a").enabled());
}

TEST_CASE("command: ncat and systemd-socket-activate") {
    const Import ncat =
        from({"ncat", "-lk", "-p", "7", "--allow", "10.0.0.0/8,host.example", "-e", "/bin/a b", "-m", "3"});
    const Imported& a = service(ncat, "a");
    CHECK(value(a, "listen") == R"(["tcp://0.0.0.0:7", "tcp://[::]:7"])");
    CHECK(value(a, "exec") == R"(["/bin/a", "b"])");
    CHECK(value(a, "limits.instances") == "3");
    CHECK(value(a, "access.allow") == R"(["10.0.0.0/8"])");
    CHECK(notes(ncat, 0, Fate::lost, "host.example") == 1);
    CHECK(value(service(from({"ncat", "-l", "--keep-open", "-4", "localhost", "7", "-c", "echo"}), "sh"), "listen") ==
          R"("tcp://127.0.0.1:7")");
    CHECK(notes(from({"ncat", "-l", "7", "-e", "/bin/a"}), 0, Fate::skipped, "without -k") == 1);
    CHECK_FALSE(service(from({"ncat", "-lk", "7", "--deny", "host.example", "-e", "/bin/a"}), "a").enabled());

    const Import accepting = from(
        {"systemd-socket-activate", "-l", "7", "-l", "[::1]:8", "--accept", "--inetd", "-E", "A=1", "/bin/a", "-l"});
    const Imported& b = service(accepting, "a");
    CHECK(value(b, "listen") == R"(["tcp://*:7", "tcp://[::1]:8"])");
    CHECK(value(b, "exec") == R"(["/bin/a", "-l"])");
    CHECK(value(b, "environment.A") == R"("1")");
    CHECK(b.enabled());
    CHECK_FALSE(service(from({"systemd-socket-activate", "-l", "7", "-a", "/bin/a"}), "a").enabled());
    CHECK(value(service(from({"systemd-socket-activate", "-l", "7", "/bin/a"}), "a"), "handoff") == R"("listen")");
}

}  // namespace superd::ctl::command_tests
