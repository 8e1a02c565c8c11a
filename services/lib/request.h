// SPDX-License-Identifier: MIT
#pragma once
// One request, whichever way it came.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "lib/worker.h"

namespace worker {

/// False: it threw, and stderr says what.
bool attempt(const std::function<void()>& request);

/// Serves a connection to its end, but leaves it open. False: the request function threw.
bool serve(const Service& service, Connection connection, int timeout_seconds);

/// The reply, if the sender may have one and the service gives one. Throws what the request function throws.
std::optional<std::string> answer(const Service& service, const Datagram& datagram, std::uint16_t min_port);

}  // namespace worker
