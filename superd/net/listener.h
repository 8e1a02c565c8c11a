// SPDX-License-Identifier: MIT
#pragma once
// A socket that accepts or receives clients.

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "conf/service.h"
#include "net/filter.h"
#include "net/health.h"
#include "sys/address.h"
#include "sys/passed_rights.h"
#include "sys/service_manager.h"

namespace superd::net {

class Listener {
  public:
    /// Makes, binds and listens. Errors carry errno: EADDRINUSE, EADDRNOTAVAIL, ENODEV … may pass with time. Replaces a
    /// stale unix socket at the path; a live one is EADDRINUSE.
    static Result<Listener> open(const conf::Listen& where, const conf::SocketOptions& options);
    /// Takes a socket from the service manager; it may not be listening yet. The manager keeps its path. On error, the
    /// caller keeps `socket`.
    static Result<Listener> adopt(sys::PassedSocket& socket, const conf::Listen& where,
                                  const conf::SocketOptions& options);

    /// Takes back a socket that an earlier superd bound and put into the manager's descriptor store. It behaves like an
    /// opened one; its path belongs to superd again. An error if the definition now needs something that only a new
    /// socket can have, or if its path is gone; the caller then keeps `socket`.
    static Result<Listener> recover(sys::PassedSocket& socket, const conf::Listen& where,
                                    const conf::SocketOptions& options);
    /// Is this what the unix socket was bound to? The socket's own name is only the path at the time of its bind.
    static bool leads_to(int fd, const std::string& path);
    /// Closes such a socket when it is no longer wanted, and removes its path.
    static void discard(sys::Fd socket);

    Listener(Listener&&) noexcept = default;
    Listener& operator=(Listener&&) = delete;
    ~Listener();

    int fd() const { return fd_.get(); }
    const conf::Listen& where() const { return where_; }
    const conf::SocketOptions& options() const { return options_; }
    conf::SocketType type() const { return type_; }
    bool inherited() const { return inherited_; }
    /// What the kernel bound: with the chosen port where 0 was asked for.
    const sys::Address& address() const { return address_; }
    /// As in a definition: "tcp://127.0.0.1:40123".
    std::string uri() const;

    /// False if a change needs a new socket: reuse_port, v6only, freebind, bind_to_device, and values that go back to
    /// the system's default.
    bool can_become(const conf::SocketOptions& options) const;
    /// Applies changes that a live socket allows. Reports a failed option after setting the others.
    Result<void> become(const conf::SocketOptions& options);

    /// For accepting, superd wants EAGAIN and no descriptors from strangers. A handler that gets the socket expects it
    /// to block, and may depend on descriptors passed to it.
    void set_blocking(bool on) const;
    /// Only the setting for descriptors.
    void let_rights_in(bool on) const;
    /// Lets a second socket be bound alongside this one, for a change to an overlapping address.
    void allow_overlap(bool on) const;
    static void allow_overlap(int fd, bool on);
    /// This one was bound so; `asked` is what its definition says.
    void overlaps(const conf::SocketOptions& asked);
    /// A handler gets the socket itself: from now on others can change its settings.
    void note_given();
    bool given() const { return given_; }
    /// Replaces the socket filter; nullopt: none. Errors: filter::attach().
    Result<void> set_filter(const std::optional<filter::Program>& program);

    /// Compares the socket with its settings when it was made, and puts right what it can on the socket itself, except
    /// for the filter. It ignores O_NONBLOCK: programs change it by habit.
    Health examine();
    /// A new socket for the same address, bound next to this one or over its path; clients may come to either until
    /// hand_on_to(). It has this filter before any client comes. EADDRINUSE: the kernel does not allow two sockets with
    /// such an address.
    Result<Listener> renew(const std::optional<filter::Program>& program);
    /// Leads new clients to `next`, which renew() made, as far as the kernel allows. True: hand_on_to() takes waiting
    /// clients along, and a UDP socket has none. False: accept them from here first.
    bool lead_to(const Listener& next) const;
    /// No more clients come here. nullptr: there is no successor left either.
    void hand_on_to(Listener* next);
    /// The interface that its definition names, or "".
    std::string device() const;
    /// Is it bound to the address of a group, or a member of others?
    bool is_multicast() const;
    /// The file that it is bound to, or "".
    const std::string& path() const { return path_; }
    /// accept4(2) that does not block, whatever others do to the socket.
    sys::Fd accept(sockaddr_storage& from, socklen_t& size) const;
    /// Everything besides the socket itself, for a superd that continues with the same descriptor.
    struct Kept {
        int fd = -1;
        conf::Listen where;
        conf::SocketOptions options;
        conf::SocketType type{};
        bool inherited = false, given = false;
        std::string passed_name, path;
        dev_t device = 0;
        ino_t inode = 0;
        std::string settings;
    };
    Kept kept() const;
    /// `fd` is the descriptor in kept().fd; it is left unchanged.
    static Listener go_on(sys::Fd fd, Kept kept);

    /// Gives an inherited socket back to its keeper.
    sys::PassedSocket release() &&;

  private:
    /// `over`: the socket that has this address and is to be replaced.
    static Result<Listener> make(const conf::Listen& where, const conf::SocketOptions& options,
                                 const Listener* over = nullptr, const filter::Program* program = nullptr);
    void mend_state(Health& health);
    void mend_filter(Health& health);
    void mend_device(Health& health);
    bool is_bound_to_device() const;
    /// The group that it is bound to, or "".
    std::string own_group() const;
    /// Joins that group and these. False: it is already a member of all, or there is none.
    Result<bool> join(const std::vector<std::string>& groups) const;
    /// Leaves those of `groups` that are not in `but`.
    void leave(const std::vector<std::string>& groups, const std::vector<std::string>& but) const;
    bool own_path(const std::string& path);
    /// Does its path still lead to it?
    bool has_path() const;
    bool is_own(const struct stat& status) const;
    Result<void> set_path(const conf::SocketOptions& options) const;
    Listener(sys::Fd fd, conf::Listen where, conf::SocketOptions options, conf::SocketType type);

    sys::GuardedFd fd_;
    conf::Listen where_;
    Boxed<conf::SocketOptions> options_;
    conf::SocketType type_;
    sys::Address address_;
    bool inherited_ = false;
    bool given_ = false;
    std::string settings_;      ///< read_settings() before it was given to anyone; "" until then
    std::uint64_t filter_ = 0;  ///< filter_print() of the attached filter
    std::string passed_name_;
    std::string path_;  ///< removed with the socket, if it is still this inode
    dev_t device_ = 0;
    ino_t inode_ = 0;
};

}  // namespace superd::net
