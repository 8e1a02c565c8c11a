// SPDX-License-Identifier: MIT
#include "tests/catch.h"

#include "unit/conf/folder.h"

namespace superd::conf::trust_tests {

using namespace test;

namespace {

constexpr uid_t kSomebody = 65534;

/// The first of these places on whose way nobody else may write; "" if there is none, and then these tests show
/// nothing.
std::string sound_place() {
    const char* const home = getenv("HOME");
    const char* const runtime = getenv("XDG_RUNTIME_DIR");
    for (const char* const place : {"/run", "/var/lib", runtime, home, "."}) {
        std::error_code error;
        if (place == nullptr) continue;
        const std::filesystem::path start = std::filesystem::canonical(place, error);
        bool fine = !error && access(place, W_OK | X_OK) == 0;
        for (auto at = start; fine; at = at.parent_path()) {
            struct stat about {};
            fine = stat(at.c_str(), &about) == 0 && (about.st_uid == 0 || about.st_uid == geteuid()) &&
                   (about.st_mode & 022) == 0;
            if (at == at.parent_path()) break;
        }
        if (fine) return start;
    }
    WARN("others may write on the way to /run, /var/lib, XDG_RUNTIME_DIR, HOME and this folder");
    return "";
}

/// A folder in a sound place, whose definitions are checked on behalf of the current user.
class Site {
  public:
    Site() : place_(sound_place()) {
        if (place_.empty()) return;
        folder_.emplace(place_);
        from_ = folder_->surroundings();
        from_.trust_files = false;
        from_.uid = geteuid();
        from_.gid = getegid();
    }
    explicit operator bool() const { return folder_.has_value(); }
    const Folder& folder() const { return *folder_; }
    Surroundings& from() { return from_; }
    std::string errors() const { return folder_->errors(from_); }
    void mode(const std::string& name, mode_t mode) const { REQUIRE(chmod(path(name).c_str(), mode) == 0); }
    void give(const std::string& name, uid_t uid) const { REQUIRE(lchown(path(name).c_str(), uid, uid) == 0); }
    void link(const std::string& target, const std::string& name) const {
        std::filesystem::create_symlink(target, path(name));
    }
    void make(const std::string& name) const { std::filesystem::create_directories(path(name)); }
    std::string path(const std::string& name) const { return folder_->path(name); }

