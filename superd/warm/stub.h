// SPDX-License-Identifier: MIT
#pragma once
// The code and the data that a tracer puts into a handler, so that it can wait for its client and copy itself.

#include <sys/socket.h>
#include <sys/un.h>

#include <cstdint>

#include "proc/warm_message.h"
#include "warm/processor.h"

/// Code that runs wherever it is copied to: no data, no calls out of its section.
extern "C" const unsigned char __start_warm_stub[] __attribute__((visibility("hidden")));
extern "C" const unsigned char __stop_warm_stub[] __attribute__((visibility("hidden")));

namespace superd::warm {

/// A regular file or folder that is open, and where it stands in it.
struct Reopened {
    int fd;
    int flags;
    int close_on_exec;
    int spare;
    long offset;
    char path[24];  ///< /proc/self/fd/N
};

struct StubData {
    Registers at_call;   ///< with which the call that it was parked at is made
    std::uint64_t mask;  ///< signals that the program blocks
    sockaddr_un tracer;  ///< gives it its channel
    unsigned tracer_length;
    int dumpable;  ///< as the program had it
    int copies;    ///< it may be copied
    int stays;     ///< the tracer stays until it goes, and lets go of the other threads then
    int tracing;   ///< connection to the tracer
    int channel;   ///< to superd
    long clone_flags;
    long tid_address;
    long robust_list, robust_size;
    unsigned count;
    Reopened files[proc::warm::kMostReopened];
};

constexpr unsigned long kStubStack = 4096;  ///< below the end of what follows the data

/// Where it begins. Does not return.
[[noreturn]] void stub(StubData* data);

}  // namespace superd::warm
