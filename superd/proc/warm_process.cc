// SPDX-License-Identifier: MIT
#include "proc/warm_process.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstring>

#include "base/signal.h"
#include "base/text.h"
#include "proc/parked/message.h"

namespace superd::proc {
namespace {

using warm::Obstacle;
using warm::Word;

constexpr std::size_t kLargestMessage = sizeof(warm::File) + 4096;

std::int64_t nanoseconds(const timespec& at) {
    return at.tv_sec * std::int64_t{1'000'000'000} + at.tv_nsec;
}

}  // namespace

bool WarmFile::is_as_it_was(const std::string& root) const {
    struct stat now {};
    return stat((root + path).c_str(), &now) == 0 && now.st_dev == device && now.st_ino == inode &&
           static_cast<std::uint64_t>(now.st_size) == size && nanoseconds(now.st_mtim) == modified &&
           nanoseconds(now.st_ctim) == changed;
}

Result<Pair> make_channel(const std::optional<warm::Order>& order) {
    auto pair = make_pair();
    if (!pair) return pair;
    const int on = 1;
    if (setsockopt(pair->ours.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0)
        return fail_errno("SO_PASSCRED", errno);
    if (order && ::send(pair->ours.get(), &*order, sizeof *order, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        return fail_errno("channel of a warm process", errno);
    return pair;
}

Result<sys::Fd> make_placeholder(int family) {
    sys::Fd fd(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd) return fail_errno("socket", errno);
    return fd;
}

std::optional<WarmProcess::Event> WarmProcess::next() {
    // Only the word on a file is longer; a loop, since some say nothing by themselves.
    while (is_open()) {
        char message[kLargestMessage];
        pid_t sender = 0;
        const ssize_t n = receive_from(channel_.get(), message, sizeof message, sender);
        if (n < 0 && errno == EAGAIN) return std::nullopt;
        // The other end closed without having read all; what it had said before is still to come.
        if (n < 0 && (errno == ECONNRESET || errno == EINTR)) continue;
        if (n <= 0) return end();
        if (auto event = take(message, static_cast<std::size_t>(n), sender)) return event;
    }
    return std::nullopt;
}

/// `size` is at most kLargestMessage. What no tracer and no stub says ends the conversation.
std::optional<WarmProcess::Event> WarmProcess::take(const char* message, std::size_t size, pid_t sender) {
    Word word{};
    if (size < sizeof word) return end();
    std::memcpy(&word, message, sizeof word);
    if (word == Word::file && size > sizeof(warm::File) && !told_.reported && told_.files.size() < warm::kMostFiles) {
        warm::File file;
        std::memcpy(&file, message, sizeof file);
        told_.files.push_back({std::string(message + sizeof file, size - sizeof file), file.device, file.inode,
                               file.size, file.modified, file.changed});
        return std::nullopt;
    }
    if (word == Word::report && size == sizeof(warm::Report) && !told_.reported) {
        warm::Report report;
        std::memcpy(&report, message, sizeof report);
        if (Event event = reported(report); event.kind == Event::Kind::refused) return event;
        return std::nullopt;  // its stub is still to say that it is there
    }
    warm::Answer answer;
    if (size != sizeof answer) return end();
    std::memcpy(&answer, message, sizeof answer);
    return answered(answer, sender);
}

WarmProcess::Event WarmProcess::reported(const warm::Report& report) {
    told_.reported = true;
    told_.code = report.code;
    told_.facts = report.facts;
    told_.threads = report.threads;
    told_.detail.assign(report.detail, strnlen(report.detail, sizeof report.detail));
    told_.obstacle = report.obstacle;
    if (!warm::is_parked(told_.obstacle) || told_.obstacle > Obstacle::last) return refuse(told_.obstacle);
    return {Event::Kind::parked};
}

std::optional<WarmProcess::Event> WarmProcess::answered(const warm::Answer& answer, pid_t sender) {
    const bool copy = told_.pid == 0;
    switch (answer.word) {
        case Word::parked:
            if (told_.state != State::starting ||
                (copy ? !is_own_child(sender) : sender != told_.pid || !told_.reported))
                break;
            if (copy) told_.obstacle = Obstacle::none;
            told_.pid = sender;
            told_.state = State::parked;
            return Event{Event::Kind::parked};
        case Word::going:
            if (told_.state != State::parked || sender == told_.pid || !is_own_child(sender)) break;
            return Event{Event::Kind::going, sender, answer.serial};
        case Word::failed:
            if (told_.state == State::parked) return Event{Event::Kind::failed, sender, answer.serial, answer.code};
            told_.code = answer.code;  // a copy that could not be made ready
            break;
        default:
            break;
    }
    return end();
}

WarmProcess::Event WarmProcess::refuse(Obstacle obstacle) {
    told_.obstacle = obstacle;
    told_.state = State::refused;
    return {Event::Kind::refused};
}

WarmProcess::Event WarmProcess::end() {
    if (told_.state == State::starting && told_.pid != 0) return refuse(Obstacle::tracer_ended);
    told_.state = State::gone;
    return {Event::Kind::gone};
}

Result<void> WarmProcess::send(Word word, int descriptor, bool errors_to_client, std::uint32_t serial) {
    warm::Command command{word, serial, errors_to_client ? 1U : 0U};
    iovec part{&command, sizeof command};
    if (told_.state != State::parked) return fail_errno("warm process", ENOTCONN);
    if (parked::send_with_descriptor(channel_.get(), &part, 1, descriptor, MSG_DONTWAIT) < 0)
        return fail_errno("warm process", errno);
    return {};
}

Result<void> WarmProcess::go(int connection, bool errors_to_client) {
    return send(Word::go, connection, errors_to_client, 0);
}

Result<void> WarmProcess::copy_for(int connection, bool errors_to_client, std::uint32_t serial) {
    return send(Word::copy_goes, connection, errors_to_client, serial);
}

Result<WarmProcess> WarmProcess::copy(std::uint32_t serial) {
    auto pair = make_channel(std::nullopt);
    if (!pair) return std::unexpected(pair.error());
    if (auto sent = send(Word::copy, pair->theirs.get(), false, serial); !sent) return std::unexpected(sent.error());
    return WarmProcess(0, std::move(pair->ours));
}

WarmProcess::Kept WarmProcess::keep(sys::Descriptors& descriptors) const {
    return {told_, descriptors.keep(channel_)};
}

WarmProcess WarmProcess::go_on(const Kept& kept, sys::Descriptors& descriptors) {
    WarmProcess process(kept.told.pid, kept.channel < 0 ? sys::Fd() : descriptors.claim(kept.channel));
    process.told_ = kept.told;
    return process;
}

std::string describe(const WarmProcess& process) {
    std::string text = fmt::format("it {}", warm::text_of(process.obstacle()));
    if (process.obstacle() == Obstacle::ended) {
        const int status = process.code();
        if (WIFSIGNALED(status))
            text += fmt::format(" ({})", signal_name(WTERMSIG(status)));
        else if (status != 0)
            text += fmt::format(" (status {})", WEXITSTATUS(status));
    } else if (process.code() != 0) {
        text += fmt::format(": {}", errno_text(process.code()));
    }
    if (!process.detail().empty()) text += fmt::format(" ({})", escape(process.detail()));
    return text;
}

}  // namespace superd::proc
