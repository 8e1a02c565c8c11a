// SPDX-License-Identifier: MIT
#pragma once
// The listening sockets in the service manager's descriptor store, from which a superd that is started after a crash
// gets them back. Sockets that the manager passed are its own and are not stored.

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
    /// `passed`: what the manager passed at start; what comes from the store among it is there still.
    Store(Log& log, sys::ServiceManager& manager, const std::vector<sys::PassedSocket>& passed);

    /// From now on the store holds these sockets and no other.
    void keep_all(const Ports& ports);
    /// The socket of this address, if it has one, and none that it had before. Where the manager has no room for it
    /// now, it follows with keep_late().
    void keep(Port& port);
    /// None of this address, whose socket is about to close.
    void release(Port& port);
    /// To be called when the manager has room again.
    void keep_late(const Ports& ports);
    /// The manager has closed its copies of what was released when this returns, if it was not very busy: superd's are
    /// the last ones.
    void wait(Duration patience);
    /// For what an operator asks for; whoever else has a socket go must not make the loop wait.
    static constexpr Duration kPatience = std::chrono::seconds(1);

    /// For the next superd after an upgrade: what the manager has, or had not been told yet to take out.
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

/// Is the kernel to choose the port?
bool any_port(const conf::Listen& where);
/// A socket's name in the store, the same for its whole life. It holds the inode, so that it fits no other socket,
/// and for any free port the service whose it is; "" for other addresses, which may pass from one to another.
std::string stored_name(int fd, const std::string& service);
/// Did this socket come from the store?
bool is_stored(const sys::PassedSocket& socket);

}  // namespace superd::core
