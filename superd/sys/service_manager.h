// SPDX-License-Identifier: MIT
#pragma once
// The service manager that started superd, where there is one: sd_notify(3), sd_listen_fds(3).

#include <sys/un.h>

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/backoff.h"
#include "base/error.h"
#include "base/time.h"
#include "sys/fd.h"
#include "sys/loop.h"

namespace superd::sys {

/// A socket the manager passed, with its name in LISTEN_FDNAMES.
struct PassedSocket {
    std::string name;
    Fd fd;
};

/// Takes over all passed sockets, lifted and CLOEXEC, and clears the variables. Anything else that was passed
/// is closed.
std::vector<PassedSocket> passed_sockets();

/// Whoever started superd and wants to hear of it, by NOTIFY_SOCKET; without one all of this does nothing. Nothing here
/// waits for its queue: what finds no room there is sent once there is some, the newest of each kind alone.
/// sd_notify(3) is no use for that, since it waits.
class ServiceManager {
  public:
    /// Serves the watchdog from then on, where the manager has set one. sd_watchdog_enabled(3)
    static Result<std::unique_ptr<ServiceManager>> create(Loop& loop);

    /// State lines such as "READY=1"; the name of the first is their kind.
    void tell(const std::string& state);
    /// RELOADING=1 with the MONOTONIC_USEC that Type=notify-reload asks for.
    void tell_reloading();

    bool is_there() const { return static_cast<bool>(socket_); }
    /// May it have a descriptor store for this process? systemd tells since 254 (FDSTORE); before that whoever is to be
    /// notified may have one, and closes what it is sent where it has none.
    bool has_store() const;
    /// Puts a copy under this name into the store, to be passed at the next start. What is stored already stays under
    /// the name that it has. Fails with EAGAIN where it is to be tried again on room. Names: sd_notify(3).
    Result<void> store(int fd, const std::string& name);
    /// Takes all of this name out of the store, which closes them once the manager has got to it.
    void remove(const std::string& name);
    /// Names for which there was no room yet.
    std::vector<std::string> unremoved() const;
    /// Waits until the manager has dealt with everything told so far, but not longer than this, and not at all if it
    /// has no room.
    void wait(Duration most);
    /// Called when there is room again.
    void on_room(std::function<void()> room) { room_ = std::move(room); }

  private:
    explicit ServiceManager(Loop& loop) : loop_(loop) {}
    Result<void> set_up();
    void say(std::string kind, std::string state);
    int send(const std::string& state, int fd = -1);
    void send_unsaid();
    void try_again();

    Loop& loop_;
    Fd socket_;
    sockaddr_un address_{};
    socklen_t address_size_ = 0;
    std::deque<std::pair<std::string, std::string>> unsaid_;  ///< by kind
    std::function<void()> room_;
    Source retry_, watchdog_;
    Duration watchdog_period_{};
    bool retrying_ = false;
    Backoff backoff_{std::chrono::milliseconds(10), std::chrono::seconds(1)};
};

}  // namespace superd::sys
