// SPDX-License-Identifier: MIT
#include "proxy/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <new>

namespace proxy {
namespace {

constexpr int kTurns = 16;  // of one connection, before others have theirs

// All reads land here first. Only what cannot be written at once gets memory of its own.
std::array<char, Flow::kChunk> scratch;

bool is_cut(int code) {
    return code == ECONNRESET || code == EPIPE || code == ETIMEDOUT || code == EHOSTUNREACH || code == ENETUNREACH;
}

}  // namespace

void End::note(std::uint32_t events) {
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) readable = true;
    if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) writable = true;
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) hung = true;
    if ((events & EPOLLERR) != 0) cut = true;
    if ((events & (EPOLLHUP | EPOLLERR)) != 0) gone = true;
}

std::optional<Pipe> Pipes::take() {
    if (!spare_.empty()) {
        Pipe pipe = std::move(spare_.back());
        spare_.pop_back();
        ++out_;
        return pipe;
    }
    if (out_ >= most_) return std::nullopt;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return std::nullopt;
    Pipe pipe{Fd(ends[0]), Fd(ends[1])};
    // A user who has many pipes gets small ones, which are slower than copying.
    if (fcntl(ends[1], F_SETPIPE_SZ, kSize) < 0 && fcntl(ends[1], F_GETPIPE_SZ) < static_cast<int>(Flow::kChunk))
        return std::nullopt;
    ++out_;
    return pipe;
}

void Pipes::give_back(Pipe pipe) {
    --out_;
    if (spare_.size() < kSpare) spare_.push_back(std::move(pipe));
}

Flow::~Flow() {
    drop_kept();
    if (pipe_ && piped_ == 0)
        pipes_.give_back(std::move(*pipe_));
    else if (pipe_)
        pipes_.drop();
}

bool Flow::keep(std::string_view bytes) {
    if (bytes.empty()) return true;
    kept_.reset(new (std::nothrow) char[bytes.size()]);
    if (!kept_) return false;
    kept_room_ = static_cast<std::uint32_t>(bytes.size());
    pipes_.kept += kept_room_;
    std::memcpy(kept_.get(), bytes.data(), bytes.size());
    kept_size_ = static_cast<std::uint32_t>(bytes.size());
    kept_at_ = 0;
    return true;
}

void Flow::drop_kept() {
    pipes_.kept -= std::exchange(kept_room_, 0);
    kept_size_ = 0;
    kept_.reset();
}

bool Flow::move(End& from, End& to) {
    for (int turn = 0; turn < kTurns; ++turn) {
        if (dead_) return false;
        if (holds()) {
            if (!to.writable) return false;
            push(to);
        } else if (ended_) {
            if (!passed_) shutdown(to.fd.get(), SHUT_WR);
            passed_ = true;
            return false;
        } else if (from.readable) {
            pull(from, to);
        } else {
            return false;
        }
    }
    return true;
}

void Flow::pull(End& from, End& to) {
    if (bulk_ && !copies_only_) {
        if (!pipe_) pipe_ = pipes_.take();
        if (pipe_ && splice_in(from)) return;
    }
    copy(from, to);
}

/// False: this socket cannot be spliced.
bool Flow::splice_in(End& from) {
    const ssize_t got =
        splice(from.fd.get(), nullptr, pipe_->write.get(), nullptr, Pipes::kSize, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (got > 0) {
        piped_ = static_cast<std::size_t>(got);
        stirred_ = true;
        return true;
    }
    const int code = errno;
    if (got < 0 && code == EINVAL) {
        copies_only_ = true;
        put_pipe_away();
        return false;
    }
    // An idle connection keeps no pipe. It gets one from the spare ones when the stream goes on.
    put_pipe_away();
    if (got == 0) {
        ended_ = true;
    } else if (code == EAGAIN) {
        from.readable = false;
        bulk_ = false;
    } else if (code != EINTR) {
        failed_to_read(from, code);
    }
    return true;
}

void Flow::copy(End& from, End& to) {
    const std::size_t room = pipes_.kept < Pipes::kMuchKept ? kChunk : kSmallChunk;
    const ssize_t got = recv(from.fd.get(), scratch.data(), room, 0);
    if (got <= 0) {
        const int code = errno;
        if (got == 0)
            ended_ = true;
        else if (code == EAGAIN)
            from.readable = false;
        else if (code != EINTR)
            failed_to_read(from, code);
        return;
    }
    const auto size = static_cast<std::size_t>(got);
    stirred_ = true;
    // epoll tells of what comes after a short read.
    if (size < room && !from.hung) from.readable = false;
    bulk_ = size == scratch.size();
    std::size_t put = 0;
    while (to.writable && put < size) {
        const ssize_t sent = send(to.fd.get(), scratch.data() + put, size - put, MSG_NOSIGNAL);
        if (sent > 0) put += static_cast<std::size_t>(sent);
        if (sent >= 0 || errno == EINTR) continue;
        if (errno != EAGAIN) return failed_to_write(to, errno);
        to.writable = false;
    }
    if (!keep({scratch.data() + put, size - put})) failed_to_write(to, ECONNRESET);  // a gap must not be passed over
}

void Flow::push(End& to) {
    ssize_t sent;
    if (kept_size_ > 0)
        sent = send(to.fd.get(), kept_.get() + kept_at_, kept_size_, MSG_NOSIGNAL);
    else
        sent = splice(pipe_->read.get(), nullptr, to.fd.get(), nullptr, piped_, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (sent < 0) {
        if (errno == EAGAIN)
            to.writable = false;
        else if (errno != EINTR)
            failed_to_write(to, errno);
        return;
    }
    stirred_ = true;
    if (kept_size_ == 0) {
        piped_ -= static_cast<std::size_t>(sent);
        return;
    }
    kept_at_ += static_cast<std::uint32_t>(sent);
    kept_size_ -= static_cast<std::uint32_t>(sent);
    if (kept_size_ == 0) drop_kept();
}

void Flow::put_pipe_away() {
    if (pipe_) pipes_.give_back(std::move(*pipe_));
    pipe_.reset();
}

void Flow::failed_to_read(End& from, int code) {
    ended_ = true;
    from.reset = from.reset || is_cut(code);
    passed_ = from.reset;  // it is cut on the other side too, and an end would come before that
}

/// Nothing more is read from the source either; what comes the other way still counts.
void Flow::failed_to_write(End& to, int code) {
    dead_ = true;
    to.readable = to.hung = true;
    to.reset = to.reset || is_cut(code);
    drop_kept();
    if (pipe_) pipes_.drop();
    pipe_.reset();
    piped_ = 0;
}

}  // namespace proxy
