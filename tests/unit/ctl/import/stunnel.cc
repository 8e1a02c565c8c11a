// SPDX-License-Identifier: MIT
#include "imported.h"

namespace superd::ctl::stunnel_tests {

namespace {

Import from(const std::string& text, Answers answers = {}) {
    return import_stunnel("stunnel.conf", text, machine(std::move(answers)));
}

/// A section with a certificate, and these lines from line 4 on.
std::string section(const std::string& name, const std::string& lines) {
    return "[" + name + "]\naccept = 443\ncert = /c.pem\n" + lines;
}

}  // namespace

TEST_CASE("stunnel: exec becomes a handler as stunnel starts it, connect a superd-proxy, both behind [tls]") {
    const Import import = from(
        "\xef\xbb\xbf; a comment\nsetuid = me\nsetgid = us\nCERT = /c.pem\n"
        "[run]\naccept = 127.0.0.1:7001\naccept = :::7002\nexec = /bin/a\nexecArgs = name  x y\n"
        "[relay]\naccept = 7003\nkey = /k.pem\nconnect = 80\nconnect = db:echo\nconnect = ::1:81\nprotocol = proxy\n"
        "local = 10.0.0.1\nTIMEOUTconnect = 5\nTIMEOUTidle = 60\nTIMEOUTbusy = 20\n"
        "[path]\naccept = /run/t\nconnect = /run/x\n");
    const Imported& run = service(import, "run");
    CHECK(value(run, "listen") == R"(["tcp://127.0.0.1:7001", "tcp://*:7002"])");
    CHECK(value(run, "exec") == R"(["/bin/a", "x", "y"])");
    CHECK(value(run, "argv0") == R"("name")");
    CHECK(value(run, "user") == R"("me")");
    CHECK(value(run, "group") == R"("us")");
    CHECK(value(run, "supplementary_groups") == "[]");
    CHECK(value(run, "stderr") == R"("socket")");
    CHECK(value(run, "model") == R"("fork")");
    CHECK(value(run, "tls.certificate") == R"("/c.pem")");
    CHECK(value(run, "tls.key") == R"("/c.pem")");
    const Imported& relay = service(import, "relay");
    CHECK(value(relay, "listen") == R"("tcp://0.0.0.0:7003")");
    CHECK(
        value(relay, "exec") ==
        R"(["superd-proxy", "--send-proxy", "v1", "--bind", "10.0.0.1", "--connect-timeout", "5s", "--idle-timeout", )"
        R"("60s", "tcp://localhost:80", "tcp://db:7", "tcp://[::1]:81"])");
    CHECK(value(relay, "tls.key") == R"("/k.pem")");
    CHECK(value(relay, "tls.handshake_timeout") == R"("20s")");
    CHECK_FALSE(relay.has("user"));  // nobody
    CHECK(value(service(import, "path"), "exec") == R"(["superd-proxy", "unix:///run/x"])");
    CHECK(value(service(import, "path"), "listen") == R"("unix:///run/t")");
    CHECK(value(service(import, "path"), "user") == R"("me")");
    CHECK(import.services.size() == 3);
    CHECK(errors(import) == 0);
    CHECK(std::ranges::all_of(import.services, &Imported::enabled));
}

TEST_CASE("stunnel: in the foreground it keeps its stderr from the handler's client") {
    const Import import = from("foreground = yes\n" + section("a", "exec = /a\n"));
    CHECK_FALSE(service(import, "a").has("stderr"));
    CHECK(value(service(from("foreground = no\n" + section("a", "exec = /a\n")), "a"), "stderr") == R"("socket")");
}

TEST_CASE("stunnel: who speaks TLS as a client, or begins it within a protocol, is left out with the reason") {
    const Import import =
        from("cert = /c.pem\n[c]\nclient = yes\naccept = 1\nconnect = 2\n" +
             section("s", "connect = 25\nprotocol = smtp\n") + section("n", "") +
             "[k]\naccept = 1\nexec = /a\ncert =\n[p]\nconnect = 2\n" + section("b", "exec = /a\nconnect = 1\n") +
             section("t", "connect = 1\ntransparent = both\n"));
    CHECK(notes(import, 2, Fate::skipped, "client = yes") == 1);
    CHECK(notes(import, 6, Fate::skipped, "protocol = smtp") == 1);
    CHECK(notes(import, 11, Fate::skipped, "neither exec nor connect") == 1);
    CHECK(notes(import, 18, Fate::skipped, "has no accept") == 1);
    CHECK(notes(import, 20, Fate::skipped, "both exec and connect") == 1);
    CHECK(notes(import, 25, Fate::skipped, "transparent") == 1);
}

TEST_CASE("stunnel: clients' certificates are required or asked for as verify and its successors say, in their order") {
    const std::string with = "exec = /a\nCAfile = /ca.pem\n";
    const Import import =
        from(section("two", with + "verify = 2\nCRLfile = /crl.pem\n") + section("one", with + "verify = 1\n") +
             section("chain", with + "verifyChain = yes\n") +
             section("later", with + "verifyChain = yes\nrequireCert = no\n") + section("zero", with + "verify = 0\n"));
    CHECK(value(service(import, "two"), "tls.client_certificate") == R"("require")");
    CHECK(value(service(import, "two"), "tls.client_ca") == R"("/ca.pem")");
    CHECK(value(service(import, "two"), "tls.client_crl") == R"("/crl.pem")");
    CHECK(value(service(import, "one"), "tls.client_certificate") == R"("request")");
    CHECK(value(service(import, "chain"), "tls.client_certificate") == R"("require")");
    CHECK(value(service(import, "later"), "tls.client_certificate") == R"("request")");
    CHECK_FALSE(service(import, "zero").has("tls.client_ca"));
    CHECK(std::ranges::all_of(import.services, &Imported::enabled));
}

TEST_CASE("stunnel: what kept clients out and cannot be carried over switches the section off") {
    const std::string chain = "exec = /a\nCAfile = /ca.pem\nverifyChain = yes\n";
    for (const std::string& lines :
         {"exec = /a\nCApath = /certs\nverify = 2\n" + std::string(), chain + "CRLpath = /crls\n",
          chain + "checkHost = a\n", chain + "checkIP = ::1\n", chain + "OCSPaia = yes\n",
          std::string("exec = /a\nCAfile = /ca.pem\nverify = 3\n"), std::string("exec = /a\nverifyPeer = yes\n"),
          std::string("exec = /a\nrequireCert = yes\n"), std::string("exec = /a\nverifyChain = yes\n"),
          std::string("exec = /a\nident = me\n"), std::string("exec = /a\nsslVersion = TLSv1\n"),
          std::string("exec = /a\nkey = pkcs11:x\n"), std::string("exec = /a\nTIMEOUTbusy = soon\n"),
          std::string("exec = /a\nsslVersionMin = 1\n"), std::string("connect = none:nothere\n"),
          std::string("exec = /a\nsocket = SO_LINGER\n")}) {
        INFO(lines);
        CHECK_FALSE(service(from(section("a", lines)), "a").enabled());
    }
    CHECK(service(from(section("a", chain)), "a").enabled());
}

TEST_CASE("stunnel: a bad line keeps every section from starting, and one that is not text is an error too") {
    for (const char* line : {"foo = 1\n", "nothing\n", "pid = /x\n"}) {
        INFO(line);
        const Import import =
            from("cert = /c.pem\n[a]\naccept = 1\nexec = /a\n[b]\naccept = 2\nexec = /b\n" + std::string(line));
        CHECK_FALSE(service(import, "a").enabled());
        CHECK_FALSE(service(import, "b").enabled());
        CHECK(notes(import, 8, Fate::disabled, "stunnel does not start") == 2);
    }
    CHECK_FALSE(service(from(section("a", "exec = /a\nengine = x\n")), "a").enabled());  // not in a section
    CHECK_FALSE(service(from(section("a", "exec = /a\nchroot = /x\n")), "a").enabled());
    // A section's name that is not text would leave its options to the section before it.
    const Import joined =
        from(section("a", "exec = /a\nCAfile = /ca.pem\nverify = 2\n") +
             "[gr\xf6]\naccept = 444\nexec = /b\nverify = 0\n[c]\naccept = 445\nexec = /c\ncert = /c.pem\n");
    CHECK(errors(joined) == 1);
    CHECK_FALSE(service(joined, "a").enabled());
    CHECK_FALSE(service(joined, "c").enabled());
    CHECK(notes(joined, 7, Fate::disabled, "is not UTF-8 text") == 2);
}

TEST_CASE("stunnel: levels are read as stunnel reads them, and values that it refuses keep every section off") {
    const std::string with = "exec = /a\nCAfile = /ca.pem\n";
    for (const char* level : {"02", "+2", "4294967298"}) {
        INFO(level);
        const Import import = from(section("a", with + "verify = " + level + "\n"));
        CHECK(value(service(import, "a"), "tls.client_certificate") == R"("require")");
        CHECK(service(import, "a").enabled());
    }
    for (const char* line : {"verify = 5", "verify = -1", "verify = 2x", "verify =", "verifyChain = true",
                             "verifyPeer = 1", "requireCert = on", "libwrap = on", "OCSPaia = 1", "client = 0",
                             "securityLevel = 6", "securityLevel = high"}) {
        INFO(line);
        const Import import =
            from(section("a", "exec = /a\n" + std::string(line) + "\n") + "[b]\naccept = 1\nexec = /b\ncert = /c\n");
        CHECK_FALSE(service(import, "a").enabled());
        CHECK_FALSE(service(import, "b").enabled());
        CHECK(notes(import, 5, Fate::disabled, "stunnel does not start") == 2);
    }
    CHECK_FALSE(service(from("foreground = on\n" + section("a", "exec = /a\n")), "a").enabled());
    CHECK(
        service(from("foreground = quiet\n" + section("a", with + "verifyChain = YES\nreset = No\n")), "a").enabled());
}

TEST_CASE("stunnel: securityLevel becomes the level of tls.ciphers, unless the list has its own") {
    const auto ciphers = [](const std::string& lines) {
        return value(service(from(section("a", "exec = /a\n" + lines)), "a"), "tls.ciphers");
    };
    CHECK(ciphers("securityLevel = 3\n") == R"("DEFAULT:@SECLEVEL=3")");
    CHECK(ciphers("securityLevel = 04\nciphers = HIGH:!DH\n") == R"("HIGH:!DH:@SECLEVEL=4")");
    CHECK(ciphers("securityLevel = 5\nciphersuites = TLS_AES_128_GCM_SHA256\n") ==
          R"("TLS_AES_128_GCM_SHA256:HIGH:!aNULL:!DH:!kDHEPSK:@SECLEVEL=5")");
    CHECK(ciphers("securityLevel = 5\nciphers = HIGH@SECLEVEL=3\n") == R"("HIGH@SECLEVEL=3")");
    CHECK(ciphers("") == "");
}

TEST_CASE("stunnel: a path to accept on is its owner's alone, one to connect to is in stunnel's chroot") {
    const Import import =
        from("chroot = /jail/\ncert = /c.pem\n[a]\naccept = /run/t\nconnect = /run/x\n[b]\naccept = 1\nconnect = 80\n");
    const Imported& a = service(import, "a");
    CHECK(value(a, "socket.mode") == R"("0600")");
    CHECK(notes(import, 4, Fate::changed, "only its owner may connect") == 1);
    CHECK(value(a, "exec") == R"(["superd-proxy", "unix:///jail/run/x"])");
    CHECK(notes(import, 5, Fate::changed, "/jail/run/x, by chroot = /jail/") == 1);
    CHECK_FALSE(service(import, "b").has("socket.mode"));
    CHECK(value(service(import, "b"), "exec") == R"(["superd-proxy", "tcp://localhost:80"])");
    CHECK(value(service(from("chroot = jail\n" + section("a", "connect = /x\n")), "a"), "exec") ==
          R"(["superd-proxy", "unix:///here/jail/x"])");
}

TEST_CASE("stunnel: libwrap knows a section by its option service, and inetd's stunnel by that or as stunnel") {
    Answers answers;
    answers.files = {{"/etc/hosts.deny", "stunnel: 10.0.0.1\nother: 10.0.0.2\na: 10.0.0.3\necho: 10.0.0.4\n"},
                     {"/plain.conf", "cert = /c.pem\nexec = /bin/a\nlibwrap = yes\n"},
                     {"/named.conf", "cert = /c.pem\nexec = /bin/a\nlibwrap = yes\nservice = other\n"}};
    const auto inetd = [&](const std::string& file) {
        return import_inetd("inetd.conf", "echo stream tcp nowait root /usr/bin/stunnel stunnel " + file + "\n",
                            machine(answers), Dialect::bsd);
    };
    CHECK(value(inetd("/plain.conf").services.at(0), "access.deny") == R"(["10.0.0.1"])");
    CHECK(value(inetd("/named.conf").services.at(0), "access.deny") == R"(["10.0.0.2"])");
    const std::string own = section("a", "exec = /a\nlibwrap = yes\n");
    CHECK(value(service(from("service = other\n" + own, answers), "a"), "access.deny") == R"(["10.0.0.3"])");
    CHECK(value(service(from(own + "service = other\n", answers), "a"), "access.deny") == R"(["10.0.0.2"])");
}

TEST_CASE("stunnel: it stays the handler where both xinetd and libwrap have a list of clients") {
    Answers answers;
    answers.files = {{"/etc/hosts.deny", "stunnel: 10.0.0.1\n"},
                     {"/lists.conf", "cert = /c.pem\nexec = /bin/a\nlibwrap = yes\n"},
                     {"/relay.conf", "cert = /c.pem\nconnect = 80\n"}};
    const auto xinetd = [&](const std::string& lines) {
        return import_xinetd("x",
                             "service echo\n{\nsocket_type = stream\nwait = no\nuser = root\ngroup = us\nserver = "
                             "/usr/bin/stunnel\nflags = NOLIBWRAP\n" +
                                 lines + "}\n",
                             machine(answers));
    };
    const Import both = xinetd("server_args = /lists.conf\nonly_from = 10.0.0.0/8\n");
    CHECK(value(service(both, "echo"), "exec") == R"(["/usr/bin/stunnel", "/lists.conf"])");
    CHECK(value(service(both, "echo"), "access.allow") == R"(["10.0.0.0/8"])");
    CHECK_FALSE(service(both, "echo").has("access.deny"));
    CHECK_FALSE(service(both, "echo").has("tls.certificate"));
    CHECK(service(both, "echo").enabled());
    CHECK(notes(both, 7, Fate::changed, "goes on as the handler") == 1);
    const Import one = xinetd("server_args = /lists.conf\n");
    CHECK(value(service(one, "echo"), "exec") == R"(["/bin/a"])");
    CHECK(value(service(one, "echo"), "access.deny") == R"(["10.0.0.1"])");
    const Import other = xinetd("server_args = /relay.conf\nonly_from = 10.0.0.0/8\n");
    CHECK(value(service(other, "echo"), "access.allow") == R"(["10.0.0.0/8"])");
    CHECK(value(service(other, "echo"), "exec") == R"(["superd-proxy", "tcp://localhost:80"])");
    CHECK_FALSE(service(other, "echo").has("group"));  // nobody's
}

TEST_CASE("stunnel: versions, ciphers and options that superd has are carried, others are told") {
    const Import import =
        from("output = /log\ndebug = 7\n" +
             section("a",
                     "exec = /a\nsslVersionMin = TLSv1.3\nciphers = HIGH:!DH\nciphersuites = TLS_AES_128_GCM_SHA256\n"
                     "options = NO_SSLv3\noptions = -NO_SSLv3\ncurves = X25519\npty = yes\nlibwrap = no\n") +
             section("b", "exec = /a\nsslVersionMax = TLSv1.2\nsslVersionMin = TLSv1.1\noptions = NO_TICKET\n") +
             section("c",
                     "exec = /a\noptions = NO_TLSv1_2\nsocket = l:TCP_NODELAY=1\nsocket = a:SO_BINDTODEVICE=lo\n"
                     "socket = r:SO_KEEPALIVE=1\nsocket = a:SO_LINGER=1:60\nrenegotiation = yes\n"));
    const Imported& a = service(import, "a");
    CHECK(value(a, "tls.min_version") == R"("1.3")");
    CHECK(value(a, "tls.ciphers") == R"("TLS_AES_128_GCM_SHA256:HIGH:!DH")");
    CHECK(value(service(from(section("b", "exec = /a\nciphersuites = TLS_AES_128_GCM_SHA256\n")), "b"),
                "tls.ciphers") == R"("TLS_AES_128_GCM_SHA256:HIGH:!aNULL:!DH:!kDHEPSK")");
    CHECK(notes(import, 1, Fate::lost, "one log") == 1);
    CHECK(notes(import, 11, Fate::lost, "-NO_SSLv3") == 1);
    CHECK(notes(import, 10, Fate::lost, "") == 0);
    CHECK(notes(import, 12, Fate::lost, "curves") == 1);
    CHECK(notes(import, 13, Fate::lost, "terminal") == 1);
    CHECK(notes(import, 19, Fate::lost, "TLS 1.3 too") == 1);
    CHECK(notes(import, 20, Fate::lost, "nothing below") == 1);
    CHECK(notes(import, 21, Fate::lost, "NO_TICKET") == 1);
    const Imported& c = service(import, "c");
    CHECK(value(c, "tls.min_version") == R"("1.3")");
    CHECK(value(c, "socket.nodelay") == "true");
    CHECK(value(c, "socket.bind_to_device") == R"("lo")");
    CHECK(notes(import, 29, Fate::lost, "r:SO_KEEPALIVE") == 1);
    CHECK(notes(import, 30, Fate::lost, "SO_LINGER") == 1);
    CHECK(notes(import, 31, Fate::lost, "renegotiation") == 1);
    CHECK(std::ranges::all_of(import.services, &Imported::enabled));
}

TEST_CASE("stunnel: sections for names are other certificates of the first; another handler for a name is told") {
    const Import import = from(
        "cert = /c.pem\n[a]\naccept = 443\nconnect = 80\n[b]\nsni = a:b.example\ncert = /b.pem\nconnect = 80\n"
        "[c]\nsni = a:*.c.example\ncert = /d.pem\nkey = /dk.pem\nconnect = 81\n[d]\nsni = none:x\nconnect = 1\n");
    CHECK(value(service(import, "a"), "tls.name") ==
          R"([{ names = ["b.example"], certificate = "/b.pem", key = "/b.pem" }, )"
          R"({ names = ["*.c.example"], certificate = "/d.pem", key = "/dk.pem" }])");
    CHECK(notes(import, 10, Fate::lost, "one handler") == 1);
    CHECK(notes(import, 15, Fate::skipped, "no such section") == 1);
    CHECK(import.services.size() == 1);
    const Import stricter = from(
        "cert = /c.pem\n[a]\naccept = 443\nconnect = 80\n[b]\nsni = a:b.example\nconnect = 80\nCAfile = /ca\nverify = "
        "2\n");
    CHECK_FALSE(service(stricter, "a").enabled());
}

TEST_CASE("stunnel: included files go on where they are included; libwrap's lists become [access]") {
    Answers answers;
    answers.files = {{"/d/1", "cert = /c.pem\n[a]\naccept = 1\n"},
                     {"/d/2", "exec = /bin/a\nlibwrap = yes\n"},
                     {"/etc/hosts.deny", "a: 10.0.0.1\n"}};
    const Import import = from("include = /d\n", answers);
    CHECK(value(service(import, "a"), "exec") == R"(["/bin/a"])");
    CHECK(value(service(import, "a"), "access.deny") == R"(["10.0.0.1"])");
    CHECK(service(import, "a").at.text() == "/d/1:2");
    answers.files["/e/1"] = "include = /e\n";
    CHECK(errors(from("include = /e\n", answers)) == 1);  // ends
    CHECK(errors(from("include = /none\n")) == 1);
    CHECK(service(import, "a").enabled());
    for (const char* unread : {"/e", "/none"}) {
        INFO(unread);
        const Import off = from(section("b", "exec = /b\ninclude = " + std::string(unread) + "\n"), answers);
        CHECK_FALSE(service(off, "b").enabled());
    }
}

TEST_CASE("stunnel: in inetd mode [tls] takes its place in the super-server's entry, or it stays as the handler") {
    Answers answers;
    answers.files = {{"/run.conf", "cert = /c.pem\nexec = /bin/a\nexecArgs = a -x\nsetuid = me\n"},
                     {"/relay.conf", "cert = /c.pem\nconnect = 80\n"},
                     {"/path.conf", "cert = /c.pem\nconnect = /run/x\n"},
                     {"/client.conf", "client = yes\nconnect = 80\n"}};
    const auto inetd = [&](const std::string& file) {
        return import_inetd("inetd.conf", "7001 stream tcp nowait you /usr/bin/stunnel4 stunnel4 " + file + "\n",
                            machine(answers), Dialect::bsd);
    };
    const Import run = inetd("/run.conf");
    CHECK(value(run.services.at(0), "exec") == R"(["/bin/a", "-x"])");
    CHECK(value(run.services[0], "argv0") == R"("a")");
    CHECK(value(run.services[0], "user") == R"("me")");
    CHECK(value(run.services[0], "tls.certificate") == R"("/c.pem")");
    CHECK(value(run.services[0], "listen") == R"("tcp://0.0.0.0:7001")");
    CHECK(notes(run, 1, Fate::changed, "superd itself does the TLS") == 1);
    const Import relay = inetd("/relay.conf");
    CHECK(value(relay.services.at(0), "exec") == R"(["superd-proxy", "tcp://localhost:80"])");
    CHECK_FALSE(relay.services[0].has("user"));
    CHECK_FALSE(relay.services[0].has("stderr"));
    CHECK(value(inetd("/path.conf").services.at(0), "user") == R"("you")");  // as stunnel was
    for (const char* file : {"/client.conf", "/none.conf"}) {
        const Import stays = inetd(file);
        CHECK(value(stays.services.at(0), "exec") == R"(["/usr/bin/stunnel4", ")" + std::string(file) + R"("])");
        CHECK_FALSE(stays.services[0].has("tls.certificate"));
        CHECK(notes(stays, 1, Fate::changed, "goes on as the handler") == 1);
    }
    const Import xinetd = import_xinetd("x",
                                        "service echo\n{\nsocket_type = stream\nwait = no\nuser = root\nserver = "
                                        "/usr/bin/stunnel\nserver_args = /relay.conf\n}\n",
                                        machine(answers));
    CHECK(value(service(xinetd, "echo"), "exec") == R"(["superd-proxy", "tcp://localhost:80"])");
    CHECK(std::ranges::count(from("cert = /c\nexec = /a\n").notes, Fate::skipped, &Note::fate) == 1);
    // A section without a name is nobody's main one.
    const Import nameless = from("[]\naccept = 1\nexec = /a\ncert = /c\n[b]\naccept = 2\nexec = /b\n");
    REQUIRE(nameless.services.size() == 1);
    CHECK(value(nameless.services[0], "exec") == R"(["/a"])");
    CHECK(notes(nameless, 5, Fate::skipped, "has no cert") == 1);
}

}  // namespace superd::ctl::stunnel_tests
