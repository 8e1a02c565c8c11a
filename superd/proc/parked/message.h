// SPDX-License-Identifier: MIT
#pragma once
// What passes between superd and a parked superd-exec, over a SOCK_SEQPACKET pair on its stdin.

namespace superd::proc::parked {

/// To superd-exec, with the connection as SCM_RIGHTS: one byte, then the client's variables, each ended by NUL.
enum class Errors : char {
    keep = '-',    ///< stderr stays as it is
    socket = '2',  ///< stderr is the connection as well
};

/// The largest message. Variables of one client are a few hundred bytes; a unix path is at most 108.
constexpr int kLargest = 4096;

/// From superd-exec, before it leaves with 127: errno of the exec that failed, and the connection as SCM_RIGHTS. A
/// pair that closes without: it worked.
struct Failure {
    int code;
};

}  // namespace superd::proc::parked
