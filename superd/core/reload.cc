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
#include "core/cgroups.h"
#include "core/left_out.h"
#include "core/swap.h"

namespace superd::core {

namespace {

constexpr std::size_t kMostShown = 500;  ///< of what is wrong, by `status`

std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    for (const auto part : std::views::split(text, '\n'))
        if (!part.empty()) lines.emplace_back(part.begin(), part.end());
    return lines;
}

Error with_holders(Error why, const std::vector<std::pair<std::string, pid_t>>& holders) {
    if (holders.empty()) return why;
    const auto& [service, pid] = holders.front();
    why.text +=
        fmt::format(": handler {} that {} started under an earlier definition still has the socket", pid, service);
    if (holders.size() > 1) why.text += fmt::format(", and {} more", holders.size() - 1);
    return why;
}

bool has_inherited(const conf::Service& service) {
    return std::ranges::any_of(service.listen,
                               [](const auto& where) { return where.transport == conf::Transport::inherited; });
}

}  // namespace

void Supervisor::want(const conf::Service& service, Swap& swap) const {
    for (std::size_t i = 0; i < service.listen.size(); ++i) {
        const conf::Listen& where = service.listen[i];
        std::string key = where.uri();
        // Each "any free port" is a socket of its own.
        if (any_port(where)) key += fmt::format(" {} {}", service.name, i);
        if (where.transport != conf::Transport::inherited) {
            swap.wanted.push_back({std::move(key), &service, where});
            continue;
        }
        key += ' ';
        std::size_t count = passed_.count(where.name);
        for (auto at = ports_.lower_bound(key); at != ports_.end() && at->first.starts_with(key); ++at) ++count;
        for (std::size_t k = 0; k < std::max<std::size_t>(count, 1); ++k)
            swap.wanted.push_back({key + std::to_string(k), &service, where});
    }
}

Supervisor::Swap Supervisor::prepare(conf::Reload next, const std::vector<conf::PlanItem>& plan) const {
    Swap swap;
    swap.next = std::move(next);
    for (const conf::PlanItem& item : plan) {
        if (item.change == conf::Change::remove) {
            swap.going.push_back(item.service);
            continue;
        }
        ++swap.enabled;
        const auto at = swap.next.catalog.services.find(item.service);
        const bool changed = item.change != conf::Change::unchanged;
        const conf::Service& service = changed ? at->second : catalog_.services.at(item.service);
        // More may have been passed under a name than before.
        if (!changed && !has_inherited(service)) continue;
        swap.touched.push_back({&service, changed});
        want(service, swap);
    }
    for (const Wanted& wanted : swap.wanted) swap.by_key.emplace(wanted.key, &wanted);
    return swap;
}

Supervisor::InTheWay Supervisor::in_the_way_of(const Wanted& wanted, Swap& swap) {
    InTheWay older;
    for (const auto& [name, service] : services_) service->add_remains(wanted.where, older.remains);
    const auto place = [](const conf::Listen& where) { return std::pair(where.transport, where.port); };
    if (swap.by_place.empty())
        for (const std::string& name : swap.changing())
            if (const auto at = services_.find(name); at != services_.end())
                for (Port* port : at->second->ports()) swap.by_place.emplace(place(port->where()), port);
    const conf::Transport transport = wanted.where.transport;
    if (transport != conf::Transport::tcp && transport != conf::Transport::udp) return older;
    for (auto [at, end] = swap.by_place.equal_range(place(wanted.where)); at != end; ++at) {
        const net::Listener* listener = at->second->listener();
        if (listener == nullptr) continue;
        const auto stays = swap.by_key.find(at->second->key());
        if (stays == swap.by_key.end() || !listener->can_become(stays->second->service->socket))
            older.going.push_back(listener);
    }
    return older;
}

/// An address that overlaps one of superd's that is about to go ("*" and 127.0.0.1 on one port): both may be bound
/// until the older is closed, so that no client meets a closed port. So may one next to sockets that receive nothing
/// any more, and are there for the answers of handlers that have not left yet.
Result<net::Listener> Supervisor::open_beside(const Wanted& wanted, const InTheWay& older) {
    for (const net::Listener* listener : older.going) listener->allow_overlap(true);
    for (const int socket : older.remains.deaf) net::Listener::allow_overlap(socket, true);
    auto opened = open_socket(passed_, *wanted.service, wanted.where, true);
    // Let no other socket in here, whatever the result of the reload.
    for (const net::Listener* listener : older.going) listener->allow_overlap(false);
    for (const int socket : older.remains.deaf) net::Listener::allow_overlap(socket, false);
    return opened;
}

