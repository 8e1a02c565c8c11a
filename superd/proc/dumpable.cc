// SPDX-License-Identifier: MIT
#include "proc/dumpable.h"

#include <fmt/format.h>

#include "sys/file.h"

namespace superd::proc {

// After a change of ids, the memory that superd and the child share takes this value (credentials(7), proc(5)). 0 is
// the kernel's default; systemd-coredump sets 2.
std::string dumpable_warning() {
    const auto value = sys::read_file("/proc/sys/fs/suid_dumpable", 16);
    if (!value || value->text.empty()) return "";
    const char* why = nullptr;
    if (value->text[0] == '1')
        why =
            "until its exec, a child shares superd's memory, and the handler's user may then trace it and so take "
            "superd over";
    if (value->text[0] == '2')
        why =
            "until its exec, a child shares superd's memory, and the handler's user may then have it dump core: the "
            "dump holds superd's memory, and before Linux 5.16 superd ends with the child";
    return why == nullptr ? "" : fmt::format("fs.suid_dumpable is {}: {}; set it to 0", value->text[0], why);
}

}  // namespace superd::proc
