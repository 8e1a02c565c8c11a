// SPDX-License-Identifier: MIT
#include "core/error_stream.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "core/state.h"

namespace superd::core {

ErrorStream::ErrorStream(Engine& engine, std::string service, Stats& stats)
    : engine_(engine),
      service_(std::move(service)),
      stats_(stats),
      dropped_(engine.loop, std::chrono::seconds(1),
               [this](std::uint64_t count, Duration lasted) {
                   engine_.log.write(
                       Level::warning,
                       fmt::format("{} lines of handlers' stderr dropped within {}: more than log.stderr_rate", count,
                                   format_roughly(std::max<Duration>(lasted, std::chrono::milliseconds(1)))),
                       {{"SERVICE", service_}, {"DROPPED", count}});
               }),
      patience_(engine.loop, [this] { write_partial(now()); }) {}

ErrorStream::~ErrorStream() {
    if (read_) {
        // Read what is there now; a process that is left may write for ever.
        for (int i = 0; i < 32 && read_some(); ++i) {
        }
        write_partial(now());
    }
    dropped_.end();
}

void ErrorStream::configure(const conf::Rate& rate) {
    rate_ = rate;
    bucket_.configure(rate, now());
}

Result<sys::Fd> ErrorStream::writer() {
    if (!read_) {
        int ends[2];
        if (pipe2(ends, O_CLOEXEC) != 0) return fail_errno("pipe for stderr", errno);
        sys::Fd read = sys::Fd(ends[0]).lifted();
        sys::Fd write = sys::Fd(ends[1]).lifted();
        fcntl(read.get(), F_SETFL, O_NONBLOCK);  // only superd's end: handlers may block
        // Without this only superd's own user may open /dev/stderr, which is this pipe again. Nobody else may read it:
        // other clients' handlers write there as well. If this fails, the descriptor still works.
        (void)fchmod(read.get(), 0622);
        if (auto watched = watch(std::move(read), std::move(write)); !watched) return std::unexpected(watched.error());
    }
    sys::Fd copy = write_.duplicate();
    if (!copy) return fail_errno("descriptor for stderr", errno);
    return copy;
}

Result<void> ErrorStream::watch(sys::Fd read, sys::Fd write) {
    auto source = engine_.loop.io(read.get(), EPOLLIN, [this](std::uint32_t) { read_some(); });
    if (!source) return std::unexpected(source.error());
    source_ = std::move(*source);
    read_ = std::move(read);
    write_ = std::move(write);
    return {};
}

ErrorStreamState ErrorStream::write_down(sys::Descriptors& descriptors) const {
    return {descriptors.keep(read_), descriptors.keep(write_), partial_, bucket_.full_at(), dropped_.memory()};
}

Result<void> ErrorStream::go_on(const ErrorStreamState& state, sys::Descriptors& descriptors) {
    bucket_.set_full_at(state.full_at);
    dropped_.go_on(state.dropped);
    if (state.read < 0) return {};
    sys::Fd read = descriptors.claim(state.read);
    sys::Fd write = descriptors.claim(state.write);
    if (!read || !write) return fail(service_ + ": the pipe of its handlers' stderr is missing");
    if (auto watched = watch(std::move(read), std::move(write)); !watched) return watched;
    partial_ = state.partial.substr(0, kLongestLine);
    if (!partial_.empty()) patience_.set(now() + kPatience);
    return {};
}

bool ErrorStream::read_some() {
    char buffer[4096];  // of short lines it holds hundreds, and each may cost a record of the log: others' turn then
    const ssize_t n = read(read_.get(), buffer, sizeof buffer);
    if (n <= 0) return false;
    take({buffer, static_cast<std::size_t>(n)});
    return true;
}

void ErrorStream::take(std::string_view bytes) {
    const Instant time = now();
    note_dropped(time);  // what an earlier moment left behind when it ran out of memory: it must not silence this one
    take_lines(bytes, time);
    note_dropped(time);
}

void ErrorStream::take_lines(std::string_view bytes, Instant time) {
    while (!bytes.empty()) {
        const auto end = bytes.find('\n');
        const auto room = kLongestLine - partial_.size();
        if (end != std::string_view::npos && end <= room) {
            if (partial_.empty()) {
                write_line(bytes.substr(0, end), time);
            } else {
                partial_ += bytes.substr(0, end);
                take_partial(time);
            }
            bytes.remove_prefix(end + 1);
        } else if (bytes.size() >= room) {
            // Longer than a line of the log: written in pieces, so that nothing is held back for ever.
            partial_ += bytes.substr(0, room);
            take_partial(time);
            bytes.remove_prefix(room);
        } else {
            partial_ += bytes;
            patience_.set(time + kPatience);
            return;
        }
    }
}

void ErrorStream::write_partial(Instant time) {
    take_partial(time);
    note_dropped(time);
}

void ErrorStream::take_partial(Instant time) {
    write_line(partial_, time);
    partial_.clear();
}

void ErrorStream::write_line(std::string_view line, Instant time) {
    if (line.empty()) return;
    // An empty bucket stays so for all lines of one moment: a flood must cost as little as can be.
    if (over_ > 0 || !bucket_.ready(rate_, time)) {
        ++over_;
        return;
    }
    bucket_.take(rate_, time);
    engine_.log.write(Level::info, line, {{"SERVICE", service_}, {"STREAM", "stderr"}});
}

void ErrorStream::note_dropped(Instant time) {
    if (over_ == 0) return;
    stats_.stderr_dropped += over_;
    dropped_.note(time, std::exchange(over_, 0));
}

}  // namespace superd::core
