// SPDX-License-Identifier: MIT
#pragma once
// superd's side of a parked superd-exec: the pair that it waits on, and the message that ends the wait.

#include <optional>

#include "base/error.h"
#include "proc/environment.h"
#include "proc/exec_plan.h"
#include "sys/fd.h"

namespace superd::proc {

struct Pair {
    sys::Fd ours;    ///< lifted; descriptors cannot be passed to it
    sys::Fd theirs;  ///< the child's stdin
};

/// SOCK_SEQPACKET, so that a message is whole. Also what workers report on.
Result<Pair> make_pair();

/// Passes the connection on; it stays the caller's. Error: the parked process has gone.
Result<void> send_client(int pair, int connection, const Environment& environment, bool errors_to_client);

/// After the pair became readable: what came back from an exec that failed; nullopt: it closed, the handler runs.
std::optional<SpawnFailure> exec_failure(int pair);

/// One message without blocking, and the descriptor that came with it, if any. Returns what recvmsg(2) does.
ssize_t receive_with_descriptor(int socket, void* data, std::size_t size, sys::Fd& descriptor);

}  // namespace superd::proc
