// SPDX-License-Identifier: MIT
// The swap, which cannot fail: everything that it needs is there.
#include "core/swap.h"

#include <fmt/format.h>

namespace superd::core {
namespace {

/// Handlers' answers may keep it open for a while: what comes to it meanwhile would be lost.
void make_deaf(net::Listener& listener) {
    if (listener.type() == conf::SocketType::datagram && !listener.given() && !listener.inherited())
        listener.hand_on_to(nullptr);
}

}  // namespace

void Supervisor::drop(Port& port) {
    net::Listener* listener = port.listener();
    if (listener == nullptr || !listener->inherited()) return;
    port.watch(false);
    passed_.give_back(port.take_socket());
}

void Supervisor::put_in_force(Swap& swap) {
    collect_going(swap);
    install(swap);
    go_by(swap);
    for (const std::string& name : swap.going)
        if (const auto at = services_.find(name); at != services_.end()) at->second->withdraw();
    enforce(swap);
    wait_for_missing(swap);
    close_going(swap);
    look_soon();
    forget_finished();
}

/// Clients that wait on a socket that goes are taken first: the change turns nobody away.
void Supervisor::collect_going(Swap& swap) {
    for (const std::string& name : swap.changing()) {
        const auto at = services_.find(name);
        if (at == services_.end()) continue;
        const conf::ProxyProtocol& rules = at->second->proxy_protocol();
        for (Port* port : at->second->ports()) {
            swap.before.push_back(port);
            if (rules.on) swap.headers.emplace(port, rules);
            if (swap.by_key.contains(port->key()) && !swap.opened.contains(port->key())) continue;
            port->watch(false);
            if (port->listener() != nullptr) at->second->collect(*port->listener(), rules);
        }
    }
}

void Supervisor::install(Swap& swap) {
    for (const Wanted& want : swap.wanted) {
        auto at = ports_.find(want.key);
        if (at == ports_.end()) {
            auto made = std::make_unique<Port>(*engine_, want.key, want.where);
            const std::string_view key = made->key();
            at = ports_.emplace(key, std::move(made)).first;
        }
        Port& port = *at->second;
        if (auto opened = swap.opened.extract(want.key)) {
            if (auto before = port.install(std::move(opened.mapped())))
                swap.replaced.push_back({want.service->name, &port, std::move(*before)});
            log_.write(Level::info, fmt::format("listening on {}", port.uri()),
                       {{"SERVICE", want.service->name}, {"ADDRESS", port.uri()}});
        } else if (port.listener() != nullptr) {
            if (auto changed = port.listener()->become(want.service->socket); !changed)
                log_.write(Level::warning, changed.error().text, {{"SERVICE", want.service->name}});
        } else {
            swap.waiting.emplace_back(&port, &want);
        }
        swap.ports_of[want.service->name].push_back(&port);
    }
}

/// What is unchanged stays in place; a changed definition passes to the service that has it in force.
void Supervisor::go_by(Swap& swap) {
    const auto leave = [this](const std::string& name) {
        const auto service = services_.find(name);
        if (auto before = catalog_.services.extract(name); before && service != services_.end())
            service->second->keep(std::move(before));
    };
    for (const std::string& name : swap.going) leave(name);
    for (const Swap::Touched& service : swap.touched)
        if (service.changed) leave(service.definition->name);
    conf::Catalog& next = swap.next.catalog;
    std::erase_if(catalog_.services, [&](const auto& entry) {
        const auto& [name, definition] = entry;
        return !swap.next.kept.contains(name) && (!definition.enabled || !next.services.contains(name));
    });
    catalog_.services.merge(next.services);
    catalog_.control = std::move(next.control);
    catalog_.watch = next.watch;
    catalog_.shutdown = next.shutdown;
    seen_ = std::move(swap.next.seen);
    enabled_ = swap.enabled;
}

void Supervisor::enforce(Swap& swap) {
    for (const auto& [definition, changed] : swap.touched) {
        const auto& ports = swap.ports_of.at(definition->name);
        auto& service = services_[definition->name];
        if (!service) service = std::make_unique<Service>(*engine_, definition->name);
        if (!changed && service->current() != nullptr && service->ports() == ports) continue;
        const net::Listener* first = ports.front()->listener();
        const auto handoff = first == nullptr
                                 ? definition->handoff
                                 : conf::handoff_for(definition->model, definition->handoff, first->type());
        if (handoff == definition->handoff) {
            service->enforce(*definition, ports);
            continue;
        }
        conf::Service fitted = *definition;
        fitted.handoff = handoff;
        service->enforce(service->keep(Service::own(std::move(fitted))), ports);
    }
}

void Supervisor::wait_for_missing(Swap& swap) {
    for (const auto& [port, want] : swap.waiting) {
        const auto why = swap.missing.find(want->key);
        port->wait(why != swap.missing.end() ? why->second.second : Error{},
                   [this, service = want->service->name, where = want->where] { return open_again(service, where); });
    }
}

Result<net::Listener> Supervisor::open_again(const std::string& service, const conf::Listen& where) {
    return open_socket(passed_, catalog_.services.at(service), where);
}

/// The last close ends a socket, so take the clients that came until then. Whether they send a header is told by the
/// rules under which they came.
void Supervisor::close_going(Swap& swap) {
    std::erase_if(swap.before, [&](Port* port) { return swap.by_key.contains(port->key()); });
    for (Port* port : swap.before) store_.release(*port);
    for (const Wanted& want : swap.wanted) store_.keep(*ports_.at(want.key));
    store_.wait(Store::kPatience);
    for (auto& [owner, port, socket] : swap.replaced) {
        if (const auto at = services_.find(owner); at != services_.end())
            at->second->collect(socket, swap.headers_of(port));
        make_deaf(socket);
    }
    for (Port* port : swap.before) {
        if (net::Listener* const listener = port->listener(); listener != nullptr) {
            port->owner()->collect(*listener, swap.headers_of(port));
            make_deaf(*listener);
        }
        drop(*port);
        ports_.erase(ports_.find(port->key()));
    }
    swap.replaced.clear();
}

}  // namespace superd::core
