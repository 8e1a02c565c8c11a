// SPDX-License-Identifier: MIT
#include "handover/release_0_1_0.h"

#include <fmt/format.h>

#include <algorithm>

#include "model/reports.h"

namespace superd::handover::release_0_1_0 {
namespace {

/// Each struct's fields in the order of its array.
constexpr struct {
    std::string_view type, fields;
} kLists[] = {
    {"Backoff", "step, tries"},
    {"Descriptors::Entry", "number, device, inode, claimed"},
    {"Deadlines::Entry", "when, pid, serial"},
    {"Exits", "ok, failed, stopped, killed"},
    {"Stats", "accepted, started, failures, spawn_failures, replies, exits, handler_time, accept_to_exec"},
    {"ClientState", "listener, connection, datagram, peer, local, accepted"},
    {"HeldState", "client, source, until"},
    {"RelayState", "answers, socket, peer, local, as"},
    {"ChildState",
     "pid, kind, serial, started, peer, place, pair, relay, stopping, sent, mute, retired, signalled, "
     "reports, listener, first"},
    {"ChildRecord",
     "pid, kind, serial, started, peer, place, pair, relay, stopping, sent, mute, retired, signalled, "
     "reports, listener, first"},
    {"GenerationState",
     "definition, listeners, drained, unread, serial, children, lifetimes, kills, retired, wake_at, model"},
    {"RefusalLog::Memory", "counts, in_window, until"},
    {"IntakeState", "admission, refused, held, stalled, rate_tripped"},
    {"ErrorStreamState", "read, write, partial"},
    {"ServiceState",
     "name, withdrawn, shut, backing_off, in_episode, wish, bad_starts, episode_tries, last_scarce, "
     "throttled_until, retry_at, backoff, throttle, stats, errors, intake, current, former"},
    {"Port::Waiting", "next, backoff"},
    {"PortState", "key, where, socket, waiting, owner, index"},
    {"PassedState", "name, fd"},
    {"ControlState", "socket, made_folder"},
    {"State",
     "proof, binary, folder, nofile_soft, nofile_hard, begun, begun_at, reloads, reloads_refused, "
     "upgrades, upgrades_refused, descriptors, catalog, passed, ports, services, control, pid_file, stored"},
    {"IpBytes", "v6, bytes"},
    {"Prefix", "base, length"},
    {"Identity", "uid, gid, groups, user"},
    {"Listen", "transport, host, port, cid, path, name"},
    {"SocketOptions",
     "backlog, reuse_port, v6only, freebind, bind_to_device, keepalive, keepalive_time, "
     "keepalive_interval, keepalive_probes, nodelay, defer_accept, receive_buffer, send_buffer, priority, "
     "tos, mark, mode, user, group"},
    {"Rate", "interval, burst"},
    {"Limits",
     "instances, per_source, rate, per_source_rate, source_prefix_ipv4, source_prefix_ipv6, max_load, "
     "on_excess, reject_text, wait_timeout"},
    {"TimeWindow", "days, from, until"},
    {"Access", "allow, deny, times, on_deny"},
    {"Prefork", "min_spare, max_spare, max_requests, max_idle, max_age, grow_after"},
    {"ResourceLimit", "resource, soft, hard"},
    {"Handler",
     "path, argv, environment, identity, working_directory, root_directory, umask, nice, error_output, "
     "rlimits"},
    {"Service",
     "name, description, enabled, listen, model, handoff, handler, stop_signal, stop_timeout, "
     "max_lifetime, socket, limits, access, prefork, delay, log_connections"},
    {"Control", "readers"},
    {"Catalog", "services, control"},
    {"SourceKey", "kind, bytes"},
    {"Admission::Memory", "full_at, latest, sources"},
    {"Reports", "free, slots, clients"},
    {"Listener::Kept", "fd, where, options, type, inherited, given, passed_name, path, device, inode"},
    {"Histogram", "counts, sum"},
};

class Lists final : public sys::Positions {
  public:
    Lists() {
        for (const auto& [type, fields] : kLists) {
            auto& places = places_[type];
            int place = 0;
            for (std::string_view rest = fields; !rest.empty(); ++place) {
                const auto end = std::min(rest.find(','), rest.size());
                places[rest.substr(0, end)] = place;
                rest.remove_prefix(std::min(end + 2, rest.size()));
            }
        }
    }
    std::optional<std::size_t> fields(std::string_view type) const override {
        const auto places = places_.find(type);
        return places == places_.end() ? std::nullopt : std::optional(places->second.size());
    }
    int of(std::string_view type, std::string_view field) const override {
        if (type == "ChildState" && field == "record") return kSame;
        const auto& places = places_.at(type);
        const auto place = places.find(field);
        return place == places.end() ? kNone : place->second;
    }

  private:
    std::map<std::string_view, std::map<std::string_view, int>> places_;
};

/// A model's memory: numbers in a row.
class Words {
  public:
    explicit Words(std::vector<std::int64_t> words) : words_(std::move(words)) {}

    template <class... Fields>
    void operator()(Fields&... fields) {
        (read(*this, fields), ...);
    }
    std::int64_t next() {
        if (next_ < words_.size()) return words_[next_++];
        short_ = true;
        return 0;
    }
    std::size_t left() const { return words_.size() - next_; }
    bool done() const { return !short_ && left() == 0; }
    bool is_short() const { return short_; }

