// SPDX-License-Identifier: MIT
#pragma once
// What a handler sees of the file system, made in a mount namespace of its own.

#include <string>
#include <vector>

namespace superd::hold {

/// What becomes of one path.
struct Entry {
    enum class Kind {
        read_only,
        read_write,    ///< stays as it is when what lies around it becomes read-only
        as_it_is,      ///< the same, of file systems that are mounts of their own: /dev, /proc, /sys
        inaccessible,  ///< empty, and nobody has a right to it
        scratch,       ///< a file system of its own in memory, for temporary files
        empty,         ///< nothing in it, and read-only
        devices,       ///< /dev with what every program may need, and nothing else
        processes,     ///< /proc of the PID namespace
        queues,        ///< /dev/mqueue of the IPC namespace
    } kind;
    bool optional = false;
    std::string path;    ///< as the handler sees it; then, once it is known, as this process does
    std::string option;  ///< processes: of proc(5)
};

/// What kept it from being made.
struct Failure {
    int code = 0;  ///< errno; 0: nothing did
    std::string what;
};

/// All of them below `root` ("": no other root). Of two for one path the first counts.
Failure make_mounts(std::vector<Entry> entries, const std::string& root, bool as_owner);

}  // namespace superd::hold
