// SPDX-License-Identifier: MIT
#include "control/metrics.h"

#include <fmt/format.h>

#include <array>
#include <iterator>

namespace superd::control {
namespace {

/// The bounds of a histogram that Prometheus gets: 1, 2.5 and 5 of each power of ten.
constexpr std::array<std::size_t, 3> kToldOfDecade = {0, 4, 7};

class Text {
  public:
    explicit Text(MetricsFormat format) : format_(format) {}

    void family(std::string_view name, const char* type, std::string_view help, std::string_view unit = "") {
        name_ = name;
        const bool counter = std::string_view(type) == "counter";
        sample_ = counter ? name_ + "_total" : name_;
        const std::string& told = counter && format_ == MetricsFormat::prometheus ? sample_ : name_;
        add("# HELP {} {}\n# TYPE {} {}\n", told, help, told, type);
        if (!unit.empty() && format_ == MetricsFormat::openmetrics) add("# UNIT {} {}\n", told, unit);
    }
    template <class Number>
    void sample(std::string_view labels, Number value) {
        add("{}{}{}{} {}\n", sample_, labels.empty() ? "" : "{", labels, labels.empty() ? "" : "}", value);
    }
    void histogram(const std::string& labels, const Histogram& histogram) {
        static constexpr auto kBounds = Histogram::bounds();
        const Histogram::Counts counts = histogram.counts();
        std::uint64_t below = 0;
        for (std::size_t i = 0; i < kBounds.size(); ++i) {
            below += counts[i];
            if (i % 10 != kToldOfDecade[0] && i % 10 != kToldOfDecade[1] && i % 10 != kToldOfDecade[2]) continue;
            add("{}_bucket{{{},le=\"{}\"}} {}\n", name_, labels, le(kBounds[i]), below);
        }
        const std::uint64_t all = below + counts.back();
        add("{}_bucket{{{},le=\"+Inf\"}} {}\n{}_sum{{{}}} {}\n{}_count{{{}}} {}\n", name_, labels, all, name_, labels,
            std::chrono::duration<double>(histogram.sum()).count(), name_, labels, all);
    }
    std::string take() && {
        text_ += "# EOF\n";
        return std::move(text_);
    }

  private:
    /// OpenMetrics writes bounds as floating-point numbers: "1.0".
    static std::string le(Duration::rep microseconds) {
        std::string text = fmt::format("{}", static_cast<double>(microseconds) / 1e6);
        return text.find_first_of(".e") == std::string::npos ? text + ".0" : text;
    }
    template <class... Parts>
    void add(fmt::format_string<Parts...> format, Parts&&... parts) {
        fmt::format_to(std::back_inserter(text_), format, std::forward<Parts>(parts)...);
    }

