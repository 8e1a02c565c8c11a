// SPDX-License-Identifier: MIT
// Putting a catalog in force: everything that can fail first, then the swap, which cannot.
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <ranges>
#include <set>

#include "base/text.h"
#include "conf/plan.h"
#include "core/supervisor.h"

namespace superd::core {

/// Sockets that are ready for the swap, and by key those that could not be had.
struct Supervisor::NewSockets {
    std::map<std::string, net::Listener> opened;
    std::map<std::string, std::pair<std::string, Error>> missing;  ///< with the service
};

namespace {

bool same_transport_and_port(const conf::Listen& a, const conf::Listen& b) {
    return a.transport == b.transport && a.port == b.port &&
           (a.transport == conf::Transport::tcp || a.transport == conf::Transport::udp);
}

std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    for (const auto part : std::views::split(text, '\n'))
        if (!part.empty()) lines.emplace_back(part.begin(), part.end());
    return lines;
}

}  // namespace

std::vector<Supervisor::Wanted> Supervisor::wanted_by(const conf::Catalog& catalog) const {
    std::vector<Wanted> all;
    for (const auto& [name, service] : catalog.services) {
        if (!service.enabled) continue;
        for (std::size_t i = 0; i < service.listen.size(); ++i) {
            const conf::Listen& where = service.listen[i];
            std::string key = where.uri();
            // Each "any free port" is a socket of its own.
            if (any_port(where)) key += fmt::format(" {} {}", name, i);
            if (where.transport != conf::Transport::inherited) {
                all.push_back({key, &service, where});
                continue;
            }
            std::size_t count = passed_.count(where.name);
            for (const auto& [known, port] : ports_) count += known.starts_with(key + " ");
            for (std::size_t k = 0; k < std::max<std::size_t>(count, 1); ++k)
                all.push_back({fmt::format("{} {}", key, k), &service, where});
        }
    }
    return all;
}

/// Sockets of ours that are about to go and stand where `wanted` is to be bound.
std::vector<const net::Listener*> Supervisor::in_the_way_of(const Wanted& wanted, const std::vector<Wanted>& all) {
    std::vector<const net::Listener*> older;
    for (const auto& [key, port] : ports_) {
        const net::Listener* listener = port->listener();
        if (listener == nullptr || !same_transport_and_port(port->where(), wanted.where)) continue;
        const bool stays = std::ranges::any_of(
            all, [&](const Wanted& other) { return other.key == key && listener->can_become(other.service->socket); });
        if (!stays) older.push_back(listener);
    }
    return older;
}

/// An address that overlaps one of ours that is about to go ("*" and 127.0.0.1 on one port): both are allowed to
/// be bound until the older is closed, so that no client meets a closed port.
Result<net::Listener> Supervisor::open_beside(const Wanted& wanted, const std::vector<const net::Listener*>& older) {
    for (const net::Listener* listener : older) listener->allow_overlap(true);
    auto opened = open_socket(passed_, *wanted.service, wanted.where, true);
    // Nobody else is to be let in beside us, whatever becomes of the reload.
    for (const net::Listener* listener : older) listener->allow_overlap(false);
    return opened;
}

Result<void> Supervisor::open_new(const std::vector<Wanted>& wanted, NewSockets& sockets) {
    const auto miss = [&](const Wanted& want, const Error& why) {
        log_.write(Level::debug, why.text, {{"SERVICE", want.service->name}, {"ADDRESS", want.where.uri()}});
        sockets.missing.emplace(want.key, std::pair{want.service->name, why});
    };
    std::vector<std::pair<const Wanted*, std::vector<const net::Listener*>>> beside;
    for (const Wanted& want : wanted) {
        const auto at = ports_.find(want.key);
        net::Listener* present = at == ports_.end() ? nullptr : at->second->listener();
        if (at != ports_.end() && present == nullptr) continue;  // goes on waiting
        if (present != nullptr && present->can_become(want.service->socket)) {
            if (auto fits = check_type(*want.service, want.where, present->type()); !fits) miss(want, fits.error());
        } else if (auto listener = open_socket(passed_, *want.service, want.where)) {
            sockets.opened.emplace(want.key, std::move(*listener));
        } else {
            auto older =
                listener.error().code == EADDRINUSE ? in_the_way_of(want, wanted) : std::vector<const net::Listener*>{};
            if (older.empty())
                miss(want, listener.error());
            else
                beside.emplace_back(&want, std::move(older));
        }
    }
    // A socket beside an older one takes clients from its first moment, and the kernel remembers that the address
    // was shared: only when nothing else can go wrong.
    if (sockets.missing.empty())
        for (const auto& [want, older] : beside) {
            if (auto listener = open_beside(*want, older))
                sockets.opened.emplace(want->key, std::move(*listener));
            else
                miss(*want, listener.error());
        }
    if (sockets.missing.empty()) return {};
    const auto& [service, why] = sockets.missing.begin()->second;
    return std::unexpected(Error{fmt::format("{}: {}", service, why.text), why.code});
}

