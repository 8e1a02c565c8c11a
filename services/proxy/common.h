// SPDX-License-Identifier: MIT
#pragma once
// What all parts of superd-proxy use: time, descriptors, addresses, lines on stderr.

#include <sys/socket.h>

#include <chrono>
#include <string>
#include <string_view>

#include "lib/fd.h"

namespace proxy {

using Clock = std::chrono::steady_clock;
using Instant = Clock::time_point;
using Duration = std::chrono::nanoseconds;

using worker::Fd;

struct Address {
    sockaddr_storage storage{};
    socklen_t size = 0;

    int family() const { return storage.ss_family; }
    sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
    const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

/// The same address as IPv4 if it is an IPv4-mapped one.
Address unmapped(const Address& address);

/// Where nobody listens, the kernel may choose the very port that is asked for as this end's too, and the socket is
/// connected to itself (RFC 9293, 3.5: both ends open). errno is then ECONNREFUSED.
bool connected_to_itself(int fd);

/// SO_LINGER of nothing: the peer gets a reset (RFC 9293, 3.10.5), and no TIME_WAIT keeps the port.
void reset_at_close(int fd);

/// A line on stderr, in one write.
void say(std::string_view line);
std::string error_text(int code);

/// A fault that lasts is told once when it begins and once when it is over, with the number of times.
class Episode {
  public:
    void begin(const std::string& line) {
        if (count_++ == 0) say(line);
    }
    void end(std::string_view line) {
        if (count_ > 1) say(std::string(line) + " (" + std::to_string(count_) + " failed until then)");
        count_ = 0;
    }

  private:
    unsigned long count_ = 0;
};

}  // namespace proxy
