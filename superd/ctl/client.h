// SPDX-License-Identifier: MIT
#pragma once
// superctl's end of the control socket.

#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "sys/fd.h"

namespace superd::ctl {

using Json = nlohmann::ordered_json;

class Client {
  public:
    /// Errors say what to do about them. `patience`: seconds that superd may take for each answer.
    static Result<Client> connect(const std::string& path, int patience = kPatience);

    /// Sends a verb with its members and returns the answer, even if it is a refusal. Errors: superd went away, sent
    /// nothing for that long, or sent something that makes no sense.
    Result<Json> ask(const std::string& verb, Json members = Json::object());
    /// The process at the other end.
    pid_t peer() const;
    /// Waits until superd closes the connection.
    void wait_for_end();

    static constexpr int kPatience = 60;  ///< seconds; a reload opens sockets and reads every file

  private:
    Client(sys::Fd fd, std::string path, int patience)
        : fd_(std::move(fd)), path_(std::move(path)), patience_(patience) {}

    sys::Fd fd_;
    std::string path_;
    int patience_;
};

/// One connection for one request. If an upgrade cuts it, asks the next superd again whatever may be done twice.
Result<Json> ask(const std::string& path, const std::string& verb, const Json& members = Json::object());

}  // namespace superd::ctl
