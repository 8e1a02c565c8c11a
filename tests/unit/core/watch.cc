// SPDX-License-Identifier: MIT
// What a load goes by, and superd --watch, on real files. The pace is a tenth of superd's own.
#include "core/watch.h"

#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "catch.h"
#include "unit/core/steps.h"
#include "unit/lines.h"

namespace superd::core::watch_tests {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

namespace {

struct Folder {
    Folder() {
        std::string name = (fs::temp_directory_path() / "watch-XXXXXX").string();
        REQUIRE(mkdtemp(name.data()) != nullptr);
        path = name;
        fs::create_directory(path / "conf.d");
    }
    ~Folder() { fs::remove_all(path); }
    void write(const std::string& name, const std::string& text) const {
        fs::create_directories((path / name).parent_path());
        std::ofstream(path / name) << text;
    }
    std::string operator/(const std::string& name) const { return (path / name).string(); }
    Sources sources() const { return {*this / "superd.toml", *this / "conf.d", {}}; }
    std::uint64_t print() const { return look_at(sources()).print(); }
    fs::path path;
};

/// A watch whose owner counts reloads.
struct World {
    explicit World(WatchPace pace = {50ms, 500ms, 100ms}) : pace_(pace) {}

    /// What was made before, or is made by `then`, is older than what counts as new.
    void settle() const { usleep(40'000); }
    void load() {
        if (loads == 0) settle();
        watch.about_to_load();
        if (during) std::exchange(during, {})();
        ++loads;
        loaded_at = now();
        watch.loaded(files, on);
    }
    /// Lets the loop run until all steps have been taken.
    void run(const std::vector<test::Step>& steps) {
        test::take_steps(loop, steps, [this] {
            if (each_time) each_time();
        });
    }
    /// That it has loaded so often, and does not load again while it has nothing to hear.
    test::Step after(
        int count, std::function<void()> then = [] {}) {
        return {[this, count] { return loads == count; }, std::move(then)};
    }
    test::Step quiet(std::function<void()> then = [] {}) {
        return {[this] { return now() > loaded_at + 300ms; }, std::move(then)};
    }

    Folder folder;
    sys::Loop loop = *sys::Loop::create();
    Log log{std::make_unique<NoLines>(), Level::error};
    sys::FileWatches watches{loop};
    bool on = true;
    std::set<std::string> files;
    int loads = 0;
    Instant loaded_at{};
    std::function<void()> each_time, during;
    WatchPace pace_;
    Watch watch{loop, log, watches,
                Watch::Owner{[this](const std::set<std::string>& named) {
                                 Sources sources = folder.sources();
                                 sources.files = named;
                                 return look_at(sources);
                             },
                             [this] { load(); }},
                pace_};
};

}  // namespace

TEST_CASE("a picture shows what a load would read, and nothing else") {
    Folder folder;
    folder.write("conf.d/a.toml", "a");
    auto differs = [&, before = folder.print()](const char* what) mutable {
        INFO(what);
        const auto after = folder.print();
        CHECK(after != std::exchange(before, after));
    };
    const auto same = [&](const char* name) {
        const auto before = folder.print();
        folder.write(name, "x");
        INFO(name);
        CHECK(folder.print() == before);
    };
    folder.write("conf.d/b.toml", "b");
    differs("a definition");
    folder.write("conf.d/a.toml.d/x.toml", "x");
    differs("a drop-in");
    fs::permissions(folder.path / "conf.d/a.toml", fs::perms(0600));
    differs("a mode");
    folder.write("superd.toml", "");
    differs("settings that were not there");
    fs::remove(folder.path / "conf.d/b.toml");
    differs("a definition that is gone");
    fs::rename(folder.path / "conf.d", folder.path / "other");
    differs("the folder that is gone");
    fs::rename(folder.path / "other", folder.path / "conf.d");
    differs("the folder that is back");
    for (const char* name : {"log", "conf.d/.a.toml.swp", "conf.d/a.toml~", "conf.d/4913", "conf.d/a.toml.dpkg-old",
                             "conf.d/a.toml.d/.x.toml"})
        same(name);
}

TEST_CASE("a picture follows links as a config map has them") {
    Folder folder;
    folder.write("conf.d/..1/a.toml", "a");
    folder.write("conf.d/..2/a.toml", "a");
    fs::create_symlink("..1", folder.path / "conf.d/..data");
    fs::create_symlink("..data/a.toml", folder.path / "conf.d/a.toml");
    const Picture first = look_at(folder.sources());
    CHECK(first.names.contains("..data"));
    CHECK(first.holders.contains(folder / "conf.d"));
    CHECK(first.regular.contains(folder / "conf.d/..1/a.toml"));
    fs::create_symlink("..2", folder.path / "conf.d/..tmp");
    CHECK(folder.print() == first.print());
    fs::rename(folder.path / "conf.d/..tmp", folder.path / "conf.d/..data");
    CHECK(folder.print() != first.print());
}

TEST_CASE("a way that leads nowhere ends where the missing name would be") {
    Folder folder;
    fs::create_symlink("loop", folder.path / "loop");
    Sources sources = folder.sources();
    sources.files = {folder / "keys/new/a.pem", folder / "loop", folder / "superd.toml/x"};
    const Picture picture = look_at(sources);
    CHECK(picture.sound);
    CHECK(picture.holders.contains(folder.path));
    CHECK(picture.names.contains("keys"));
    CHECK(!picture.names.contains("a.pem"));
}

TEST_CASE("a change is loaded once, after a pause") {
    World world;
    world.load();
    world.run({world.quiet([&] { world.folder.write("conf.d/a.toml", "a"); }), world.after(2), world.quiet(),
               world.after(2, [&] { world.folder.write("conf.d/.a.toml.swp", "a"); }), world.quiet(), world.after(2)});
}

TEST_CASE("files that are never quiet are loaded all the same, but not more often than that") {
    World world;
    world.load();
    const Instant begun = now();
    int writes = 0;
    world.each_time = [&] { world.folder.write("conf.d/a.toml", std::to_string(++writes)); };
    world.run({{[&] { return now() > begun + 1600ms; }}});
    CHECK(writes > 20);
    CHECK(world.loads >= 2);
    CHECK(world.loads <= 5);  // one every 500 ms
}

TEST_CASE("what changes while a load is under way is loaded again") {
    World world;
    world.during = [&] { world.folder.write("conf.d/a.toml", "a"); };
    world.load();
    const std::string key = world.folder / "key.pem";
    const auto learn = [&] {
        // A file that only this load has learned of, and that has changed before it was watched.
        world.during = [&] {
            world.folder.write("key.pem", "1");
            world.files = {key};
        };
        world.load();
    };
    world.run({world.after(2), world.quiet(), world.after(2, learn), world.after(4), world.quiet(),
               world.after(4, [&] { world.folder.write("key.pem", "2"); }), world.after(5)});
}

TEST_CASE("the folder goes and comes back") {
    World world;
    world.load();
    const fs::path folder = world.folder.path / "conf.d", aside = world.folder.path / "aside";
    world.run({world.quiet([&] { fs::rename(folder, aside); }), world.after(2),
               world.quiet([&] { fs::rename(aside, folder); }), world.after(3),
               world.quiet([&] { fs::remove_all(folder); }), world.after(4),
               world.quiet([&] { fs::create_directory(folder); }), world.after(5), world.quiet(), world.after(5)});
}

TEST_CASE("where the kernel does not tell, it looks itself") {
    World world;
    // One queue, and this process has no room for another watch in it.
    std::vector<std::unique_ptr<sys::FileWatch>> others;
    std::size_t count = 0;
    while (true) {
        others.push_back(std::make_unique<sys::FileWatch>(world.watches, [](const std::string&) {}));
        const std::string name = "others/" + std::to_string(count);
        world.folder.write(name, "");
        if (!others.back()->add_alone(world.folder / name)) break;
        REQUIRE(++count <= sys::FileWatches::kMost);
    }
    world.load();
    CHECK(world.watch.is_deaf());
    world.run({world.quiet([&] { world.folder.write("conf.d/a.toml", "a"); }), world.after(2)});
    CHECK(world.watch.is_deaf());
    // Room for the folders, and none for the file, which may have another name elsewhere.
    const Picture picture = look_at(world.folder.sources());
    std::set<std::string> folders = picture.folders;
    folders.insert(picture.holders.begin(), picture.holders.end());
    REQUIRE(others.size() > folders.size() + 1);
    others.resize(others.size() - 1 - folders.size());
    world.load();
    CHECK(world.watch.is_deaf());
    others.clear();
    world.load();
    CHECK(!world.watch.is_deaf());
}

TEST_CASE("a successor hears of what has changed since, and of nothing else") {
    World world;
    world.load();
    const auto state = world.watch.write_down();
    REQUIRE(state);
    world.watch.off();
    CHECK(!world.watch.write_down());
    world.watch.go_on(*state);
    CHECK(world.watch.is_on());
    const auto miss = [&] {
        world.watch.off();
        world.folder.write("conf.d/a.toml", "a");
        world.watch.go_on(*state);
    };
    world.run({world.quiet(), world.after(1, miss), world.after(2)});
}

TEST_CASE("whoever else watches the same folder hears only what it asked for") {
    World world;
    int heard = 0;
    sys::FileWatch other(world.watches, [&](const std::string&) { ++heard; });
    world.folder.write("conf.d/program", "");
    REQUIRE(other.add(world.folder / "conf.d/program"));
    world.load();
    const auto write = [&] {
        CHECK(heard == 0);
        world.folder.write("conf.d/program", "x");
    };
    world.run({world.quiet([&] { world.folder.write("conf.d/a.toml", "a"); }), world.after(2), world.quiet(write),
               {[&] { return heard > 0; }}});
    CHECK(world.loads == 2);
}

}  // namespace superd::core::watch_tests
