// SPDX-License-Identifier: MIT
#include "web/server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <functional>
#include <set>
#include <vector>

#include "lib/signals.h"
#include "lib/stream.h"
#include "web/host.h"

namespace web {
namespace {

constexpr std::size_t kMemory = 16384;                  // of a connection, with a request's line and fields
constexpr auto kForRequest = std::chrono::seconds(10);  // from its first byte, as far as that can be told
constexpr auto kForAnswer = std::chrono::seconds(60);
constexpr auto kKeepAlive = std::chrono::seconds(120);  // Prometheus comes back every minute or sooner
constexpr auto kToBegin = std::chrono::seconds(1);      // a request, while others find no room
constexpr std::size_t kMostHeld = 4u << 20;             // of answers that are being sent, in bytes
constexpr std::size_t kFewHeld = 8;                     // of which so many may be longer
constexpr auto kScarce = std::chrono::milliseconds(50);
constexpr auto kLookAgain = std::chrono::seconds(1);  // for connections whose time is over

// For pages that load nothing but their own files, run none but their own script, and are nobody else's frame.
constexpr const char* kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'";

void say(const std::string& what) {
    fprintf(stderr, "%s: %s\n", program_invocation_short_name, what.c_str());
}

int socket_option(int fd, int name) {
    int value = -1;
    socklen_t size = sizeof value;
    return getsockopt(fd, SOL_SOCKET, name, &value, &size) == 0 ? value : -1;
}

int descriptor_of(MHD_Connection* connection) {
    const auto* info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    return info != nullptr ? info->connect_fd : -1;
}

}  // namespace

Response::Response(unsigned status, const char* type, std::string body)
    : status_(status),
      size_(body.size()),
      raw_(MHD_create_response_from_buffer(body.size(), body.data(), MHD_RESPMEM_MUST_COPY)) {
    with("Content-Type", type).with("Cache-Control", "no-store").with("X-Content-Type-Options", "nosniff");
    with("Referrer-Policy", "no-referrer").with("Content-Security-Policy", kPolicy);
    with("Cross-Origin-Resource-Policy", "same-origin");
}

Response& Response::operator=(Response&& other) noexcept {
    std::swap(status_, other.status_);
    std::swap(size_, other.size_);
    std::swap(raw_, other.raw_);
    return *this;
}

Response::~Response() {
    if (raw_ != nullptr) MHD_destroy_response(raw_);  // once nobody is being sent it any more
}

Response& Response::with(const char* field, const char* value) {
    if (raw_ != nullptr) MHD_add_response_header(raw_, field, value);
    return *this;
}

Response plain(unsigned status, const std::string& text) {
    return Response(status, "text/plain; charset=utf-8", text + "\n");
}

std::string Exchange::argument(const char* name) const {
    const char* const value = MHD_lookup_connection_value(connection_, MHD_GET_ARGUMENT_KIND, name);
    return value != nullptr ? value : "";
}

std::string Exchange::field(const char* name) const {
    const char* const value = MHD_lookup_connection_value(connection_, MHD_HEADER_KIND, name);
    return value != nullptr ? value : "";
}

Server::~Server() {
    if (daemon_ != nullptr) MHD_stop_daemon(daemon_);
    if (!one_) return;
    // Unread input would turn the end of the connection into a reset.
    shutdown(one_.get(), SHUT_WR);
    worker::discard_received(one_.get());
}

// ---- requests

void Server::answer(Exchange& exchange, const Response& response) {
    exchange.queued_ =
        response.raw_ == nullptr ? MHD_NO : MHD_queue_response(exchange.connection_, response.status_, response.raw_);
    Client* client = client_of(exchange.connection_);
    if (client == nullptr || response.raw_ == nullptr) return;
    client->answer = response.raw_;
    client->size = response.size_;
    spare_memory();
}

void Server::wait(Exchange& exchange) {
    exchange.waited_ = exchange.suspended_ = true;
    MHD_suspend_connection(exchange.connection_);
}

void Server::wake(Exchange& exchange) {
    if (!std::exchange(exchange.suspended_, false)) return;
    MHD_resume_connection(exchange.connection_);
}

/// What is out of order is answered before a body is read, and ends the connection.
void Server::judge(Exchange& exchange, const std::string& method) {
    const auto refuse = [&](Response response) { answer(exchange, response.with("Connection", "close")); };
    if (method != MHD_HTTP_METHOD_GET && method != MHD_HTTP_METHOD_HEAD)
        return refuse(std::move(plain(405, "GET and HEAD only").with("Allow", "GET, HEAD")));
    const std::string length = exchange.field("Content-Length");
    if ((!length.empty() && length != "0") || !exchange.field("Transfer-Encoding").empty())
        return refuse(plain(413, "a request here has no body"));
    // Only HTTP/1.0 may leave it out, as probes of load balancers do; every browser names the host.
    const char* const host = MHD_lookup_connection_value(exchange.connection_, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST);
    if (checks_host_ && host != nullptr && !is_own_host(host, options_.hosts))
        return refuse(
            plain(421, "The Host of the request is neither an address nor localhost, and no --host names it."));
}

MHD_Result Server::on_request(void* server, MHD_Connection* connection, const char* url, const char* method,
                              const char*, const char*, std::size_t* size, void** state) {
    auto& self = *static_cast<Server*>(server);
    auto* exchange = static_cast<Exchange*>(*state);
    if (exchange == nullptr) {
        *state = exchange = new Exchange;
        exchange->connection_ = connection;
        exchange->path_ = url;
        if (Client* client = self.client_of(connection)) {
            client->busy = true;
            client->until = Clock::now() + kForAnswer;
        }
        self.judge(*exchange, method);
        return exchange->queued_.value_or(MHD_YES);
    }
    *size = 0;
    if (!exchange->queued_) self.handler_(*exchange);
    if (exchange->suspended_) return MHD_YES;
    return exchange->queued_.value_or(MHD_NO);
}

void Server::on_completed(void* server, MHD_Connection* connection, void** state, MHD_RequestTerminationCode) {
    auto& self = *static_cast<Server*>(server);
    delete static_cast<Exchange*>(std::exchange(*state, nullptr));
    Client* client = self.client_of(connection);
    if (client == nullptr) return;
    client->busy = false;
    client->answer = nullptr;
    client->served = true;
    client->until = Clock::now() + kKeepAlive;
    char next;
    client->ended = recv(client->fd, &next, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

// ---- connections

void Server::on_connection(void* server, MHD_Connection* connection, void**, MHD_ConnectionNotificationCode what) {
    auto& self = *static_cast<Server*>(server);
    const int fd = descriptor_of(connection);
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        if (self.listener_) worker::report_taken(self.reports_, self.options_.connections, self.clients_.size());
        self.clients_[fd] = {fd, Clock::now() + kForRequest};
        return;
    }
    worker::discard_received(fd);
    if (self.clients_.erase(fd) == 1 && self.reports_room_)
        worker::report_over(self.reports_, self.options_.connections, self.clients_.size());
}

Server::Client* Server::client_of(MHD_Connection* connection) {
    const auto at = clients_.find(descriptor_of(connection));
    return at != clients_.end() ? &at->second : nullptr;
}

bool Server::adopt(worker::Fd client) {
    fcntl(client.get(), F_SETFL, fcntl(client.get(), F_GETFL) | O_NONBLOCK);
    const sockaddr nobody{};          // nothing here asks who it is
    const int fd = client.release();  // libmicrohttpd owns it from here on, even if it fails
    if (MHD_add_connection(daemon_, fd, &nobody, sizeof nobody) != MHD_YES) return false;
    // libmicrohttpd 1.0 only queues it. Until it is among the clients, nobody would seem to be there.
    if (!clients_.contains(fd)) MHD_run(daemon_);
    return true;
}

bool Server::takes_more() const {
    return listener_ && !draining_ && (!options_.max_requests || taken_ < *options_.max_requests);
}

void Server::accept_some() {
    while (takes_more()) {
        if (clients_.size() >= static_cast<std::size_t>(options_.connections)) {
            make_room();
            accept_again_ = Clock::now() + kScarce;
            return;
        }
        // Another holder, or superd for the next definition, may have set the socket blocking.
        if (!worker::is_readable(listener_.get())) return;
        worker::Fd client(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (!client) {
            if (errno == EAGAIN) return;
            if (errno == EINTR || errno == ECONNABORTED) continue;
            if (errno == EINVAL || errno == EBADF || errno == ENOTSOCK || errno == EOPNOTSUPP) {
                say(std::string("take a client: ") + strerrordesc_np(errno));
                failed_ = true;
                return drain();
            }
            accept_again_ = Clock::now() + kScarce;  // descriptors or memory are scarce, or a client's network is down
            return;
        }
        ++taken_;
        (void)adopt(std::move(client));
    }
    drain();
}

/// Of those between two requests, the one that has been silent longest; or else of those that have not asked yet,
/// though they have had time to.
void Server::make_room() {
    Client *silent = nullptr, *mute = nullptr;
    for (auto& [fd, client] : clients_) {
        if (client.busy) continue;
        Client*& oldest = client.served ? silent : mute;
        if (oldest == nullptr || client.until < oldest->until) oldest = &client;
    }
    if (mute != nullptr && mute->until - kForRequest + kToBegin > Clock::now()) mute = nullptr;
    if (silent == nullptr) silent = mute;
    if (silent != nullptr) shutdown(silent->fd, SHUT_RDWR);
}

/// libmicrohttpd's own limit counts from the last byte, so that a byte now and then would hold a place for ever.
void Server::cut_overdue() {
    const Instant time = Clock::now();
    for (const auto& [fd, client] : clients_)
        if (client.until <= time) shutdown(fd, SHUT_RDWR);
}

/// libmicrohttpd does not see an end that has come together with a request. It may have read more requests before that.
void Server::cut_ended() {
    for (const auto& [fd, client] : clients_)
        if (client.ended && !client.busy) shutdown(fd, SHUT_RDWR);
}

/// What is new each second, and never read, is kept for each that asked for it: those that have taken longest give way.
void Server::spare_memory() {
    std::vector<const Client*> sent;
    for (const auto& [fd, client] : clients_)
        if (client.answer != nullptr) sent.push_back(&client);
    std::ranges::sort(sent, std::greater{}, [](const Client* client) { return client->until; });
    std::set<const MHD_Response*> held;
    std::size_t bytes = 0;
    for (const Client* client : sent) {
        if (!held.insert(client->answer).second) continue;
        bytes += client->size;
        if (bytes > kMostHeld && held.size() > kFewHeld) shutdown(client->fd, SHUT_RDWR);
    }
}

void Server::drain() {
    draining_ = true;
    listener_.reset();
}

/// Who has not been answered yet is, before the end.
bool Server::is_done() const {
    if (clients_.empty()) return draining_ || one_;
    return draining_ &&
           std::ranges::all_of(clients_, [](const auto& entry) { return entry.second.served && !entry.second.busy; });
}

// ---- the loop

/// Takes the socket from stdin, so that closing ours closes it.
bool Server::take_stdin() {
    const char* const pid = getenv("LISTEN_PID");
    if (pid != nullptr && atoi(pid) == getpid()) close(3);  // the same once more
    if (socket_option(STDIN_FILENO, SO_TYPE) != SOCK_STREAM) {
        say("stdin is not a stream socket: this is a handler of superd's");
        return false;
    }
    const bool listening = socket_option(STDIN_FILENO, SO_ACCEPTCONN) == 1;
    worker::Fd taken(fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 10));
    const worker::Fd nothing(open("/dev/null", O_RDWR | O_CLOEXEC));
    int ends[2] = {-1, -1};
    const bool has_end = nothing || pipe2(ends, O_CLOEXEC) == 0;  // a root folder without devices
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO})
        if (!taken || !has_end || dup2(nothing ? nothing.get() : ends[0], fd) < 0) {
            say(std::string("take over stdin: ") + strerrordesc_np(errno));
            return false;
        }
    for (const int fd : ends)
        if (fd >= 0) close(fd);
    fcntl(taken.get(), F_SETFL, fcntl(taken.get(), F_GETFL) | O_NONBLOCK);
    (listening ? listener_ : one_) = std::move(taken);
    reports_room_ = listening;
    return true;
}