    MetricsFormat format_;
    std::string name_, sample_, text_;
};

/// Of services whose handlers are to be warm.
void warm_families(Text& text, const std::vector<core::ServiceReport>& all) {
    const auto each = [&](auto&& sample) {
        for (const auto& service : all)
            if (service.warm) sample(fmt::format("service=\"{}\"", service.name), *service.warm);
    };
    text.family("superd_warm_templates", "gauge", "Handlers that are ready and that copies are made of.");
    each([&](const auto& label, const auto& warm) { text.sample(label, warm.pid != 0 ? 1 : 0); });
    text.family("superd_warm_starts", "counter", "Handlers that were started to be warm.");
    each([&](const auto& label, const auto& warm) { text.sample(label, warm.counts.templates); });
    text.family("superd_warm_copies", "counter", "Copies of a template, with a client or to wait for one.");
    each([&](const auto& label, const auto& warm) { text.sample(label, warm.counts.copies); });
    text.family("superd_warm_fallbacks", "counter",
                "Times that a handler could not be as warm as it was to be, by reason.");
    each([&](const auto& label, const auto& warm) {
        for (std::size_t i = 0; i < core::kWarmFallbacks; ++i)
            text.sample(fmt::format("{},reason=\"{}\"", label, name_of(static_cast<core::WarmFallback>(i))),
                        warm.counts.fallbacks[i]);
    });
    text.family("superd_warm_renewals", "counter", "Times that what was ready was replaced, by reason.");
    each([&](const auto& label, const auto& warm) {
        for (std::size_t i = 0; i < core::kWarmRenewals; ++i)
            text.sample(fmt::format("{},reason=\"{}\"", label, name_of(static_cast<core::WarmRenewal>(i))),
                        warm.counts.renewals[i]);
    });
}

/// Of services whose datagrams belong to sessions.
void session_families(Text& text, const std::vector<core::ServiceReport>& all) {
    const auto each = [&](auto&& sample) {
        for (const auto& service : all)
            if (service.sessions) sample(fmt::format("service=\"{}\"", service.name), *service.sessions);
    };
    text.family("superd_sessions", "gauge", "Peers whose datagrams go to a handler of theirs, or will.");
    each([&](const auto& label, const auto& sessions) {
        text.sample(label + ",state=\"open\"", sessions.open);
        text.sample(label + ",state=\"waiting\"", sessions.waiting);
    });
    text.family("superd_session_datagrams_queued", "gauge", "Datagrams that their handlers have no room for yet.");
    each([&](const auto& label, const auto& sessions) { text.sample(label, sessions.queued); });
    text.family("superd_sessions_begun", "counter", "Sessions that were let in.");
    each([&](const auto& label, const auto& sessions) { text.sample(label, sessions.counts.begun); });
    text.family("superd_sessions_ended", "counter", "Sessions that superd ended, by reason.");
    each([&](const auto& label, const auto& sessions) {
        text.sample(label + ",reason=\"idle\"", sessions.counts.idle);
        text.sample(label + ",reason=\"gave_way\"", sessions.counts.gave_way);
    });
    text.family("superd_datagrams_dropped", "counter", "Datagrams that no handler has had, by reason.");
    each([&](const auto& label, const auto& sessions) {
        const core::SessionCounts& counts = sessions.counts;
        for (const auto& [reason, count] : {std::pair{"empty", counts.empty}, std::pair{"nameless", counts.nameless},
                                            std::pair{"overflow", counts.overflow}, std::pair{"unread", counts.unread},
                                            std::pair{"too_long", counts.too_long}})
            text.sample(fmt::format("{},reason=\"{}\"", label, reason), count);
    });
}

/// Of services with a control group; what no controller counts is left out.
void cgroup_families(Text& text, const std::vector<core::ServiceReport>& all) {
    const auto tell = [&](auto value) {
        for (const auto& service : all)
            if (service.cgroup)
                if (const auto number = value(*service.cgroup))
                    text.sample(fmt::format("service=\"{}\"", service.name), *number);
    };
    using Group = core::CgroupReport;
    using Count = std::optional<std::uint64_t>;
    text.family("superd_memory_bytes", "gauge", "Memory of a service's cgroup.", "bytes");
    tell([](const Group& group) { return group.memory; });
    text.family("superd_pids", "gauge", "Processes and threads in a service's cgroup.");
    tell([](const Group& group) { return group.pids; });
    text.family("superd_cpu_seconds", "counter", "Processor time of a service's cgroup.", "seconds");
    tell([](const Group& group) { return std::optional(group.cpu_seconds); });
    text.family("superd_throttled_seconds", "counter", "Time for which resources.cpu_max held a service up.",
                "seconds");
    tell([](const Group& group) { return std::optional(group.throttled_seconds); });
    text.family("superd_throttled_periods", "counter", "Periods in which resources.cpu_max held a service up.");
    tell([](const Group& group) { return Count(group.throttled); });
    text.family("superd_memory_kills", "counter", "Processes that the kernel killed for want of memory.");
    tell([](const Group& group) { return Count(group.events.memory_kills); });
    text.family("superd_memory_high_reached", "counter", "Times that resources.memory_high slowed a service down.");
    tell([](const Group& group) { return Count(group.events.memory_high); });
    text.family("superd_pids_max_reached", "counter", "Processes that resources.pids_max kept from being started.");
    tell([](const Group& group) { return Count(group.events.pids_max); });
}

/// Of services that measure what their handlers use.
void usage_families(Text& text, const std::vector<core::ServiceReport>& all) {
    const auto each = [&](auto&& sample) {
        for (const auto& service : all)
            if (service.tells_usage) sample(fmt::format("service=\"{}\"", service.name), service.stats.usage);
    };
    const auto seconds = [](Duration value) { return std::chrono::duration<double>(value).count(); };
    text.family("superd_handler_cpu_seconds", "counter", "Processor time of ended handlers.", "seconds");
    each([&](const auto& label, const auto& usage) {
        text.sample(label + ",mode=\"user\"", seconds(usage.user));
        text.sample(label + ",mode=\"system\"", seconds(usage.system));
    });
    text.family("superd_handler_memory_peak_bytes", "gauge", "The most memory that one ended handler had.", "bytes");
    each([&](const auto& label, const auto& usage) { text.sample(label, usage.memory); });
    text.family("superd_received_bytes", "counter", "Bytes from TCP clients of ended handlers.", "bytes");
    each([&](const auto& label, const auto& usage) { text.sample(label, usage.in); });
    text.family("superd_sent_bytes", "counter", "Bytes that ended handlers wrote to TCP clients.", "bytes");
    each([&](const auto& label, const auto& usage) { text.sample(label, usage.out); });
    text.family("superd_retransmits", "counter", "TCP segments sent again to clients of ended handlers.");
    each([&](const auto& label, const auto& usage) { text.sample(label, usage.retransmits); });
}

void tell_daemon(Text& text, const core::DaemonReport& daemon) {
    text.family("superd_build_info", "gauge", "The running superd.");
    text.sample("version=\"" SUPERD_VERSION "\"", 1);
    text.family("superd_start_time_seconds", "gauge", "When superd started, in seconds since 1970.", "seconds");
    text.sample("", daemon.started);
    text.family("superd_draining", "gauge", "1 while superd still serves, but is about to stop.");
    text.sample("", daemon.draining ? 1 : 0);
    text.family("superd_reloads", "counter", "Reloads of the definitions, by result.");
    text.sample("result=\"done\"", daemon.reloads);
    text.sample("result=\"refused\"", daemon.reloads_refused);
    text.family("superd_upgrades", "counter", "Upgrades in place, by result.");
    text.sample("result=\"done\"", daemon.upgrades);
    text.sample("result=\"refused\"", daemon.upgrades_refused);
    if (daemon.open_descriptors) {
        text.family("superd_open_descriptors", "gauge", "Descriptors that superd itself has open.");
        text.sample("", *daemon.open_descriptors);
    }
    text.family("superd_descriptors_limit", "gauge", "How many descriptors superd may have open.");
    text.sample("", daemon.descriptor_limit);
    text.family("superd_log_lines_lost", "counter", "Log lines that the log's reader did not take in time.");
    text.sample("", daemon.log_lines_lost);
    text.family("superd_sources_penalised_everywhere", "gauge",
                "Sources that every service refuses for their penalty.");
    text.sample("", daemon.penalised);
    text.family("superd_child_processes", "gauge", "Processes that superd has started and that still run.");
    text.sample("", daemon.processes);
}

/// What is told of each service: a family at a time, as the format wants it.
class Services {
  public:
    Services(Text& text, const std::vector<core::ServiceReport>& all) : text_(text), all_(all) {}

