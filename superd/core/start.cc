// SPDX-License-Identifier: MIT
// How a definition's children are started: on a connection, on a datagram, on the listening socket, or parked.
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <new>

#include "base/place.h"
#include "core/client_environment.h"
#include "core/generation.h"
#include "core/service_cgroup.h"
#include "core/sessions.h"
#include "net/datagram.h"
#include "proc/parking.h"

namespace superd::core {
namespace {

/// A handler may depend on descriptors passed to it; superd does not.
void allow_rights(const model::Client& client) {
    if (client.local.family() == AF_UNIX || client.introduction) sys::let_rights_in(client.connection.get(), true);
}

std::vector<ino_t> sockets_among(const std::vector<sys::Fd>& descriptors) {
    std::vector<ino_t> inodes;
    for (const sys::Fd& fd : descriptors) {
        struct stat about {};
        if (fstat(fd.get(), &about) == 0 && S_ISSOCK(about.st_mode)) inodes.push_back(about.st_ino);
    }
    return inodes;
}

}  // namespace

Result<void> Generation::add_errors(proc::Launch& launch) try {
    Result<sys::Fd> fd = sys::Fd();
    switch (definition_.handler.error_output) {
        case conf::Stderr::socket:
            launch.number.push_back(launch.number[1]);
            return {};
        case conf::Stderr::log:
            fd = host_.error_writer();
            break;
        case conf::Stderr::null:
            fd = engine_.null.duplicate();
            break;
        case conf::Stderr::inherit:
            fd = sys::Fd(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3));
            break;
    }
    if (fd && !*fd) fd = fail_errno("descriptor for stderr", errno);
    if (!fd) return std::unexpected(fd.error());
    launch.number.push_back(static_cast<int>(launch.descriptors.size()));
    launch.descriptors.push_back(std::move(*fd));
    return {};
} catch (const std::bad_alloc&) {
    return no_memory();
}

Result<pid_t> Generation::start(proc::Launch& launch, Child&& child) try {
    // Its entries exist before it does, since the end of an unknown child is not recognised.
    Place known(children_);
    Place whose(engine_.children);
    (void)ladder();  // so that it can be stopped even when memory is short
    enter_sandbox(launch);
    const auto pid = spawn(launch, &child.leaf);
    if (!pid) return pid;
    child.serial = ++serial_;
    child.started = now();
    if (child.kind == Kind::parked) ++parked_;
    whose.take(*pid, this);
    Child& kept = known.take(*pid, std::move(child));
    if (!attend(*pid, kept)) {
        // It must not stay: its channel closes, and its end is handled as usual.
        kept.pair.reset();
        kill(*pid, SIGKILL);
    }
    if (kept.kind != Kind::parked) host_.started();
    return *pid;
} catch (const std::bad_alloc&) {  // before there is one
    return no_memory();
}

Result<pid_t> Generation::spawn(proc::Launch& launch, std::uint64_t* leaf) {
    ServiceCgroup* const group = host_.cgroup();
    if (group == nullptr) return engine_.spawner.spawn(launch);
    const auto birth = group->birth(leaf != nullptr);
    if (!birth) return std::unexpected(birth.error());
    launch.cgroup = birth->folder;
    auto pid = engine_.spawner.spawn(launch);
    launch.cgroup = -1;
    if (pid) {
        if (leaf != nullptr) *leaf = birth->leaf;
        return pid;
    }
    group->undo(*birth);
    return birth->folder >= 0 && group->blames(pid.error()) ? engine_.spawner.spawn(launch) : pid;
}

bool Generation::attend(pid_t pid, Child& child) try {
    if (child.kind != Kind::parked && definition_.max_lifetime) ladder().limit(pid, child);
    return (!child.pair && !child.warm) || watch_pair(pid, child);
} catch (const std::bad_alloc&) {
    return false;
}

std::optional<pid_t> Generation::serve(model::Client client) {
    if (!ask_for_sandbox()) {  // the service offers it again
        host_.stall(std::move(client));
        return std::nullopt;
    }
    const bool connection = client.kind == model::Client::Kind::connection;
    // One that waited since before there were sessions may be of one that has begun.
    if (!connection && definition_.has_sessions() && host_.sessions()->has_handler(client)) {
        std::move(client.charge).undo();
        (void)host_.sessions()->receive(client);
        return std::nullopt;
    }
    if (connection) allow_rights(client);
    if (launch(client)) return std::nullopt;
    const auto attempt = [&]() -> Result<pid_t> {
        try {
            return try_serve(client);
        } catch (const std::bad_alloc&) {
            return no_memory();
        }
    };
    auto pid = attempt();
    if (!pid && pid.error().code == EMFILE && (connection || !definition_.has_sessions())) {
        // Waiting clients may hold all descriptors; each that starts frees one. A session would keep some.
        engine_.reserve.release();
        pid = attempt();
        engine_.reserve.fill(engine_.null);
    }
    if (pid) return *pid;
    if (!client.connection && client.datagram.empty() && client.peer.family() == AF_UNSPEC) return std::nullopt;
    host_.stall(std::move(client));  // first: where there is no memory, the rest may not be done
    host_.back_off(pid.error());
    return std::nullopt;
}

