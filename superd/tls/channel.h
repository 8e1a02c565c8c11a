// SPDX-License-Identifier: MIT
#pragma once
// superd-tls's end of its channel.

#include <deque>
#include <string>
#include <string_view>

#include "proc/tls_message.h"
#include "sys/fd.h"

namespace superd::tls {

struct Order {
    enum class What {
        client,   ///< with both descriptors
        lost,     ///< a client whose descriptors did not come: there is no room for them
        nothing,  ///< none waits
        closed,   ///< superd sends no more
    } what = What::nothing;
    std::uint64_t ticket = 0;
    sys::Fd connection, pair;
};

class Channel {
  public:
    explicit Channel(int fd) : fd_(fd) {}
    int fd() const { return fd_; }

    Order next();
    /// What finds no room is sent by flush(), in order.
    void say(proc::TlsAnswer::Word word, std::uint64_t about, std::string_view text, proc::TlsEnd end = {});
    /// False: there is no room yet; the channel will be writable.
    bool flush();
    std::size_t unsent() const { return unsent_.size(); }

  private:
    bool send(std::string_view message);

    int fd_;
    std::deque<std::string> unsent_;
};

}  // namespace superd::tls
