// SPDX-License-Identifier: MIT
#pragma once
// What every running service shares.

#include <sys/resource.h>

#include <functional>
#include <unordered_map>

#include "base/log.h"
#include "core/reserve.h"
#include "proc/spawner.h"
#include "sys/fd.h"
#include "sys/loop.h"
#include "sys/service_manager.h"

namespace superd::core {

class Generation;

struct Engine {
    sys::Loop& loop;
    Log& log;
    proc::Spawner& spawner;
    sys::ServiceManager& manager;
    rlimit started_nofile{};  ///< what superd was started with, for handlers
    sys::Fd starter;          ///< superd-exec; of low number
    sys::Fd null;             ///< /dev/null
    Reserve reserve;
    std::function<void()> port_came;                  ///< an address that was waited for is there
    std::unordered_map<pid_t, Generation*> children;  ///< whose each child is
    std::function<void()> look_at_sockets;            ///< of all services, soon
    std::function<void()> report;                     ///< to the manager, how many addresses are served
};

}  // namespace superd::core
