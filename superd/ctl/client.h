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
    /// Errors say what to do about them.
    static Result<Client> connect(const std::string& path);

    /// Sends a verb with its members and returns the answer, whether it is a refusal or not. Errors: superd went, or
    /// says nothing for kPatience, or nothing that can be understood.
    Result<Json> ask(const std::string& verb, Json members = Json::object());
    /// Until superd closes the connection.
    void wait_for_end();

    static constexpr int kPatience = 60;  ///< seconds; a reload opens sockets and reads every file

  private:
    Client(sys::Fd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}

    sys::Fd fd_;
    std::string path_;
};

/// One connection for one request.
Result<Json> ask(const std::string& path, const std::string& verb, Json members = Json::object());

}  // namespace superd::ctl
