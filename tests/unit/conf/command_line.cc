// SPDX-License-Identifier: MIT
// superd --serve: what a command line means, and where its errors point.
#include "conf/command_line.h"

#include <algorithm>

#include "base/text.h"
#include "catch.h"
#include "unit/conf/folder.h"

namespace superd::conf::command_line_tests {

using conf::test::Folder;

namespace {

/// superd --serve URIS --set SETTINGS -- PROGRAM, as it is typed.
CommandLine command_line(const std::vector<std::string>& uris, const std::vector<std::string>& settings,
                         const std::vector<std::string>& program) {
    CommandLine command;
    command.words = {"/usr/sbin/superd", "--serve"};
    std::ranges::copy(uris, std::back_inserter(command.words));
    for (const std::string& setting : settings) {
        command.words.emplace_back("--set");
        command.words.push_back(setting);
    }
    command.words.emplace_back("--");
    std::ranges::copy(program, std::back_inserter(command.words));
    command.listen = uris;
    command.settings = settings;
    command.program = program;
    return command;
}

struct Served {
    Folder folder;
    std::string errors;  ///< whole, with their carets
    std::optional<Service> service;

    explicit Served(const std::vector<std::string>& settings, const std::vector<std::string>& program = {"handler"},
                    const std::vector<std::string>& uris = {"tcp://127.0.0.1:7777"})
        : Served(command_line(uris, settings, program)) {}

