// SPDX-License-Identifier: MIT
// What a reload reads again, and what it leaves as it is.
#include "tests/catch.h"

#include <sys/stat.h>

#include <set>

#include "unit/conf/folder.h"

namespace superd::conf::reload_tests {

using namespace test;

namespace {

const std::string kHandler = "model = \"fork\"\nexec = [\"handler\"]\nlisten = \"tcp://127.0.0.1:70";

std::string on(int port, const std::string& more = "") {
    return kHandler + std::to_string(port) + "\"\n" + more + "\n";
}

/// A folder that has been loaded, in force as it is, and loaded again after a change.
class Running {
  public:
    Running() {
        from_ = folder.surroundings();
        from_.ahead = std::chrono::seconds(10);  // so that the files are old enough
        for (const auto& [name, port] : {std::pair("a", 10), {"b", 11}, {"c", 12}}) folder.define(name, on(port));
    }
    void start() {
        auto loaded = load(from_, nullptr, &seen_);
        if (!loaded) throw std::runtime_error(format(loaded.error()));
        catalog_ = std::move(*loaded);
    }
    auto reload() {
        from_.names.ask();
        return superd::conf::reload(from_, catalog_, seen_);
    }
    /// Names of those that were not read again.
    std::set<std::string> kept() {
        const auto done = reload();
        if (!done) throw std::runtime_error(format(done.error()));
        return done->kept;
    }
    std::string errors() {
        const auto done = reload();
        return done ? "" : format(done.error());
    }
    Surroundings& from() { return from_; }
    Folder folder;

