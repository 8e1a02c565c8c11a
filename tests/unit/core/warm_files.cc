// SPDX-License-Identifier: MIT
#include "core/warm_files.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>

#include "catch.h"
#include "sys/alarm.h"

namespace superd::core::warm_files_tests {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

namespace {

struct Folder {
    Folder() {
        std::string name = (fs::temp_directory_path() / "warm-files-XXXXXX").string();
        REQUIRE(mkdtemp(name.data()) != nullptr);
        path = name;
        fs::permissions(path, fs::perms(0755));
    }
    ~Folder() { fs::remove_all(path); }
    std::string write(const std::string& name, const std::string& text) const {
        std::ofstream(path / name) << text;
        return (path / name).string();
    }
    fs::path path;
};

/// As a tracer tells of it.
proc::WarmFile seen(const std::string& path) {
    struct stat about {};
    REQUIRE(stat(path.c_str(), &about) == 0);
    const auto nanoseconds = [](const timespec& at) { return at.tv_sec * std::int64_t{1'000'000'000} + at.tv_nsec; };
    return {path,
            about.st_dev,
            about.st_ino,
            static_cast<std::uint64_t>(about.st_size),
            nanoseconds(about.st_mtim),
            nanoseconds(about.st_ctim)};
}

struct World {
    /// Lets the loop handle what has happened between the steps, once.
    void run(std::vector<std::function<void()>> steps) {
        std::size_t at = 0;
        sys::Alarm tick(loop, [&] {
            if (at == steps.size()) return loop.exit(0);
            steps[at++]();
            tick.set(now() + 150ms);  // longer than what it hears is held back for
        });
        tick.set(now());
        REQUIRE(loop.run());
    }
    sys::Loop loop = *sys::Loop::create();
    sys::FileWatches watches{loop};
    int changes = 0;
    WarmFiles files{watches, "", std::nullopt, [this] { ++changes; }};
};

}  // namespace

TEST_CASE("a file that is written to, replaced or moved is heard of, in one call for all") {
    for (const int how : {0, 1, 2, 3}) {
        const Folder folder;
        const std::string path = folder.write("a", "one"), other = folder.write("b", "two");
        World world;
        REQUIRE(world.files.add({seen(path), seen(other)}, 0));
        CHECK(world.files.size() == 2);
        CHECK(world.files.unwatched() == 0);
        const std::string moved = folder.path.string() + ".moved";
        world.run({[] {},
                   [&] {
                       CHECK(world.changes == 0);
                       if (how == 0) folder.write("a", "six");  // as long, and perhaps within one tick of the clock
                       if (how == 1) fs::rename(folder.write("new", "six"), path);
                       if (how == 2) fs::rename(path, folder.path / "away");
                       if (how == 3) fs::rename(folder.path, moved);
                   },
                   [&] {
                       CHECK(world.changes >= 1);
                       if (how == 3) fs::rename(moved, folder.path);
                       world.files.clear();
                       world.changes = 0;
                       folder.write("a", "after");
                   },
                   [&] { CHECK(world.changes == 0); }});
    }
}

TEST_CASE("a file that has changed since its handler read it is told of when it is added") {
    const Folder folder;
    const auto before = seen(folder.write("a", "one"));
    fs::rename(folder.write("b", "two"), folder.path / "a");
    World world;
    CHECK_FALSE(world.files.add({before}, before.changed + 1));
    // One that the start itself made and removed again is no change.
    const auto own = seen(folder.write("c", "temporary"));
    fs::remove(folder.path / "c");
    World other;
    CHECK(other.files.add({own}, own.changed));
    CHECK(other.files.size() == 0);
}

TEST_CASE("who reads a file again has to have read the same") {
    const Folder folder;
    const auto first = seen(folder.write("a", "one"));
    World world;
    REQUIRE(world.files.add({first}, 0));
    CHECK(world.files.add({first}, 0));
    fs::rename(folder.write("b", "three"), folder.path / "a");
    CHECK_FALSE(world.files.add({seen(folder.path / "a")}, 0));
}

TEST_CASE("what there is no room to watch is looked at now and then") {
    const Folder folder;
    World world;
    std::vector<proc::WarmFile> many;
    for (std::size_t i = 0; i <= WarmFiles::kMostOfOne; ++i) many.push_back(seen(folder.write(std::to_string(i), "x")));
    REQUIRE(world.files.add(many, 0));
    CHECK(world.files.unwatched() == 1);
    Instant time{1000s};
    CHECK(world.files.look(time));
    folder.write(std::to_string(WarmFiles::kMostOfOne), "another text");
    CHECK(world.files.look(time + WarmFiles::kLook / 2));
    CHECK_FALSE(world.files.look(time + WarmFiles::kLook));
}

TEST_CASE(
    "a link on the way to what a handler is started by is heard of when it is switched, and so is one behind it") {
    for (const bool by_rename : {true, false}) {
        const Folder folder;
        for (const char* release : {"1", "2"}) {
            fs::create_directories(folder.path / "releases" / release);
            folder.write(std::string("releases/") + release + "/app", "x");
        }
        fs::create_symlink("releases/1", folder.path / "current");
        fs::create_symlink(folder.path / "current" / ".." / "1", folder.path / "start");
        sys::Loop loop = *sys::Loop::create();
        sys::FileWatches watches{loop};
        int changes = 0;
        WarmFiles files{watches, "", std::nullopt, [&] { ++changes; }, {folder.path / "start/app", "/absent/too"}};
        files.start();
        const auto before = files.ways();
        REQUIRE(before.size() == 1);
        CHECK(before[0].second == (folder.path / "releases/1/app").string());
        CHECK(files.look(Instant{1000s}));
        if (by_rename) {
            fs::create_symlink("releases/2", folder.path / "new");
            fs::rename(folder.path / "new", folder.path / "current");
        } else {
            fs::remove(folder.path / "current");
            fs::create_symlink("releases/2", folder.path / "current");
        }
        // "start" goes through it, by "..", to what is named 1 in any case: only where the link leads counts.
        CHECK(files.look(Instant{1001s}));
        fs::remove(folder.path / "start");
        fs::create_symlink("current", folder.path / "start");
        CHECK(files.look(Instant{1001s} + WarmFiles::kLook / 2));  // not looked at again so soon
        CHECK_FALSE(files.look(Instant{1002s}));
        CHECK(files.changed() == (folder.path / "start/app").string());
        sys::Alarm tick(loop, [&] { loop.exit(0); });
        tick.set(now() + 300ms);
        REQUIRE(loop.run());
        CHECK(changes >= 1);
        files.clear();
        CHECK_FALSE(files.go_on(before));  // as after an upgrade
        files.clear();
        files.start();
        CHECK(files.look(Instant{1003s}));
        CHECK(files.go_on(files.ways()));
    }
}

TEST_CASE("links are followed in the handler's root directory, a bounded number of times, and not where it may write") {
    const Folder folder;
    const std::string root = folder.path;
    Writable nobody_may(std::nullopt);
    fs::create_directories(folder.path / "a/b");
    fs::create_symlink("/a/../..//a/./b", folder.path / "link");
    const auto way = core::way_of(root, "/link/file", nobody_may);
    REQUIRE(way);
    CHECK(way->end == root + "/a/b/file");
    CHECK(way->links == std::vector{root + "/link"});
    fs::create_symlink("loop", folder.path / "loop");
    CHECK_FALSE(core::way_of(root, "/loop/file", nobody_may));
    if (geteuid() != 0) return;  // needs files of others
    Writable nobody(sys::Identity{65534, 65534, {}, "nobody"});
    fs::create_directory(folder.path / "own");
    REQUIRE(chown((root + "/own").c_str(), 65534, 65534) == 0);
    fs::create_symlink("own/x", folder.path / "out");
    CHECK_FALSE(core::way_of("", root + "/out", nobody));
    fs::create_symlink("a/b", folder.path / "inside");
    CHECK(core::way_of("", root + "/inside/file", nobody));
}

TEST_CASE("what belongs to the kernel, and where the handler may write, is not watched") {
    if (geteuid() != 0) return;  // needs files of others
    const Folder folder;
    const sys::Identity nobody{65534, 65534, {}, "nobody"};
    Writable writable(nobody);
    const std::string plain = folder.write("plain", "x"), own = folder.write("own", "x");
    REQUIRE(chown(own.c_str(), 65534, 65534) == 0);
    CHECK_FALSE(writable(plain));
    CHECK(writable(own));
    CHECK(writable(folder.path / "absent"));
    fs::create_directory(folder.path / "shared");
    REQUIRE(chmod((folder.path / "shared").c_str(), 0777) == 0);
    CHECK(writable(folder.write("shared/file", "x")));
    fs::create_directory(folder.path / "sticky");
    REQUIRE(chmod((folder.path / "sticky").c_str(), 01777) == 0);
    CHECK_FALSE(writable(folder.write("sticky/file", "x")));
    CHECK_FALSE(Writable(std::nullopt)(own));
    CHECK_FALSE(Writable(sys::Identity{0, 0, {}, "root"})(own));
    World world;
    CHECK(world.files.add({{"/proc/version", 1, 2, 3, 4, 5}, {"/dev/x", 1, 2, 3, 4, 5}, {"/sys/x", 1, 2, 3, 4, 5}}, 0));
    CHECK(world.files.size() == 0);
    CHECK(world.files.left_out() == 0);
    WarmFiles of_nobody{world.watches, "", nobody, [] {}};
    CHECK(of_nobody.add({seen(plain), seen(own)}, 0));
    CHECK(of_nobody.size() == 1);
    CHECK(of_nobody.left_out() == 1);
}

}  // namespace superd::core::warm_files_tests
