// SPDX-License-Identifier: MIT
#pragma once
// Where listening sockets come from: the service manager if it passed one, else the kernel.

#include <list>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/store.h"
#include "net/listener.h"
#include "sys/service_manager.h"

namespace superd::core {

/// The sockets that the service manager passed and that no service has claimed. A socket that a service gave up
/// comes back here, since it cannot be passed again.
class PassedSockets {
  public:
    explicit PassedSockets(std::vector<sys::PassedSocket> sockets) {
        for (sys::PassedSocket& socket : sockets) give_back(std::move(socket));
    }

    /// Sockets under this name that are free; a systemd:NAME stands for all of them.
    std::size_t count(const std::string& name) const;
    /// The first free one with this name, or at this address; invalid where there is none. `service`: where the
    /// address is any free port, only what that service had before a crash.
    sys::PassedSocket claim(const conf::Listen& where, const std::string& service);
    void give_back(sys::PassedSocket socket);
    const std::list<sys::PassedSocket>& unclaimed() const { return sockets_; }
    /// Closes what is left of a crash: the sockets of services that are no more.
    void discard_stored();

  private:
    using Position = std::list<sys::PassedSocket>::iterator;
    /// The first of those known by this to which `fits` applies.
    template <class Fits>
    std::optional<Position> find(const std::string& by, Fits fits);
    sys::PassedSocket take(Position at);

    std::list<sys::PassedSocket> sockets_;
    std::multimap<std::string, Position> index_;  ///< by name and by address, since there may be as many as services
};

/// Can the service work on a socket of this type, which for an inherited one is known only now?
Result<void> check_type(const conf::Service& service, const conf::Listen& where, conf::SocketType type);

/// Passed or new, and of a type that the service can serve. `overlap`: an address in use by a socket of ours that has
/// allowed it may be bound beside it.
Result<net::Listener> open_socket(PassedSockets& passed, const conf::Service& service, const conf::Listen& where,
                                  bool overlap = false);

}  // namespace superd::core
