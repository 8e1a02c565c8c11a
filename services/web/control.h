// SPDX-License-Identifier: MIT
#pragma once
// Questions to superd over its control socket, without waiting for the answers.

#include <chrono>
#include <deque>
#include <expected>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "lib/fd.h"

namespace web {

using Clock = std::chrono::steady_clock;
using Instant = Clock::time_point;
using Json = nlohmann::json;

/// What superd has answered, or why there is no answer, in a sentence.
using Answer = std::expected<Json, std::string>;

/// One connection, made when it is needed, over which one question goes after the other. All of them only look, so one
/// that is cut is asked once more.
class Control {
  public:
    explicit Control(std::string path) : path_(std::move(path)) {}

    using Then = std::function<void(Answer)>;
    /// At most kMostWaiting wait.
    bool has_room() const { return waiting_.size() < kMostWaiting; }
    /// Where there is room. `question`: an object without its version. `then` is called once, from tick().
    void ask(Json question, Then then);

    /// What to wait for: the descriptor (-1: none), poll(2)'s events, and the latest time of the next tick().
    int fd() const { return socket_.get(); }
    short events() const;
    std::optional<Instant> next() const;
    /// Moves everything on as far as possible.
    void tick();

    static constexpr std::size_t kMostWaiting = 64;
    static constexpr auto kPatience = std::chrono::seconds(10);

  private:
    struct Question {
        std::string line;
        Then then;
        Instant until;
        bool again = false;  ///< it has been cut once
    };
    bool connect();
    bool send();
    void receive();
    void cut(const std::string& why);
    void finish(Answer answer);
    std::string failed(const std::string& why) const;

    const std::string path_;
    worker::Fd socket_;
    std::deque<Question> waiting_;  ///< the first is being asked
    std::size_t sent_ = 0;          ///< of its line
    std::string answer_;
    bool used_ = false;  ///< an answer has come over this connection
    std::optional<Instant> connect_again_;
};

/// A member of an answer, or what stands for it where it is absent or of another type.
std::string text_of(const Json& object, const char* name);
double number_of(const Json& object, const char* name);
bool flag_of(const Json& object, const char* name);
const Json& object_of(const Json& object, const char* name);
const Json& array_of(const Json& object, const char* name);

}  // namespace web