bool Server::start() {
    signal(SIGPIPE, SIG_IGN);
    signals_ = worker::take_signals(reports_);
    daemon_ =
        MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME, 0, nullptr, nullptr,
                         &on_request, this, MHD_OPTION_CONNECTION_LIMIT,
                         static_cast<unsigned>(options_.connections) + 1, MHD_OPTION_CONNECTION_MEMORY_LIMIT, kMemory,
                         MHD_OPTION_NOTIFY_COMPLETED, &on_completed, this, MHD_OPTION_NOTIFY_CONNECTION, &on_connection,
                         this, MHD_OPTION_STRICT_FOR_CLIENT, checks_host_ ? 1 : -1, MHD_OPTION_END);
    if (!signals_ || daemon_ == nullptr) {
        say(std::string("start: ") + strerrordesc_np(errno));
        return false;
    }
    if (listener_) {
        reports_.idle(worker::room(options_.connections, 0));
        return true;
    }
    return adopt(worker::Fd(fcntl(one_.get(), F_DUPFD_CLOEXEC, 10)));
}

int Server::run(Handler handler, const Tick& tick) {
    handler_ = std::move(handler);
    if (!take_stdin() || !start()) return EXIT_FAILURE;
    while (!is_done()) step(tick);
    reports_.flush();
    return failed_ ? EXIT_FAILURE : EXIT_SUCCESS;
}

