// SPDX-License-Identifier: MIT
#pragma once
// What a system call means during a handler's start.

namespace superd::warm {

/// Which arguments are descriptors, or what else to look at in the call.
enum class Look {
    first,        ///< argument 0 is a descriptor; the call touches what it names
    two,          ///< arguments 0 and 1
    outer,        ///< arguments 0 and 2
    third,        ///< argument 2
    range,        ///< from argument 0 to 1
    option,       ///< getsockopt(2)
    control,      ///< fcntl(2)
    terminal,     ///< ioctl(2)
    poll,         ///< poll(2)
    polls_until,  ///< ppoll(2)
    select,
    open,
    pid,
    random,
    timer,
    asynchronous,
    tid_address,
    robust_list,
};

struct Rule {
    long number;
    Look look;
};

}  // namespace superd::warm