    void tell_states() {
        text_.family("superd_service_state", "gauge", "1 for the current state of a service, 0 for the others.");
        each([&](const auto& service, const std::string& label) {
            for (const char* name : names_of(core::Status{})) {
                const auto status = find_named<core::Status>(name);
                if (status != core::Status::disabled)
                    text_.sample(fmt::format("{},state=\"{}\"", label, name), service.status == status ? 1 : 0);
            }
        });
        gauge("superd_handlers", "Running handlers and pool workers.", [](const auto& s) { return s.handlers; });
        gauge("superd_handlers_limit", "How many handlers may run: limits.instances.",
              [](const auto& s) { return s.limit; });
        gauge("superd_spare", "Ready processes without a client.", [](const auto& s) { return s.spare; });
        gauge("superd_held", "Accepted clients that wait for their turn.",
              [](const auto& s) { return s.held + s.stalled; });
        gauge("superd_pending", "Accepted clients whose header or handshake is awaited.",
              [](const auto& s) { return s.pending; });
    }

    void tell_counts() {
        counter("superd_connections_accepted", "Clients accepted from the kernel, or reported by pool workers.",
                [](const auto& s) { return s.accepted; });
        counter("superd_handlers_started", "Handlers and pool workers started.",
                [](const auto& s) { return s.started; });
        counter("superd_spawn_failures", "Handlers that did not reach their program.",
                [](const auto& s) { return s.spawn_failures; });
        counter("superd_replies", "Datagrams sent back for handlers.", [](const auto& s) { return s.replies; });
        counter("superd_reply_failures", "Datagrams of handlers that could not be sent back.",
                [](const auto& s) { return s.reply_failures; });
        counter("superd_stderr_dropped", "Lines of handlers' stderr dropped by log.stderr_rate.",
                [](const auto& s) { return s.stderr_dropped; });
        counter("superd_sockets_mended", "Listening sockets that others had changed, and superd corrected.",
                [](const auto& s) { return s.sockets_mended; });
    }