void Supervisor::drop(Port& port) {
    net::Listener* listener = port.listener();
    if (listener == nullptr || !listener->inherited()) return;
    port.watch(false);
    passed_.give_back(port.take_socket());
}

void Supervisor::put_in_force(const conf::Catalog& next, const std::vector<Wanted>& wanted, NewSockets& sockets) {
    std::set<std::string> keys;
    for (const Wanted& want : wanted) keys.insert(want.key);

    // Who waits on a socket that goes is taken first: nobody is turned away by the change.
    for (const auto& [key, port] : ports_) {
        if (keys.contains(key) && !sockets.opened.contains(key)) continue;
        port->watch(false);
        if (port->listener() != nullptr && port->owner() != nullptr) port->owner()->collect(*port->listener());
    }
    std::map<std::string, std::vector<Port*>> ports_of;
    std::vector<std::pair<Port*, const Wanted*>> waiting;
    std::vector<std::pair<std::string, net::Listener>> replaced;
    std::map<std::string, std::unique_ptr<Port>> kept;
    for (const Wanted& want : wanted) {
        std::unique_ptr<Port> port;
        if (auto node = ports_.extract(want.key)) port = std::move(node.mapped());
        const bool is_new = port == nullptr;
        if (is_new) port = std::make_unique<Port>(*engine_, want.where);
        if (auto opened = sockets.opened.extract(want.key)) {
            if (auto before = port->install(std::move(opened.mapped())))
                replaced.emplace_back(want.service->name, std::move(*before));
            log_.write(Level::info, fmt::format("listening on {}", port->uri()),
                       {{"SERVICE", want.service->name}, {"ADDRESS", port->uri()}});
        } else if (port->listener() != nullptr) {
            if (auto changed = port->listener()->become(want.service->socket); !changed)
                log_.write(Level::warning, changed.error().text, {{"SERVICE", want.service->name}});
        } else {
            waiting.emplace_back(port.get(), &want);
        }
        ports_of[want.service->name].push_back(port.get());
        kept.emplace(want.key, std::move(port));
    }

    for (const auto& [name, service] : services_)
        if (!ports_of.contains(name)) service->withdraw();
    for (auto& [name, ports] : ports_of) {
        auto& service = services_[name];
        if (!service) service = std::make_unique<Service>(*engine_, name);
        conf::Service definition = next.services.at(name);
        if (ports.front()->listener() != nullptr)
            definition.handoff =
                conf::handoff_for(definition.model, definition.handoff, ports.front()->listener()->type());
        const auto running = catalog_.services.find(name);
        const bool same = service->current() != nullptr && !service->is_withdrawn() &&
                          running != catalog_.services.end() && running->second == next.services.at(name);
        if (!same) service->enforce(std::move(definition), ports);
    }
    for (const auto& [port, want] : waiting) {
        const auto why = sockets.missing.find(want->key);
        const conf::Service definition = *want->service;
        const conf::Listen where = want->where;
        port->wait(why != sockets.missing.end() ? why->second.second : Error{},
                   [this, definition, where] { return open_socket(passed_, definition, where); });
    }
    store_.keep(kept, Store::kPatience);
    // And who came between.
    for (const auto& [owner, listener] : replaced)
        if (const auto at = services_.find(owner); at != services_.end()) at->second->collect(listener);
    for (const auto& [key, port] : ports_) {
        for (const auto& [name, service] : services_)
            if (net::Listener* listener = port->listener(); listener != nullptr && service.get() == port->owner())
                service->collect(*listener);
        drop(*port);
    }
    ports_ = std::move(kept);
    catalog_ = next;
    look_soon();
    forget_finished();
}

