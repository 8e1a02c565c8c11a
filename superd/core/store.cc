// SPDX-License-Identifier: MIT
#include "core/store.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <utility>

#include "core/service.h"

namespace superd::core {
namespace {

constexpr std::string_view kPrefix = "superd-";
constexpr std::size_t kLongestName = 255;  // sd_notify(3)

ino_t inode_of(int fd) {
    struct stat status {};
    fstat(fd, &status);
    return status.st_ino;
}

}  // namespace

bool any_port(const conf::Listen& where) {
    return (where.transport == conf::Transport::tcp || where.transport == conf::Transport::udp) && where.port == 0;
}

std::string stored_name(int fd, const std::string& service) {
    const auto name = fmt::format("{}{}", kPrefix, inode_of(fd));
    return (service.empty() ? name : name + "-" + service).substr(0, kLongestName);
}

bool is_stored(const sys::PassedSocket& socket) {
    const auto name = stored_name(socket.fd.get(), "");
    return socket.name == name || socket.name.starts_with(name + "-");
}

Store::Store(Log& log, sys::ServiceManager& manager, const std::vector<sys::PassedSocket>& passed)
    : log_(log), manager_(manager), there_(manager.has_store()) {
    for (const auto& socket : passed)
        if (is_stored(socket)) kept_.emplace(inode_of(socket.fd.get()), socket.name);
}

std::vector<std::string> Store::names() const {
    std::vector<std::string> names = manager_.unremoved();
    for (const auto& [inode, name] : kept_) names.push_back(name);
    return names;
}

void Store::go_on(const std::vector<std::string>& names) {
    for (const std::string& name : names) {
        ino_t inode = 0;
        const std::string_view number = std::string_view(name).substr(std::min(kPrefix.size(), name.size()));
        std::from_chars(number.data(), number.data() + number.size(), inode);
        kept_.emplace(inode, name);
    }
}

void Store::keep_all(const Ports& ports) {
    if (!there_) return;
    std::map<ino_t, std::string> going = std::move(kept_);
    kept_.clear();
    for (const auto& [key, port] : ports) {
        const net::Listener* listener = port->listener();
        if (listener == nullptr || listener->inherited()) continue;
        if (auto kept = going.extract(inode_of(listener->fd()))) {
            port->stored = kept.key();
            kept_.insert(std::move(kept));
        }
    }
    released_ = released_ || !going.empty();
    for (const auto& [inode, name] : going) manager_.remove(name);
    for (const auto& [key, port] : ports) keep(*port);
}

void Store::keep(Port& port) {
    if (!there_) return;
    const net::Listener* listener = port.listener();
    const bool wanted = listener != nullptr && !listener->inherited();
    const ino_t inode = wanted ? inode_of(listener->fd()) : 0;
    if (inode == port.stored && wanted) return;
    release(port);
    if (!wanted) return;
    if (kept_.contains(inode)) {  // since before a crash
        port.stored = inode;
        return;
    }
    const auto name = stored_name(listener->fd(), any_port(port.where()) ? port.owner()->name() : "");
    if (auto stored = manager_.store(listener->fd(), name); stored) {
        kept_.insert_or_assign(inode, name);
        port.stored = inode;
    } else if (stored.error().code == EAGAIN) {
        late_.insert(port.key());
    } else if (!told_) {
        told_ = true;
        log_.write(Level::warning, fmt::format("{}; after a crash it would be bound again", stored.error().text),
                   {{"SERVICE", port.owner()->name()}, {"ADDRESS", port.uri()}});
    }
}

void Store::release(Port& port) {
    if (!late_.empty()) late_.erase(port.key());
    if (port.stored == 0) return;
    if (const auto kept = kept_.extract(std::exchange(port.stored, 0))) {
        manager_.remove(kept.mapped());
        released_ = true;
    }
}

void Store::keep_late(const Ports& ports) {
    for (const std::string& key : std::exchange(late_, {}))
        if (const auto at = ports.find(key); at != ports.end()) keep(*at->second);
}

void Store::wait(Duration patience) {
    if (std::exchange(released_, false)) manager_.wait(patience);
}

}  // namespace superd::core
