// SPDX-License-Identifier: MIT
#pragma once
// Why a client was not served.

#include <array>
#include <cstddef>
#include <cstdint>

namespace superd::admit {

enum class Refusal {
    instances,          ///< all handlers are in use, and on_excess is not queue
    max_load,           ///< the machine is too busy, and on_excess is not queue
    denied,             ///< [access] allow, deny
    time,               ///< [access] times
    per_source,         ///< too many from one source at once, and no room to hold the client
    rate,               ///< the service's rate: how often it paused
    per_source_rate,    ///< one source came too fast, and no room to hold the client
    wait_timeout,       ///< held for too long
    no_descriptors,     ///< attempts that found no free descriptor; the client waits
    no_processes,       ///< attempts that found no free process or memory; the client waits
    exec_failed,        ///< its handler did not start
    gone,               ///< left before it was served
    penalty,            ///< [penalty]: what its source has done
    pending,            ///< too many are not known yet, of its source or in all
    stranger,           ///< not in proxy_protocol.from
    header,             ///< what it sent is not the header of a proxy
    header_timeout,     ///< the header was not complete in time
    handshake,          ///< it did not begin TLS as it should
    handshake_timeout,  ///< the handshake was not over in time
    tls,                ///< superd-tls ended, or had no room
};
constexpr std::size_t kRefusals = 20;
const char* name_of(Refusal);

using Refusals = std::array<std::uint64_t, kRefusals>;

}  // namespace superd::admit
