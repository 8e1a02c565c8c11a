// SPDX-License-Identifier: MIT
#include "core/picture.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <optional>
#include <string_view>
#include <vector>

#include "base/text.h"
#include "conf/names.h"
#include "sys/file.h"

namespace superd::core {
namespace {

constexpr int kMostLinks = 40;  // path_resolution(7)
/// Files are stamped by a clock that is up to a tick behind.
constexpr std::chrono::milliseconds kTick{20};

/// FNV-1a: nobody who may change these files has a reason to make two states look alike.
void mix(std::uint64_t& print, std::string_view text) {
    for (const char c : text) print = (print ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    print *= 0x100000001b3;
}

std::chrono::nanoseconds since_epoch(const timespec& time) {
    return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

bool is_scarcity(int error) {
    return error == ENOMEM || error == EMFILE || error == ENFILE;
}

/// One look. Knows what it has seen, since most ways have most folders in common.
class Look {
  public:
    explicit Look(Picture& picture) : picture_(picture) {}

    void definitions(const Sources& sources) {
        if (!sources.config.empty()) (void)follow(sources.config, picture_.definitions);
        if (sources.conf_dir.empty()) return;
        each_in(sources.conf_dir, [this](const std::string& path, const std::string& name) {
            if (conf::is_definition(name)) {
                (void)follow(path, picture_.definitions);
            } else if (name.ends_with(".toml.d") && conf::is_definition(name.substr(0, name.size() - 2))) {
                each_in(path, [this](const std::string& drop_in, const std::string& its_name) {
                    if (conf::is_definition(its_name)) (void)follow(drop_in, picture_.definitions);
                });
            }
        });
    }
    void file(const std::string& path) {
        Picture::Part& part = picture_.files[path];
        if (!follow(path, part)) note_gone(path, part);
    }

  private:
    struct Passed {
        mode_t mode = 0;  ///< 0: there is nothing
        std::string said, target;
        std::chrono::nanoseconds changed{};
    };

    template <class Act>
    void each_in(const std::string& folder, Act act) {
        const auto real = follow(folder, picture_.definitions);
        if (!real) return note_gone(folder, picture_.definitions);
        picture_.holders.insert(*real);
        const Passed& passed = pass(*real);
        // Something may have gone that would have shown.
        picture_.definitions.newest = std::max(picture_.definitions.newest, passed.changed);
        const auto names = sys::list_directory(*real);
        if (!names) {
            picture_.sound = picture_.sound && !is_scarcity(names.error().code);
            mix(picture_.definitions.print, names.error().text);
            return;
        }
        for (const std::string& name : *names) act((*real == "/" ? "" : *real) + "/" + name, name);
    }

    /// It may have gone a moment ago, which shows in the folder that it was in.
    void note_gone(const std::string& path, Picture::Part& part) {
        const auto slash = path.rfind('/');
        if (slash != std::string::npos)
            part.newest = std::max(part.newest, pass(path.substr(0, std::max<std::size_t>(slash, 1))).changed);
    }

    const Passed& pass(const std::string& path) {
        if (const auto known = passed_.find(path); known != passed_.end()) return known->second;
        Passed& passed = passed_[path];
        struct stat status {};
        if (lstat(path.c_str(), &status) != 0) {
            picture_.sound = picture_.sound && !is_scarcity(errno);
            passed.said = fmt::format("{}", errno);
            return passed;
        }
        passed.mode = status.st_mode;
        passed.changed = since_epoch(status.st_ctim);
        passed.said =
            fmt::format("{}:{} {:o} {}:{}", status.st_dev, status.st_ino, status.st_mode, status.st_uid, status.st_gid);
        // A folder changes whenever anything in it does.
        if (!S_ISDIR(status.st_mode))
            passed.said +=
                fmt::format(" {} {} {}", status.st_size, since_epoch(status.st_mtim).count(), passed.changed.count());
        if (S_ISLNK(status.st_mode)) passed.target = sys::target_of_link(path).value_or("");
        return passed;
    }

    /// Walks as the kernel does, and takes down what there is. The real path; nullopt: it leads nowhere.
    std::optional<std::string> follow(const std::string& path, Picture::Part& part) {
        std::deque<std::string> names;
        const auto put_in_front = [&names](std::string_view more) {
            const auto words = split(more, '/');
            names.insert(names.begin(), words.begin(), words.end());
        };
        put_in_front(path);
        std::string at;  // "" is the root
        int links = 0;
        while (!names.empty()) {
            const std::string name = std::move(names.front());
            names.pop_front();
            if (name.empty() || name == ".") continue;
            if (name == "..") {
                at.resize(at.empty() ? 0 : at.rfind('/'));
                continue;
            }
            const std::string next = at + "/" + name;
            const Passed& passed = pass(next);
            mix(part.print, next);
            mix(part.print, passed.said);
            if (S_ISDIR(passed.mode)) {
                picture_.folders.insert(next);
                at = next;
                continue;
            }
            picture_.holders.insert(at.empty() ? "/" : at);
            picture_.names.insert(name);
            part.newest = std::max(part.newest, passed.changed);
            if (!S_ISLNK(passed.mode)) {
                if (S_ISREG(passed.mode)) picture_.regular.insert(next);
                return passed.mode != 0 && names.empty() ? std::optional(next) : std::nullopt;
            }
            if (++links > kMostLinks) return std::nullopt;
            mix(part.print, passed.target);
            put_in_front(passed.target);
            if (passed.target.starts_with('/')) at.clear();
        }
        return at.empty() ? "/" : at;
    }

    Picture& picture_;
    std::map<std::string, Passed> passed_;
};

}  // namespace

Picture look_at(const Sources& sources) {
    Picture picture;
    Look look(picture);
    look.definitions(sources);
    for (const std::string& file : sources.files) look.file(file);
    return picture;
}

bool Picture::has_changed_since(const Picture& other, std::chrono::nanoseconds since) const {
    const auto is_new = [since](const Part& part) { return part.newest >= since - kTick; };
    if (other.definitions.print == 0 ? is_new(definitions) : definitions.print != other.definitions.print) return true;
    return std::ranges::any_of(files, [&](const auto& entry) {
        const auto before = other.files.find(entry.first);
        return before == other.files.end() ? is_new(entry.second) : before->second.print != entry.second.print;
    });
}

std::uint64_t Picture::print() const {
    std::uint64_t all = definitions.print;
    mix(all, "files");  // so that it is never 0
    for (const auto& [path, part] : files) mix(all, fmt::format("{} {}", path, part.print));
    return all;
}

}  // namespace superd::core
