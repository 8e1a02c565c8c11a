// SPDX-License-Identifier: MIT
#include "tls/connection.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/x509_vfy.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace superd::tls {
namespace {

/// Pieces in either direction before others have their turn.
constexpr int kRounds = 4;
/// Of a client that is discarded, in one turn.
constexpr int kDiscards = 16;

ssize_t receive(int fd, char* data, std::size_t size, int flags) {
    ssize_t n;
    do n = recv(fd, data, size, MSG_DONTWAIT | flags);
    while (n < 0 && errno == EINTR);
    return n;
}

void reset_on_close(int fd) {
    const linger now{1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

}  // namespace

Connection::Connection(std::uint64_t ticket, sys::Fd connection, sys::Fd pair)
    : connection_(std::move(connection)), pair_(std::move(pair)), ticket_(ticket) {}

std::string Connection::begin(SSL_CTX* context, int epoll) {
    if (fcntl(connection_.get(), F_SETFL, O_RDWR | O_NONBLOCK) != 0) return std::strerror(errno);
    session_.reset(SSL_new(context));
    if (!session_ || SSL_set_fd(session_.get(), connection_.get()) != 1) return take_error();
    SSL_set_accept_state(session_.get());
    const int on = 1;
    setsockopt(connection_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // records are whole; a vsock has none
    // Since Linux 6.16 a handler cannot pass descriptors to this process.
    const int off = 0;
    constexpr int kPassRights = 83;
    setsockopt(pair_.get(), SOL_SOCKET, kPassRights, &off, sizeof off);
    look_from_first();
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    event.data.u64 = reinterpret_cast<std::uintptr_t>(this);
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, connection_.get(), &event) != 0) return std::strerror(errno);
    event.data.u64 |= 1;
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, pair_.get(), &event) != 0) return std::strerror(errno);
    return "";
}

void Connection::note_connection(std::uint32_t events) {
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) connection_in_ = true;
    if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) connection_out_ = true;
}

void Connection::note_pair(std::uint32_t events) {
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) pair_in_ = true;
    if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) pair_out_ = true;
    // Before the handshake is over only superd has the other end, and lets the client go.
    const bool let_go = state_ == State::shaking && (events & EPOLLRDHUP) != 0;
    if (let_go || (events & EPOLLHUP) != 0) hung_up_ = true;
}

Connection::Next Connection::go(char* scratch) {
    switch (state_) {
        case State::shaking:
            return shake();
        case State::open:
            return pump(scratch);
        case State::leaving:
            return discard(scratch);
    }
    return Next::over;
}

Connection::Next Connection::shake() {
    if (hung_up_) return Next::over;  // superd has let it go
    if (!connection_in_ && !connection_out_) return Next::wait;
    ERR_clear_error();
    const int result = SSL_accept(session_.get());
    if (result == 1) {
        state_ = State::open;
        // Whatever OpenSSL has read beyond the handshake, no edge tells of it: epoll does not report what was read
        // between two waits.
        connection_in_ = true;
        return Next::shaken;
    }
    if (!is_broken(result)) return SSL_want_read(session_.get()) && connection_in_ ? Next::again : Next::wait;
    fail_handshake(result);
    return begin_leaving();
}

bool Connection::is_broken(int result) {
    switch (SSL_get_error(session_.get(), result)) {
        case SSL_ERROR_WANT_READ: {
            // Without SSL_MODE_AUTO_RETRY that is said too when there may be more, and the edge has passed.
            char next;
            connection_in_ = receive(connection_.get(), &next, 1, MSG_PEEK) >= 0 || errno != EAGAIN;
            return false;
        }
        case SSL_ERROR_WANT_WRITE:
            connection_out_ = false;
            return false;
        default:
            return true;
    }
}

void Connection::fail_handshake(int result) {
    const int kind = SSL_get_error(session_.get(), result);
    const unsigned long code = ERR_peek_last_error();
    if (kind == SSL_ERROR_SYSCALL || kind == SSL_ERROR_ZERO_RETURN ||
        ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
        end_ = proc::TlsEnd::gone;
        ERR_clear_error();
        return;
    }
    if (ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE) end_ = proc::TlsEnd::scarce;
    // An alert of the client, which does not like what the server shows.
    if (ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) >= SSL_AD_REASON_OFFSET) end_ = proc::TlsEnd::gone;
    why_ = take_error();
    if (end_ != proc::TlsEnd::handshake) return;
    if (const long verdict = SSL_get_verify_result(session_.get()); verdict != X509_V_OK)
        why_ = std::string("client certificate: ") + X509_verify_cert_error_string(verdict);
}

Connection::Next Connection::pump(char* scratch) {
    for (int round = 0; round < kRounds; ++round) {
        const bool in = inbound(scratch);
        if (!pair_) return Next::over;
        const bool out = outbound(scratch);
        if (!pair_) return Next::over;
        if (in_done_ && out_done_) return close_both(scratch);
        if (out_done_ && hung_up_) return begin_leaving();
        if (!in && !out) return Next::wait;
    }
    return Next::again;
}

