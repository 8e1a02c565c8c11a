// SPDX-License-Identifier: MIT
#pragma once
// How much a service's handlers could do to the machine: rated line by line, on the scale of systemd-analyze(1)
// security, with its weights, for what superd has a key for.

#include <string>
#include <vector>

#include "conf/service.h"

namespace superd::conf {

struct ExposureLine {
    const char* setting;  ///< systemd's: "PrivateNetwork=", "SystemCallFilter=~@mount"
    const char* says;     ///< of the handler
    const char* mend;     ///< the key and value that would mend it; "" where nothing is to be mended
    int weight = 0;
    int badness = 0, range = 1;  ///< from 0 to range
    int tenths = 0;              ///< what it adds to the sum, rounded up
};

struct Exposure {
    std::vector<ExposureLine> lines;
    int tenths = 0;           ///< 0 to 100: 0.0 to 10.0
    const char* rating = "";  ///< "SAFE", "EXPOSED" …
};

Exposure exposure(const Service& service);

/// Its supplementary groups without its own one.
std::vector<gid_t> other_groups(const Handler& handler);

/// The service as a unit of systemd, for systemd-analyze(1) and for comparing: what confines its handlers there.
std::string equivalent_unit(const Service& service);

}  // namespace superd::conf
