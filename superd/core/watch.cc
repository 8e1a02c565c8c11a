// SPDX-License-Identifier: MIT
#include "core/watch.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/text.h"
#include "conf/names.h"

namespace superd::core {

Watch::Watch(sys::Loop& loop, Log& log, sys::FileWatches& watches, Owner owner, WatchPace pace)
    : log_(log),
      owner_(std::move(owner)),
      pace_(pace),
      alarm_(loop, [this] { ring(); }),
      poll_(loop, [this] { poll(); }),
      watch_(
          watches, [this](const std::string&) { heard(); }, [this](std::string_view name) { return matters(name); }) {}

bool Watch::matters(std::string_view name) const {
    const std::string text(name.ends_with(".d") ? name.substr(0, name.size() - 2) : name);
    return conf::is_definition(text) || names_.contains(name);
}

void Watch::heard() {
    const Instant time = now();
    if (!first_) first_ = time;
    alarm_.set(std::max(std::min(time + pace_.quiet, *first_ + pace_.latest), not_before_));
}

void Watch::ring() {
    alarm_.set(now() + pace_.poll);  // in case this does not get to its end
    Picture seen = owner_.look(files_);
    if (!seen.sound) return;
    first_.reset();
    if (!due_ && seen.print() == print_) return alarm_.clear();
    due_ = true;
    before_ = std::move(seen);
    log_.write(Level::info, "files have changed: reloading");
    owner_.reload();
}

void Watch::poll() {
    set_poll();
    const Picture seen = owner_.look(files_);
    if (seen.sound && seen.print() != print_ && !alarm_.is_set()) heard();
}

void Watch::set_poll() {
    if (!deaf_) return poll_.clear();
    poll_.set(now() + pace_.poll);
}

void Watch::about_to_load(std::chrono::nanoseconds since) {
    began_ = now();
    since_ = since;
    if (on_ && !before_) before_ = owner_.look(files_);
}

void Watch::loaded(std::set<std::string> files, bool on) {
    const Picture before = std::exchange(before_, std::nullopt).value_or(Picture{});
    if (!on) return off();
    on_ = true;
    not_before_ = now() + kRest * (now() - began_);
    files_ = std::move(files);
    alarm_.clear();
    first_.reset();
    // First the watches, then the look that counts: what happens from then on is heard.
    const Picture watched = owner_.look(files_);
    listen(watched);
    const Picture after = owner_.look(files_);
    print_ = after.print();
    due_ = after.has_changed_since(before, since_) || watched.print() != print_ || !after.sound;
    if (due_) heard();
}

void Watch::off() {
    on_ = due_ = deaf_ = told_deaf_ = false;
    watch_.clear();
    alarm_.clear();
    poll_.clear();
    before_.reset();
    first_.reset();
    files_.clear();
    names_.clear();
}

void Watch::listen(const Picture& picture) {
    watch_.clear();
    names_ = picture.names;
    std::string unheard;
    int why = 0;
    const auto add = [&](bool (sys::FileWatch::*how)(const std::string&), const std::string& path) {
        if ((watch_.*how)(path) || errno == ENOENT || errno == ENOTDIR || why != 0) return;
        why = errno;
        unheard = path;
    };
    for (const std::string& folder : picture.folders) add(&sys::FileWatch::add_folder, folder);
    for (const std::string& folder : picture.holders) add(&sys::FileWatch::add_names, folder);
    // A file that is mounted here, or has another name elsewhere, may change without its folder's knowing.
    std::size_t count = 0;
    for (const std::string& file : picture.regular)
        if (++count <= kMostFiles && !watch_.add_alone(file) && errno == ENOSPC && why == 0) {
            why = errno;
            unheard = file;
        }
    deaf_ = why != 0;
    set_poll();
    if (deaf_ && !std::exchange(told_deaf_, true)) tell_deaf(unheard, why);
    if (!deaf_ && std::exchange(told_deaf_, false))
        log_.write(Level::notice, "watch: inotify tells of all changes again");
}

void Watch::tell_deaf(const std::string& path, int why) {
    const std::string_view reason = why == ENOSPC   ? "there is no room for more watches (fs.inotify.max_user_watches)"
                                    : why == EMFILE ? "no descriptor is left for it (fs.inotify.max_user_instances)"
                                                    : errno_text(why);
    log_.write(Level::warning,
               fmt::format("watch: inotify does not tell of {}: {}; superd looks for changes every {} itself", path,
                           reason, format_duration(pace_.poll)));
}

std::optional<WatchState> Watch::write_down() const {
    if (!on_) return std::nullopt;
    return WatchState{{files_.begin(), files_.end()}, due_ ? 0 : print_, told_deaf_};
}

void Watch::go_on(const WatchState& state) {
    on_ = true;
    told_deaf_ = state.told_deaf;
    files_ = {state.files.begin(), state.files.end()};
    listen(owner_.look(files_));
    print_ = state.print;
    due_ = print_ == 0;
    if (due_ || owner_.look(files_).print() != print_) heard();
}

}  // namespace superd::core
