// SPDX-License-Identifier: MIT
#pragma once
// One traced process: what ptrace(2) and /proc let its tracer see and do.

#include <sys/types.h>

#include <cstdint>

#include "proc/warm_message.h"
#include "warm/processor.h"
#include "warm/stub.h"

namespace superd::warm {

constexpr unsigned kEvent = 8;  ///< above a stop's signal in the status from wait(2)

bool read_memory(pid_t process, unsigned long from, void* to, unsigned long size);
/// Word by word, since only this may write to a page of code. `size` is rounded up to words.
bool write_memory(pid_t process, unsigned long to, const void* from, unsigned long size);
bool get_registers(pid_t thread, Registers& registers);
bool set_registers(pid_t thread, Registers registers);

/// Does the call touch the placeholder?
bool touches(pid_t process, const Rule& rule, const std::uint64_t (&arguments)[6], bool errors_to_client);
const Rule* rule_of(long number);

/// Opens a file in /proc/PID; -1 if that fails.
int open_proc(pid_t process, const char* name);

using proc::warm::Obstacle;
/// What copies of the process cannot share, with a detail; fills in what they open again.
Obstacle look_at_files(pid_t process, StubData& data, char (&detail)[128]);
/// The same for its mappings; reports each mapped file to `tell`.
class Files;
Obstacle look_at_memory(pid_t process, Files& files, char (&detail)[128]);
/// Programs that do not work as intended under a tracer.
bool gains_privilege(const char* path);

/// Reports each regular file to superd once.
class Files {
  public:
    explicit Files(int channel) : channel_(channel) {}
    /// A descriptor of the process, or "exe". True: it is the kernel's source of random numbers.
    bool tell_open(pid_t process, const char* name);
    void tell_mapped(const char* path, std::uint64_t device, std::uint64_t inode);
    bool more() const { return more_; }

  private:
    struct Known {
        std::uint64_t device, inode;
    };
    void tell(const char* path, const struct stat& about);
    int channel_;
    unsigned count_ = 0;
    bool more_ = false;
    Known known_[proc::warm::kMostFiles];
};

}  // namespace superd::warm
