// SPDX-License-Identifier: MIT
#pragma once
// Why a client was not served.

#include <array>
#include <cstddef>
#include <cstdint>

namespace superd::admit {

enum class Refusal {
    instances,        ///< as many handlers as there may be, and on_excess is not queue
    max_load,         ///< the machine has too much to do, and on_excess is not queue
    denied,           ///< [access] allow, deny
    time,             ///< [access] times
    per_source,       ///< too many of one source at once, and no place to hold it
    rate,             ///< the service's rate: times that it paused
    per_source_rate,  ///< one source came too fast, and no place to hold it
    wait_timeout,     ///< held for too long
    no_descriptors,   ///< tries that met no free descriptor; the client waits
    no_processes,     ///< tries that met no free process or memory; the client waits
    exec_failed,      ///< its handler did not start
    gone,             ///< left before it was served
};
constexpr std::size_t kRefusals = 12;
const char* name_of(Refusal);

using Refusals = std::array<std::uint64_t, kRefusals>;

}  // namespace superd::admit