std::optional<net::Sender> Generation::sender() const {
    const auto& identity = definition_.handler.identity;
    return identity ? std::optional(net::Sender{identity->uid, identity->gid}) : std::nullopt;
}

Result<void> Generation::add_relay(proc::Launch& launch, Child& child, const model::Client& client,
                                   const net::Listener& from) {
    auto relay = DatagramRelay::create(engine_, host_.replies(), client, from.fd(), sender());
    if (!relay) return std::unexpected(relay.error());
    child.relay = std::move(*relay);
    launch.descriptors.push_back(std::move(child.relay->input));
    launch.descriptors.push_back(std::move(child.relay->output));
    launch.number = {0, 1};
    return {};
}

Result<void> Generation::add_session(proc::Launch& launch, Child& child, model::Client& client,
                                     const net::Listener& from) {
    Sessions& sessions = *host_.sessions();
    auto session = sessions.take_out(client, from.address());
    const net::Listener* asked = &from;  // while it waited, a reload may have put the addresses into another order
    for (std::size_t i = 0; i < listeners_; ++i)
        if (const net::Listener* const one = socket(i); one != nullptr && one->address() == session->record().bound)
            asked = one;
    auto end = session->open(asked->fd(), sender());
    if (!end) {
        sessions.put_back(std::move(session));
        return std::unexpected(end.error());
    }
    child.session = std::move(session);
    launch.descriptors.push_back(std::move(*end));
    launch.number = {0, 0};
    return {};
}

Result<pid_t> Generation::try_serve(model::Client& client) {
    proc::Launch launch;
    launch.plan = &plan();
    launch.environment = client_environment(client);
    launch.asked = client.accepted;
    launch.until_exec = &host_.stats().accept_to_exec;
    launch.descriptors.reserve(4);  // from here on lack of memory is an error, and the client is given back
    launch.number.reserve(4);
    Child child;
    child.peer = client.peer;
    if (client.introduction) child.known = {client.local, client.variables, *client.introduction};
    const bool datagram = client.kind == model::Client::Kind::datagram;
    if (datagram) {
        net::Listener* const from = socket(client.listener);
        if (from == nullptr) {  // its address went with a reload: nowhere to answer from
            std::move(client.charge).undo();
            if (definition_.has_sessions()) host_.sessions()->cancel(client);
            client = {};
            return fail("no socket to answer from");
        }
        if (auto added = definition_.has_sessions() ? add_session(launch, child, client, *from)
                                                    : add_relay(launch, child, client, *from);
            !added)
            return std::unexpected(added.error());
    } else {
        child.connection = copy_for_usage(client);
        launch.number = {0, 0};
        launch.descriptors.push_back(std::move(client.connection));
    }
    Result<pid_t> pid = 0;
    if (auto added = add_errors(launch); !added) {
        pid = std::unexpected(added.error());
    } else {
        child.charge = std::move(client.charge);
        pid = start(launch, std::move(child));
        if (!pid) client.charge = std::move(child.charge);  // with its tokens, which go back when the client waits
    }
    if (!pid && !datagram) client.connection = std::move(launch.descriptors[0]);
    if (Session* const session = pid ? children_.at(*pid).session.get() : nullptr)
        session->began(*pid, std::move(client.datagram));
    else if (child.session)
        host_.sessions()->put_back(std::move(child.session));
    // It has its client, whether there is memory for a line or not.
    const auto log = [&] { log_start(*pid, children_.at(*pid)); };
    if (pid) engine_.loop.attempt(std::ref(log));
    return pid;
}

void Generation::log_start(pid_t pid, const Child& child) {
    if (definition_.log_connections != conf::LogConnections::all) return;
    engine_.log.write(Level::info, fmt::format("{}: handler {} started", child.peer.text(), pid),
                      {{"SERVICE", definition_.name}, {"PEER", child.peer.text()}, {"CHILD_PID", pid}});
}

std::optional<pid_t> Generation::start_owner(std::size_t listener) {
    if (!ask_for_sandbox()) return std::nullopt;
    const auto pid = start_with_socket(listener, Kind::owner);
    if (pid) return *pid;
    host_.back_off(pid.error());
    return std::nullopt;
}

std::optional<pid_t> Generation::start_worker(std::size_t listener) {
    if (host_.is_shut() || socket(listener) == nullptr || !host_.has_room_for(*this)) return std::nullopt;
    if (!ask_for_sandbox()) return std::nullopt;
    const auto pid = start_with_socket(listener, Kind::worker);
    if (pid) return *pid;
    host_.could_not_add(pid.error());
    return std::nullopt;
}

