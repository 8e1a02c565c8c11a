// SPDX-License-Identifier: MIT
#include "imported.h"

#include <array>

namespace superd::ctl::inetd_tests {

namespace {
/// In 4.4BSD's dialect, which has the fewest duplicates.
Import from(std::string_view text, Dialect dialect = Dialect::bsd, Answers answers = {}) {
    return import_inetd("inetd.conf", text, machine(std::move(answers)), dialect);
}

/// In the dialect that the file shows.
Import guessed(std::string_view text) {
    return import_inetd("inetd.conf", text, machine());
}
}  // namespace

TEST_CASE("inetd: a plain line becomes a service with program, arguments, user and the socket as stderr") {
    const Import import = from("ftp\tstream\ttcp\tnowait\troot\t/usr/sbin/ftpd\tftpd -l -a\n");
    const Imported& ftp = service(import, "ftp");
    CHECK(value(ftp, "listen") == R"("tcp://0.0.0.0:ftp")");
    CHECK(value(ftp, "model") == R"("fork")");
    CHECK(value(ftp, "exec") == R"(["/usr/sbin/ftpd", "-l", "-a"])");
    CHECK(value(ftp, "user") == R"("root")");
    CHECK(value(ftp, "stderr") == R"("socket")");
    CHECK(ftp.at.line == 1);
    CHECK(import.notes.empty());
}

TEST_CASE("inetd: argv[0] is kept if it is not the program's own name") {
    const Import import = from("a stream tcp nowait root /bin/busybox ftpd -w\n");
    CHECK(value(service(import, "a"), "exec") == R"(["/bin/busybox", "-w"])");
    CHECK(value(service(import, "a"), "argv0") == R"("ftpd")");
}

TEST_CASE("inetd: wait on a stream hands over the listening socket, wait on datagrams the socket") {
    const Import import = from(
        "a stream tcp wait root /bin/a a\n"
        "b dgram udp wait root /bin/b b\n"
        "c dgram udp nowait root /bin/c c\n");
    CHECK(value(service(import, "a"), "model") == R"("iterative")");
    CHECK(value(service(import, "a"), "handoff") == R"("listen")");
    CHECK(value(service(import, "b"), "listen") == R"("udp://0.0.0.0:b")");
    CHECK(value(service(import, "b"), "model") == R"("iterative")");
    CHECK(value(service(import, "b"), "handoff").empty());
    CHECK(value(service(import, "c"), "model") == R"("iterative")");
    CHECK(notes(import, 3, Fate::changed, "nowait on datagrams") == 1);
    CHECK(import.notes.size() == 1);
}

TEST_CASE("inetd: Debian's and GNU's nowait.60 is a rate, FreeBSD's nowait/10/30/5 three limits") {
    const Import import = from(
        "a stream tcp nowait.60 root /bin/a a\n"
        "b stream tcp nowait/10/30/5 root /bin/b b\n"
        "c stream tcp nowait//30 root /bin/c c\n"
        "d stream tcp nowait/0 root /bin/d d\n"
        "e stream tcp nowait.many root /bin/e e\n"
        "f dgram udp wait/1 root /bin/f f\n"
        "h stream tcp nowait:60 root /bin/h h\n"
        "g stream tcp sometimes root /bin/g g\n");
    CHECK(value(service(import, "a"), "limits.rate") == R"("60/m")");
    CHECK(value(service(import, "b"), "limits.instances") == "10");
    CHECK(value(service(import, "b"), "limits.per_source_rate") == R"("30/m")");
    CHECK(value(service(import, "b"), "limits.per_source") == "5");
    CHECK(value(service(import, "c"), "limits.instances").empty());
    CHECK(value(service(import, "c"), "limits.per_source_rate") == R"("30/m")");
    CHECK(value(service(import, "d"), "limits.instances").empty());
    CHECK(notes(import, 5, Fate::lost, "many") == 1);
    CHECK(value(service(import, "f"), "limits.instances").empty());
    CHECK(value(service(import, "h"), "limits.rate") == R"("60/m")");
    CHECK(notes(import, 8, Fate::error, "neither wait nor nowait") == 1);
    CHECK(import.services.size() == 8);
}

TEST_CASE("inetd: the sockets of a protocol depend on the inetd") {
    const auto listen = [](std::string_view protocol, Dialect dialect) {
        const std::string type = protocol.starts_with("tcp") ? "stream" : "dgram";
        const Import import = from(
            "a " + type + " " + std::string(protocol) + (type == "stream" ? " nowait" : " wait") + " root /bin/a a\n",
            dialect);
        return import.services.empty() ? "" : value(import.services[0], "listen");
    };
    constexpr Dialect all[] = {Dialect::bsd, Dialect::openbsd, Dialect::netbsd, Dialect::freebsd, Dialect::gnu};
    const std::string ipv4 = R"("tcp://0.0.0.0:a")", ipv6 = R"("tcp://[::]:a")", dual = R"("tcp://*:a")",
                      two = R"(["tcp://0.0.0.0:a", "tcp://[::]:a"])";
    const std::map<std::string_view, std::array<std::string, 5>> expected{
        {"tcp", {ipv4, two, ipv4, ipv4, ipv4}},   {"tcp4", {ipv4, ipv4, ipv4, ipv4, ipv4}},
        {"tcp6", {ipv6, ipv6, ipv6, ipv6, dual}}, {"tcp46", {"", dual, "", dual, ipv4}},
        {"tcp6only", {"", "", "", "", ipv6}},     {"sctp", {"", "", "", "", ""}}};
    for (const auto& [protocol, forms] : expected) {
        for (std::size_t i = 0; i < forms.size(); ++i) {
            INFO(protocol << " " << i);
            CHECK(listen(protocol, all[i]) == forms[i]);
        }
    }
    CHECK(listen("udp", Dialect::openbsd) == R"("udp://0.0.0.0:a")");  // and a service for the other socket
    CHECK(listen("udp6", Dialect::openbsd) == R"("udp://*:a")");       // measured: one socket of both
}

TEST_CASE("inetd: the dialect is guessed from what only one inetd knows, and reported where it matters") {
    const auto told = [](std::string_view text) {
        const Import import = guessed(text);
        for (const Note& note : import.notes)
            if (note.text.starts_with("read as")) return note.text.substr(0, note.text.find(" ("));
        return std::string("nothing");
    };
    CHECK(told("a stream tcp nowait root /bin/a a\n") == "read as the inetd.conf of 4.4BSD");
    CHECK(told("#<off># x stream tcp nowait root /bin/a a\na stream tcp nowait root /bin/a a\n") ==
          "read as the inetd.conf of OpenBSD and Debian's openbsd-inetd");
    CHECK(told("a stream tcp nowait/3 root /bin/a a\n") == "read as the inetd.conf of FreeBSD");
    CHECK(told("a stream tcp nowait:3 root /bin/a a\n") == "read as the inetd.conf of NetBSD");
    CHECK(told("b stream tcp6only nowait root /bin/a a\na stream tcp nowait root /bin/a a\n") ==
          "read as the inetd.conf of GNU inetutils");
    CHECK(told("a stream tcp4 nowait root /bin/a a\n") == "nothing");
    CHECK(value(service(guessed("a stream tcp nowait root /bin/a a\nb stream tcp46 nowait root /bin/b b\n"), "a"),
                "listen") == R"(["tcp://0.0.0.0:a", "tcp://[::]:a"])");
}

TEST_CASE("inetd: addresses before the colon, in lists, and on a line of their own until the next such line") {
    const Import import = from(
        "127.0.0.1:a stream tcp nowait root /bin/a a\n"
        "192.0.2.1,[2001:db8::1],2001:db8::2,192.0.2.1:b stream tcp nowait root /bin/b b\n"
        "localhost:\n"
        "c stream tcp nowait root /bin/c c\n"
        "d stream tcp4 nowait root /bin/d d\n"
        "*:\n"
        "e stream tcp nowait root /bin/e e\n"
        "gw.example.org:f stream tcp nowait root /bin/f f\n"
        "gw.example.org,192.0.2.1,two.example:g stream tcp nowait root /bin/g g\n"
        "192.0.2.1:h stream tcp6 nowait root /bin/h h\n",
        Dialect::openbsd,
        {.hosts = {{"localhost", {"127.0.0.1", "::1"}}, {"two.example", {"192.0.2.1", "192.0.2.2"}}}});
    CHECK(value(service(import, "a"), "listen") == R"("tcp://127.0.0.1:a")");
    CHECK(value(service(import, "b"), "listen") ==
          R"(["tcp://192.0.2.1:b", "tcp://[2001:db8::1]:b", "tcp://[2001:db8::2]:b"])");
    CHECK(value(service(import, "c"), "listen") == R"(["tcp://127.0.0.1:c", "tcp://[::1]:c"])");
    CHECK(value(service(import, "d"), "listen") == R"("tcp://127.0.0.1:d")");
    CHECK(value(service(import, "e"), "listen") == R"(["tcp://0.0.0.0:e", "tcp://[::]:e"])");
    CHECK(notes(import, 8, Fate::skipped, "gw.example.org") == 1);
    CHECK(value(service(import, "g"), "listen") == R"(["tcp://192.0.2.1:g", "tcp://192.0.2.2:g"])");
    CHECK(notes(import, 9, Fate::lost, "gw.example.org") == 1);
    CHECK(notes(import, 10, Fate::skipped, "no address for tcp6") == 1);
}

TEST_CASE("inetd: if each socket has its own handler, it has its own service") {
    const Import import = from(
        "a stream tcp wait root:daemon /bin/a a\nb dgram udp wait root /bin/b b\nc stream tcp nowait root /bin/c c\n",
        Dialect::openbsd);
    CHECK(value(service(import, "a"), "listen") == R"("tcp://0.0.0.0:a")");
    CHECK(value(service(import, "a-ipv6"), "listen") == R"("tcp://[::]:a")");
    CHECK(value(service(import, "a-ipv6"), "exec") == R"(["/bin/a"])");
    CHECK(value(service(import, "a"), "group").empty());
    CHECK(notes(import, 1, Fate::changed, "root in its own") == 1);
    CHECK(value(service(import, "b-ipv6"), "listen") == R"("udp://[::]:b")");
    CHECK(import.services.size() == 5);
}

TEST_CASE("inetd: of several lines with the same socket the last counts") {
    const Import import = from(
        "a stream tcp nowait root /bin/a a\na stream tcp nowait root /bin/b b\n127.0.0.1:a stream tcp nowait root "
        "/bin/c c\n");
    CHECK(value(service(import, "a"), "exec") == R"(["/bin/b"])");
    CHECK(import.services.size() == 2);
    CHECK(notes(import, 1, Fate::skipped, "line 2 has the same socket") == 1);
}

TEST_CASE("inetd: a quoted argument is one word; a quote that is not closed is an error") {
    const Import import = from(
        "a stream tcp nowait root /bin/a a \"b c\" 'd \"e' f\"g\n"
        "b stream tcp nowait root /bin/b b \"c\n",
        Dialect::freebsd);
    CHECK(value(service(from("a stream tcp nowait root /bin/a a \"b c\"\n"), "a"), "exec") ==
          R"(["/bin/a", "\"b", "c\""])");
    CHECK(value(service(import, "a"), "exec") == R"(["/bin/a", "b c", "d \"e", "f\"g"])");
    CHECK(notes(import, 2, Fate::error, "not closed") == 1);
}

TEST_CASE("inetd: a line that begins with a blank continues the one before; a comment does not") {
    const Import import = from(
        "a stream tcp nowait root /bin/a a one\n"
        "\ttwo\n"
        "  # not this\n"
        "b stream tcp nowait root /bin/b b\n");
    CHECK(value(service(import, "a"), "exec") == R"(["/bin/a", "one", "two"])");
    CHECK(import.services.size() == 2);
    CHECK(import.notes.empty());
}

TEST_CASE("inetd: user.group, user:group, and a login class, which is reported") {
    const Import import = from(
        "a stream tcp nowait nobody.tty /bin/a a\n"
        "b stream tcp nowait www.data:www /bin/b b\n"
        "c stream tcp nowait ftp/daemon /bin/c c\n");
    CHECK(value(service(import, "a"), "user") == R"("nobody")");
    CHECK(value(service(import, "a"), "group") == R"("tty")");
    CHECK(value(service(import, "b"), "user") == R"("www.data")");
    CHECK(value(service(import, "b"), "group") == R"("www")");
    CHECK(value(service(import, "c"), "user") == R"("ftp")");
    CHECK(notes(import, 3, Fate::lost, "login class \"daemon\"") == 1);
}

TEST_CASE("inetd: superd's handlers serve inetd's internal services, or these are reported") {
    const Import import = from(
        "echo stream tcp nowait root internal\n"
        "echo dgram udp wait root internal\n"
        "daytime dgram udp nowait root internal\n"
        "auth stream tcp nowait root internal\n"
        "tcpmux stream tcp nowait root internal\n"
        "tcpmux/+date stream tcp nowait guest /bin/date date\n"
        "rstatd/1-3 dgram rpc/udp wait root /usr/sbin/rpc.rstatd rpc.rstatd\n"
        "raw raw icmp wait root /bin/raw raw\n");
    CHECK(value(service(import, "echo"), "exec") == R"(["superd-echo"])");
    CHECK(value(service(import, "echo"), "user").empty());
    CHECK(value(service(import, "echo-udp"), "listen") == R"("udp://0.0.0.0:echo")");
    CHECK(value(service(import, "echo-udp"), "model") == R"("iterative")");
    CHECK(value(service(import, "daytime"), "exec") == R"(["superd-daytime"])");
    CHECK(notes(import, 1, Fate::changed, "served by superd-echo, as nobody") == 1);
    CHECK(notes(import, 4, Fate::skipped, "no handler") == 1);
    CHECK(notes(import, 5, Fate::skipped, "TCPMUX") == 1);
    CHECK(notes(import, 6, Fate::skipped, "TCPMUX") == 1);
    CHECK(notes(import, 7, Fate::skipped, "RPC") == 1);
    CHECK(notes(import, 8, Fate::skipped, "raw") == 1);
    CHECK(import.services.size() == 3);
}

TEST_CASE("inetd: tcpd is removed from a handler, and clients that hosts.deny keeps out stay out") {
    const std::string text =
        "a stream tcp nowait root /usr/sbin/tcpd /usr/sbin/in.a -x\n"
        "b stream tcp nowait root /usr/sbin/tcpd in.b\n";
    const Import open = from(text);
    CHECK(value(service(open, "a"), "exec") == R"(["/usr/sbin/in.a", "-x"])");
    CHECK(value(service(open, "b"), "exec") == R"(["/usr/sbin/in.b"])");
    CHECK(notes(open, 1, Fate::changed, "hosts.allow") == 1);
    CHECK(value(service(open, "a"), "access.deny").empty());
    const Import some = from(text, Dialect::bsd,
                             {.files = {{"/etc/hosts.allow", "# comment\nin.a: 10.0.0.0/8, [fd00::]/8\n"},
                                        {"/etc/hosts.deny", "ALL: ALL\n"}}});
    CHECK(value(service(some, "a"), "access.allow") == R"(["10.0.0.0/8", "fd00::/8"])");
    CHECK(value(service(some, "b"), "access.deny") == R"(["0.0.0.0/0", "::/0"])");
    const Import names = from(text, Dialect::bsd, {.files = {{"/etc/hosts.deny", "in.a: .example.org\n"}}});
    CHECK_FALSE(service(names, "a").enabled());
    CHECK(service(names, "b").enabled());
}

TEST_CASE("inetd: lines switched off by update-inetd and IPsec policies are reported; broken lines are errors") {
    const Import import = from(
        "# only a comment \xe4\n"
        "#<off># telnet\tstream\ttcp\tnowait\troot\t/usr/sbin/tcpd\t/usr/sbin/telnetd\n"
        "#@ ipsec ah/require\n"
        ".include /etc/inetd.d/*\n"
        "\xe4 stream tcp nowait root /bin/a a\n"
        "short line\n");
    CHECK(import.services.empty());
    CHECK(notes(import, 2, Fate::skipped, "\"telnet\" is switched off") == 1);
    CHECK(notes(import, 3, Fate::lost, "IPsec") == 1);
    CHECK(notes(import, 4, Fate::error, "only NetBSD's inetd") == 1);
    CHECK(notes(import, 5, Fate::error, "UTF-8") == 1);
    CHECK(notes(import, 6, Fate::error, "2 fields") == 1);
    CHECK(import.notes.size() == 5);
}

TEST_CASE("inetd: NetBSD includes files by a pattern, with the sticky address, and detects circles") {
    const Answers answers{.files = {{"d/one.conf", "a stream tcp nowait root /bin/a a\n.include one.conf\n"},
                                    {"d/two.conf", "*:\nb stream tcp nowait root /bin/b b\n"},
                                    {"d/three", "c stream tcp nowait root /bin/c c\n"}}};
    const Import import = from("127.0.0.1:\n.include d/*.conf\nd stream tcp nowait root /bin/d d\n.include none\n",
                               Dialect::netbsd, answers);
    CHECK(value(service(import, "a"), "listen") == R"("tcp://127.0.0.1:a")");
    CHECK(value(service(import, "b"), "listen") == R"("tcp://0.0.0.0:b")");
    CHECK(value(service(import, "d"), "listen") == R"("tcp://127.0.0.1:d")");
    CHECK(import.services.size() == 3);
    CHECK(std::ranges::count(import.notes, "includes itself: not read again", &Note::text) == 1);
    CHECK(errors(import) == 2);
}

TEST_CASE("inetd: NetBSD's key-values notation, over several lines, with comments and quotes, several on a line") {
    const Import import = from(
        "[::1]:a on protocol = tcp, wait = no, user = www, # a comment; with all signs\n"
        "\texec = /bin/a, args = a \"b, c\" 'd\\n;',\n"
        "\tservice_max = 30, ip_max = 5, accept_max = 9, sndbuf = 64k, group = web; b off protocol = tcp4, wait=no, "
        "user=u, "
        "exec=/bin/b;\n"
        "c on protocol = tcp, wait = no, user = u, exec = /bin/c;\n"
        "d on protocol = tcp4, user = u, exec = /bin/d;\n"
        "echo on protocol = udp4, user = nobody;\n"
        "e stream tcp nowait root /bin/e e\n"
        "f on protocol tcp4;\ng stream tcp nowait root /bin/g g\n",
        Dialect::netbsd);
    const Imported& a = service(import, "a");
    CHECK(value(a, "listen") == R"("tcp://[::1]:a")");
    CHECK(value(a, "exec") == R"(["/bin/a", "b, c", "d\n;"])");
    CHECK(value(a, "user") == R"("www")");
    CHECK(value(a, "group") == R"("web")");
    CHECK(value(a, "limits.rate") == R"("30/m")");
    CHECK(value(a, "limits.per_source_rate") == R"("5/m")");
    CHECK(value(a, "limits.instances") == "9");
    CHECK(value(a, "socket.send_buffer") == R"("64K")");
    CHECK(a.enabled());
    CHECK_FALSE(service(import, "b").enabled());
    CHECK_FALSE(service(import, "c").enabled());  // which family?
    CHECK(notes(import, 5, Fate::disabled, "it has no wait") == 1);
    CHECK(value(service(import, "echo"), "exec") == R"(["superd-echo"])");
    CHECK(value(service(import, "e"), "listen") == R"("tcp://0.0.0.0:e")");
    CHECK(notes(import, 8, Fate::error, "not followed by =") == 1);
    CHECK(std::ranges::find(import.services, "g", &Imported::name) == import.services.end());
}

TEST_CASE("inetd: each inetd's unix sockets, buffer sizes, and names that superd refuses") {
    const Import import = from(
        "/run/a:b/c\xc3\xa4.sock stream unix nowait root /bin/a a\n"
        "/run/d dgram unix wait root /bin/d d\n"
        "e stream tcp,sndbuf=64k,rcvbuf=1m,fast nowait root /bin/e e\n"
        "8080 stream tcp,rcvbuf=16384 nowait root /bin/f f\n",
        Dialect::openbsd);
    CHECK(value(service(import, "c--.sock"), "listen") == "\"unix:///run/a:b/c\xc3\xa4.sock\"");
    CHECK(value(service(import, "c--.sock"), "socket.mode") == R"("0666")");
    CHECK(value(service(import, "d"), "listen") == R"("unix-dgram:///run/d")");
    CHECK(value(service(import, "e"), "socket.send_buffer") == R"("64K")");
    CHECK(value(service(import, "e"), "socket.receive_buffer") == R"("1M")");
    CHECK(notes(import, 3, Fate::lost, "\"fast\"") == 1);
    CHECK(value(service(import, "8080"), "socket.receive_buffer") == R"("16K")");
    const Import freebsd =
        from(":www:web:660:/run/x stream unix nowait/5 www /bin/x x\n/run/y stream unix nowait root /bin/y y\n",
             Dialect::freebsd);
    const Imported& x = service(freebsd, "x");
    CHECK(value(x, "listen") == R"("unix:///run/x")");
    CHECK(value(x, "socket.mode") == R"("0660")");
    CHECK(value(x, "socket.user") == R"("www")");
    CHECK(value(x, "socket.group") == R"("web")");
    CHECK(value(service(freebsd, "y"), "socket.mode") == R"("0200")");
}

}  // namespace superd::ctl::inetd_tests