    explicit Served(CommandLine command) {
        command.folder = folder.path("bin");
        Surroundings from = folder.surroundings();
        from.command = std::move(command);
        auto catalog = load(from);
        if (!catalog) {
            errors = format(catalog.error());
            return;
        }
        REQUIRE(catalog->services.size() == 1);
        service = catalog->services.at("service");
    }
};

std::string errors_of(const std::vector<std::string>& settings) {
    return Served(settings).errors;
}

}  // namespace

TEST_CASE("a program with nothing set is served under fork, by a service called service") {
    const Served served({}, {"handler", "-x", "a b"}, {"tcp://127.0.0.1:7777", "tcp://[::1]:7777"});
    REQUIRE(served.errors.empty());
    CHECK(served.service->name == "service");
    CHECK(served.service->model == Model::fork);
    CHECK(served.service->listen.size() == 2);
    CHECK(served.service->handler.path == served.folder.path("bin/handler"));
    CHECK(served.service->handler.argv == std::vector<std::string>{"handler", "-x", "a b"});
}

TEST_CASE("a program with a slash is taken from the folder in which superd was called") {
    const Served served({}, {"./handler"});
    REQUIRE(served.errors.empty());
    CHECK(served.service->handler.path == served.folder.path("bin/handler"));
    CHECK(Served({}, {"../bin/handler"}).errors.empty());
}

TEST_CASE("a program of a folder that is gone is not looked up elsewhere") {
    const Folder folder;
    Surroundings from = folder.surroundings();
    from.command = command_line({"tcp://127.0.0.1:7777"}, {}, {"./handler"});
    const auto catalog = load(from);
    REQUIRE(!catalog);
    CHECK(format(catalog.error()).find("\"./handler\" must be an absolute path") != std::string::npos);
}

TEST_CASE("a value is TOML where it parses as such, else text") {
    const Served served({"limits.per_source=4", "limits.rate=100/s", "stop_timeout=3s", "description=a = b # c",
                         "stderr=\"null\"", "rlimits.nofile=[10, 20]", "socket={nodelay = true, backlog = 7}"});
    REQUIRE(served.errors.empty());
    CHECK(served.service->limits->per_source == 4);
    CHECK(served.service->limits->rate);
    CHECK(served.service->stop_timeout == std::chrono::seconds(3));
    CHECK(served.service->description == "a = b # c");
    CHECK(served.service->handler.error_output == Stderr::null);
    CHECK(served.service->handler.rlimits.size() == 1);
    CHECK(served.service->socket->backlog == 7);
}

TEST_CASE("what takes only text gets a number as text, and a list one value as a list of it") {
    const Served served(
        {"environment.PORT=8080", "environment.\"A_B\"=true", "description=7", "pass_environment=LANG"});
    INFO(served.errors);
    REQUIRE(served.errors.empty());
    const auto& environment = served.service->handler.environment;
    const auto has = [&](const char* variable) {
        return std::ranges::find(environment, variable) != environment.end();
    };
    CHECK(has("PORT=8080"));
    CHECK(has("A_B=true"));
    CHECK(has("LANG=C.UTF-8"));
    CHECK(served.service->description == "7");
}

TEST_CASE("a key given again makes a list") {
    const Served served({"access.allow=10.0.0.0/8", "access.allow=::1", "access.allow=[\"192.0.2.1\", \"192.0.2.2\"]"});
    REQUIRE(served.errors.empty());
    CHECK(served.service->access->allow.size() == 4);
}

TEST_CASE("a value that would be more than one value in a file is text") {
    const Served served({"description=1\nmodel = \"iterative\""});
    REQUIRE(served.errors.empty());
    CHECK(served.service->description == "1\nmodel = \"iterative\"");
    CHECK(served.service->model == Model::fork);
}

TEST_CASE("an error has its caret below the value, the key or the program on the command line") {
    CHECK(errors_of({"model=frok"}) ==
          "command line:1:49: error: model \"frok\" is not one of fork, prefork, iterative, delayed (did you mean "
          "\"fork\"?)\n"
          "    1 | superd --serve tcp://127.0.0.1:7777 --set model=frok -- handler\n"
          "      |                                                 ^^^^\n");
    CHECK(errors_of({"limits.instnces=4"}) ==
          "command line:1:50: error: unknown key \"limits.instnces\" (did you mean \"limits.instances\"?)\n"
          "    1 | superd --serve tcp://127.0.0.1:7777 --set limits.instnces=4 -- handler\n"
          "      |                                                  ^^^^^^^^\n");
    CHECK(Served({}, {"nothing", "-v"}).errors.find("\n      |" + std::string(40, ' ') + "^^^^^^^\n") !=
          std::string::npos);
    CHECK(Served({}, {"handler"}, {"tcp://127.0.0.1:1", "tpc://1"})
              .errors.find("\n      |" + std::string(34, ' ') + "^^^^^^^\n") != std::string::npos);
}

TEST_CASE("an error within a TOML value points into it, also where the argument is quoted") {
    CHECK(errors_of({"limits={instances = \"x\", per_source = 2}"}) ==
          "command line:1:64: error: limits.instances: expected an integer from 1 to 1000000, found a string\n"
          "    1 | superd --serve tcp://127.0.0.1:7777 --set 'limits={instances = \"x\", per_source = 2}' -- handler\n"
          "      |                                                                ^^^\n");
}

TEST_CASE("an argument that has no line of its own is underlined whole") {
    const std::string errors = errors_of({"user=it's\nme"});
    CHECK(errors.find("--set $'user=it\\'s\\nme' --") != std::string::npos);
    CHECK(errors.find(" ^^^^^^^^^^^^^^^^^\n") != std::string::npos);
}

TEST_CASE("an option and its value may be one word") {
    CommandLine command = command_line({"tcp://127.0.0.1:7777"}, {"model=frok"}, {"handler"});
    command.words = {"superd", "--serve=tcp://127.0.0.1:7777", "--set=model=frok", "--", "handler"};
    CHECK(Served(command).errors.find("    1 | superd --serve=tcp://127.0.0.1:7777 --set=model=frok -- handler\n"
                                      "      |                                                 ^^^^\n") !=
          std::string::npos);
}

TEST_CASE("the same setting given twice is told where it is given again") {
    CHECK(errors_of({"model=fork", "model=fork"}) ==
          "command line:1:60: error: model is given twice, and takes one value\n"
          "    1 | superd --serve tcp://127.0.0.1:7777 --set model=fork --set model=fork -- handler\n"
          "      |                                                            ^^^^^\n");
}

TEST_CASE("what is no setting of a service is told, all of it at once") {
    const std::string errors = errors_of({"limits", "=4", "listen=tcp://127.0.0.1:1", "exec=sh", "[x]\ny=1", "limits=3",
                                          "limits.rate=1/s", "description=\xff", "handler_path=/bin"});
    for (const char* told :
         {"\"limits\" is not KEY=VALUE", "\"\" is not the name of a key", "listen is what --serve says",
          "exec is what follows --", "\"[x]\\ny\" is not the name of a key",
          "\"limits.rate\" is below a key that has a value", "is not UTF-8", "unknown key \"handler_path\""}) {
        INFO(told << " in\n" << errors);
        CHECK(errors.find(told) != std::string::npos);
    }
}

TEST_CASE("no file is read for a command line") {
    Folder folder;
    folder.define("broken", "nothing of this is right");
    folder.write("superd.toml", "nor this");
    Surroundings from = folder.surroundings();
    from.command = command_line({"tcp://127.0.0.1:7777"}, {}, {"handler"});
    CHECK(load(from));
}

TEST_CASE("a reload looks the program up again") {
    Folder folder;
    Surroundings from = folder.surroundings();
    from.command = command_line({"tcp://127.0.0.1:7777"}, {}, {"handler"});
    Seen seen;
    const auto first = load(from, nullptr, &seen);
    REQUIRE(first);
    const auto same = reload(from, *first, seen);
    REQUIRE(same);
    CHECK(same->catalog == *first);
    std::filesystem::remove(folder.path("bin/handler"));
    const auto gone = reload(from, *first, seen);
    REQUIRE(!gone);
    CHECK(format(gone.error()).find("exec \"handler\" is in none of") != std::string::npos);
}

}  // namespace superd::conf::command_line_tests