Result<void> Supervisor::open_new(Swap& swap) {
    const auto miss = [&](const Wanted& want, const Error& why) {
        log_.write(Level::debug, why.text, {{"SERVICE", want.service->name}, {"ADDRESS", want.where.uri()}});
        swap.missing.emplace(want.key, std::pair{want.service->name, why});
    };
    std::vector<std::pair<const Wanted*, InTheWay>> beside;
    for (const Wanted& want : swap.wanted) {
        const auto at = ports_.find(want.key);
        net::Listener* present = at == ports_.end() ? nullptr : at->second->listener();
        if (at != ports_.end() && present == nullptr) continue;  // keep waiting
        if (present != nullptr && present->can_become(want.service->socket)) {
            if (auto fits = check_type(*want.service, want.where, *present); !fits) miss(want, fits.error());
        } else if (auto listener = open_socket(passed_, *want.service, want.where)) {
            swap.opened.emplace(want.key, std::move(*listener));
        } else {
            InTheWay older = listener.error().code == EADDRINUSE ? in_the_way_of(want, swap) : InTheWay{};
            if (older.can_be_shared())
                beside.emplace_back(&want, std::move(older));
            else
                miss(want, with_holders(listener.error(), older.remains.holders));
        }
    }
    // A socket next to an older one takes clients from its first moment, and the kernel remembers that the address was
    // shared: so bind it only when nothing else can go wrong.
    if (swap.missing.empty())
        for (const auto& [want, older] : beside) {
            if (auto listener = open_beside(*want, older))
                swap.opened.emplace(want->key, std::move(*listener));
            else
                miss(*want, listener.error());
        }
    if (swap.missing.empty()) return {};
    const auto& [service, why] = swap.missing.begin()->second;
    return std::unexpected(Error{fmt::format("{}: {}", service, why.text), why.code});
}

void Supervisor::tell_left_out(const Swap& swap) {
    std::vector<const conf::Service*> changed;
    for (const auto& one : swap.touched)
        if (one.changed) changed.push_back(one.definition);
    for (const std::string& line : left_out(changed)) log_.write(Level::warning, line);
}

void Supervisor::start(Loaded loaded) {
    watch_->about_to_load(loaded.since);
    if (const auto& given = invocation_.definitions.cgroup) cgroups_->begin(*given);
    const auto plan = conf::plan(catalog_, loaded.catalog);
    Swap swap = prepare({std::move(loaded.catalog), {}, std::move(loaded.seen)}, plan);
    (void)open_new(swap);  // wait for what is missing
    tell_left_out(swap);
    put_in_force(swap);
    adopt_cgroups();
    // Left by a crash, and not wanted by any definition.
    store_.keep_all(ports_);
    store_.wait(Store::kPatience);
    passed_.discard_stored();
    for (const auto& socket : passed_.unclaimed())
        log_.write(Level::warning,
                   fmt::format("the service manager passed a socket \"{}\" that no service names", socket.name));
    const auto waiting = swap.missing.size();
    std::string on = counted(ports_.size(), "address");
    if (waiting > 0) on = fmt::format("{} of {}, waiting for {}", ports_.size() - waiting, on, waiting);
    log_.write(Level::notice, fmt::format("ready: {} on {}", counted(services_.size(), "service"), on));
    report_to_manager();
    watch_on(std::move(loaded.files));
}

Picture Supervisor::look_at_files(const std::set<std::string>& files) {
    const conf::Surroundings& from = invocation_.definitions;
    const auto absolute = [this](const std::string& path) {
        return path.empty() || path.starts_with('/') ? path : invocation_.folder + "/" + path;
    };
    Sources sources{absolute(from.config), absolute(from.conf_dir), files};
    if (from.command) {
        sources.config.clear();
        sources.conf_dir.clear();
        // What a reload would look up again, where there are no definitions to read.
        for (const auto& [name, service] : catalog_.services)
            if (service.handler.root_directory.empty()) sources.files.insert(service.handler.path);
    }
    engine_->reserve.release();
    Picture picture = look_at(sources);
    engine_->reserve.fill(engine_->null);
    return picture;
}

void Supervisor::watch_on(std::set<std::string> files) {
    watch_->loaded(std::move(files), invocation_.watch || catalog_.watch);
}

