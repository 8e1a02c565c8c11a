// SPDX-License-Identifier: MIT
#include "conf/schema.h"

#include <algorithm>
#include <climits>
#include <type_traits>

namespace superd::conf {

namespace {

using namespace std::chrono_literals;

template <class T>
struct IsOptional : std::false_type {};
template <class T>
struct IsOptional<std::optional<T>> : std::true_type {};

template <class T>
void assign(T& field, const Reading& value) {
    if constexpr (IsOptional<T>::value) {
        assign(field.emplace(), value);
    } else if constexpr (std::is_same_v<T, std::string>) {
        field = value.text;
    } else if constexpr (std::is_same_v<T, bool>) {
        field = value.flag;
    } else if constexpr (std::is_same_v<T, Duration>) {
        field = Duration(value.number);
    } else if constexpr (std::is_same_v<T, double>) {
        field = value.real;
    } else if constexpr (std::is_same_v<T, Rate>) {
        field = value.rate;
    } else if constexpr (std::is_same_v<T, std::vector<sys::Prefix>>) {
        field = value.prefixes;
    } else if constexpr (std::is_same_v<T, std::vector<TimeWindow>>) {
        field = value.windows;
    } else {
        field = static_cast<T>(value.number);
    }
}

/// A key that sets one member, which `Get` names.
template <class Get>
Key field(Key key, Get) {
    key.apply = [](Service& service, const Reading& value) { assign(Get{}(service), value); };
    key.same = [](const Service& a, const Service& b) { return Get{}(a) == Get{}(b); };
    return key;
}

/// A key that validate() resolves; `Get` gives what came of it.
template <class Get>
Key resolved(Key key, Get) {
    key.same = [](const Service& a, const Service& b) { return Get{}(a) == Get{}(b); };
    return key;
}

template <int resource>
Key rlimit(const char* name, Type type, const char* description) {
    Key key{"rlimits", name, {type}, "", description};
    key.apply = [](Service& service, const Reading& value) {
        service.handler.rlimits.push_back({resource, value.soft, value.hard});
    };
    key.same = [](const Service& a, const Service& b) {
        const auto of = [](const Service& service) {
            const auto& all = service.handler.rlimits;
            const auto found = std::ranges::find(all, resource, &ResourceLimit::resource);
            return found != all.end() ? std::optional(*found) : std::nullopt;
        };
        return of(a) == of(b);
    };
    return key;
}

template <auto member>
Key rate(Key key) {
    key.apply = [](Service& service, const Reading& value) { service.limits.*member = value.rate; };
    key.same = [](const Service& a, const Service& b) {
        const auto interval = [](const std::optional<Rate>& rate) { return rate ? rate->interval : Duration(0); };
        return interval(a.limits.*member) == interval(b.limits.*member);
    };
    return key;
}

/// validate() puts it into the rate, and no burst differs from that of no rate.
template <auto member>
Key burst(Key key) {
    key.same = [](const Service& a, const Service& b) {
        const auto &x = a.limits.*member, &y = b.limits.*member;
        return !x || !y || x->burst == y->burst;
    };
    return key;
}

Key stderr_rate(Key key) {
    key.apply = [](Service& service, const Reading& value) { service.stderr_rate.interval = value.rate.interval; };
    key.same = [](const Service& a, const Service& b) { return a.stderr_rate.interval == b.stderr_rate.interval; };
    return key;
}
Key stderr_burst(Key key) {
    key.apply = [](Service& service, const Reading& value) {
        service.stderr_rate.burst = static_cast<int>(value.number);
    };
    key.same = [](const Service& a, const Service& b) { return a.stderr_rate.burst == b.stderr_rate.burst; };
    return key;
}

Key required(Key key) {
    key.required = true;
    return key;
}

Key per_service(Key key) {
    key.per_service = true;
    return key;
}

Shape text(std::int64_t min, std::int64_t max) {
    return {Type::text, min, max};
}
Shape integer(std::int64_t min, std::int64_t max) {
    return {Type::integer, min, max};
}
Shape octal() {
    return {Type::octal, 0, 0777};
}
Shape size(std::int64_t min, std::int64_t max) {
    return {Type::size, min, max};
}
Shape duration(Duration min, Duration max) {
    return {Type::duration, min.count(), max.count()};
}
Shape seconds(Duration min, Duration max) {
    return {Type::seconds, min.count(), max.count()};
}
Shape choice(std::vector<std::string> names) {
    return {Type::choice, 0, 0, std::move(names)};
}

constexpr Duration day = 24h;

#define FIELD(member)            \
    [](auto& service) -> auto& { \
        return service.member;   \
    }

std::vector<Key> general() {
    return {
        per_service(
            field({"", "description", text(0, 1000), "", "What the service is, in a few words"}, FIELD(description))),
        per_service(field({"",
                           "enabled",
                           {Type::boolean},
                           "true",
                           "Whether to run it; a definition that is not run is checked as well"},
                          FIELD(enabled))),
        per_service(
            required(resolved({"", "listen", {Type::word_or_words}, "", "Addresses to listen on"}, FIELD(listen)))),
        required(field({"", "model", choice({"fork", "prefork", "iterative", "delayed"}), "",
                        "How clients are turned into processes"},
                       FIELD(model))),
        field({"", "handoff", choice({"connection", "listen"}), "connection",
               "What the handler finds on stdin and stdout: the accepted connection or the listening socket"},
              FIELD(handoff)),
        per_service(required(resolved({"", "exec", {Type::words}, "", "The handler and its arguments"},
                                      [](auto& service) {
                                          const auto& argv = service.handler.argv;
                                          return std::pair(service.handler.path,
                                                           std::vector<std::string>(
                                                               argv.begin() + (argv.empty() ? 0 : 1), argv.end()));
                                      }))),
        per_service(resolved(
            {"", "argv0", text(1, PATH_MAX), "", "What the handler sees as its name instead of exec[0]"},
            [](auto& service) { return service.handler.argv.empty() ? std::string() : service.handler.argv[0]; })),
        resolved({"", "user", text(1, 255), "nobody",
                  "Whom the handler runs as; superd's own user where superd is not root"},
                 [](auto& service) {
                     return service.handler.identity ? std::optional(service.handler.identity->uid) : std::nullopt;
                 }),
        resolved({"", "group", text(1, 255), "", "Its group instead of the user's primary one"},
                 [](auto& service) {
                     return service.handler.identity ? std::optional(service.handler.identity->gid) : std::nullopt;
                 }),
        resolved({"",
                  "supplementary_groups",
                  {Type::words},
                  "",
                  "Its other groups instead of those that the database gives the user"},
                 [](auto& service) {
                     return service.handler.identity ? service.handler.identity->groups : std::vector<gid_t>();
                 }),
        field({"", "working_directory", text(1, PATH_MAX), "/", "Where the handler starts, inside root_directory"},
              FIELD(handler.working_directory)),
        field({"", "root_directory", text(1, PATH_MAX), "", "The handler's root directory; exec is looked up inside"},
              FIELD(handler.root_directory)),
        field({"", "umask", octal(), "022", "Permissions that files of the handler do not get"}, FIELD(handler.umask)),
        field({"", "nice", integer(-20, 19), "0", "Scheduling priority"}, FIELD(handler.nice)),
        resolved({"", "environment", {Type::pairs}, "", "Variables for the handler"}, FIELD(handler.environment)),
        // What comes of it is part of the environment, and compared there.
        resolved({"",
                  "pass_environment",
                  {Type::words},
                  "",
                  "Names of variables that the handler gets from superd's own environment"},
                 [](auto&) { return 0; }),
        field({"", "stderr", choice({"log", "socket", "null", "inherit"}), "log", "Where the handler's stderr goes"},
              FIELD(handler.error_output)),
        field({"", "stop_signal", {Type::signal}, "TERM", "Signal that asks a handler to end"}, FIELD(stop_signal)),
        field({"", "stop_timeout", duration(0s, day), "10s", "How long a handler may take to end before it is killed"},
              FIELD(stop_timeout)),
        field({"", "max_lifetime", duration(1ms, 1000 * day), "", "A handler older than this is ended"},
              FIELD(max_lifetime)),
    };
}

std::vector<Key> socket() {
    return {
        field({"socket", "backlog", integer(1, 65535), "4096", "Clients that may wait in the kernel"},
              FIELD(socket.backlog)),
        field({"socket", "reuse_port", {Type::boolean}, "false", "SO_REUSEPORT: others may listen on the same address"},
              FIELD(socket.reuse_port)),
        field({"socket", "v6only", {Type::boolean}, "", "IPV6_V6ONLY: an IPv6 socket does not take IPv4"},
              FIELD(socket.v6only)),
        field({"socket", "freebind", {Type::boolean}, "false", "IP_FREEBIND: bind an address that does not exist yet"},
              FIELD(socket.freebind)),
        field({"socket", "bind_to_device", text(1, 15), "", "Serve only what comes in by this interface"},
              FIELD(socket.bind_to_device)),
        field({"socket", "keepalive", {Type::boolean}, "false", "SO_KEEPALIVE on accepted connections"},
              FIELD(socket.keepalive)),
        field({"socket", "keepalive_time", seconds(1s, 32767s), "", "Silence before the first keepalive probe"},
              FIELD(socket.keepalive_time)),
        field({"socket", "keepalive_interval", seconds(1s, 32767s), "", "Time between keepalive probes"},
              FIELD(socket.keepalive_interval)),
        field({"socket", "keepalive_probes", integer(1, 127), "",
               "Probes without an answer before the connection is given up"},
              FIELD(socket.keepalive_probes)),
        field({"socket", "nodelay", {Type::boolean}, "false", "TCP_NODELAY on accepted connections"},
              FIELD(socket.nodelay)),
        field({"socket", "defer_accept", seconds(1s, 3600s), "",
               "TCP_DEFER_ACCEPT: wait this long for a client's first byte"},
              FIELD(socket.defer_accept)),
        field({"socket", "receive_buffer", size(1, 1 << 30), "", "SO_RCVBUF"}, FIELD(socket.receive_buffer)),
        field({"socket", "send_buffer", size(1, 1 << 30), "", "SO_SNDBUF"}, FIELD(socket.send_buffer)),
        field({"socket", "priority", integer(0, INT_MAX), "", "SO_PRIORITY"}, FIELD(socket.priority)),
        field({"socket", "tos", integer(0, 255), "", "IP_TOS and IPV6_TCLASS"}, FIELD(socket.tos)),
        field({"socket", "mark", integer(0, UINT32_MAX), "", "SO_MARK"}, FIELD(socket.mark)),
        field({"socket", "mode", octal(), "", "Permissions of a unix socket's path"}, FIELD(socket.mode)),
        resolved({"socket", "user", text(1, 255), "", "Owner of a unix socket's path"}, FIELD(socket.user)),
        resolved({"socket", "group", text(1, 255), "", "Group of a unix socket's path"}, FIELD(socket.group)),
    };
}

std::vector<Key> limits() {
    const Shape count = integer(1, 1'000'000);
    return {
        field({"limits", "instances", count, "256", "Handlers at one time"}, FIELD(limits.instances)),
        field({"limits", "per_source", count, "", "Handlers at one time for one source"}, FIELD(limits.per_source)),
        rate<&Limits::rate>({"limits", "rate", {Type::rate}, "", "New clients in a time: \"100/s\", \"30/m\""}),
        burst<&Limits::rate>(
            {"limits", "burst", count, "", "Clients that may come at once before rate counts; the rate's number"}),
        rate<&Limits::per_source_rate>(
            {"limits", "per_source_rate", {Type::rate}, "", "New clients of one source in a time"}),
        burst<&Limits::per_source_rate>({"limits", "per_source_burst", count, "",
                                         "Clients of one source that may come at once; the rate's number"}),
        field({"limits", "source_prefix_ipv4", integer(0, 32), "32", "Bits of an IPv4 address that make one source"},
              FIELD(limits.source_prefix_ipv4)),
        field({"limits", "source_prefix_ipv6", integer(0, 128), "64", "Bits of an IPv6 address that make one source"},
              FIELD(limits.source_prefix_ipv6)),
        field({"limits", "max_load", {Type::number}, "", "Load average above which no client is taken"},
              FIELD(limits.max_load)),
        field({"limits", "on_excess", choice({"queue", "close", "reset", "reject"}), "queue",
               "What becomes of clients over a limit"},
              FIELD(limits.on_excess)),
        field({"limits", "wait_timeout", duration(1us, 1h), "10s", "How long a client over its source's limit is held"},
              FIELD(limits.wait_timeout)),
        field({"limits", "reject_text", text(0, 4096), "", "What a rejected client is told"},
              FIELD(limits.reject_text)),
    };
}

std::vector<Key> models() {
    return {
        field({"prefork", "min_spare", integer(0, 1'000'000), "2", "Handlers that are always ready"},
              FIELD(prefork.min_spare)),
        field({"prefork", "max_spare", integer(1, 1'000'000), "8", "Ready handlers past this number are ended"},
              FIELD(prefork.max_spare)),
        field(
            {"prefork", "max_requests", integer(1, INT_MAX), "", "Clients that a handler serves before it is replaced"},
            FIELD(prefork.max_requests)),
        field(
            {"prefork", "max_idle", duration(1ms, 1000 * day), "", "A handler without a client for this long is ended"},
            FIELD(prefork.max_idle)),
        field({"prefork", "max_age", duration(1ms, 1000 * day), "", "A handler of this age is replaced"},
              FIELD(prefork.max_age)),
        field({"prefork", "grow_after", duration(1ms, day), "50ms",
               "How long clients may wait in the queue before a pool whose workers do not report grows"},
              FIELD(prefork.grow_after)),
        field({"delayed", "delay", duration(1ms, day), "250ms",
               "A handler busy for longer no longer holds up the next client"},
              FIELD(delay)),
    };
}

std::vector<Key> others() {
    return {
        field({"access", "allow", {Type::prefixes}, "", "Prefixes that may connect; the rest may not"},
              FIELD(access.allow)),
        field({"access", "deny", {Type::prefixes}, "", "Prefixes that may not connect"}, FIELD(access.deny)),
        field(
            {"access", "times", {Type::windows}, "", "When clients are taken, in local time: \"Mon-Fri 08:00-18:00\""},
            FIELD(access.times)),
        field({"access", "on_deny", choice({"close", "reset", "drop"}), "close", "How a denied client is sent away"},
              FIELD(access.on_deny)),
        rlimit<RLIMIT_NOFILE>("nofile", Type::count_limit, "Open files"),
        rlimit<RLIMIT_NPROC>("nproc", Type::count_limit, "Processes of the user"),
        rlimit<RLIMIT_AS>("as", Type::size_limit, "Address space"),
        rlimit<RLIMIT_CORE>("core", Type::size_limit, "Core dump"),
        rlimit<RLIMIT_CPU>("cpu", Type::count_limit, "Seconds of processor time"),
        rlimit<RLIMIT_DATA>("data", Type::size_limit, "Data segment"),
        rlimit<RLIMIT_FSIZE>("fsize", Type::size_limit, "Size of a file it writes"),
        rlimit<RLIMIT_MEMLOCK>("memlock", Type::size_limit, "Locked memory"),
        rlimit<RLIMIT_STACK>("stack", Type::size_limit, "Stack"),
        field({"log", "connections", choice({"none", "failures", "all"}), "failures",
               "Which connections are logged: failures are refusals and abnormal ends"},
              FIELD(log_connections)),
        stderr_rate({"log",
                     "stderr_rate",
                     {Type::rate},
                     "1000/s",
                     "Lines of handlers' stderr that go into the log in a time; more are dropped"}),
        stderr_burst({"log", "stderr_burst", integer(1, 1'000'000), "10000",
                      "Lines that may come at once before stderr_rate counts"}),
    };
}

#undef FIELD

}  // namespace

const std::vector<Key>& keys() {
    static const std::vector<Key> all = [] {
        std::vector<Key> out;
        for (auto part : {general(), socket(), limits(), models(), others()}) {
            out.insert(out.end(), std::make_move_iterator(part.begin()), std::make_move_iterator(part.end()));
        }
        return out;
    }();
    return all;
}

const Key* find_key(std::string_view section, std::string_view name) {
    const auto found =
        std::ranges::find_if(keys(), [&](const Key& key) { return key.section == section && key.name == name; });
    return found != keys().end() ? &*found : nullptr;
}

bool is_section(std::string_view name) {
    return !name.empty() && std::ranges::any_of(keys(), [&](const Key& key) { return key.section == name; });
}

}  // namespace superd::conf
