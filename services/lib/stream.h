// SPDX-License-Identifier: MIT
#pragma once
// Reading and writing a connection to its end.

#include <cstddef>
#include <span>
#include <string_view>

namespace worker {

/// One read. 0 at the end of the input, on a stall and on a broken connection: in each case nothing more comes.
std::size_t read_some(int fd, std::span<char> buffer);

/// False: the peer is gone or has stopped reading.
bool write_all(int fd, std::string_view data);

/// Does a socket have something, a client of a listening one or its end, at this moment? Never waits.
bool is_readable(int fd);

/// Throws away what a socket has already received, so that closing it ends the connection with a FIN instead of a RST,
/// which could overtake the answer. Never waits.
void discard_received(int fd);

}  // namespace worker
