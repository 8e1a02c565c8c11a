// SPDX-License-Identifier: MIT
#pragma once
// A small server of what may be looked at: GET and HEAD, by libmicrohttpd in the loop of one thread. It serves the
// connection on stdin, or accepts from the listening socket there and reports to superd as a worker does.

#include <microhttpd.h>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "lib/fd.h"
#include "lib/reports.h"
#include "web/control.h"
#include "web/options.h"

namespace web {

/// A body with its fields, which any number of clients may be sent.
class Response {
  public:
    Response(unsigned status, const char* type, std::string body);
    Response(Response&& other) noexcept
        : status_(other.status_), size_(other.size_), raw_(std::exchange(other.raw_, nullptr)) {}
    Response& operator=(Response&& other) noexcept;
    ~Response();
    Response& with(const char* field, const char* value);

  private:
    friend class Server;
    unsigned status_;
    std::size_t size_;
    MHD_Response* raw_;  ///< nullptr: out of memory
};
Response plain(unsigned status, const std::string& text);

/// A request, until it is answered.
class Exchange {
  public:
    const std::string& path() const { return path_; }  ///< decoded, without the query
    /// An argument of the query, decoded; empty if it is absent.
    std::string argument(const char* name) const;
    std::string field(const char* name) const;
    /// Whether the handler has been called for it before, and said that it waits.
    bool has_waited() const { return waited_; }
    /// What was found out meanwhile.
    std::optional<Answer> found;

  private:
    friend class Server;
    std::string path_;
    MHD_Connection* connection_ = nullptr;
    bool waited_ = false, suspended_ = false;
    std::optional<MHD_Result> queued_;
};

class Server {
  public:
    /// Called for each request that is in order. Calls answer(), now, or wait(). Later wake() has it called again.
    using Handler = std::function<void(Exchange&)>;
    Server(const Options& options, Control& control, bool checks_host)
        : options_(options), control_(control), checks_host_(checks_host), reports_(options.status_fd) {}
    ~Server();
    Server(const Server&) = delete;

    void answer(Exchange& exchange, const Response& response);
    void wait(Exchange& exchange);
    /// `exchange` still waits.
    void wake(Exchange& exchange);

    /// What else is to be done in the loop: `tick` is called after each step and says when to call it again at the
    /// latest.
    using Tick = std::function<std::optional<Instant>()>;
    /// Serves until all is done: the connection on stdin has ended, or superd has asked to leave. Returns the exit
    /// status.
    int run(Handler handler, const Tick& tick = {});

  private:
    /// A client's connection. It is cut when its time is over: for a request, for its answer, and between two.
    struct Client {
        int fd = -1;
        Instant until{};
        bool busy = false;  ///< between a request and the end of its answer
        bool served = false;
        bool ended = false;                    ///< it sends no more
        const MHD_Response* answer = nullptr;  ///< while it is sent
        std::size_t size = 0;                  ///< of that
    };
    bool take_stdin();
    bool start();
    void step(const Tick& tick);
    void drain();
    bool is_done() const;
    void accept_some();
    bool adopt(worker::Fd client);
    bool takes_more() const;
    void make_room();
    void cut_overdue();
    void cut_ended();
    void spare_memory();
    void judge(Exchange& exchange, const std::string& method);
    Client* client_of(MHD_Connection* connection);

    static MHD_Result on_request(void* server, MHD_Connection* connection, const char* url, const char* method,
                                 const char* version, const char* data, std::size_t* size, void** exchange);
    static void on_completed(void* server, MHD_Connection* connection, void** exchange, MHD_RequestTerminationCode);
    static void on_connection(void* server, MHD_Connection* connection, void** socket, MHD_ConnectionNotificationCode);

    const Options& options_;
    Control& control_;
    const bool checks_host_;
    worker::Reports reports_;
    Handler handler_;
    worker::Fd listener_, signals_;
    worker::Fd one_;  ///< the connection on stdin, if that is all there is; ours, to end it in order
    MHD_Daemon* daemon_ = nullptr;
    std::map<int, Client> clients_;  ///< by descriptor
    long taken_ = 0;
    bool reports_room_ = false;  ///< it has been told of a listening socket's clients
    bool draining_ = false, failed_ = false;
    std::optional<Instant> accept_again_;  ///< descriptors or memory are scarce until then
    Instant overdue_at_{};                 ///< when to look for connections whose time is over
};

}  // namespace web