void Server::step(const Tick& tick) {
    std::optional<Instant> next = tick ? tick() : std::nullopt;
    const auto by = [&](std::optional<Instant> when) {
        if (when && (!next || *when < *next)) next = when;
    };
    by(control_.next());
    by(accept_again_);
    if (!clients_.empty()) by(overdue_at_);
    MHD_UNSIGNED_LONG_LONG own = 0;
    if (MHD_get_timeout(daemon_, &own) == MHD_YES) by(Clock::now() + std::chrono::milliseconds(own));
    const bool accepts = takes_more() && !accept_again_;
    enum { signals, http, status, control, listening, count };
    const auto* http_fd = MHD_get_daemon_info(daemon_, MHD_DAEMON_INFO_EPOLL_FD);
    pollfd fds[count] = {{signals_.get(), POLLIN, 0},
                         {http_fd->epoll_fd, POLLIN, 0},
                         {draining_ ? -1 : options_.status_fd.value_or(-1), POLLIN | POLLRDHUP, 0},
                         {control_.fd(), control_.events(), 0},
                         {accepts ? listener_.get() : -1, POLLIN, 0}};
    const auto left = next ? std::chrono::ceil<std::chrono::milliseconds>(*next - Clock::now()).count() : -1;
    if (poll(fds, count, next ? static_cast<int>(std::clamp<long long>(left, 0, 60'000)) : -1) < 0) return;

    signalfd_siginfo told;
    if (fds[signals].revents != 0 && read(signals_.get(), &told, sizeof told) > 0) drain();
    if (fds[status].revents != 0 && reports_.is_closed()) drain();
    if (accept_again_ && *accept_again_ <= Clock::now()) accept_again_.reset();
    if (fds[listening].revents != 0 && listener_) accept_some();
    control_.tick();
    MHD_run(daemon_);
    cut_ended();
    if (Clock::now() < overdue_at_) return;
    overdue_at_ = Clock::now() + kLookAgain;
    cut_overdue();
}

}  // namespace web