Result<pid_t> Generation::start_with_socket(std::size_t listener, Kind kind) {
    net::Listener* const from = socket(listener);
    if (from == nullptr) return fail("no socket");
    from->note_given();
    if (from == host_.socket(listener)) host_.note_given(listener);
    proc::Launch launch;
    launch.plan = &plan();
    launch.descriptors.push_back(sys::Fd(fcntl(from->fd(), F_DUPFD_CLOEXEC, 3)));
    if (!launch.descriptors[0]) return fail_errno("descriptor for a handler", errno);
    launch.number = {0, 0};
    if (auto added = add_errors(launch); !added) return std::unexpected(added.error());
    launch.number.push_back(0);
    launch.listen_pid = true;
    launch.environment.set("LISTEN_FDS", "1");
    launch.environment.set("LISTEN_FDNAMES", definition_.name);
    Child child;
    child.kind = kind;
    child.listener = listener;
    child.given = {from->address(), from->type(), sockets_among(launch.descriptors)};
    if (kind == Kind::owner) {
        child.first = net::peek(from->fd());
    } else {
        auto pair = proc::make_pair();
        if (!pair) return std::unexpected(pair.error());
        child.pair = std::move(pair->ours);
        launch.number.push_back(static_cast<int>(launch.descriptors.size()));
        launch.environment.set("SUPERD_STATUS_FD", std::to_string(launch.number.size() - 1));
        launch.descriptors.push_back(std::move(pair->theirs));
        child.given.inodes = sockets_among(launch.descriptors);
        // If superd died between stopping it for a look and letting it continue, nothing else would let it.
        launch.death_signal = SIGCONT;
        launch.environment.set("SUPERD_INSTANCES", std::to_string(definition_.limits->instances));
        if (definition_.prefork->max_requests)
            launch.environment.set("SUPERD_MAX_REQUESTS", std::to_string(*definition_.prefork->max_requests));
    }
    child.charge = host_.admission().charge({}, now());
    auto pid = start(launch, std::move(child));
    if (!pid) std::move(child.charge).undo();
    return pid;
}

Result<pid_t> Generation::try_park() {
    auto pair = proc::make_pair();
    if (!pair) return std::unexpected(pair.error());
    proc::Launch launch;
    launch.plan = &parked_plan();
    launch.waits_for_client = true;
    launch.descriptors.push_back(std::move(pair->theirs));
    launch.descriptors.push_back(engine_.null.duplicate());
    if (!launch.descriptors[1]) return fail_errno("descriptor of a parked process", errno);
    launch.number = {0, 1};
    if (auto added = add_errors(launch); !added) return std::unexpected(added.error());
    if (auto added = proc::add_filter(launch); !added) return std::unexpected(added.error());
    Child child;
    child.kind = Kind::parked;
    child.pair = std::move(pair->ours);
    return start(launch, std::move(child));
}

void Generation::serve_past_parked(model::Client client) {
    allow_rights(client);
    if (!copy_serves(client)) (void)serve(std::move(client));
}

bool Generation::hand_over(pid_t pid, model::Client& client) {
    const auto at = children_.find(pid);
    if (at == children_.end() || (!at->second.pair && !at->second.warm)) return false;
    Child& child = at->second;
    const bool to_client = definition_.handler.error_output == conf::Stderr::socket;
    allow_rights(client);
    const auto sent = [&]() -> Result<void> {
        try {
            return proc::send_client(child.pair.get(), client.connection.get(), client_environment(client), to_client);
        } catch (const std::bad_alloc&) {
            return no_memory();
        }
    };
    if (child.warm) {
        if (!hand_over_warm(pid, child, client)) return false;
    } else if (!sent()) {
        retire(pid);  // gone, unreachable, or there is no memory to tell it of its client
        return false;
    }
    --parked_;
    began(pid, child, client);
    return true;
}

sys::GuardedFd Generation::copy_for_usage(const model::Client& client) const {
    if (!definition_.log_usage || !client.connection) return {};
    // client.local may be another's, and under [tls] this is a socket pair.
    const int family = sys::Address::of_socket(client.connection.get()).family();
    if (family != AF_INET && family != AF_INET6) return {};
    sys::GuardedFd copy(fcntl(client.connection.get(), F_DUPFD_CLOEXEC, sys::Fd::kLongLived));
    if (Reserve::is_high(copy.get())) copy.reset();
    return copy;
}

/// It has its client, and superd needs the connection no longer.
void Generation::began(pid_t pid, Child& child, model::Client& client) {
    child.connection = copy_for_usage(client);
    client.connection.reset();
    child.kind = Kind::handler;
    child.peer = std::move(client.peer);  // a copy might find no memory
    if (client.introduction) child.known = {std::move(client.local), std::move(client.variables), *client.introduction};
    child.charge = std::move(client.charge);
    child.started = now();
    host_.stats().accept_to_exec.add(child.started - client.accepted);
    if (definition_.max_lifetime) ladder().limit(pid, child);
    host_.started();
    log_start(pid, child);
}

}  // namespace superd::core
