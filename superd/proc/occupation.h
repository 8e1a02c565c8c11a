// SPDX-License-Identifier: MIT
#pragma once
// Whether a worker that does not report has something to do, as far as its threads and children show.

#include "sys/process.h"

namespace superd::proc {

/// nullptr: it waits for clients, or may do so (a worker that is not stopped does not show its calls). Otherwise what
/// it does, for the log. A thread that has just been given a client looks like a waiting one: then the worker's sockets
/// decide. `datagrams`: it waits by receiving from its socket.
const char* occupation_of(const sys::ProcessView& worker, bool datagrams);

}  // namespace superd::proc
