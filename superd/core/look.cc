// SPDX-License-Identifier: MIT
// When the supervisor looks at its listening sockets: after events that may have changed them, never because time has
// passed.
#include <fmt/format.h>

#include <set>
#include <utility>

#include "core/supervisor.h"

namespace superd::core {
namespace {

/// Whatever happens, it does not look more often.
constexpr Duration kPause = std::chrono::milliseconds(50);
/// If the kernel does not report changes of what they are bound to.
constexpr Duration kCoarse = std::chrono::seconds(5);

}  // namespace

void Supervisor::look_soon(Duration pause, bool all) {
    look_at_all_ = look_at_all_ || all;
    look_.set_by(now() + pause);
}

void Supervisor::look_soon(bool all) {
    look_soon(kPause, all);
}

void Supervisor::look_at_sockets(bool all) {
    if (stops_ > 0) return;
    if (!all) return look_at_exposed(false);
    const bool network = changes_.take();
    hear_of_changes();
    look_at_exposed(true);
    if (!network) return;
    for (Port* port : std::vector<Port*>(engine_->exposed.begin(), engine_->exposed.end()))
        if (engine_->exposed.contains(port)) port->try_again();
}

/// The other sockets cannot have been changed.
void Supervisor::look_at_exposed(bool all) {
    std::set<Service*> owners;
    for (const Port* port : engine_->exposed)
        if (port->owner() != nullptr) owners.insert(port->owner());
    for (Service* service : owners) service->look_at_sockets(all);
}

void Supervisor::hear_of_changes() {
    std::set<std::string> paths;
    bool network = false;
    for (Port* port : engine_->exposed) {
        const net::Listener* listener = port->listener();
        const conf::Transport transport = port->where().transport;
        const bool inet = transport == conf::Transport::tcp || transport == conf::Transport::udp;
        if (listener == nullptr)
            network = network || inet;
        else if (inet)
            network = network || !listener->device().empty() || listener->is_multicast();
        else if (!listener->path().empty())
            paths.insert(listener->path());
    }
    for (const auto& heard : {changes_.network(network), changes_.files(paths)}) {
        if (heard) continue;
        if (!std::exchange(told_deaf_, true))
            log_.write(Level::warning,
                       fmt::format("{}; superd looks at its sockets every {} instead", heard.error().text,
                                   format_duration(kCoarse)),
                       {{"ERRNO", heard.error().code}});
        look_soon(kCoarse, true);
    }
}

}  // namespace superd::core
