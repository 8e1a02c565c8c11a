// SPDX-License-Identifier: MIT
#pragma once
// A socket that waits for clients.

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>

#include <optional>
#include <string>

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
    /// Makes, binds and listens. Errors carry errno: EADDRINUSE, EADDRNOTAVAIL, ENODEV … may pass with time.
    /// A stale unix socket in the way is replaced; a live one is EADDRINUSE.
    static Result<Listener> open(const conf::Listen& where, const conf::SocketOptions& options);
    /// Takes a socket from the service manager; it may not be listening yet. Paths stay the manager's.
    /// On error `socket` stays the caller's.
    static Result<Listener> adopt(sys::PassedSocket& socket, const conf::Listen& where,
                                  const conf::SocketOptions& options);

    /// Takes back a socket that a superd before this one bound and put into the manager's descriptor store. It is as
    /// one that was opened; its path is superd's own again. An error where the definition now asks for something that
    /// only a new socket can have, or its path has gone; `socket` stays the caller's then.
    static Result<Listener> recover(sys::PassedSocket& socket, const conf::Listen& where,
                                    const conf::SocketOptions& options);
    /// Is this what the unix socket was bound to? Its own name tells the path of its first moment alone.
    static bool leads_to(int fd, const std::string& path);
    /// Closes such a socket that is no longer wanted, and removes its path.
    static void discard(sys::Fd socket);

    Listener(Listener&&) noexcept = default;
    Listener& operator=(Listener&&) = delete;
    ~Listener();

    int fd() const { return fd_.get(); }
    const conf::SocketOptions& options() const { return options_; }
    conf::SocketType type() const { return type_; }
    bool inherited() const { return inherited_; }
    /// What the kernel bound: the port is filled in where 0 was asked for.
    const sys::Address& address() const { return address_; }
    /// As in a definition: "tcp://127.0.0.1:40123".
    std::string uri() const;

    /// False where a change needs a new socket: reuse_port, v6only, freebind, bind_to_device, and values that
    /// go back to what the system has.
    bool can_become(const conf::SocketOptions& options) const;
    /// Applies what may change on a living socket. A failed option is reported after the others were set.
    Result<void> become(const conf::SocketOptions& options);

    /// Who accepts wants EAGAIN and no descriptors of strangers; a handler that is given the socket expects to block,
    /// and may live on being passed descriptors.
    void set_blocking(bool on) const;
    /// The latter alone.
    void let_rights_in(bool on) const;
    /// Lets a second socket be bound beside this one, for a change of address that overlaps.
    void allow_overlap(bool on) const;
    /// This one was bound so: `asked` is what its definition says.
    void overlaps(const conf::SocketOptions& asked);
    /// A handler is given the socket itself: from then on somebody else may change whatever it is set to.
    void note_given();
    bool given() const { return given_; }
    /// Replaces the socket filter; nullopt: none. Errors: filter::attach().
    Result<void> set_filter(const std::optional<filter::Program>& program);

    /// Compares the socket with what it was made as, and puts right what can be on the socket itself, all but the
    /// filter. O_NONBLOCK is not looked at: programs change it by habit.
    Health examine();
    /// A new socket for the same address, bound beside this one, or over its path; clients may come to either until
    /// this one is handed on. It has this filter before any comes. EADDRINUSE: the kernel lets no two have such an
    /// address.
    Result<Listener> renew(const std::optional<filter::Program>& program);
    /// New clients come to `next`, which renew() made, as far as the kernel can be told. True: hand_on_to() takes those
    /// who wait here along, and a UDP socket has nobody to take. False: they have to be accepted from here before.
    bool lead_to(const Listener& next) const;
    /// Nobody comes here any more. nullptr: there is no other any more either.
    void hand_on_to(Listener* next);
    /// The interface that its definition names, else "".
    std::string device() const;
    bool is_multicast() const;
    /// The file that it is bound to, else "".
    const std::string& path() const { return path_; }
    /// accept4(2) that does not block, whatever others do to the socket.
    sys::Fd accept(sockaddr_storage& from, socklen_t& size) const;
    /// All that is to be known of it besides the socket itself, for a superd that goes on with the same descriptor.
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
    /// `fd` is what kept().fd named; nothing is done to it.
    static Listener go_on(sys::Fd fd, Kept kept);

    /// Gives an inherited socket back to who keeps them.
    sys::PassedSocket release() &&;

  private:
    /// `over`: one that has the address and is to be replaced.
    static Result<Listener> make(const conf::Listen& where, const conf::SocketOptions& options,
                                 const Listener* over = nullptr, const filter::Program* program = nullptr);
    void mend_state(Health& health);
    void mend_filter(Health& health);
    void mend_device(Health& health);
    bool is_bound_to_device() const;
    /// Becomes a member of the multicast group that it is bound to. False: it was, or there is none.
    Result<bool> join() const;
    bool own_path(const std::string& path);
    /// Does its path lead to it still?
    bool has_path() const;
    bool is_own(const struct stat& status) const;
    Result<void> set_path(const conf::SocketOptions& options) const;
    Listener(sys::Fd fd, conf::Listen where, conf::SocketOptions options, conf::SocketType type);

    sys::GuardedFd fd_;
    conf::Listen where_;
    conf::SocketOptions options_;
    conf::SocketType type_;
    sys::Address address_;
    bool inherited_ = false;
    bool given_ = false;
    std::string settings_;      ///< read_settings() before anybody else had it; "" while nobody has
    std::uint64_t filter_ = 0;  ///< filter_print() of what was attached
    std::string passed_name_;
    std::string path_;  ///< to be removed with the socket, if it is still this inode
    dev_t device_ = 0;
    ino_t inode_ = 0;
};

}  // namespace superd::net
