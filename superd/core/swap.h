// SPDX-License-Identifier: MIT
#pragma once
// What a reload changes, and nothing of what it leaves as it is.

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/supervisor.h"

namespace superd::core {

struct Supervisor::Swap {
    conf::Reload next;
    std::size_t enabled = 0;         ///< services afterwards
    std::vector<std::string> going;  ///< services that are no longer to run
    struct Touched {
        const conf::Service* definition;
        bool changed;
    };
    std::vector<Touched> touched;  ///< those that are new or changed, or may have been passed more sockets
    std::vector<Wanted> wanted;    ///< by these
    std::unordered_map<std::string_view, const Wanted*> by_key;
    std::multimap<std::pair<conf::Transport, std::uint32_t>, Port*> by_place;  ///< of who changes, once it is needed

    /// Sockets that are ready, and by key those that could not be had.
    std::map<std::string, net::Listener> opened;
    std::map<std::string, std::pair<std::string, Error>> missing;  ///< with the service

    // While it is carried out:
    std::vector<Port*> before;  ///< of who changes
    std::map<std::string, std::vector<Port*>> ports_of;
    std::vector<std::pair<Port*, const Wanted*>> waiting;
    std::vector<std::pair<std::string, net::Listener>> replaced;  ///< with the service

    std::vector<std::string> changing() const {
        std::vector<std::string> names = going;
        for (const Touched& service : touched) names.push_back(service.definition->name);
        return names;
    }
};

}  // namespace superd::core
