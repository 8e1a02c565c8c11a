// SPDX-License-Identifier: MIT
#pragma once
// The sources of listening sockets: the service manager if it passed one, otherwise the kernel.

#include <list>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/store.h"
#include "net/listener.h"
#include "sys/service_manager.h"

namespace superd::core {

/// The sockets from the service manager that no service has claimed. A socket that a service gives up comes back here,
/// since it cannot be passed again.
class PassedSockets {
  public:
    explicit PassedSockets(std::vector<sys::PassedSocket> sockets) {
        for (sys::PassedSocket& socket : sockets) give_back(std::move(socket));
    }

    /// The free sockets under this name; a systemd:NAME means all of them.
    std::size_t count(const std::string& name) const;
    /// The first free one with this name, or at this address; invalid if there is none. `service`: if the address is
    /// any free port, only a socket that this service had before a crash.
    sys::PassedSocket claim(const conf::Listen& where, const std::string& service);
    void give_back(sys::PassedSocket socket);
    const std::list<sys::PassedSocket>& unclaimed() const { return sockets_; }
    /// Closes what is left after a crash: the sockets of services that no longer exist.
    void discard_stored();

  private:
    using Position = std::list<sys::PassedSocket>::iterator;
    /// The first socket with this key that `fits`.
    template <class Fits>
    std::optional<Position> find(const std::string& by, Fits fits);
    sys::PassedSocket take(Position at);

    std::list<sys::PassedSocket> sockets_;
    std::multimap<std::string, Position> index_;  ///< by name and by address, since there may be as many as services
};

/// Can the service work on a socket of this type? For an inherited one it is known only now.
Result<void> check_type(const conf::Service& service, const conf::Listen& where, const net::Listener& socket);

/// Passed or new, and of a type that the service can serve. `overlap`: it may be bound next to a socket of superd's
/// that uses the address and allows this.
Result<net::Listener> open_socket(PassedSockets& passed, const conf::Service& service, const conf::Listen& where,
                                  bool overlap = false);

}  // namespace superd::core
