// SPDX-License-Identifier: MIT
#pragma once
// What all running services share.

#include <sys/resource.h>

#include <functional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "admit/everywhere.h"
#include "base/counted.h"
#include "base/log.h"
#include "core/reserve.h"
#include "proc/spawner.h"
#include "sys/fd.h"
#include "sys/file_watch.h"
#include "sys/loop.h"
#include "sys/service_manager.h"

namespace superd::core {

class Awaited;
class Cgroups;
class ChildOwner;
class Port;

struct Engine {
    sys::Loop& loop;
    Log& log;
    proc::Spawner& spawner;
    sys::ServiceManager& manager;
    rlimit started_nofile{};  ///< superd's own limits at its start, for handlers
    sys::Fd starter;          ///< superd-exec; has a low number
    sys::Fd null;             ///< /dev/null
    Reserve reserve;
    std::function<void(Port&)> port_came;             ///< an address has another socket, or none
    std::unordered_map<pid_t, ChildOwner*> children;  ///< the owner of each child
    std::function<void()> look_at_sockets;            ///< of all services, soon
    std::function<void()> report;                     ///< to the manager: how many addresses are served
    // The objects concerned keep these up to date, so that nothing has to go through all of them:
    std::set<Port*> exposed = {};            ///< addresses that others may change, that are waited for or in trouble
    std::size_t missing = 0;                 ///< the number of these that are not served, waited for or in trouble
    std::size_t unsettled = 0;               ///< what cannot be written down for an upgrade
    std::vector<std::string> finished = {};  ///< services that may be forgotten
    std::function<void()> forget_soon = {};  ///< has `finished` looked at, once all that is ready has been handled
    std::set<Awaited*> unanswered = {};      ///< of whose children one may have begun that is not known yet
    sys::Fd warmer = {};                     ///< superd-warm; of low number; none where it is not installed
    sys::Fd holder = {};                     ///< superd-hold; likewise
    sys::Fd launcher = {};                   ///< superd-launch; likewise
    sys::Fd tls = {};                        ///< superd-tls; likewise
    sys::FileWatches file_watches{loop};     ///< for all services
    Cgroups* cgroups = nullptr;              ///< none in some tests
    admit::Everywhere everywhere = {};       ///< penalties that count at all of them
};

}  // namespace superd::core