void Supervisor::start(const conf::Catalog& catalog) {
    const auto wanted = wanted_by(catalog);
    NewSockets sockets;
    (void)open_new(wanted, sockets);  // what is missing is waited for
    put_in_force(catalog, wanted, sockets);
    passed_.discard_stored();
    for (const auto& socket : passed_.unclaimed())
        log_.write(Level::warning,
                   fmt::format("the service manager passed a socket \"{}\" that no service names", socket.name));
    const auto waiting = sockets.missing.size();
    std::string on = counted(ports_.size(), "address");
    if (waiting > 0) on = fmt::format("{} of {}, waiting for {}", ports_.size() - waiting, on, waiting);
    log_.write(Level::notice, fmt::format("ready: {} on {}", counted(services_.size(), "service"), on));
    report_to_manager();
}

std::expected<conf::Catalog, conf::Diagnostics> Supervisor::read_definitions(bool look_up) {
    look_up ? invocation_.definitions.names.ask() : invocation_.definitions.names.ask_nobody();
    engine_->reserve.release();  // the files are to be read even if clients hold all descriptors
    auto next = conf::load(invocation_.definitions);
    engine_->reserve.fill(engine_->null);
    return next;
}

ReloadReport Supervisor::plan(bool look_up) {
    auto next = read_definitions(look_up);
    ReloadReport report;
    if (next) {
        report.items = conf::plan(catalog_, *next);
        return report;
    }
    report.refused = true;
    for (conf::Diagnostic& diagnostic : next.error()) report.complaints.push_back({{}, std::move(diagnostic)});
    return report;
}

ReloadReport Supervisor::reload() {
    ReloadReport report;
    report.refused = true;
    if (stops_ > 0) {
        report.complaints.push_back({{}, {{}, "superd is stopping"}});
        return report;
    }
    manager_.tell_reloading();
    tzset();  // [access] times are of the zone as it is now
    const auto refuse = [&](const std::string& why) {
        ++reloads_refused_;
        log_.write(Level::error, fmt::format("reload refused, everything stays as it was: {}", why));
        manager_.tell(fmt::format("READY=1\nSTATUS=Reload refused: {}", why));
        return report;
    };
    auto next = read_definitions(true);
    if (!next) {
        for (const conf::Diagnostic& diagnostic : next.error()) {
            report.complaints.push_back({{}, diagnostic});
            log_.write(Level::error, lines_of(conf::format(diagnostic)).front(),
                       {{"CONFIG_FILE", diagnostic.place.file}, {"CONFIG_LINE", diagnostic.place.line}});
        }
        return refuse(fmt::format("{} in the definitions", counted(next.error().size(), "error")));
    }
    // What is kept is to be what it was.
    for (const auto& [name, service] : services_) service->look_at_sockets();
    const auto wanted = wanted_by(*next);
    NewSockets sockets;
    if (auto opened = open_new(wanted, sockets); !opened) {
        for (const auto& [key, missed] : sockets.missing) {
            report.complaints.push_back({missed.first, {{}, missed.second.text}});
            log_.write(Level::error, missed.second.text, {{"SERVICE", missed.first}, {"ERRNO", missed.second.code}});
        }
        // Who has come by a socket that is now given up again.
        for (const auto& [key, listener] : sockets.opened)
            if (const auto at = ports_.find(key); at != ports_.end()) at->second->owner()->collect(listener);
        return refuse(opened.error().text);
    }

    std::size_t changes = 0;
    report.items = conf::plan(catalog_, *next);
    for (const conf::PlanItem& item : report.items) {
        if (item.change == conf::Change::unchanged) continue;
        ++changes;
        std::string keys;
        for (const std::string& key : item.keys) keys += (keys.empty() ? ": " : ", ") + key;
        log_.write(Level::info, fmt::format("{}{}", conf::name_of(item.change), keys),
                   {{"SERVICE", item.service}, {"CHANGE", conf::name_of(item.change)}});
    }
    put_in_force(*next, wanted, sockets);
    log_.write(Level::notice, fmt::format("reloaded: {} on {}, {} changed", counted(services_.size(), "service"),
                                          counted(ports_.size(), "address"), changes));
    report_to_manager();
    ++reloads_;
    if (reloaded_) reloaded_();
    report.refused = false;
    return report;
}

}  // namespace superd::core
