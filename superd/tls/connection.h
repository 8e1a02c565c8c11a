// SPDX-License-Identifier: MIT
#pragma once
// One client: TLS on its connection, plain bytes on a unix stream pair whose other end a handler has.
//
// A client that ends without close_notify is cut off, and its handler must not take that for an end: it gets
// ECONNRESET. A unix pair gives that to one end if the other is closed with something unread. So there is always one
// byte that is not read: superd writes the first through the handler's end before anybody has it, and what comes after
// is looked at beyond it (SO_PEEK_OFF), passed on, and taken away but for its last byte.

#include <openssl/ssl.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "proc/tls_message.h"
#include "sys/fd.h"
#include "tls/openssl.h"

namespace superd::tls {

class Line;

class Connection {
  public:
    enum class Next {
        wait,    ///< for an event
        again,   ///< there is more to do at once; others come first
        shaken,  ///< the handshake is over, and there is more to do
        leave,   ///< it only waits for its client to hang up, for kLinger at most
        over,    ///< close() it
    };
    /// A client that says no more is waited for so long; closing at once would take away from it what it was sent last.
    static constexpr std::int64_t kLingerMs = 2000;
    /// A client whose handler has gone takes something in so long, or is cut off: it counts as nobody's instance.
    static constexpr std::int64_t kReadsWithinMs = 30'000;
    static constexpr std::size_t kRecord = 16384;       ///< of TLS, at most
    static constexpr std::size_t kScratch = 4 * kRecord;  ///< passed on in one piece: each wakes somebody

    /// `pair` has its first byte.
    Connection(std::uint64_t ticket, sys::Fd connection, sys::Fd pair);
    Connection(const Connection&) = delete;
    /// An error as text; empty: done.
    std::string begin(SSL_CTX* context, int epoll);

    void note_connection(std::uint32_t events);
    void note_pair(std::uint32_t events);
    /// Does what can be done without waiting.
    Next go(char* scratch);
    void close();

    std::uint64_t ticket() const { return ticket_; }
    bool is_shaking() const { return state_ == State::shaking; }
    bool is_leaving() const { return state_ == State::leaving; }
    /// Has its handler gone, with something still to be sent?
    bool is_unread() const { return state_ == State::open && hung_up_; }
    /// Has its client taken anything since this was asked last?
    bool has_sent() { return std::exchange(sent_, false); }
    /// After a handshake that failed: whose fault it was, and what.
    proc::TlsEnd end() const { return end_; }
    const std::string& why() const { return why_; }
    SSL* session() const { return session_.get(); }

    // For the server alone.
    Line* line = nullptr;  ///< that it stands in
    Connection *before = nullptr, *after = nullptr;
    std::int64_t deadline = 0;  ///< ms
    bool queued = false, dead = false;

  private:
    enum class State : std::uint8_t { shaking, open, leaving };
    enum class Ending : std::uint8_t { none, clean, cut };

    Next shake();
    Next pump(char* scratch);
    Next discard(char* scratch);
    /// True: something moved.
    bool inbound(char* scratch);
    bool outbound(char* scratch);
    bool flush_held();
    bool end_inbound();
    bool end_outbound();
    void take_away(char* scratch, std::size_t size);
    void look_from_first() const;
    /// After SSL_read, SSL_write or the like; false: it only has to wait, or with connection_in_ to be called again.
    bool is_broken(int result);
    void fail_handshake(int result);
    Next close_both(char* scratch);
    void cut();
    Next begin_leaving();

    Session session_;
    sys::Fd connection_, pair_;
    const std::uint64_t ticket_;
    std::unique_ptr<char[]> held_;  ///< from the client, for a handler that does not take it yet
    std::uint32_t held_from_ = 0, held_to_ = 0;
    State state_ = State::shaking;
    Ending ending_ = Ending::none;  ///< how the client's side has ended
    bool connection_in_ = true, connection_out_ = true, pair_in_ = true, pair_out_ = true;
    bool in_done_ = false, out_done_ = false;
    bool deaf_ = false;        ///< the handler reads no more
    bool out_end_ = false;     ///< the handler writes no more
    bool pending_ = false;     ///< what was looked at last is to be offered once more
    bool hung_up_ = false;     ///< the handler's end is closed
    bool wrote_ = false;       ///< the handler has said something
    bool sent_ = false;        ///< something has been taken by the client's connection
    proc::TlsEnd end_ = proc::TlsEnd::handshake;
    std::string why_;
};

}  // namespace superd::tls
