// SPDX-License-Identifier: MIT
#pragma once
// The listening sockets in the service manager's descriptor store, from which a superd gets them back after a crash.
// Sockets that the manager passed belong to it and are not stored.

#include <sys/types.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/log.h"
#include "core/port.h"
#include "sys/service_manager.h"

namespace superd::core {

class Store {
  public:
    /// `passed`: what the manager passed at start; sockets from the store among them are still there.
    Store(Log& log, sys::ServiceManager& manager, const std::vector<sys::PassedSocket>& passed);

    /// From now on the store holds only these sockets.
    void keep_all(const Ports& ports);
    /// Stores the socket of this address, if it has one, and none that it had before. If the manager has no room for it
    /// now, keep_late() follows.
    void keep(Port& port);
    /// Stores none for this address, whose socket is about to close.
    void release(Port& port);
    /// To be called when the manager has room again.
    void keep_late(const Ports& ports);
    /// When this returns, the manager has closed its copies of what was released, unless it was very busy: superd's are
    /// the last ones.
    void wait(Duration patience);
    /// For what an operator asks for; otherwise the loop must not wait when a socket goes.
    static constexpr Duration kPatience = std::chrono::seconds(1);

    /// For the next superd after an upgrade: what the manager has, including what it must still remove.
    std::vector<std::string> names() const;
    void go_on(const std::vector<std::string>& names);

  private:
    Log& log_;
    sys::ServiceManager& manager_;
    const bool there_;
    std::map<ino_t, std::string> kept_;  ///< names, by the socket's inode
    std::set<std::string> late_;         ///< keys of addresses
    bool released_ = false;              ///< something, since the last wait
    bool told_ = false;
};

/// Does the kernel choose the port?
bool any_port(const conf::Listen& where);
/// A socket's name in the store, the same for its whole life. It contains the inode, so that it fits no other socket,
/// and for any free port the service's name; "" for other addresses, which may pass between services.
std::string stored_name(int fd, const std::string& service);
/// Did this socket come from the store?
bool is_stored(const sys::PassedSocket& socket);

}  // namespace superd::core
