// SPDX-License-Identifier: MIT
#pragma once
// Which datagrams a service leaves unanswered so that forged ones cannot turn it against others.

#include <cstdint>

#include "lib/worker.h"

namespace worker {

/// False when an answer could reach another service that answers back (a source port below `min_port` or equal to our
/// own) or more than one host (a broadcast, multicast or unspecified address at either end). Peers other than IPv4 and
/// IPv6 cannot be forged and pass. A source that is a subnet's broadcast address is left to the kernel, which drops
/// such datagrams; and our sockets lack SO_BROADCAST.
bool may_answer(const Datagram& datagram, std::uint16_t min_port);

}  // namespace worker
