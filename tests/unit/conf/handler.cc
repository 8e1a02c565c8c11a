// SPDX-License-Identifier: MIT
#include "tests/catch.h"

#include <sys/resource.h>

#include "unit/conf/folder.h"

namespace superd::conf::handler_tests {

using namespace test;

namespace {

std::string definition(const std::string& exec, const std::string& more = "") {
    return "listen = \"tcp://*:1\"\nmodel = \"fork\"\nexec = [\"" + exec + "\"]\n" + more + "\n";
}

Surroundings unprivileged(const Folder& folder) {
    Surroundings from = folder.surroundings();
    from.uid = geteuid() != 0 ? geteuid() : 4242;
    from.gid = geteuid() != 0 ? getegid() : 4242;
    return from;
}

}  // namespace

TEST_CASE("a bare name is looked up in handler_path, then in PATH") {
    const Folder folder;
    folder.write("other/handler", "", 0755);
    folder.write("other/plain", "", 0644);
    folder.write("path/plain", "", 0755);
    folder.define("a", definition("handler"));
    CHECK(folder.services().at("a").handler.path == folder.path("bin/handler"));
    CHECK(folder.services().at("a").handler.argv == std::vector<std::string>{"handler"});
    folder.write("superd.toml", "handler_path = \"" + folder.path("none") + ":" + folder.path("other") + "\"\n");
    CHECK(folder.services().at("a").handler.path == folder.path("other/handler"));
    folder.write("superd.toml", "handler_path = [\"" + folder.path("other") + "\"]\n");
    Surroundings from = folder.surroundings();
    from.environment = {"PATH=relative:" + folder.path("path")};
    folder.define("a", definition("plain"));
    CHECK(folder.services(from).at("a").handler.path == folder.path("path/plain"));
    CHECK(folder.errors() == "conf.d/a.toml:3:9: exec \"plain\" (other/plain) is not executable\n");
    folder.define("a", definition("nowhere"));
    CHECK(folder.errors(from) == "conf.d/a.toml:3:9: exec \"nowhere\" is in none of other, path\n");
}

TEST_CASE("a handler that cannot be started is an error at load time") {
    const Folder folder;
    folder.write("bin/plain", "", 0644);
    const auto errors = [&](const std::string& exec) {
        folder.define("a", definition(exec));
        return folder.errors();
    };
    CHECK(errors(folder.path("bin/none")) == "conf.d/a.toml:3:9: exec \"bin/none\" does not exist\n");
    CHECK(errors(folder.path("bin/none") + " -x")
              .ends_with("each argument is a string of its own: [\"PATH\", \"-x\"]\n"));
    CHECK(errors(folder.path("bin/plain")) == "conf.d/a.toml:3:9: exec \"bin/plain\" is not executable\n");
    CHECK(errors(folder.path("bin")) == "conf.d/a.toml:3:9: exec \"bin\" is not a regular file\n");
    CHECK(errors("bin/handler") ==
          "conf.d/a.toml:3:9: exec \"bin/handler\" must be an absolute path, or a name without \"/\"\n");
    CHECK(errors("") == "conf.d/a.toml:3:9: exec \"\" must be an absolute path, or a name without \"/\"\n");
    CHECK(errors("a\\u0000b") == "conf.d/a.toml:3:9: exec contains a NUL byte\n");
    CHECK(errors_in("listen = \"tcp://*:1\"\nmodel = \"fork\"\nexec = []\n") ==
          "3:8: exec is empty: it must name the handler\n");
    CHECK(errors_in("listen = \"tcp://*:1\"\nmodel = \"fork\"\nexec = \"handler\"\n") ==
          "3:8: exec: expected an array of strings, found a string\n");
}

TEST_CASE("a script's interpreter must exist where the kernel looks for it") {
    const Folder folder;
    const auto errors = [&](const std::string& first_line) {
        folder.write("bin/script", first_line, 0755);
        folder.define("a", definition(folder.path("bin/script")));
        return folder.errors();
    };
    CHECK(errors("#!/bin/sh\n").empty());
    CHECK(errors("#! \t/bin/sh -e\nexit").empty());
    CHECK(errors("#!/bin/sh").empty());
    Diagnostics warnings;
    CHECK(errors("no script, says the kernel when it is started\n").empty());
    CHECK(load(folder.surroundings(), &warnings).has_value());
    REQUIRE(warnings.size() == 1);
    CHECK(format(warnings[0]).find("a.toml:3:9: warning: exec \"") != std::string::npos);
    CHECK(warnings[0].message.find("does not begin with \"#!\"") != std::string::npos);
    CHECK(warnings[0].message.find("Exec format error") != std::string::npos);
    CHECK(errors("#!/nonexistent/sh -e\n") ==
          "conf.d/a.toml:3:9: exec \"bin/script\": its interpreter \"/nonexistent/sh\" does not exist\n");
    CHECK(errors("#!/bin/sh\r\n").ends_with("its interpreter \"/bin/sh\r\" does not exist\n"));
    CHECK(errors("#!/etc/passwd\n").ends_with("its interpreter \"/etc/passwd\" is not executable\n"));
    warnings.clear();
    CHECK(errors("#!/bin/sh\n").empty());
    CHECK(load(folder.surroundings(), &warnings).has_value());
    CHECK(warnings.empty());
    if (geteuid() == 0) {  // otherwise the files would belong to the current user
        folder.write("private/sh", "#!/bin/true\n", 0755);
        chmod(folder.path("private").c_str(), 0700);
        CHECK(
            errors("#!" + folder.path("private/sh") + "\n").find("cannot be reached: user \"nobody\" may not enter ") !=
            std::string::npos);
        chmod(folder.path("private").c_str(), 0755);
        chmod(folder.path("private/sh").c_str(), 0700);
        CHECK(errors("#!" + folder.path("private/sh") + "\n").find("may not be executed by user \"nobody\"") !=
              std::string::npos);
    }
    folder.write("jail/script", "#!/bin/sh\n", 0755);
    folder.define("a", definition("/script", "root_directory = \"" + folder.path("jail") + "\""));
    CHECK(
        folder.errors().ends_with("exec \"/script\": its interpreter \"/bin/sh\" does not exist in root_directory\n"));
}

TEST_CASE("the handler sees argv0 as its name") {
    const Folder folder;
    folder.define("a",
                  "listen = \"tcp://*:1\"\nmodel = \"fork\"\nexec = [\"handler\", \"-x\", \"\"]\nargv0 = \"in.x\"\n");
    CHECK(folder.services().at("a").handler.argv == std::vector<std::string>{"in.x", "-x", ""});
    CHECK(folder.services().at("a").handler.path == folder.path("bin/handler"));
}

TEST_CASE("an error names the folder that keeps a user from the handler") {
    const Folder folder;
    folder.write("closed/inner/handler", "", 0755);
    chmod(folder.path("closed").c_str(), 0700);
    folder.define("a", definition(folder.path("closed/inner/handler"), "user = \"nobody\""));
    if (geteuid() != 0) return;  // the files would belong to the current user
    CHECK(folder.errors() ==
          "conf.d/a.toml:3:9: exec \"closed/inner/handler\": user \"nobody\" may not enter closed\n");
    chmod(folder.path("closed").c_str(), 0711);
    CHECK(folder.errors().empty());
    chmod(folder.path("closed/inner/handler").c_str(), 0754);
    CHECK(folder.errors() == "conf.d/a.toml:3:9: exec \"closed/inner/handler\": user \"nobody\" may not execute it\n");
    folder.define("a", definition(folder.path("closed/inner/handler"), "user = \"root\""));
    CHECK(folder.errors().empty());
}

TEST_CASE("under root, a handler runs as nobody unless the file says otherwise") {
    const auto nobody = sys::find_user("nobody");
    REQUIRE(nobody);
    REQUIRE(*nobody);
    const Service service = service_of("");
    REQUIRE(service.handler.identity);
    CHECK(service.handler.identity->uid == (*nobody)->uid);
    CHECK(service.handler.identity->gid == (*nobody)->gid);
    CHECK(service.handler.identity->groups == sys::groups_of(**nobody));
    CHECK(service.handler.identity->user == "nobody");

    const Service other =
        service_of("user = \"root\"\ngroup = \"12\"\nsupplementary_groups = [\"14\", \"13\", \"14\"]");
    CHECK(other.handler.identity == sys::Identity{0, 12, {13, 14}, "root"});
    CHECK(service_of("supplementary_groups = []").handler.identity->groups.empty());
    CHECK(service_of("user = \"0\"").handler.identity->user == "root");
}

TEST_CASE("an unknown user or group is an error") {
    CHECK(errors_of("user = \"no-such-user\"") == "4:8: user \"no-such-user\": no such user\n");
    CHECK(errors_of("group = \"no-such-group\"") == "4:9: group \"no-such-group\": no such group\n");
    CHECK(errors_of("supplementary_groups = [\"0\", \"no-such-group\"]") ==
          "4:30: supplementary_groups \"no-such-group\": no such group\n");
    CHECK(errors_of("socket.user = \"no-such-user\"") == "4:15: socket.user \"no-such-user\": no such user\n");
    CHECK(errors_of("socket.group = \"no-such-group\"") == "4:16: socket.group \"no-such-group\": no such group\n");
}

TEST_CASE("without root a handler runs as superd's user, and no other can be set") {
    const Folder folder;
    const Surroundings from = unprivileged(folder);
    folder.define("a", sound);
    CHECK(folder.services(from).at("a").handler.identity == std::nullopt);
    folder.define("a",
                  sound + "user = \"root\"\ngroup = \"root\"\nsupplementary_groups = []\nroot_directory = \"/tmp\"\n");
    const std::string errors = folder.errors(from);
    CHECK(errors.find("4:8: user \"root\": only root may run a handler as another user\n") != std::string::npos);
    CHECK(errors.find("5:9: group \"root\": only root may run a handler in another group\n") != std::string::npos);
    CHECK(errors.find("6:24: supplementary_groups: only root may set them\n") != std::string::npos);
    CHECK(errors.find("7:18: root_directory: only root may set one\n") != std::string::npos);
    rlimit own{};
    REQUIRE(getrlimit(RLIMIT_NOFILE, &own) == 0);
    folder.define("a", sound + fmt::format("rlimits.nofile = [1, {}]\n", own.rlim_max + 1));
    CHECK(folder.errors(from) ==
          fmt::format(
              "conf.d/a.toml:4:18: rlimits.nofile is above superd's own hard limit of {}, which only root may raise\n",
              own.rlim_max));
    CHECK(folder.errors().empty());
}

TEST_CASE("without root a handler may be nicer than superd, but no less nice") {
    const Folder folder;
    const Surroundings from = unprivileged(folder);
    rlimit ceiling{};
    REQUIRE(getrlimit(RLIMIT_NICE, &ceiling) == 0);
    const int own = getpriority(PRIO_PROCESS, 0);
    if (ceiling.rlim_cur > 20 || own < 0) return;  // less is allowed here
    folder.define("a", sound + "nice = -1\n");
    CHECK(folder.errors(from) ==
          fmt::format("conf.d/a.toml:4:8: nice -1 is below {}, the least that superd may set without root\n",
                      std::min(own, 20 - static_cast<int>(ceiling.rlim_cur))));
    CHECK(folder.errors().empty());
    folder.write("conf.d/a.toml.d/1.toml", "nice = 19\n");
    CHECK(folder.errors(from).empty());
    folder.write("conf.d/a.toml.d/1.toml", "nice = 0\n");  // wherever superd is
    CHECK(folder.errors(from).empty());
    folder.define("a", sound);
    folder.write("conf.d/a.toml.d/1.toml", "");
    folder.write("superd.toml", "[defaults]\nnice = -20\n");
    CHECK(folder.errors(from).starts_with("superd.toml:2:8: nice -20 is below "));
}

TEST_CASE("folders must exist, and paths inside a root directory are looked up there") {
    const Folder folder;
    folder.write("jail/bin/inside", "", 0755);
    std::filesystem::create_symlink("/bin/inside", folder.path("jail/bin/link"));
    std::filesystem::create_directory(folder.path("jail/work"));
    const std::string root = "root_directory = \"" + folder.path("jail") + "\"\n";
    folder.define("a", definition("/bin/inside", root + "working_directory = \"/work\""));
    CHECK(folder.services().at("a").handler.path == "/bin/inside");
    folder.define("a", definition("/bin/link", root));
    CHECK(folder.errors().empty());
    folder.define("a", definition(folder.path("bin/handler"), root + "working_directory = \"/tmp\""));
    CHECK(folder.errors() ==
          "conf.d/a.toml:3:9: exec \"bin/handler\" does not exist in root_directory\n"
          "conf.d/a.toml:5:21: working_directory \"/tmp\" does not exist in root_directory\n");
    CHECK(errors_of("working_directory = \"/nonexistent\"") ==
          "4:21: working_directory \"/nonexistent\" does not exist\n");
    CHECK(errors_of("working_directory = \"~\"") == "4:21: working_directory \"~\" is not an absolute path\n");
    CHECK(errors_of("working_directory = \"/dev/null\"") ==
          "4:21: working_directory \"/dev/null\" is not a directory\n");
    CHECK(errors_of("root_directory = \"/nonexistent\"\nworking_directory = \"/x\"") ==
          "4:18: root_directory \"/nonexistent\" does not exist\n");
}

TEST_CASE("a handler gets the usual PATH, passed and set variables, and its service's name, each once") {
    const Folder folder;
    folder.define("a", sound +
                           "pass_environment = [\"LANG\", \"NOT_SET\"]\nenvironment = { LANG = \"x\", PATH = \"/p\", "
                           "\"_a1\" = \"=\" }\n");
    CHECK(folder.services().at("a").handler.environment ==
          std::vector<std::string>{"LANG=x", "PATH=/p", "_a1==", "SUPERD_SERVICE=a"});
    folder.define("a", sound);
    Surroundings from = folder.surroundings();
    for (const char* own : {"PATHS=/x", "PATH=/opt/mine:/usr/bin"}) {
        from.environment = {own};
        CHECK(folder.services(from).at("a").handler.environment ==
              std::vector<std::string>{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                                       "SUPERD_SERVICE=a"});
    }
    folder.define("a", sound + "pass_environment = [\"PATH\"]\n");
    CHECK(folder.services(from).at("a").handler.environment ==
          std::vector<std::string>{"PATH=/opt/mine:/usr/bin", "SUPERD_SERVICE=a"});
}

TEST_CASE("names of variables must be valid, and none that superd sets") {
    const std::string no_name = " is not a variable's name: letters, digits and \"_\", no digit first\n";
    CHECK(errors_of("environment = { \"A=B\" = \"x\", \"\" = \"y\", 1A = \"z\" }") ==
          "4:17: environment: \"A=B\"" + no_name + "4:30: environment: \"\"" + no_name + "4:40: environment: \"1A\"" +
              no_name);
    CHECK(errors_of("pass_environment = [\"LANG\", \"a-b\"]") == "4:29: pass_environment: \"a-b\"" + no_name);
    for (const std::string name :
         {"PROTO", "TCPREMOTEIP", "TCPLOCALPORT", "UNIXREMOTEEUID", "UDPREMOTEPORT", "REMOTE_ADDR", "REMOTE_HOST",
          "LISTEN_FDS", "LISTEN_PID", "SUPERD_SERVICE", "SUPERD_STATUS_FD"}) {
        CHECK(errors_of("[environment]\n" + name + " = \"x\"") ==
              "5:1: environment: " + name + " is set by superd itself\n");
    }
    CHECK(errors_of("[environment]\nREMOTE_ADDRESS = \"x\"\nPROTOCOL = \"y\"").empty());
}

}  // namespace superd::conf::handler_tests
