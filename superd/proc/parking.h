// SPDX-License-Identifier: MIT
#pragma once
// superd's side of a parked superd-exec: the pair on which it waits, and the message that ends the wait.

#include <optional>

#include "base/error.h"
#include "proc/environment.h"
#include "proc/exec_plan.h"
#include "sys/fd.h"

namespace superd::proc {

struct Pair {
    sys::Fd ours;    ///< lifted; nobody can pass descriptors to it
    sys::Fd theirs;  ///< the child's stdin
};

/// SOCK_SEQPACKET keeps messages whole. Workers report on such a pair too.
Result<Pair> make_pair();

/// Passes on the connection, which the caller keeps. Error: the parked process has gone.
Result<void> send_client(int pair, int connection, const Environment& environment, bool errors_to_client);

/// Call it when the pair is readable: what a failed exec sent back; nullopt: it closed, the handler runs.
std::optional<SpawnFailure> exec_failure(int pair);

/// Receives one message without blocking, and its descriptor, if any. Returns what recvmsg(2) does.
ssize_t receive_with_descriptor(int socket, void* data, std::size_t size, sys::Fd& descriptor);

/// One message without waiting, and who sent it, from a socket with SO_PASSCRED. EPERM: descriptors came with it.
ssize_t receive_from(int socket, char* data, std::size_t size, pid_t& sender);
/// Also one that has ended and was not reaped.
bool is_own_child(pid_t pid);

}  // namespace superd::proc
