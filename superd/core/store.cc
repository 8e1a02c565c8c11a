// SPDX-License-Identifier: MIT
#include "core/store.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>

#include <cerrno>

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

void Store::keep(const std::map<std::string, std::unique_ptr<Port>>& ports, Duration patience) {
    if (!there_) return;
    std::map<ino_t, std::string> going = std::move(kept_);
    kept_.clear();
    std::map<ino_t, Port*> coming;
    for (const auto& [key, port] : ports) {
        const net::Listener* listener = port->listener();
        if (listener == nullptr || listener->inherited()) continue;
        const ino_t inode = inode_of(listener->fd());
        if (auto kept = going.extract(inode))
            kept_.insert(std::move(kept));
        else
            coming.emplace(inode, port.get());
    }
    for (const auto& [inode, name] : going) manager_.remove(name);
    for (const auto& [inode, port] : coming) {
        const int fd = port->listener()->fd();
        const auto name = stored_name(fd, any_port(port->where()) ? port->owner()->name() : "");
        if (auto stored = manager_.store(fd, name); stored) {
            kept_.emplace(inode, name);
        } else if (stored.error().code != EAGAIN && !told_) {
            told_ = true;
            log_.write(Level::warning, fmt::format("{}; after a crash it would be bound anew", stored.error().text),
                       {{"SERVICE", port->owner()->name()}, {"ADDRESS", port->uri()}});
        }
    }
    if (!going.empty() && patience > Duration::zero()) manager_.wait(patience);
}

}  // namespace superd::core