  private:
    Surroundings from_;
    Catalog catalog_;
    Seen seen_;
};

const std::set<std::string> kAll{"a", "b", "c"}, kNone;

}  // namespace

TEST_CASE("a reload reads nothing again where nothing has changed") {
    Running running;
    running.start();
    CHECK(running.kept() == kAll);
}

TEST_CASE("a reload reads what was edited, however like the old file the new one is") {
    Running running;
    running.start();
    running.folder.define("b", on(13));  // of the same length
    auto done = running.reload();
    REQUIRE(done);
    CHECK(done->kept == std::set<std::string>{"a", "c"});
    CHECK(done->catalog.services.at("b").listen[0].port == 7013);
}

TEST_CASE("a file that was changed just before it was read is read again") {
    Running running;
    running.from().ahead = {};
    running.start();
    CHECK(running.kept() == kNone);
}

TEST_CASE("a change of mode alone is seen, since others may have written meanwhile") {
    Running running;
    running.start();
    REQUIRE(chmod(running.folder.path("conf.d/c.toml").c_str(), 0600) == 0);
    CHECK(running.kept() == std::set<std::string>{"a", "b"});
}

TEST_CASE("drop-ins that are added, edited or removed have their service read again") {
    Running running;
    running.folder.write("conf.d/a.toml.d/1.toml", "umask = \"077\"");
    running.start();
    CHECK(running.kept() == kAll);
    running.folder.write("conf.d/a.toml.d/1.toml", "umask = \"027\"");
    CHECK(running.kept() == std::set<std::string>{"b", "c"});
    running.start();
    running.folder.write("conf.d/b.toml.d/1.toml", "");
    CHECK(running.kept() == std::set<std::string>{"a", "c"});
    running.start();
    std::filesystem::remove(running.folder.path("conf.d/a.toml.d/1.toml"));
    CHECK(running.kept() == std::set<std::string>{"b", "c"});
}

TEST_CASE("a definition behind a link is known again until the link or the file changes") {
    Running running;
    running.folder.write("elsewhere/d.toml", on(14));
    running.folder.write("elsewhere/e.toml", on(15));
    std::filesystem::create_symlink("../elsewhere/d.toml", running.folder.path("conf.d/d.toml"));
    running.start();
    CHECK(running.kept() == std::set<std::string>{"a", "b", "c", "d"});
    std::filesystem::remove(running.folder.path("conf.d/d.toml"));
    std::filesystem::create_symlink("../elsewhere/e.toml", running.folder.path("conf.d/d.toml"));
    CHECK(running.kept() == kAll);
}

TEST_CASE("superd.toml lies under all of them") {
    Running running;
    running.folder.write("superd.toml", "[defaults]\numask = \"077\"");
    running.start();
    CHECK(running.kept() == kAll);
    running.folder.write("superd.toml", "[defaults]\numask = \"027\"");
    CHECK(running.kept() == kNone);
    running.start();
    std::filesystem::remove(running.folder.path("superd.toml"));
    CHECK(running.kept() == kNone);
}

TEST_CASE("a handler that goes, or that nobody may execute any more, is an error of the next reload") {
    Running running;
    running.start();
    REQUIRE(chmod(running.folder.path("bin/handler").c_str(), 0644) == 0);
    CHECK(running.errors().find("is not executable") != std::string::npos);
    std::filesystem::remove(running.folder.path("bin/handler"));
    CHECK(running.errors().find("exec \"handler\" is in none of") != std::string::npos);
    running.folder.write("bin/handler", "#!/bin/sh\n", 0755);
    CHECK(running.errors().empty());
}

TEST_CASE("so is an interpreter that goes, and a folder that the handler's user may not enter any more") {
    Running running;
    running.folder.write("bin/interpreter", "#!/bin/sh\n", 0755);
    running.folder.write("bin/handler", "#!" + running.folder.path("bin/interpreter") + "\n", 0755);
    running.start();
    std::filesystem::remove(running.folder.path("bin/interpreter"));
    CHECK(running.errors().find("its interpreter") != std::string::npos);
    running.folder.write("bin/interpreter", "#!/bin/sh\n", 0755);
    CHECK(running.errors().empty());
    REQUIRE(chmod(running.folder.path("bin").c_str(), 0700) == 0);
    CHECK(running.errors().find("may not enter") != std::string::npos);
    REQUIRE(chmod(running.folder.path("bin").c_str(), 0755) == 0);
}

TEST_CASE("so is a working directory that goes") {
    Running running;
    std::filesystem::create_directory(running.folder.path("work"));
    running.folder.define("a", on(10, "working_directory = \"" + running.folder.path("work") + "\""));
    running.start();
    CHECK(running.kept() == kAll);
    std::filesystem::remove(running.folder.path("work"));
    CHECK(running.errors().find("does not exist") != std::string::npos);
}

TEST_CASE("a user whose number has changed has all read again") {
    Running running;
    running.start();
    // As if it had been another when the definitions were read.
    auto answers = running.from().names.answers();
    for (auto& answer : answers)
        if (answer.question == "user nobody") answer.user.uid = 4321;
    CHECK_FALSE(running.from().names.as_before(answers));
    CHECK(running.from().names.as_before(running.from().names.answers()));
}

TEST_CASE("folders on the way are judged by each reload") {
    Running running;
    running.from().trust_files = false;
    running.from().conf_dir = running.folder.path("conf.d");
    REQUIRE(chmod(running.folder.path("conf.d").c_str(), 0777) == 0);
    CHECK(running.errors().find("may be written by users other") != std::string::npos);
    REQUIRE(chmod(running.folder.path("conf.d").c_str(), 0755) == 0);
}

TEST_CASE("an address that another has, kept or read, is told with the places of both") {
    Running running;
    running.start();
    running.folder.define("c", on(10));
    const std::string errors = running.errors();
    CHECK(errors.find("already taken by service \"a\"") != std::string::npos);
    CHECK(errors.find("a.toml:3") != std::string::npos);
    running.folder.define("c", on(12));
    running.folder.define("0", "model = \"fork\"\nexec = [\"handler\"]\nlisten = \"tcp://*:7010\"");
    CHECK(running.errors().find("overlaps") != std::string::npos);
}

}  // namespace superd::conf::reload_tests