    void tell_reasons() {
        text_.family("superd_refused", "counter", "Clients not served, and pauses, by reason.");
        each([&](const auto& service, const std::string& label) {
            for (std::size_t i = 0; i < admit::kRefusals; ++i)
                text_.sample(fmt::format("{},reason=\"{}\"", label, admit::name_of(static_cast<admit::Refusal>(i))),
                             service.refused[i]);
        });
        text_.family("superd_penalties", "counter", "What clients have earned their sources, by reason.");
        each([&](const auto& service, const std::string& label) {
            for (std::size_t i = 0; i < admit::kOffences; ++i)
                if (service.penalises)
                    text_.sample(fmt::format("{},reason=\"{}\"", label, name_of(static_cast<admit::Offence>(i))),
                                 service.offences[i]);
        });
        text_.family("superd_sources_penalised", "gauge", "Sources refused for their penalty.");
        each([&](const auto& service, const std::string& label) {
            if (service.penalises) text_.sample(label, service.penalised);
        });
        text_.family("superd_exits", "counter", "Ended handlers and pool workers, by kind of exit.");
        each([&](const auto& service, const std::string& label) {
            const core::Exits& exits = service.stats.exits;
            for (const auto& [kind, count] : {std::pair{"ok", exits.ok}, std::pair{"failed", exits.failed},
                                              std::pair{"stopped", exits.stopped}, std::pair{"killed", exits.killed}})
                text_.sample(fmt::format("{},kind=\"{}\"", label, kind), count);
        });
    }

    void tell_times() {
        text_.family("superd_handler_seconds", "histogram", "How long handlers ran.", "seconds");
        each(
            [&](const auto& service, const std::string& label) { text_.histogram(label, service.stats.handler_time); });
        text_.family("superd_accept_to_exec_seconds", "histogram", "From a client's acceptance to its handler's exec.",
                     "seconds");
        each([&](const auto& service, const std::string& label) {
            text_.histogram(label, service.stats.accept_to_exec);
        });
    }

  private:
    /// Service names need no escaping: conf::Catalog does not let quotes into them.
    void each(auto&& sample) {
        for (const auto& service : all_)
            if (service.enabled) sample(service, fmt::format("service=\"{}\"", service.name));
    }
    void gauge(const char* name, const char* help, auto value) {
        text_.family(name, "gauge", help);
        each([&](const auto& service, const std::string& label) { text_.sample(label, value(service)); });
    }
    void counter(const char* name, const char* help, auto value) {
        text_.family(name, "counter", help);
        each([&](const auto& service, const std::string& label) { text_.sample(label, value(service.stats)); });
    }

    Text& text_;
    const std::vector<core::ServiceReport>& all_;
};

}  // namespace

std::string metrics_text(const core::Operations& superd, MetricsFormat format) {
    const std::vector<core::ServiceReport> all = superd.services();
    Text text(format);
    tell_daemon(text, superd.report());
    Services services(text, all);
    services.tell_states();
    services.tell_counts();
    warm_families(text, all);
    session_families(text, all);
    cgroup_families(text, all);
    usage_families(text, all);
    services.tell_reasons();
    services.tell_times();
    return std::move(text).take();
}

}  // namespace superd::control
