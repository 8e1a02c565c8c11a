// SPDX-License-Identifier: MIT
#pragma once
// What a reload changes, and nothing that it leaves unchanged.

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/supervisor.h"

namespace superd::core {

/// superd's own sockets that keep a new one from its address.
struct Supervisor::InTheWay {
    std::vector<const net::Listener*> going;  ///< by this reload
    Service::Remains remains;

    bool can_be_shared() const { return !going.empty() || !remains.deaf.empty(); }
};

struct Supervisor::Swap {
    conf::Reload next;
    std::size_t enabled = 0;         ///< services afterwards
    std::vector<std::string> going;  ///< services that stop running
    struct Touched {
        const conf::Service* definition;
        bool changed;
    };
    std::vector<Touched> touched;  ///< services that are new or changed, or may have been passed more sockets
    std::vector<Wanted> wanted;    ///< by these
    std::unordered_map<std::string_view, const Wanted*> by_key;
    std::multimap<std::pair<conf::Transport, std::uint32_t>, Port*> by_place;  ///< of changing services, once needed

    /// Ready sockets, and by key those that are not available.
    std::map<std::string, net::Listener> opened;
    std::map<std::string, std::pair<std::string, Error>> missing;  ///< with the service

    // While the swap is carried out:
    std::vector<Port*> before;  ///< of changing services
    std::map<std::string, std::vector<Port*>> ports_of;
    std::vector<std::pair<Port*, const Wanted*>> waiting;
    struct Replaced {
        std::string service;
        const Port* port;
        net::Listener socket;
    };
    std::vector<Replaced> replaced;
    std::map<const Port*, conf::ProxyProtocol> headers;  ///< awaited on the sockets of changing services until now

    const conf::ProxyProtocol& headers_of(const Port* port) const {
        static const conf::ProxyProtocol none;
        const auto at = headers.find(port);
        return at != headers.end() ? at->second : none;
    }
    std::vector<std::string> changing() const {
        std::vector<std::string> names = going;
        for (const Touched& service : touched) names.push_back(service.definition->name);
        return names;
    }
};

}  // namespace superd::core
