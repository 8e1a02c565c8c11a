// SPDX-License-Identifier: MIT
#include "control/server.h"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <new>

#include "control/peer.h"

namespace superd::control {
namespace {

constexpr int kBatch = 16;
constexpr Duration kRest = std::chrono::seconds(1);

bool is_in(gid_t group, const std::vector<gid_t>& groups) {
    return std::ranges::find(groups, group) != groups.end();
}

/// The supplementary groups of the client when it connected. unix(7)
std::vector<gid_t> groups_of(int fd) {
    std::vector<gid_t> groups(64);
    for (;;) {
        auto size = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
        if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size) == 0) {
            groups.resize(size / sizeof(gid_t));
            return groups;
        }
        if (errno != ERANGE || groups.size() >= size / sizeof(gid_t)) return {};
        groups.resize(size / sizeof(gid_t));
    }
}

}  // namespace

std::string default_path() {
    if (const char* named = std::getenv("SUPERD_CONTROL"); named != nullptr && *named != 0) return named;
    if (geteuid() == 0) return "/run/superd/control.sock";
    const char* folder = std::getenv("XDG_RUNTIME_DIR");
    return folder != nullptr && *folder == '/' ? fmt::format("{}/superd/control.sock", folder) : "";
}

Result<std::unique_ptr<Server>> Server::open(sys::Loop& loop, Log& log, core::Operations& superd, std::string path) {
    const auto failed = [&](const std::string& why, int code = 0) {
        return std::unexpected(Error{fmt::format("control socket {}: {}", path, why), code});
    };
    conf::Listen where;
    where.transport = conf::Transport::unix_stream;
    where.path = path;
    conf::SocketOptions options;
    options.mode = 0600;
    options.backlog = 128;
    const std::string folder = std::filesystem::path(path).parent_path();
    const bool made = mkdir(folder.c_str(), 0700) == 0;
    if (made) chmod(folder.c_str(), 0755);  // whatever the umask: [control] readers must get through
    auto listener = net::Listener::open(where, options);
    if (!listener) {
        if (made) rmdir(folder.c_str());
        struct stat status {};
        const bool socket = lstat(path.c_str(), &status) == 0 && S_ISSOCK(status.st_mode);
        if (listener.error().code == EADDRINUSE)
            return failed(socket ? "another superd listens there" : "there is a file that is not a socket", EADDRINUSE);
        return failed(listener.error().text, listener.error().code);
    }
    listener->set_blocking(false);
    std::unique_ptr<Server> server(new Server(loop, log, superd, std::move(*listener)));
    if (made) server->made_folder_ = folder;
    if (auto watched = server->watch(); !watched) return failed(watched.error().text, watched.error().code);
    server->readers_changed();
    return server;
}

Result<std::unique_ptr<Server>> Server::go_on(sys::Loop& loop, Log& log, core::Operations& superd,
                                              net::Listener listener, std::string made_folder) {
    std::unique_ptr<Server> server(new Server(loop, log, superd, std::move(listener)));
    server->made_folder_ = std::move(made_folder);
    if (auto watched = server->watch(); !watched) return std::unexpected(watched.error());
    return server;
}

Server::Server(sys::Loop& loop, Log& log, core::Operations& superd, net::Listener listener)
    : loop_(loop),
      log_(log),
      superd_(superd),
      listener_(std::move(listener)),
      idle_(loop, [this] { expire(); }),
      again_(loop, [this] {
          (void)source_.enable(true);
          accept();
      }) {}

Server::~Server() {
    clients_.clear();
    source_ = {};
    listener_.reset();  // this also removes the socket's file
    if (!made_folder_.empty()) rmdir(made_folder_.c_str());
}

Result<void> Server::watch() {
    auto source = loop_.io(listener_->fd(), EPOLLIN, [this](std::uint32_t) { accept(); });
    if (!source) return std::unexpected(source.error());
    source_ = std::move(*source);
    keep_spare();
    return {};
}

void Server::readers_changed() {
    conf::SocketOptions options = listener_->options();
    // A file has one group, readers may belong to many: let everybody connect then, and decide by their credentials.
    options.mode = superd_.readers().empty() ? 0600 : 0666;
    if (auto set = listener_->become(options); !set)
        log_.write(Level::warning, fmt::format("control socket: {}", set.error().text));
}

/// All descriptors are in use, or the kernel has no memory: the timer tries again.
void Server::rest() {
    again_.set(now() + kRest);
    (void)source_.enable(false);
}

