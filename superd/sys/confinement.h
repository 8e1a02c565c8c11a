// SPDX-License-Identifier: MIT
#pragma once
// What of a sandbox superd can make on this machine.

namespace superd::sys {

struct Confinement {
    bool filter = false;      ///< system call filters: seccomp(2)
    bool privileged = false;  ///< CAP_SYS_ADMIN and CAP_SETPCAP: neither no_new_privs nor a user namespace is needed
    bool user_namespace = false;        ///< namespaces are made within one of the own uid
    bool mounts = false;                ///< a mount namespace, and mounting in it
    bool network = false, ipc = false;  ///< namespaces
    bool pids = false;                  ///< a process namespace, and a proc file system that belongs to it
    int landlock = 0;                   ///< version of its interface; 0: none
    bool operator==(const Confinement&) const = default;
};

/// Tries it in a child process, which takes about a millisecond. What cannot be tried counts as missing.
Confinement look_at_confinement();

}  // namespace superd::sys