bool Connection::inbound(char* scratch) {
    if (in_done_) return false;
    if (held_ && !flush_held()) return false;
    if (ending_ != Ending::none) return end_inbound();
    if (!connection_in_) return false;
    std::size_t size = 0;
    int n;
    do {
        ERR_clear_error();
        n = SSL_read(session_.get(), scratch + size, static_cast<int>(kScratch - size));
        if (n > 0) size += static_cast<std::size_t>(n);
    } while (n > 0 && kScratch - size >= kRecord);
    if (n <= 0 && is_broken(n)) {
        ending_ = SSL_get_error(session_.get(), n) == SSL_ERROR_ZERO_RETURN ? Ending::clean : Ending::cut;
        ERR_clear_error();
    }
    if (size == 0) return ending_ != Ending::none || (SSL_want_read(session_.get()) && connection_in_);
    if (deaf_) return true;
    ssize_t sent = pair_out_ ? send(pair_.get(), scratch, size, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
    if (sent < 0 && errno != EAGAIN && errno != EINTR && errno != ENOMEM && errno != ENOBUFS) {
        deaf_ = true;
        return true;
    }
    if (sent < 0) sent = 0;
    if (static_cast<std::size_t>(sent) == size) return true;
    const std::size_t rest = size - static_cast<std::size_t>(sent);
    held_ = std::make_unique_for_overwrite<char[]>(rest);
    std::memcpy(held_.get(), scratch + sent, rest);
    held_from_ = 0;
    held_to_ = static_cast<std::uint32_t>(rest);
    return true;
}

/// True: nothing is held any more.
bool Connection::flush_held() {
    if (!pair_out_) return false;
    const ssize_t sent = send(pair_.get(), held_.get() + held_from_, static_cast<std::size_t>(held_to_ - held_from_),
                              MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOMEM || errno == ENOBUFS)) {
        pair_out_ = errno == EINTR;
        return false;
    }
    if (sent < 0) {
        deaf_ = true;
    } else {
        held_from_ = held_from_ + static_cast<std::uint32_t>(sent);
        if (held_from_ < held_to_) return false;
    }
    held_.reset();
    return true;
}

bool Connection::end_inbound() {
    if (ending_ == Ending::cut) {
        cut();
        return false;
    }
    shutdown(pair_.get(), SHUT_WR);
    in_done_ = true;
    return true;
}

bool Connection::outbound(char* scratch) {
    if (out_done_ || !connection_out_) return false;
    if (out_end_) return end_outbound();
    if (!pair_in_ && !pending_) return false;
    if (pending_) look_from_first();
    const ssize_t seen = receive(pair_.get(), scratch, kScratch, MSG_PEEK);
    if (seen < 0 && (errno == EAGAIN || errno == ENOMEM || errno == ENOBUFS)) {
        pair_in_ = false;
        return false;
    }
    if (seen <= 0) {
        // ECONNRESET: it has left something unread. Where it has answered nothing either, that is a refusal.
        if (seen < 0 && !wrote_) reset_on_close(connection_.get()), cut();
        out_end_ = true;
        return static_cast<bool>(pair_);
    }
    wrote_ = true;
    const auto size = static_cast<std::size_t>(seen);
    std::size_t done = 0;
    int n = 1;
    while (done < size && n > 0) {
        ERR_clear_error();
        n = SSL_write(session_.get(), scratch + done, static_cast<int>(std::min(size - done, kRecord)));
        if (n > 0) done += static_cast<std::size_t>(n);
    }
    pending_ = n <= 0;
    if (pending_ && is_broken(n)) {
        cut();
        return false;
    }
    sent_ |= done > 0;
    take_away(scratch, done);
    if (done < size) look_from_first();
    return !pending_;
}

bool Connection::end_outbound() {
    ERR_clear_error();
    const int result = SSL_shutdown(session_.get());
    if (result < 0 && !is_broken(result)) return false;
    ERR_clear_error();
    shutdown(connection_.get(), SHUT_WR);
    out_done_ = true;
    return true;
}

/// The byte before what was looked at, and that but for its last.
void Connection::take_away(char* scratch, std::size_t size) {
    while (size > 0) {
        const ssize_t n = receive(pair_.get(), scratch, size, 0);
        if (n <= 0) return cut();  // it was there a moment ago
        size -= static_cast<std::size_t>(n);
    }
}

void Connection::look_from_first() const {
    const int beyond = 1;
    setsockopt(pair_.get(), SOL_SOCKET, SO_PEEK_OFF, &beyond, sizeof beyond);
}

/// The handler, if it is there, has an end and nothing worse.
Connection::Next Connection::close_both(char* scratch) {
    while (receive(pair_.get(), scratch, kScratch, 0) > 0) {
    }
    return begin_leaving();
}

/// The byte that is not read resets the handler's end.
void Connection::cut() {
    pair_.reset();
}

Connection::Next Connection::begin_leaving() {
    state_ = State::leaving;
    shutdown(connection_.get(), SHUT_WR);
    session_.reset();
    held_.reset();
    pair_.reset();
    connection_in_ = true;
    return Next::leave;
}

void Connection::close() {
    session_.reset();
    pair_.reset();
    connection_.reset();
}

Connection::Next Connection::discard(char* scratch) {
    for (int i = 0; i < kDiscards && connection_in_; ++i) {
        const ssize_t n = receive(connection_.get(), scratch, kScratch, 0);
        if (n < 0 && errno == EAGAIN) connection_in_ = false;
        if (n == 0 || (n < 0 && errno != EAGAIN)) return Next::over;
    }
    return connection_in_ ? Next::again : Next::wait;
}

}  // namespace superd::tls