  private:
    std::string place_;
    std::optional<Folder> folder_;
    Surroundings from_;
};

/// The error for a folder or file with this mode.
std::string writable(const char* mode) {
    return std::string("may be written by users other than its owner (mode ") + mode + "), but " +
           (geteuid() == 0 ? "superd is root" : "superd trusts only root and its own user") + ": ";
}

/// An error that names this one, on the way to that one.
std::string on_the_way(const std::string& name, const std::string& goal, const std::string& what) {
    return name + ": on the way to " + goal + ": " + what + "\n";
}

const std::string kSticky = "keep definitions elsewhere, since its sticky bit does not keep others from adding files\n";

}  // namespace

TEST_CASE("files, drop-ins, settings and folders that others may write are refused by name") {
    Site site;
    if (!site) return;
    site.folder().define("a", sound);
    site.folder().write("superd.toml", "");
    CHECK(site.errors().empty());
    site.folder().write("conf.d/a.toml", sound, 0664);
    site.folder().write("conf.d/a.toml.d/1.toml", "nise = 0\n", 0646);
    site.mode("superd.toml", 0622);
    site.mode("conf.d", 0777);
    site.mode("conf.d/a.toml.d", 0775);
    CHECK(site.errors() == "conf.d: " + writable("0777") + "chmod go-w\nconf.d/a.toml: " + writable("0664") +
                               "chmod go-w\nconf.d/a.toml.d: " + writable("0775") +
                               "chmod go-w\nconf.d/a.toml.d/1.toml: " + writable("0646") +
                               "chmod go-w\nconf.d/a.toml.d/1.toml:1:1: unknown key \"nise\" (did you mean "
                               "\"nice\"?)\nsuperd.toml: " +
                               writable("0622") + "chmod go-w\n");
    site.from().trust_files = true;
    CHECK(site.errors() == "conf.d/a.toml.d/1.toml:1:1: unknown key \"nise\" (did you mean \"nice\"?)\n");
}

TEST_CASE("an unsafe folder anywhere on the way is refused once, and its sticky bit does not help") {
    Site site;
    if (!site) return;
    site.make("above/conf.d/a.toml.d");
    site.folder().write("above/conf.d/a.toml", sound);
    site.folder().write("above/conf.d/a.toml.d/1.toml", "umask = \"077\"\n");
    site.folder().write("above/superd.toml", "");
    site.from().conf_dir = site.path("above/conf.d/");
    site.from().config = site.path("above/superd.toml");
    CHECK(site.errors().empty());
    site.mode("above", 01777);
    CHECK(site.errors() ==
          on_the_way("above", "above/superd.toml", writable("1777") + kSticky.substr(0, kSticky.size() - 1)));
    site.mode("above", 0775);
    site.from().config = site.path("superd.toml");
    CHECK(site.errors() == on_the_way("above", "above/conf.d", writable("0775") + "chmod go-w"));
}

TEST_CASE("a relative path is checked from the root") {
    Site site;
    if (!site) return;
    const auto before = std::filesystem::current_path();
    site.make("above/here");
    site.folder().write("above/conf.d/a.toml", sound);
    site.mode("above", 0757);
    std::filesystem::current_path(site.path("above/here"));
    site.from().conf_dir = ".././here/../conf.d";
    CHECK(site.errors() == on_the_way("above", ".././here/../conf.d", writable("0757") + "chmod go-w"));
    site.mode("above", 0755);
    CHECK(site.errors().empty());
    std::filesystem::current_path(before);
}

TEST_CASE("links are followed, and both the folder of a link and the way to its target are checked") {
    Site site;
    if (!site) return;
    site.folder().write("far/real/a.toml", sound);
    site.link("../far/real/a.toml", "conf.d/a.toml");
    site.link("next", "far/first");
    site.link("./real/../real", "far/next");
    site.make("far/drop-ins");
    site.folder().write("far/drop-ins/1.toml", "nise = 1\n");
    site.link(site.path("far/drop-ins"), "conf.d/a.toml.d");
    site.link(site.path("far/first"), "linked.d");
    CHECK(site.errors() == "conf.d/a.toml.d/1.toml:1:1: unknown key \"nise\" (did you mean \"nice\"?)\n");
    site.folder().write("far/drop-ins/1.toml", "");
    site.mode("far/real/a.toml", 0666);
    CHECK(site.errors() == "far/real/a.toml: " + writable("0666") + "chmod go-w\n");
    site.mode("far/real/a.toml", 0644);
    site.mode("far/real", 0775);
    CHECK(site.errors() == on_the_way("far/real", "conf.d/a.toml", writable("0775") + "chmod go-w"));
    site.from().conf_dir = site.path("linked.d");
    CHECK(site.errors() == on_the_way("far/real", "linked.d", writable("0775") + "chmod go-w"));
    site.mode("far/real", 0755);
    CHECK(site.errors().empty());
    // far now holds the links, and the way to their targets would be sound without it.
    site.make("sound");
    std::filesystem::remove(site.path("far/next"));
    site.link(site.path("sound"), "far/next");
    CHECK(site.errors().empty());
    site.mode("far", 0775);
    CHECK(site.errors() == on_the_way("far", "linked.d", writable("0775") + "chmod go-w"));
}

TEST_CASE("a link that others may have made is not followed: nothing of its target is shown") {
    Site site;
    if (!site) return;
    site.folder().write("secret", "password = hunter2\n", 0600);
    site.link(site.path("secret"), "conf.d/a.toml");
    CHECK(site.errors().find("not valid TOML") != std::string::npos);
    site.mode("conf.d", 0777);
    CHECK(site.errors() == "conf.d: " + writable("0777") + "chmod go-w\n");
    // A plain file there holds only what others have written, so all its errors are reported at once.
    site.folder().define("b", sound + "nise = 1\n");
    CHECK(site.errors().find("conf.d/b.toml:4:1: unknown key") != std::string::npos);
}

TEST_CASE("a link that leads nowhere, in a circle or to a FIFO is an error, and nothing waits for it") {
    Site site;
    if (!site) return;
    site.link("circle.toml", "conf.d/circle.toml");
    site.link("/nonexistent/x/y", "conf.d/dangling.toml");
    site.folder().define("a", sound);
    site.link("/nonexistent/d", "conf.d/a.toml.d");
    REQUIRE(mkfifo(site.path("fifo").c_str(), 0644) == 0);
    site.link("../fifo", "conf.d/fifo.toml");
    REQUIRE(mkfifo(site.path("conf.d/pipe.toml").c_str(), 0644) == 0);
    CHECK(site.errors() ==
          "conf.d/a.toml.d: cannot be read: No such file or directory\n"
          "conf.d/circle.toml: cannot be read: Too many levels of symbolic links\n"
          "conf.d/dangling.toml: cannot be read: No such file or directory\n"
          "conf.d/fifo.toml: is a FIFO, not a file\n"
          "conf.d/pipe.toml: is a FIFO, not a file\n");
}

TEST_CASE("files, folders and links of another user than root are refused, whatever their mode") {
    Site site;
    if (!site || geteuid() != 0) return;  // only root can give files away
    const auto user = superd::sys::find_user(std::to_string(kSomebody));
    const std::string name = user && *user ? "user \"" + (*user)->name + "\"" : "user 65534";
    const std::string belongs = "belongs to " + name + ", but superd is root: chown root";
    site.folder().define("a", sound);
    site.folder().write("conf.d/a.toml.d/1.toml", "");
    site.folder().write("superd.toml", "");
    site.folder().write("far/b.toml", sound + "enabled = false\n");
    site.link("../far/b.toml", "conf.d/b.toml");
    for (const char* it : {"superd.toml", "conf.d", "conf.d/a.toml", "conf.d/a.toml.d", "conf.d/a.toml.d/1.toml"}) {
        site.give(it, kSomebody);
        const std::string errors = site.errors();
        CHECK(errors == std::string(it) + ": " + belongs + "\n");
        site.give(it, 0);
    }
    site.give("far", kSomebody);
    CHECK(site.errors() == on_the_way("far", "conf.d/b.toml", belongs));
    site.give("far", 0);
    site.give("conf.d/b.toml", kSomebody);
    CHECK(site.errors() == "conf.d/b.toml: is a link owned by " + name + ", but superd is root: chown root\n");
    site.give("conf.d/b.toml", 0);
    site.give("far/b.toml", kSomebody);
    site.mode("far/b.toml", 0666);
    CHECK(site.errors() == "far/b.toml: " + belongs + "\nfar/b.toml: " + writable("0666") + "chmod go-w\n");
    // A plan that may not ask the name service shows the number.
    site.mode("far/b.toml", 0644);
    site.from().names = {};
    site.from().names.ask_nobody();
    const std::string errors = site.errors();
    CHECK(errors.find("far/b.toml: belongs to user 65534, but superd is root: chown root\n") != std::string::npos);
}

TEST_CASE("without root, only root and superd's own user are trusted") {
    Site site;
    if (!site || geteuid() != 0) return;  // only root can give files away
    site.folder().define("a", sound);
    site.folder().define("b", sound + "enabled = false\n");
    site.from().uid = kSomebody;
    site.from().gid = kSomebody;
    CHECK(site.errors().empty());
    site.give("conf.d/a.toml", kSomebody);
    site.give("conf.d", kSomebody);
    CHECK(site.errors().empty());
    site.give("conf.d/b.toml", 4242);
    CHECK(site.errors() ==
          "conf.d/b.toml: belongs to user 4242, but superd trusts only root and its own user: chown root, or "
          "superd's own user\n");
    site.give("conf.d/b.toml", 0);
    site.mode("conf.d/b.toml", 0664);
    CHECK(site.errors() ==
          "conf.d/b.toml: may be written by users other than its owner (mode 0664), but superd trusts only root and "
          "its own user: chmod go-w\n");
}

}  // namespace superd::conf::trust_tests
