// SPDX-License-Identifier: MIT
#pragma once
// The service manager that started superd, if there is one: sd_notify(3), sd_listen_fds(3).

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

/// A socket that the manager passed, with its name from LISTEN_FDNAMES.
struct PassedSocket {
    std::string name;
    Fd fd;
};

/// Takes over all passed sockets, lifted and CLOEXEC, and clears the variables.
/// Closes anything else that was passed.
std::vector<PassedSocket> passed_sockets();

/// Notifies whoever started superd, by NOTIFY_SOCKET; without that, all of this does nothing. Nothing here waits for
/// the receiver's queue: what finds no room there is sent later, only the newest of each kind. sd_notify(3) is
/// unsuitable, since it waits.
class ServiceManager {
  public:
    /// From then on serves the watchdog, if the manager has set one. sd_watchdog_enabled(3)
    static Result<std::unique_ptr<ServiceManager>> create(Loop& loop);

    /// State lines such as "READY=1"; the name in the first line is their kind.
    void tell(const std::string& state);
    /// RELOADING=1 with the MONOTONIC_USEC that Type=notify-reload asks for.
    void tell_reloading();

    bool is_there() const { return static_cast<bool>(socket_); }
    /// May there be a descriptor store for this process? systemd says so since 254 (FDSTORE). Any older manager may
    /// have one; a manager without one closes what it is sent.
    bool has_store() const;
    /// Puts a copy under this name into the store, which passes it at the next start. What is already stored keeps its
    /// name. EAGAIN: try again when there is room. Names: sd_notify(3).
    Result<void> store(int fd, const std::string& name);
    /// Removes everything of this name from the store; the manager closes it once it gets to it.
    void remove(const std::string& name);
    /// Names for which there was no room yet.
    std::vector<std::string> unremoved() const;
    /// Waits until the manager has dealt with everything sent so far, at most this long, and not at all if its queue is
    /// full.
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
