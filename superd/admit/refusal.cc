// SPDX-License-Identifier: MIT
#include "admit/refusal.h"

namespace superd::admit {

const char* name_of(Refusal refusal) {
    static constexpr const char* kNames[kRefusals] = {
        "instances",         "max_load",     "denied",         "time",         "per_source",     "rate",
        "per_source_rate",   "wait_timeout", "no_descriptors", "no_processes", "exec_failed",    "gone",
        "penalty",           "pending",      "stranger",       "header",       "header_timeout", "handshake",
        "handshake_timeout", "tls"};
    return kNames[static_cast<std::size_t>(refusal)];
}

}  // namespace superd::admit