sys::Fd Server::accept_one() {
    const auto once = [this] {
        return sys::Fd(accept4(listener_->fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    };
    sys::Fd fd = once();
    if (fd || (errno != EMFILE && errno != ENFILE) || !spare_[0]) return fd;
    give_up_spare();
    return once();
}

void Server::accept() {
    for (int i = 0; i < kBatch; ++i) {
        sys::Fd fd = accept_one();
        if (!fd) {
            if (errno == EINTR || errno == ECONNABORTED) continue;
            if (errno != EAGAIN) rest();
            return;
        }
        Client client;
        client.fd = std::move(fd).lifted();
        client.rights = rights_of(client);
        if (client.rights == Rights::none) {
            const std::string no =
                refusal("not permitted: root, superd's own user and members of [control] readers may");
            (void)!send(client.fd.get(), no.data(), no.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
            note_stranger(client);
            client.fd.reset();
            keep_spare();
            continue;
        }
        if (clients_.size() >= kMostClients) drop_longest_idle(false);
        client.last = now();
        clients_.push_back(std::move(client));
        const Position entry = std::prev(clients_.end());
        auto source = loop_.io(entry->fd.get(), EPOLLIN, [this, entry](std::uint32_t) { serve(entry); });
        if (!source) {
            clients_.erase(entry);
            keep_spare();
            return rest();
        }
        entry->source = std::move(*source);
        if (!idle_.is_set()) idle_.set(now() + kIdle);
    }
}

/// Only now and then: anyone who may connect could fill the log.
void Server::note_stranger(const Client& client) {
    ++strangers_;
    if (now() - stranger_noted_ < kIdle) return;
    log_.write(Level::info, fmt::format("control: uid {} may not look ({} refused so far)", client.uid, strangers_),
               {{"UID", client.uid}, {"PEER_PID", client.pid}, {"COUNT", strangers_}});
    stranger_noted_ = now();
}

void Server::keep_spare() {
    for (sys::Fd& fd : spare_)
        if (!fd) fd = sys::Fd(fcntl(listener_->fd(), F_DUPFD_CLOEXEC, sys::Fd::kLongLived));
}

void Server::give_up_spare() {
    for (sys::Fd& fd : spare_) fd.reset();
}

Rights Server::rights_of(Client& client) {
    ucred peer{};
    socklen_t size = sizeof peer;
    if (getsockopt(client.fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return Rights::none;
    client.uid = peer.uid;
    client.pid = peer.pid;
    if (peer.uid == 0) return Rights::command;
    if (peer.uid == geteuid()) {
        give_up_spare();
        const bool is_handler = is_descendant(client.fd.get(), peer.pid);
        keep_spare();
        return is_handler ? Rights::handler : Rights::command;
    }
    const std::vector<gid_t>& readers = superd_.readers();
    if (readers.empty()) return Rights::none;
    if (is_in(peer.gid, readers)) return Rights::look;
    const auto groups = groups_of(client.fd.get());
    return std::ranges::any_of(groups, [&](gid_t group) { return is_in(group, readers); }) ? Rights::look
                                                                                           : Rights::none;
}

/// One request at a time, and none while its last answer is unread: so one answer bounds what superd keeps for a
/// client.
void Server::serve(Position client) {
    if (!flush(*client)) return close(client);
    if (client->out.empty()) {
        if (client->in.find('\n') == std::string::npos && !receive(*client)) return close(client);
        const std::size_t end = client->in.find('\n');
        if (end == std::string::npos && client->in.size() > kLongestRequest) {
            client->out = refusal("a request has at most 65536 bytes, including its newline");
            client->in.clear();
            (void)flush(*client);
            return close(client);
        }
        if (end != std::string::npos) {
            Answer got = try_answer(*client, std::string_view(client->in).substr(0, end));
            if (got.line.empty()) return close(client);
            client->in.erase(0, end + 1);
            client->out = std::move(got.line);
            const auto log = [&] {
                log_.write(got.command ? Level::notice : Level::debug,
                           fmt::format("control: {} for uid {}", got.verb, client->uid),
                           {{"VERB", got.verb}, {"UID", client->uid}, {"PEER_PID", client->pid}});
            };
            if (*got.verb != 0) loop_.attempt(std::ref(log));
            if (!flush(*client)) return close(client);
        }
    }
    const bool more = client->in.find('\n') != std::string::npos;
    if (client->ended && client->out.empty() && !more) return close(client);
    if (!client->source.watch(client->out.empty() && !more ? EPOLLIN : EPOLLOUT)) return close(client);
    if (!client->out.empty()) drop_longest_idle(true);
}

/// Where there is no memory, it says so at once and returns no line: what was asked for may be done, and is not done
/// again.
Answer Server::try_answer(const Client& client, std::string_view request) try {
    return answer(superd_, request, client.rights);
} catch (const std::bad_alloc&) {
    constexpr std::string_view kNoMemory =
        "{\"version\":1,\"ok\":false,\"error\":\"superd has no memory for an answer; it may have done what was "
        "asked\"}\n";
    (void)!send(client.fd.get(), kNoMemory.data(), kNoMemory.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    return {};
}

/// False: the connection is broken.
bool Server::receive(Client& client) {
    char buffer[16384];
    const ssize_t n = sys::receive_without_rights(client.fd.get(), buffer, sizeof buffer);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    client.last = now();
    client.ended = n == 0;
    client.in.append(buffer, static_cast<std::size_t>(n));
    return true;
}

/// False: the connection is broken.
bool Server::flush(Client& client) {
    while (client.sent < client.out.size()) {
        const ssize_t n = send(client.fd.get(), client.out.data() + client.sent, client.out.size() - client.sent,
                               MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno == EAGAIN;
        client.sent += static_cast<std::size_t>(n);
        client.last = now();
    }
    client.sent = 0;
    client.out = {};
    return true;
}

void Server::close(Position client) {
    clients_.erase(client);
    keep_spare();
}

/// `with_output`: only if unread answers take too much memory, and then only clients that do not read.
void Server::drop_longest_idle(bool with_output) {
    for (;;) {
        std::size_t pending = 0;
        Position idle = clients_.end();
        for (auto client = clients_.begin(); client != clients_.end(); ++client) {
            pending += client->out.size();
            if (with_output && client->out.empty()) continue;
            if (idle == clients_.end() || client->last < idle->last) idle = client;
        }
        if (idle == clients_.end() || (with_output && pending <= kMostPending)) return;
        close(idle);
        if (!with_output) return;
    }
}

void Server::expire() {
    const Instant time = now();
    Instant next = time + kIdle;
    for (auto client = clients_.begin(); client != clients_.end();) {
        const auto here = client++;
        if (here->last + kIdle <= time)
            close(here);
        else
            next = std::min(next, here->last + kIdle);
    }
    if (!clients_.empty()) idle_.set(next);
}

}  // namespace superd::control
