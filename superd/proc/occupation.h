// SPDX-License-Identifier: MIT
#pragma once
// Whether a worker that says nothing of its clients has something to do, as far as its threads and children tell.

#include "sys/process.h"

namespace superd::proc {

/// nullptr: it waits for clients, or may do so while it is not stopped, when its calls are not known; else what it
/// does, for the log. A thread that has just been given a client looks as one that waits for it: what sockets the
/// worker has decides then. `datagrams`: it waits by receiving from its socket.
const char* occupation_of(const sys::ProcessView& worker, bool datagrams);

}  // namespace superd::proc
