// SPDX-License-Identifier: MIT
#include "tests/catch.h"

#include <sys/socket.h>
#include <sys/un.h>

#include "unit/conf/folder.h"

namespace superd::conf::files_tests {

using namespace test;

namespace {

std::vector<std::string> names(const Folder& folder) {
    std::vector<std::string> out;
    for (const auto& [name, service] : folder.services()) out.push_back(name);
    return out;
}

}  // namespace

TEST_CASE("no service at all is valid") {
    const Folder folder;
    CHECK(folder.services().empty());
}

TEST_CASE("a missing folder is an error") {
    const Folder folder;
    Surroundings from = folder.surroundings();
    from.conf_dir = folder.path("elsewhere/");
    CHECK(folder.errors(from) == "elsewhere: cannot be read: No such file or directory\n");
}

TEST_CASE("backups, hidden files and packagers' leftovers are not definitions") {
    const Folder folder;
    folder.define("echo", sound);
    for (const char* name : {".hidden.toml", "a.toml~", "a.toml.bak", "a.bak", "a.toml.dpkg-dist", "a.dpkg-old.toml",
                             "a.toml.rpmsave", "a.rpmnew.toml", "README", "a.tml", ".toml", "a.TOML"}) {
        folder.write(std::string("conf.d/") + name, "not = toml = at all");
    }
    folder.write("conf.d/echo.toml.d/10.toml.bak", "not = toml = at all");
    folder.write("conf.d/echo.toml.d/.20.toml", "not = toml = at all");
    CHECK(names(folder) == std::vector<std::string>{"echo"});
}

TEST_CASE("the file's stem is the service's name, and not every stem is one") {
    const Folder folder;
    folder.define("a.B_1@x-y", sound);
    CHECK(names(folder) == std::vector<std::string>{"a.B_1@x-y"});
    CHECK(folder.services().at("a.B_1@x-y").name == "a.B_1@x-y");
    folder.define("two words", sound);
    folder.define("-dash", sound);
    CHECK(folder.errors() ==
          "conf.d/-dash.toml: \"-dash\" is not a service name: letters, digits and \"._@-\", a letter or digit first\n"
          "conf.d/two words.toml: \"two words\" is not a service name: letters, digits and \"._@-\", a letter or "
          "digit first\n");
}

TEST_CASE("each kind of unreadable file has its own error") {
    const Folder folder;
    folder.define("nul", std::string("a = 1\nb = \"x\0y\"\n", 16));
    folder.define("latin1", "a = 1\n# caf\xe9\n");
    folder.define("large", std::string(10 << 20, '#'));
    std::filesystem::create_directory(folder.path("conf.d/folder.toml"));
    REQUIRE(mkfifo(folder.path("conf.d/fifo.toml").c_str(), 0644) == 0);
    std::filesystem::create_symlink("/dev/zero", folder.path("conf.d/device.toml"));
    std::filesystem::create_symlink("/nonexistent", folder.path("conf.d/dangling.toml"));
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    folder.path("conf.d/socket.toml").copy(address.sun_path, sizeof address.sun_path - 1);
    REQUIRE(bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    close(fd);
    CHECK(folder.errors() ==
          "conf.d/dangling.toml: cannot be read: No such file or directory\n"
          "conf.d/device.toml: is a device, not a file\n"
          "conf.d/fifo.toml: is a FIFO, not a file\n"
          "conf.d/folder.toml: is a directory, not a file\n"
          "conf.d/large.toml: is larger than 1M bytes\n"
          "conf.d/latin1.toml: is not UTF-8: byte 0xe9 in line 2\n"
          "conf.d/nul.toml: is not text: a NUL byte in line 2\n"
          "conf.d/socket.toml: is a socket, not a file\n");
}

TEST_CASE("a file of exactly one MiB is read") {
    const Folder folder;
    folder.define("a", sound + std::string((1 << 20) - sound.size(), '#'));
    CHECK(folder.errors().empty());
    folder.define("a", sound + std::string((1 << 20) - sound.size() + 1, '#'));
    CHECK(folder.errors() == "conf.d/a.toml: is larger than 1M bytes\n");
}

TEST_CASE("a file without read permission is reported") {
    if (geteuid() == 0) return;  // root may read all
    const Folder folder;
    folder.write("conf.d/a.toml", sound, 0);
    CHECK(folder.errors() == "conf.d/a.toml: cannot be read: Permission denied\n");
}

TEST_CASE("invalid TOML is one error, where it becomes invalid") {
    CHECK(
        errors_in("listen = [\n  \"tcp://*:1\"\n").starts_with("2:14: not valid TOML: array: encountered end-of-file"));
    CHECK(errors_in("model = fork\n").starts_with("1:10: not valid TOML: boolean: "));
    CHECK(errors_in("model = fork\n").ends_with("(text must be in quotes)\n"));
    CHECK(errors_in("a = 1\na = 2\n") == "2:5: not valid TOML: key-value pair: cannot redefine existing integer 'a'\n");
    CHECK(errors_in("\xef\xbb\xbf" + sound + "nice = \n").starts_with("4:8: not valid TOML: "));
    CHECK(errors_in("a = 1\r\nb = \r\n").starts_with("2:5: not valid TOML: "));
}

TEST_CASE("names and values nested beyond reason do not end the program") {
    std::string dots = "a";
    for (int i = 0; i < 400'000; ++i) dots += ".a";
    CHECK(errors_in("# x\n" + dots + " = !\n") == "2:1: a name of more than 64 parts\n");
    CHECK(errors_in("[" + dots + "]\n") == "1:1: a name of more than 64 parts\n");
    CHECK(errors_in("x = { " + dots + " = 1 }\n") == "1:1: a name of more than 64 parts\n");
    CHECK(errors_in("x = " + std::string(500'000, '[') + "\n").starts_with("1:"));
    // Dots in strings and comments do not count.
    CHECK(errors_of("description = \"" + std::string(200, '.') + "\"  # " + dots).empty());
    CHECK(errors_of("description = \"\"\"\n" + std::string(200, '.') + "\"\"\"").empty());
}

TEST_CASE("an error in one file hides no errors of other files, and no missing keys") {
    const Folder folder;
    folder.define("a", "listen = \n");
    folder.write("conf.d/a.toml.d/x.toml", "nice = 99\n");
    folder.define("b", "model = \"fork\"\n");
    const std::string errors = folder.errors();
    CHECK(errors.starts_with("conf.d/a.toml:1:10: not valid TOML: "));
    CHECK(
        errors.ends_with("\n"
                         "conf.d/a.toml.d/x.toml:1:8: nice 99 is out of range -20 to 19\n"
                         "conf.d/b.toml: exec is missing\n"
                         "conf.d/b.toml: listen is missing\n"));
    CHECK(std::count(errors.begin(), errors.end(), '\n') == 4);
}

TEST_CASE("a missing required key is reported once") {
    CHECK(errors_in("") ==
          " exec is missing\n listen is missing\n model is missing: one of fork, prefork, iterative, delayed\n");
}

TEST_CASE("the file overrides defaults, and drop-ins override the file in name order") {
    const Folder folder;
    folder.write("superd.toml",
                 "[defaults]\nnice = 1\nstop_timeout = \"1s\"\nenvironment = { A = \"default\", D = \"default\" }\n"
                 "[defaults.limits]\ninstances = 7\n[defaults.socket]\nbacklog = 9\n");
    folder.define("a", sound +
                           "nice = 2\npass_environment = [\"LANG\", \"SECRET\"]\n[environment]\nA = \"file\"\nB = "
                           "\"file\"\n[socket]\nnodelay = true\n");
    folder.write("conf.d/a.toml.d/20-late.toml", "nice = 4\npass_environment = [\"LANG\"]\n");
    folder.write("conf.d/a.toml.d/10-early.toml", "nice = 3\n[environment]\nB = \"early\"\n");
    const Service service = folder.services().at("a");
    CHECK(service.handler.nice == 4);
    CHECK(service.stop_timeout == std::chrono::seconds(1));
    CHECK(service.limits->instances == 7);
    CHECK(service.socket->backlog == 9);
    CHECK(service.socket->nodelay);
    CHECK(service.handler.environment ==
          std::vector<std::string>{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8",
                                   "A=file", "B=early", "D=default", "SUPERD_SERVICE=a"});
}

TEST_CASE("an error points to the file with the wrong value") {
    const Folder folder;
    folder.write("superd.toml", "[defaults.limits]\ninstances = 0\n");
    folder.define("a", sound + "\n\nnice = 1\n");
    folder.write("conf.d/a.toml.d/10.toml", "# more\nnice = 77\n\nmodle = 1\n");
    CHECK(folder.errors() ==
          "conf.d/a.toml.d/10.toml:2:8: nice 77 is out of range -20 to 19\n"
          "conf.d/a.toml.d/10.toml:4:1: unknown key \"modle\" (did you mean \"model\"?)\n"
          "superd.toml:2:13: limits.instances 0 is out of range 1 to 1000000\n");
}

TEST_CASE("a key of xinetd or systemd gets a hint to ours") {
    const Folder folder;
    folder.define("a",
                  sound + "server_args = \"-v\"\nonly_from = \"10.0.0.0/8\"\nListenStream = 25\nUser = \"mail\"\n");
    CHECK(folder.errors() ==
          "conf.d/a.toml:4:1: unknown key \"server_args\" (did you mean \"exec\"?)\n"
          "conf.d/a.toml:5:1: unknown key \"only_from\" (did you mean \"access.allow\"?)\n"
          "conf.d/a.toml:6:1: unknown key \"ListenStream\" (did you mean \"listen\"?)\n"
          "conf.d/a.toml:7:1: unknown key \"User\" (did you mean \"user\"?)\n");
}

TEST_CASE("drop-ins without their file are an error; a file of such a name is not") {
    const Folder folder;
    folder.write("conf.d/gone.toml.d/10.toml", "nice = 1\n");
    folder.write("conf.d/other.toml.d", "text");
    folder.write("conf.d/.hidden.toml.d/10.toml", "nice = 1\n");
    CHECK(folder.errors() == "conf.d/gone.toml.d: a folder of drop-ins without its gone.toml\n");
}

TEST_CASE("superd.toml may be absent unless it is named") {
    const Folder folder;
    Surroundings from = folder.surroundings();
    CHECK(folder.errors(from).empty());
    from.config_required = true;
    CHECK(folder.errors(from) == "superd.toml: cannot be read: No such file or directory\n");
}

TEST_CASE("superd.toml has its own keys and accepts no others") {
    const Folder folder;
    folder.write(
        "superd.toml",
        "handler_pth = \"/x\"\nuser = \"root\"\n[default]\n[control]\nreaders = [\"adm\", \"no-such\"]\nreader = 1\n"
        "[defaults]\nlisten = \"tcp://*:1\"\nexec = [\"x\"]\nenabled = false\nnise = 1\n");
    folder.define("a", sound);
    CHECK(folder.errors() ==
          "superd.toml:1:1: unknown key \"handler_pth\" (did you mean \"handler_path\"?)\n"
          "superd.toml:2:1: unknown key \"user\" (did you mean \"defaults.user\"?)\n"
          "superd.toml:3:2: unknown key \"default\" (did you mean \"defaults\"?)\n"
          "superd.toml:5:19: control.readers: no group \"no-such\"\n"
          "superd.toml:6:1: unknown key \"control.reader\" (did you mean \"readers\"?)\n"
          "superd.toml:8:1: listen cannot be a default: it belongs to one service\n"
          "superd.toml:9:1: exec cannot be a default: it belongs to one service\n"
          "superd.toml:10:1: enabled cannot be a default: it belongs to one service\n"
          "superd.toml:11:1: unknown key \"nise\" (did you mean \"nice\"?)\n");
}

TEST_CASE("how long superd drains is a setting of its own") {
    const Folder folder;
    folder.write("superd.toml", "[shutdown]\ndrain = \"1m30s\"\n");
    folder.define("a", sound);
    const auto catalog = load(folder.surroundings());
    REQUIRE(catalog.has_value());
    CHECK(catalog->shutdown.drain == std::chrono::seconds(90));
    folder.write("superd.toml", "shutdown = 1\n");
    CHECK(folder.errors() == "superd.toml:1:12: shutdown: expected a table, found an integer\n");
    folder.write("superd.toml", "[shutdown]\ndrain = \"25h\"\ndrian = 1\n");
    CHECK(folder.errors() ==
          "superd.toml:2:9: shutdown.drain \"25h\" is out of range 0s to 1d\n"
          "superd.toml:3:1: unknown key \"shutdown.drian\" (did you mean \"drain\"?)\n");
}

TEST_CASE("a broken superd.toml does not hide the handlers of sound services") {
    const Folder folder;
    folder.write("superd.toml", "handler_path = 5\n");
    folder.define("a", "listen = \"tcp://127.0.0.1:1\"\nmodel = \"fork\"\nexec = [\"only-there\"]\n");
    CHECK(folder.errors() ==
          "superd.toml:1:16: handler_path: expected a string or an array of strings, found an integer\n");
    folder.write("superd.toml", "handler_path = [\"/a\", \"b\"]\n");
    CHECK(folder.errors() == "superd.toml:1:23: handler_path: \"b\" is not an absolute path\n");
    folder.write("superd.toml", "handler_path = \n");
    CHECK(folder.errors().starts_with("superd.toml:1:16: not valid TOML: "));
    const std::string errors = folder.errors();
    CHECK(std::count(errors.begin(), errors.end(), '\n') == 1);
}

TEST_CASE("a disabled definition is also checked") {
    CHECK(errors_of("enabled = false\nnice = 99") == "5:8: nice 99 is out of range -20 to 19\n");
}

}  // namespace superd::conf::files_tests