  private:
    std::vector<std::int64_t> words_;
    std::size_t next_ = 0;
    bool short_ = false;
};

template <std::integral T>
void read(Words& words, T& value) {
    value = static_cast<T>(words.next());
}
void read(Words& words, Instant& value) {
    value = Instant(Duration(words.next()));
}
void read(Words& words, Backoff::Place& value) {
    value.step = Duration(words.next());
    value.tries = static_cast<unsigned>(words.next());
}
void read(Words& words, std::optional<Instant>& value) {
    if (words.next() != 0) read(words, value.emplace());
}
void read(Words& words, std::vector<pid_t>& value) {
    const auto size = static_cast<std::size_t>(words.next());
    for (std::size_t i = 0; i < size && !words.is_short(); ++i) read(words, value.emplace_back());
}
void read(Words& words, model::Reports& value) {
    words(value.free, value.slots, value.clients);
}

/// All fields of a struct in the order of their numbers, under the models' current names.
#define SUPERD_WORDS(Type, ...)            \
    SUPERD_FIELDS(Type, __VA_ARGS__)       \
    void read(Words& words, Type& value) { \
        auto& [__VA_ARGS__] = value;       \
        words(__VA_ARGS__);                \
    }

struct Iterative {
    pid_t running = 0;
    bool throttled = false;
    Backoff::Place backoff;
};
SUPERD_WORDS(Iterative, running, throttled, backoff)

struct Delayed {
    pid_t fresh = 0;
    bool begun = false, inherited = false;
};
SUPERD_WORDS(Delayed, fresh, begun, inherited)

struct Prefork {
    std::size_t target = 0;
    Instant last_client{}, exhausted{};
    std::optional<Instant> refill_at, retry_at, timer;
    bool dying = false, drained = false;
    Backoff::Place backoff, scarce;
    std::vector<pid_t> parked;
};
SUPERD_WORDS(Prefork, target, last_client, exhausted, refill_at, retry_at, timer, dying, drained, backoff, scarce,
             parked)

struct Worker {
    std::size_t listener = 0;
    Instant started{};
    model::Reports reports;
};
SUPERD_WORDS(Worker, listener, started, reports)

struct Window {
    std::optional<Instant> end;
    int lowest = 0;
};
SUPERD_WORDS(Window, end, lowest)

struct Pool {
    std::size_t workers = 0;
    int spare = 0, each = 0;
    Window over_most, over_least;
    Instant grown{};
    std::optional<Instant> look_at;
    Instant filled_since{};
    std::size_t burst = 0, coming = 0, waiting = 0;
};
SUPERD_WORDS(Pool, workers, spare, each, over_most, over_least, grown, look_at, filled_since, burst, coming, waiting)

struct Workers {
    bool reports = false, drained = false;
    std::optional<Instant> retry_at, replace_at;
    pid_t replaced = 0;
    bool dying = false;
    std::optional<Instant> timer;
    Backoff::Place backoff, scarce;
    std::vector<std::pair<pid_t, Worker>> workers;
    std::vector<Pool> pools;
};
SUPERD_FIELDS(Workers, reports, drained, retry_at, replace_at, replaced, dying, timer, backoff, scarce, workers, pools)
void read(Words& words, Workers& value) {
    words(value.reports, value.drained, value.retry_at, value.replace_at, value.replaced, value.dying, value.timer,
          value.backoff, value.scarce);
    std::vector<pid_t> pids;
    words(pids);
    for (const pid_t pid : pids) words(value.workers.emplace_back(pid, Worker{}).second);
    while (words.left() > 0 && !words.is_short()) words(value.pools.emplace_back());
}

template <class Memory>
bool name(sys::Record& record) {
    sys::Archive numbers(record.text);
    std::vector<std::int64_t> all;
    numbers(all);
    Words words(std::move(all));
    Memory memory;
    words(memory);
    if (!numbers.fault().empty() || !words.done()) return false;
    sys::Archive named;
    named(memory);
    record.text = std::move(named).text();
    return true;
}

bool name(const conf::Service& definition, sys::Record& record) {
    const bool by_connection = definition.handoff == conf::Handoff::connection;
    switch (definition.model) {
        case conf::Model::fork:
            record = {};  // it remembers nothing
            return true;
        case conf::Model::iterative:
            return name<Iterative>(record);
        case conf::Model::delayed:
            return by_connection ? name<Delayed>(record) : name<Workers>(record);
        case conf::Model::prefork:
            return by_connection ? name<Prefork>(record) : name<Workers>(record);
    }
    return false;
}

}  // namespace

std::unique_ptr<sys::Positions> positions() {
    return std::make_unique<Lists>();
}

Result<void> name_memories(core::State& state) {
    for (core::ServiceState& service : state.services) {
        const auto named = [](core::GenerationState& generation) {
            return name(generation.definition, generation.model);
        };
        if ((service.current && !named(*service.current)) || !std::ranges::all_of(service.former, named))
            return fail(
                fmt::format("the state cannot be read: the memory of the model of {} does not fit", service.name));
    }
    return {};
}

}  // namespace superd::handover::release_0_1_0
