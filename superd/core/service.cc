// SPDX-License-Identifier: MIT
#include "core/service.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "net/datagram.h"

namespace superd::core {
namespace {

/// accept(2): errors of the one connection that was about to be accepted.
bool is_of_connection(int code) {
    switch (code) {
        case EINTR:
        case ECONNABORTED:
        case EPROTO:
        case ENETDOWN:
        case ENOPROTOOPT:
        case EHOSTDOWN:
        case ENONET:
        case EHOSTUNREACH:
        case EOPNOTSUPP:
        case ENETUNREACH:
        case EPERM:
            return true;
        default:
            return false;
    }
}

}  // namespace

Service::Service(Engine& engine, std::string name) : engine_(engine), name_(std::move(name)), errors_(engine, name_) {}

Service::~Service() {
    stalled_.clear();
    current_.reset();
    former_.clear();
}

void Service::adopt(conf::Service definition, std::vector<Port*> ports) {
    withdrawn_ = false;
    ports_ = std::move(ports);
    admission_.configure(definition.limits);
    const bool given = definition.handoff == conf::Handoff::listen;
    auto next = std::make_unique<Generation>(engine_, *this, std::move(definition), ports_.size());
    for (std::size_t i = 0; i < ports_.size(); ++i) {
        ports_[i]->belong(this, i);
        if (net::Listener* listener = ports_[i]->listener()) listener->set_blocking(given);
    }
    if (current_) former_.push_back(std::move(current_));
    current_ = std::move(next);
    // Successors first: the pool never stands empty.
    current_->model().resume();
    if (!former_.empty()) former_.back()->drain();
    tidy();
    reconcile();
}

void Service::withdraw() {
    withdrawn_ = true;
    ports_.clear();
    reconcile();
    tidy();
}

void Service::collect(Port& port) {
    port.watch(false);
    net::Listener* listener = port.listener();
    if (listener == nullptr || listener->type() == conf::SocketType::datagram || !current_ ||
        current_->definition().handoff == conf::Handoff::listen)
        return;
    const auto at = std::ranges::find(ports_, &port);
    if (at == ports_.end()) return;
    while (auto client = accept(static_cast<std::size_t>(at - ports_.begin()))) stall(std::move(*client));
}

void Service::stop() {
    withdrawn_ = true;
    for (Port* port : ports_) port->watch(false);
    ports_.clear();
    stalled_.clear();
    if (current_) former_.push_back(std::move(current_));
    for (const auto& generation : former_) generation->stop();
    tidy();
}

void Service::kill_all() {
    for (const auto& generation : former_) generation->kill_all();
}

void Service::port_ready(std::size_t index) {
    if (current_) current_->model().ready(index);
    reconcile();
}

void Service::port_came(std::size_t index) {
    Port& port = *ports_[index];
    announce(port);
    if (!current_) return;
    port.listener()->set_blocking(current_->definition().handoff == conf::Handoff::listen);
    current_->model().resume();
    reconcile();
}

void Service::announce(Port& port) {
    engine_.log.write(Level::info, fmt::format("listening on {}", port.uri()),
                      {{"SERVICE", name_}, {"ADDRESS", port.uri()}});
}

void Service::reconcile() {
    if (reconciling_ || !current_) return;
    reconciling_ = true;
    model::Model& model = current_->model();
    // Whoever was taken before goes before the backlog.
    while (!stalled_.empty() && !backing_off_ && admission_.has_room() && model.wants(0)) {
        const auto before = stalled_.size();
        model.ready(0);
        if (stalled_.size() >= before) break;
    }
    const bool open = !withdrawn_ && !backing_off_ && stalled_.empty() && admission_.has_room();
    for (std::size_t i = 0; i < ports_.size(); ++i) ports_[i]->watch(open && model.wants(i));
    reconciling_ = false;
}

void Service::back_off(const Error& why) {
    if (backing_off_) return;
    if (backoff_.tries() == 0)
        engine_.log.write(Level::warning, fmt::format("cannot take clients: {}; they wait, nothing is lost", why.text),
                          {{"SERVICE", name_}, {"ERRNO", why.code}});
    if (!retry_) {
        auto timer = engine_.loop.timer([this] { retry(); });
        if (!timer) return;  // no memory for a timer: the next client is the next try
        retry_ = std::move(*timer);
    }
    if (retry_.arm(now() + backoff_.next())) backing_off_ = true;
    reconcile();
}

void Service::retry() {
    backing_off_ = false;
    if (current_) current_->model().resume();
    reconcile();
    tidy();
}

void Service::started() {
    ++stats_.started;
    if (backoff_.tries() == 0) return;
    engine_.log.write(Level::notice, fmt::format("takes clients again after {} tries", backoff_.tries()),
                      {{"SERVICE", name_}, {"TRIES", backoff_.tries()}});
    backoff_.reset();
}

void Service::stall(model::Client client) {
    client.charge = {};
    stalled_.push_back(std::move(client));
}

std::optional<model::Client> Service::take(std::size_t listener) {
    if (backing_off_ || !admission_.has_room()) return std::nullopt;
    std::optional<model::Client> client;
    if (!stalled_.empty()) {
        client.emplace(std::move(stalled_.front()));
        stalled_.pop_front();
    } else if (net::Listener* socket = this->socket(listener)) {
        client = socket->type() == conf::SocketType::datagram ? receive(listener) : accept(listener);
    }
    if (client) client->charge = admission_.charge();
    return client;
}

std::optional<model::Client> Service::accept(std::size_t listener) {
    const int fd = socket(listener)->fd();
    for (int i = 0; i < 100; ++i) {
        sockaddr_storage from{};
        socklen_t size = sizeof from;
        sys::Fd connection(accept4(fd, reinterpret_cast<sockaddr*>(&from), &size, SOCK_CLOEXEC));
        if (connection) {
            ++stats_.accepted;
            model::Client client;
            client.listener = listener;
            client.local = sys::Address::of_socket(connection.get());
            client.peer = sys::Address(reinterpret_cast<const sockaddr*>(&from), size);
            client.connection = std::move(connection);
            return client;
        }
        if (errno == EAGAIN) return std::nullopt;
        if (!is_of_connection(errno)) {
            back_off(fail_errno("accept", errno).error());
            return std::nullopt;
        }
        if (errno != EINTR) ++stats_.gone;
    }
    return std::nullopt;
}

std::optional<model::Client> Service::receive(std::size_t listener) {
    net::Listener* from = socket(listener);
    auto datagram = net::receive(from->fd(), from->address());
    if (!datagram) {
        const int code = datagram.error().code;
        // A pending error of the socket (ICMP of an earlier reply) is taken by reading it.
        if (code == ENOMEM || code == ENOBUFS) back_off(datagram.error());
        return std::nullopt;
    }
    ++stats_.accepted;
    model::Client client;
    client.listener = listener;
    client.local = datagram->local;
    client.peer = datagram->peer;
    client.datagram = std::move(datagram->data);
    return client;
}

void Service::child_left(const Generation& generation) {
    // Its place may be what a new definition's pool was waiting for.
    if (current_ && &generation != current_.get()) current_->model().resume();
    reconcile();
    tidy();
}

void Service::tidy() {
    if (withdrawn_ && stalled_.empty() && current_) {
        current_->drain();
        former_.push_back(std::move(current_));
    }
    std::erase_if(former_, [](const auto& generation) { return generation->empty(); });
}

bool Service::others_running(const Generation& but) const {
    return std::ranges::any_of(
               former_,
               [&](const auto& generation) { return generation.get() != &but && generation->running() > 0; }) ||
           (current_ && current_.get() != &but && current_->running() > 0);
}

std::size_t Service::running() const {
    std::size_t count = current_ ? current_->running() : 0;
    for (const auto& generation : former_) count += generation->running();
    return count;
}

const char* Service::state() const {
    if (withdrawn_) return "draining";
    if (backing_off_) return "backoff";
    if (std::ranges::any_of(ports_, [](Port* port) { return port->listener() == nullptr; })) return "waiting";
    if (!admission_.has_room()) return "full";
    return "listening";
}

void Service::write_status() {
    const conf::Service* definition = current_          ? &current_->definition()
                                      : former_.empty() ? nullptr
                                                        : &former_.back()->definition();
    const char* model = definition != nullptr ? conf::name_of(definition->model) : "none";
    const std::size_t spare = current_ ? current_->model().spare() : 0;
    std::string addresses;
    for (Port* port : ports_) addresses += (addresses.empty() ? "" : " ") + port->uri();
    engine_.log.write(
        Level::notice,
        fmt::format("{}, {}, {}: handlers {}/{}, spare {}, accepted {}, failures {}, not started {}", state(), model,
                    addresses.empty() ? "no address" : addresses, running(), admission_.instances(), spare,
                    stats_.accepted, stats_.failures, stats_.spawn_failures),
        {{"SERVICE", name_},
         {"STATE", state()},
         {"MODEL", model},
         {"ADDRESS", addresses},
         {"HANDLERS", running()},
         {"LIMIT", admission_.instances()},
         {"SPARE", spare},
         {"ACCEPTED", stats_.accepted},
         {"STARTED", stats_.started},
         {"FAILURES", stats_.failures},
         {"SPAWN_FAILURES", stats_.spawn_failures},
         {"GONE", stats_.gone},
         {"WAITING", stalled_.size()}});
}

}  // namespace superd::core
