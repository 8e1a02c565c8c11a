// SPDX-License-Identifier: MIT
#pragma once
// What moves bytes between two sockets, in both directions, without ever waiting.

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "proxy/common.h"

namespace proxy {

/// One socket of a connection. epoll reports edges, so what it has said once is kept here until a call proves it wrong.
struct End {
    Fd fd;
    bool readable = false;
    bool writable = false;
    bool hung = false;   ///< an end or an error is to be read: a short read does not mean that nothing is left
    bool reset = false;  ///< its peer has cut the connection
    bool cut = false;    ///< epoll has said so
    bool gone = false;   ///< nothing comes from it, and nothing gets to it

    void note(std::uint32_t events);
};

struct Pipe {
    Fd read, write;
};

/// Empty pipes to move streams through. A bounded number: what many slow readers can hold in them is bounded as well,
/// as is what they hold in memory.
class Pipes {
  public:
    explicit Pipes(std::size_t most) : most_(most) {}
    /// nullopt: there is none to be had now, so copy.
    std::optional<Pipe> take();
    void give_back(Pipe pipe);
    void drop() { --out_; }

    static constexpr std::size_t kSize = 256 * 1024;
    static constexpr std::size_t kMost = 256;  ///< 64 MiB: pipe-user-pages-soft of an unprivileged user
    static constexpr std::size_t kSpare = 32;

    std::size_t kept = 0;  ///< bytes in memory, of all flows
    static constexpr std::size_t kMuchKept = 64u << 20;

  private:
    const std::size_t most_;
    std::size_t out_ = 0;
    std::vector<Pipe> spare_;
};

/// One direction. It reads only after all that it has read before is written, so it holds at most kChunk, or one pipe.
class Flow {
  public:
    explicit Flow(Pipes& pipes) : pipes_(pipes) {}
    Flow(const Flow&) = delete;
    ~Flow();

    /// What is to come before the stream.
    void put_first(std::string_view bytes) { dead_ = !keep(bytes); }
    /// Moves what can be moved. True: there is more to move, but it is others' turn.
    bool move(End& from, End& to);
    /// Nothing more will be moved.
    bool over() const { return dead_ || (ended_ && !holds()); }
    /// Has moved something since the last call.
    bool stirred() { return std::exchange(stirred_, false); }

    static constexpr std::size_t kChunk = 32 * 1024;
    static constexpr std::size_t kSmallChunk = 4 * 1024;  ///< when all flows together keep much

  private:
    bool holds() const { return kept_size_ > 0 || piped_ > 0; }
    void pull(End& from, End& to);
    void copy(End& from, End& to);
    bool splice_in(End& from);
    void push(End& to);
    /// False: there is no memory.
    bool keep(std::string_view bytes);
    void drop_kept();
    void put_pipe_away();
    void failed_to_read(End& from, int code);
    void failed_to_write(End& to, int code);

    Pipes& pipes_;
    std::optional<Pipe> pipe_;
    std::size_t piped_ = 0;
    std::unique_ptr<char[]> kept_;
    std::uint32_t kept_size_ = 0, kept_at_ = 0, kept_room_ = 0;
    bool bulk_ = false;         ///< large reads come: a pipe is worth its price
    bool copies_only_ = false;  ///< this kind of socket cannot be spliced
    bool ended_ = false;        ///< the source has
    bool passed_ = false;       ///< the destination has been told so
    bool dead_ = false;         ///< the destination takes nothing any more
    bool stirred_ = false;
};

}  // namespace proxy
