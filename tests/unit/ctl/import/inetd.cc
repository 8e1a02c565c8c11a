// SPDX-License-Identifier: MIT
#include "imported.h"

using namespace superd::ctl;

namespace {
Import from(std::string_view text) {
    return import_inetd("inetd.conf", text);
}
}  // namespace

TEST_CASE("inetd: a plain line becomes a service with program, arguments, user and the socket as stderr") {
    const Import import = from("ftp\tstream\ttcp\tnowait\troot\t/usr/sbin/ftpd\tftpd -l -a\n");
    const Imported& ftp = service(import, "ftp");
    CHECK(value(ftp, "listen") == R"("tcp://*:ftp")");
    CHECK(value(ftp, "model") == R"("fork")");
    CHECK(value(ftp, "exec") == R"(["/usr/sbin/ftpd", "-l", "-a"])");
    CHECK(value(ftp, "user") == R"("root")");
    CHECK(value(ftp, "stderr") == R"("socket")");
    CHECK(ftp.at.line == 1);
    CHECK(import.notes.empty());
}

TEST_CASE("inetd: argv[0] is kept where it is not the program's own name") {
    const Import import = from("a stream tcp nowait root /bin/busybox ftpd -w\n");
    CHECK(value(service(import, "a"), "exec") == R"(["/bin/busybox", "-w"])");
    CHECK(value(service(import, "a"), "argv0") == R"("ftpd")");
}

TEST_CASE("inetd: wait on a stream hands the listening socket over, wait on datagrams the socket") {
    const Import import = from(
        "a stream tcp wait root /bin/a a\n"
        "b dgram udp wait root /bin/b b\n"
        "c dgram udp nowait root /bin/c c\n");
    CHECK(value(service(import, "a"), "model") == R"("iterative")");
    CHECK(value(service(import, "a"), "handoff") == R"("listen")");
    CHECK(value(service(import, "b"), "listen") == R"("udp://*:b")");
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
    CHECK(notes(import, 7, Fate::error, "neither wait nor nowait") == 1);
    CHECK(import.services.size() == 6);
}

TEST_CASE("inetd: the protocol's suffix chooses the family") {
    const Import import = from(
        "a stream tcp4 nowait root /bin/a a\n"
        "b stream tcp46 nowait root /bin/b b\n"
        "c stream tcp6only nowait root /bin/c c\n"
        "d stream tcp6 nowait root /bin/d d\n"
        "e stream sctp nowait root /bin/e e\n"
        "f dgram tcp wait root /bin/f f\n");
    CHECK(value(service(import, "a"), "listen") == R"("tcp://0.0.0.0:a")");
    CHECK(value(service(import, "b"), "listen") == R"("tcp://*:b")");
    CHECK(value(service(import, "c"), "listen") == R"("tcp://[::]:c")");
    CHECK(value(service(import, "d"), "listen") == R"("tcp://[::]:d")");
    CHECK(notes(import, 4, Fate::changed, "GNU inetd takes IPv4 as well") == 1);
    CHECK(notes(import, 5, Fate::skipped, "protocol \"sctp\"") == 1);
    CHECK(notes(import, 6, Fate::skipped, "protocol \"tcp\" on a dgram") == 1);
    CHECK(import.services.size() == 4);
}

TEST_CASE("inetd: addresses before the colon, in lists, and on a line of their own until the next such line") {
    const Import import = from(
        "127.0.0.1:a stream tcp nowait root /bin/a a\n"
        "192.0.2.1,[2001:db8::1],2001:db8::2:b stream tcp nowait root /bin/b b\n"
        "localhost:\n"
        "c stream tcp nowait root /bin/c c\n"
        "d stream tcp4 nowait root /bin/d d\n"
        "*:\n"
        "e stream tcp nowait root /bin/e e\n"
        "gw.example.org:f stream tcp nowait root /bin/f f\n");
    CHECK(value(service(import, "a"), "listen") == R"("tcp://127.0.0.1:a")");
    CHECK(value(service(import, "b"), "listen") ==
          R"(["tcp://192.0.2.1:b", "tcp://[2001:db8::1]:b", "tcp://[2001:db8::2]:b"])");
    CHECK(value(service(import, "c"), "listen") == R"(["tcp://127.0.0.1:c", "tcp://[::1]:c"])");
    CHECK(value(service(import, "d"), "listen") == R"("tcp://127.0.0.1:d")");
    CHECK(value(service(import, "e"), "listen") == R"("tcp://*:e")");
    CHECK(notes(import, 8, Fate::skipped, "gw.example.org") == 1);
}

TEST_CASE("inetd: a quoted argument is one word; a quote that is not closed is an error") {
    const Import import = from(
        "a stream tcp nowait root /bin/a a \"b c\" 'd \"e' f\"g\n"
        "b stream tcp nowait root /bin/b b \"c\n");
    CHECK(value(service(import, "a"), "exec") == R"(["/bin/a", "b c", "d \"e", "f\"g"])");
    CHECK(notes(import, 2, Fate::error, "not closed") == 1);
}

TEST_CASE("inetd: a line that begins with a blank goes on with the one before, a comment does not") {
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

TEST_CASE("inetd: what inetd serves by itself is served by superd's handlers, or reported") {
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
    CHECK(value(service(import, "echo-udp"), "listen") == R"("udp://*:echo")");
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

TEST_CASE("inetd: a handler is taken out of tcpd, and that is reported") {
    const Import import = from(
        "a stream tcp nowait root /usr/sbin/tcpd /usr/sbin/in.a -x\n"
        "b stream tcp nowait root /usr/sbin/tcpd in.b\n");
    CHECK(value(service(import, "a"), "exec") == R"(["/usr/sbin/in.a", "-x"])");
    CHECK(value(service(import, "b"), "exec") == R"(["/usr/sbin/in.b"])");
    CHECK(notes(import, 1, Fate::changed, "hosts.allow") == 1);
    CHECK(notes(import, 2, Fate::changed, "hosts.allow") == 1);
}

TEST_CASE("inetd: lines that update-inetd switched off, IPsec policies and .include are reported") {
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
    CHECK(notes(import, 4, Fate::error, "import that file by itself") == 1);
    CHECK(notes(import, 5, Fate::error, "UTF-8") == 1);
    CHECK(notes(import, 6, Fate::error, "2 fields") == 1);
    CHECK(import.notes.size() == 5);
}

TEST_CASE("inetd: unix sockets, buffer sizes, and names that superd would not take") {
    const Import import = from(
        "/run/a:b/c\xc3\xa4.sock stream unix nowait root /bin/a a\n"
        "/run/d dgram unix wait root /bin/d d\n"
        "e stream tcp,sndbuf=64k,rcvbuf=1m,fast nowait root /bin/e e\n"
        "8080 stream tcp,rcvbuf=16384 nowait root /bin/f f\n");
    CHECK(value(service(import, "c--.sock"), "listen") == "\"unix:///run/a:b/c\xc3\xa4.sock\"");
    CHECK(value(service(import, "d"), "listen") == R"("unix-dgram:///run/d")");
    CHECK(value(service(import, "e"), "socket.send_buffer") == R"("64K")");
    CHECK(value(service(import, "e"), "socket.receive_buffer") == R"("1M")");
    CHECK(notes(import, 3, Fate::lost, "\"fast\"") == 1);
    CHECK(value(service(import, "8080"), "socket.receive_buffer") == R"("16K")");
}
