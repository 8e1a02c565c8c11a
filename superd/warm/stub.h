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

/// An open regular file or folder, and its offset.
struct Reopened {
    int fd;
    int flags;
    int close_on_exec;
    int spare;
    long offset;
    char path[32];  ///< /proc/self/fd/N
};

struct StubData {
    Registers at_call;   ///< make the call that it was parked at
    std::uint64_t mask;  ///< signals that the program blocks
    sockaddr_un tracer;  ///< passes on its channel
    unsigned tracer_length;
    int dumpable;  ///< the program's own setting
    int copies;    ///< it may be copied
    int stays;     ///< the tracer stays until it goes, and then releases the other threads
    int tracing;   ///< connection to the tracer
    int channel;   ///< to superd
    long clone_flags;
    long tid_address;
    long robust_list, robust_size;
    unsigned count;
    Reopened files[proc::warm::kMostReopened];
};

constexpr unsigned long kStubStack = 4096;  ///< below the end of the area behind the data

/// The entry point. Does not return.
[[noreturn]] void stub(StubData* data);

}  // namespace superd::warm
