// SPDX-License-Identifier: MIT
#pragma once
// superd's side of a superd-launch.

#include <sys/types.h>

#include <optional>

#include "base/error.h"
#include "conf/sandbox.h"
#include "proc/environment.h"
#include "proc/launch/message.h"
#include "proc/parking.h"

namespace superd::proc {

/// May it do its work under this sandbox's filter? If not, handlers are started directly: what it needs would have to
/// be permitted to them as well.
bool can_launch(const conf::Sandbox& sandbox);

/// The pair on which it waits. What a handler that could not be executed sends back, comes over it.
Result<Pair> make_launch_channel();

/// Passes on the connection, which the caller keeps until somebody has told that he has it.
Result<void> order_launch(int channel, std::uint32_t serial, int connection, const Environment& environment,
                          bool errors_to_client);

struct LaunchWord {
    launch::Answer answer{};
    pid_t sender = 0;           ///< as the kernel tells
    sys::GuardedFd connection;  ///< of `failed`
};
/// The next word, without waiting. `open`: there may be more later.
std::optional<LaunchWord> launch_word(int channel, bool& open);

}  // namespace superd::proc