std::expected<conf::Reload, conf::Diagnostics> Supervisor::read_definitions(bool look_up,
                                                                            std::set<std::string>* files) {
    look_up ? invocation_.definitions.names.ask() : invocation_.definitions.names.ask_nobody();
    invocation_.definitions.cgroup = cgroups_->look();
    engine_->reserve.release();  // so that the files can be read even if clients hold all descriptors
    auto next = conf::reload(invocation_.definitions, catalog_, seen_, files);
    engine_->reserve.fill(engine_->null);
    return next;
}

ReloadReport Supervisor::plan(bool look_up) {
    auto next = read_definitions(look_up);
    ReloadReport report;
    if (next) {
        report.items = conf::plan(catalog_, next->catalog, next->kept);
        return report;
    }
    report.refused = true;
    for (conf::Diagnostic& diagnostic : next.error()) report.complaints.push_back({{}, std::move(diagnostic)});
    return report;
}

ReloadReport Supervisor::reload() {
    if (stops_ > 0 || drained_.is_set()) {
        watch_->off();
        ReloadReport report;
        report.refused = true;
        report.complaints.push_back({{}, {{}, stops_ > 0 ? "superd is stopping" : "superd is draining"}});
        return report;
    }
    watch_->about_to_load();
    std::set<std::string> files;
    ReloadReport report = read_and_swap(files);
    watch_on(std::move(files));
    return report;
}

ReloadReport Supervisor::read_and_swap(std::set<std::string>& files) {
    ReloadReport report;
    report.refused = true;
    manager_.tell_reloading();
    tzset();  // [access] times use the time zone as it is now
    const auto refuse = [&](const std::string& why) {
        ++reloads_refused_;
        const conf::Diagnostic& first = report.complaints.front().diagnostic;
        reload_refused_because_ = why;
        if (!first.place.file.empty())
            reload_refused_because_ += ": " + lines_of(conf::format(first)).front().substr(0, kMostShown);
        log_.write(Level::error, fmt::format("reload refused, everything stays as it was: {}", why));
        manager_.tell(fmt::format("READY=1\nSTATUS=Reload refused: {}", why));
        return report;
    };
    auto next = read_definitions(true, &files);
    if (!next) {
        for (const conf::Diagnostic& diagnostic : next.error()) {
            report.complaints.push_back({{}, diagnostic});
            log_.write(Level::error, lines_of(conf::format(diagnostic)).front(),
                       {{"CONFIG_FILE", diagnostic.place.file}, {"CONFIG_LINE", diagnostic.place.line}});
        }
        return refuse(fmt::format("{} in the definitions", counted(next.error().size(), "error")));
    }
    // Whatever is kept must be as it was.
    look_at_exposed(true);
    report.items = conf::plan(catalog_, next->catalog, next->kept);
    Swap swap = prepare(std::move(*next), report.items);
    if (auto opened = open_new(swap); !opened) {
        report.items.clear();
        for (const auto& [key, missed] : swap.missing) {
            report.complaints.push_back({missed.first, {{}, missed.second.text}});
            log_.write(Level::error, missed.second.text, {{"SERVICE", missed.first}, {"ERRNO", missed.second.code}});
        }
        // Clients that have come to a socket that is now given up again.
        for (const auto& [key, listener] : swap.opened)
            if (const auto at = ports_.find(key); at != ports_.end())
                at->second->owner()->collect(listener, at->second->owner()->proxy_protocol());
        return refuse(opened.error().text);
    }

    std::size_t changes = 0;
    for (const conf::PlanItem& item : report.items) {
        if (item.change == conf::Change::unchanged) continue;
        ++changes;
        std::string keys;
        for (const std::string& key : item.keys) keys += (keys.empty() ? ": " : ", ") + key;
        log_.write(Level::info, fmt::format("{}{}", conf::name_of(item.change), keys),
                   {{"SERVICE", item.service}, {"CHANGE", conf::name_of(item.change)}});
    }
    tell_left_out(swap);
    put_in_force(swap);
    cgroups_->restore();
    if (!strays_.empty()) adopt_cgroups();
    log_.write(Level::notice, fmt::format("reloaded: {} on {}, {} changed", counted(services_.size(), "service"),
                                          counted(ports_.size(), "address"), changes));
    report_to_manager();
    ++reloads_;
    reload_refused_because_.clear();
    if (reloaded_) reloaded_();
    report.refused = false;
    return report;
}

}  // namespace superd::core
