// SPDX-License-Identifier: MIT
#include "core/error_stream.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "core/state.h"

namespace superd::core {

ErrorStream::~ErrorStream() {
    if (!read_) return;
    // What is there now; somebody may be left who goes on writing for ever.
    for (int i = 0; i < 8 && read_some(); ++i) {
    }
    write_partial();
}

Result<sys::Fd> ErrorStream::writer() {
    if (!read_) {
        int ends[2];
        if (pipe2(ends, O_CLOEXEC) != 0) return fail_errno("pipe for stderr", errno);
        sys::Fd read = sys::Fd(ends[0]).lifted();
        sys::Fd write = sys::Fd(ends[1]).lifted();
        fcntl(read.get(), F_SETFL, O_NONBLOCK);  // our end alone: handlers may block
        // Else only superd's own user may open /dev/stderr, which is this pipe once more. Nobody else may read it:
        // other clients' handlers write there as well. Where this fails, the descriptor serves all the same.
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
    auto patience = engine_.loop.timer([this] { write_partial(); });
    if (!patience) return std::unexpected(patience.error());
    source_ = std::move(*source);
    patience_ = std::move(*patience);
    read_ = std::move(read);
    write_ = std::move(write);
    return {};
}

ErrorStreamState ErrorStream::write_down(Descriptors& descriptors) const {
    return {descriptors.keep(read_), descriptors.keep(write_), partial_};
}

Result<void> ErrorStream::go_on(const ErrorStreamState& state, Descriptors& descriptors) {
    if (state.read < 0) return {};
    sys::Fd read = descriptors.claim(state.read);
    sys::Fd write = descriptors.claim(state.write);
    if (!read || !write) return fail(service_ + ": the pipe of its handlers' stderr is missing");
    if (auto watched = watch(std::move(read), std::move(write)); !watched) return watched;
    partial_ = state.partial.substr(0, kLongestLine);
    if (!partial_.empty()) return patience_.arm(now() + kPatience);
    return {};
}

bool ErrorStream::read_some() {
    char buffer[16384];
    const ssize_t n = read(read_.get(), buffer, sizeof buffer);
    if (n <= 0) return false;
    take({buffer, static_cast<std::size_t>(n)});
    return true;
}

void ErrorStream::take(std::string_view bytes) {
    while (!bytes.empty()) {
        const auto end = bytes.find('\n');
        const auto room = kLongestLine - partial_.size();
        if (end != std::string_view::npos && end <= room) {
            partial_ += bytes.substr(0, end);
            write_partial();
            bytes.remove_prefix(end + 1);
        } else if (bytes.size() >= room) {
            // Longer than a line of the log: in pieces, so that nothing is kept back for ever.
            partial_ += bytes.substr(0, room);
            write_partial();
            bytes.remove_prefix(room);
        } else {
            partial_ += bytes;
            (void)patience_.arm(now() + kPatience);
            return;
        }
    }
}

void ErrorStream::write_partial() {
    write_line(partial_);
    partial_.clear();
}

void ErrorStream::write_line(std::string_view line) {
    if (!line.empty()) engine_.log.write(Level::info, line, {{"SERVICE", service_}, {"STREAM", "stderr"}});
}

}  // namespace superd::core
