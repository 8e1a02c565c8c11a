// SPDX-License-Identifier: MIT
#pragma once
// The control socket: who connects, what they may ask for, and sending answers without ever waiting for a client.

#include <array>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include "base/log.h"
#include "control/request.h"
#include "net/listener.h"
#include "sys/alarm.h"

namespace superd::control {

/// The default path for superd and superctl: SUPERD_CONTROL, else /run/superd/control.sock for root and
/// $XDG_RUNTIME_DIR/superd/control.sock for others. Empty: an ordinary user without XDG_RUNTIME_DIR.
std::string default_path();

class Server {
  public:
    /// Listens on `path`, and makes its folder if it is missing. Replaces a socket that nobody listens on. `superd` and
    /// `log` outlive the server; the socket is removed with it.
    static Result<std::unique_ptr<Server>> open(sys::Loop& loop, Log& log, core::Operations& superd, std::string path);
    /// Continues with a socket that an earlier server opened.
    static Result<std::unique_ptr<Server>> go_on(sys::Loop& loop, Log& log, core::Operations& superd,
                                                 net::Listener listener, std::string made_folder);
    ~Server();
    Server(const Server&) = delete;

    const net::Listener& listener() const { return *listener_; }
    /// The socket's folder, if it is removed with the server.
    const std::string& made_folder() const { return made_folder_; }

    /// The set of readers has changed.
    void readers_changed();

    static constexpr std::size_t kMostClients = 64;
    static constexpr Duration kIdle = std::chrono::seconds(60);
    static constexpr std::size_t kMostPending = std::size_t{64} << 20;  ///< bytes of unread answers, in all

  private:
    struct Client {
        sys::GuardedFd fd;
        Rights rights = Rights::none;
        uid_t uid = 0;
        pid_t pid = 0;
        std::string in, out;
        std::size_t sent = 0;  ///< of out
        bool ended = false;    ///< it sends nothing more
        Instant last;          ///< when it last sent something
        sys::Source source;
    };
    using Position = std::list<Client>::iterator;

    Server(sys::Loop& loop, Log& log, core::Operations& superd, net::Listener listener);
    Result<void> watch();
    void accept();
    sys::Fd accept_one();
    void note_stranger(const Client& client);
    void keep_spare();
    void give_up_spare();
    Rights rights_of(Client& client);
    void serve(Position client);
    Answer try_answer(const Client& client, std::string_view request);
    bool receive(Client& client);
    bool flush(Client& client);
    void close(Position client);
    void drop_longest_idle(bool with_output);
    void expire();
    void rest();

    sys::Loop& loop_;
    Log& log_;
    core::Operations& superd_;
    std::optional<net::Listener> listener_;
    std::string made_folder_;
    std::uint64_t strangers_ = 0;
    Instant stranger_noted_{};
    /// Given up when all descriptors are in use: one to accept a client, one to look up its user.
    std::array<sys::Fd, 2> spare_;
    sys::Source source_;
    sys::Alarm idle_, again_;
    std::list<Client> clients_;
};

}  // namespace superd::control
