// SPDX-License-Identifier: MIT
// What an operator asks of the supervisor, except for the reload.
#include <dirent.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/resource.h>

#include <charconv>

#include "base/text.h"
#include "core/supervisor.h"

namespace superd::core {
namespace {

template <class Number>
std::optional<Number> number(std::string_view text) {
    Number value{};
    const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (status != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

/// nullopt if /proc cannot be read: it is not there, or no descriptor is left.
std::optional<std::size_t> open_descriptors() {
    DIR* folder = opendir("/proc/self/fd");
    if (folder == nullptr) return std::nullopt;
    std::size_t entries = 0;
    while (readdir(folder) != nullptr) ++entries;
    closedir(folder);
    return entries < 3 ? 0 : entries - 3;  // ".", "..", and the folder itself
}

ServiceReport only_defined(const conf::Service& definition) {
    ServiceReport out;
    out.name = definition.name;
    out.description = definition.description;
    out.enabled = false;
    out.status = Status::disabled;
    out.reason = "enabled = false";
    out.model = conf::name_of(definition.model);
    out.handoff = conf::name_of(definition.handoff);
    for (const conf::Listen& where : definition.listen) out.listeners.push_back({where.uri(), false});
    out.limit = definition.limits->instances;
    return out;
}

}  // namespace

std::string Complaint::text() const {
    if (!diagnostic.place.file.empty()) return conf::format(diagnostic);
    if (service.empty()) return escape(diagnostic.message) + "\n";
    return fmt::format("{}: {}\n", service, escape(diagnostic.message));
}

DaemonReport Supervisor::report() const {
    DaemonReport out;
    out.pid = getpid();
    out.started = begun_at_;
    out.uptime = now() - begun_;
    out.services = services_.size();
    for (const auto& [name, service] : services_) out.handlers += service->running();
    out.processes = count_processes();
    out.penalised = engine_->everywhere.refused(now());
    out.reloads = reloads_;
    out.reloads_refused = reloads_refused_;
    out.reload_refused_because = reload_refused_because_;
    if (watch_->is_on()) out.watching = watch_->is_deaf() ? "polling" : "inotify";
    out.upgrades = upgrades_;
    out.upgrades_refused = upgrades_refused_;
    out.upgrading = successor_ != nullptr && successor_->under_way();
    out.upgrade_refused_because = upgrade_refused_because_;
    out.log_lines_lost = log_.sink().lost().all;
    out.open_descriptors = open_descriptors();
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    out.descriptor_limit = limit.rlim_cur;
    out.draining = drained_.is_set();
    out.stopping = stops_ > 0;
    return out;
}

std::vector<ServiceReport> Supervisor::services() const {
    std::map<std::string, ServiceReport> all;
    for (const auto& [name, service] : services_) all.emplace(name, service->report());
    for (const auto& [name, definition] : catalog_.services)
        if (!definition.enabled && !all.contains(name)) all.emplace(name, only_defined(definition));
    std::vector<ServiceReport> out;
    for (auto& [name, report] : all) out.push_back(std::move(report));
    return out;
}

std::pair<std::vector<ProcessReport>, std::size_t> Supervisor::processes(const std::string& service,
                                                                         std::size_t most) const {
    std::pair<std::vector<ProcessReport>, std::size_t> out;
    for (const auto& [name, running] : services_) {
        if (!service.empty() && name != service) continue;
        running->report_processes(out.first, most);
        out.second += running->processes();
    }
    return out;
}

Result<Service*> Supervisor::find(const std::string& name) const {
    if (const auto at = services_.find(name); at != services_.end()) return at->second.get();
    if (const auto at = catalog_.services.find(name); at != catalog_.services.end() && !at->second.enabled)
        return fail(fmt::format("service \"{}\" is not enabled", name));
    std::vector<std::string> names;
    for (const auto& [known, service] : services_) names.push_back(known);
    const auto meant = closest(name, names);
    return fail(
        fmt::format("no service \"{}\"{}", escape(name), meant ? fmt::format(" (did you mean \"{}\"?)", *meant) : ""));
}

Result<void> Supervisor::wish(const std::string& name, Service::Wish what) {
    const auto service = find(name);
    if (!service) return std::unexpected(service.error());
    if ((*service)->is_withdrawn())
        return fail(fmt::format("service \"{}\" is being removed: its handlers finish", name));
    (*service)->obey(what);
    return {};
}

Result<std::vector<pid_t>> Supervisor::kill(const std::string& target, std::optional<int> signal) {
    if (const auto at = services_.find(target); at != services_.end()) return at->second->end_handlers(signal);
    if (!all_digits(target)) return std::unexpected(find(target).error());
    const auto pid = number<pid_t>(target);
    const auto at = pid ? engine_->children.find(*pid) : engine_->children.end();
    if (at == engine_->children.end() || !at->second->end_child(*pid, signal))
        return fail(fmt::format("process {} is not one of superd's handlers", target));
    return std::vector<pid_t>{*pid};
}

Result<intake::Explanation> Supervisor::explain(const std::string& name, const std::string& client,
                                                const std::string& via) {
    const auto service = find(name);
    if (!service) return std::unexpected(service.error());
    const auto read = [](const std::string& who) -> Result<Service::Who> {
        const std::string_view text = who;
        if (text.starts_with("uid:")) {
            if (const auto uid = number<uid_t>(text.substr(4))) return Service::Who{{}, *uid};
        } else if (text.starts_with("cid:")) {
            if (const auto cid = number<std::uint32_t>(text.substr(4)))
                return Service::Who{sys::Address::vsock(*cid, 0), std::nullopt};
        } else if (auto address = sys::Address::inet(who, 0)) {
            return Service::Who{std::move(*address), std::nullopt};
        }
        return fail(fmt::format("\"{}\" is not an IP address, uid:N or cid:N", escape(who)));
    };
    const auto whom = read(client);
    if (!whom) return std::unexpected(whom.error());
    if (via.empty()) return (*service)->explain(*whom, std::nullopt);
    const auto peer = read(via);
    if (!peer) return std::unexpected(peer.error());
    if (!(*service)->proxy_protocol().on)
        return fail(fmt::format("service \"{}\" has no [proxy_protocol]: nobody speaks for its clients", name));
    return (*service)->explain(*whom, *peer);
}

}  // namespace superd::core
