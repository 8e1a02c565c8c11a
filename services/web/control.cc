// SPDX-License-Identifier: MIT
#include "web/control.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>

namespace web {
namespace {

constexpr std::size_t kLongestAnswer = 64u << 20;
constexpr auto kAgain = std::chrono::milliseconds(100);  // the queue of the control socket is full

}  // namespace

std::string Control::failed(const std::string& why) const {
    return "superd's control socket " + path_ + ": " + why;
}

void Control::ask(Json question, Then then) {
    question["version"] = 1;
    waiting_.push_back({question.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n", std::move(then),
                        Clock::now() + kPatience});
}

short Control::events() const {
    if (waiting_.empty() || sent_ == waiting_.front().line.size()) return POLLIN;
    return POLLIN | POLLOUT;
}

std::optional<Instant> Control::next() const {
    if (waiting_.empty()) return std::nullopt;
    if (!socket_) return connect_again_.value_or(Instant{});
    return waiting_.front().until;
}

/// False: not now. The question waits, or has its answer.
bool Control::connect() {
    if (connect_again_ && Clock::now() < *connect_again_) return false;
    connect_again_.reset();
    const auto give_up = [&](const std::string& why) {
        finish(std::unexpected(why));
        return false;
    };
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path_.empty()) return give_up("no control socket: pass_environment = [\"SUPERD_CONTROL\"], or --control PATH");
    if (path_.size() >= sizeof address.sun_path) return give_up(failed("its path is too long"));
    memcpy(address.sun_path, path_.data(), path_.size());
    socket_.reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket_) return give_up(failed(strerrordesc_np(errno)));
    if (::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
        used_ = false;
        sent_ = 0;
        answer_.clear();
        return true;
    }
    const int code = errno;
    socket_.reset();
    if (code == EAGAIN || code == EINTR) {
        connect_again_ = Clock::now() + kAgain;
        return false;
    }
    const bool forbidden = code == EACCES || code == EPERM;
    return give_up(failed(std::string(strerrordesc_np(code)) +
                          (forbidden ? ": add this handler's group to [control] readers in superd.toml" : "")));
}

/// False: nothing more can be done now.
bool Control::send() {
    const std::string& line = waiting_.front().line;
    while (sent_ < line.size()) {
        const ssize_t n = ::send(socket_.get(), line.data() + sent_, line.size() - sent_, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) sent_ += static_cast<std::size_t>(n);
        if (n >= 0 || errno == EINTR) continue;
        // Where the connection is cut, a refusal may still be there to be read.
        return errno != EAGAIN && errno != ENOBUFS;
    }
    return true;
}

void Control::receive() {
    std::array<char, 65536> buffer;
    while (socket_) {
        const ssize_t n = recv(socket_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) return;
        if (n <= 0) return cut("no answer");
        if (waiting_.empty()) return cut("an answer to no question");
        answer_.append(buffer.data(), static_cast<std::size_t>(n));
        if (answer_.size() > kLongestAnswer) return cut("its answer is too long");
        if (answer_.back() != '\n') continue;
        Json parsed = Json::parse(answer_, nullptr, false);
        answer_.clear();
        used_ = true;
        if (!parsed.is_object()) return cut("its answer is not JSON");
        if (flag_of(parsed, "ok")) return finish(std::move(parsed));
        const std::string error = text_of(parsed, "error");
        return finish(std::unexpected(failed(error.empty() ? "no reason in its refusal" : error)));
    }
}

/// The connection has gone. A question that was asked over one that had been of use is asked anew: superd may have been
/// upgraded, or have closed a silent one.
void Control::cut(const std::string& why) {
    const bool stale = used_;
    socket_.reset();
    sent_ = 0;
    answer_.clear();
    if (waiting_.empty()) return;
    if (stale && !waiting_.front().again) {
        waiting_.front().again = true;
        return;
    }
    finish(std::unexpected(failed(why)));
}

void Control::finish(Answer answer) {
    const Then then = std::move(waiting_.front().then);
    waiting_.pop_front();
    sent_ = 0;
    then(std::move(answer));
}

/// A step. events() and next() bring the next one about.
void Control::tick() {
    if (waiting_.empty()) {
        if (socket_) receive();  // is it still there?
        return;
    }
    if (Clock::now() >= waiting_.front().until) {
        socket_.reset();  // what comes late would pass for the answer to the next
        return finish(std::unexpected(failed("no answer within " + std::to_string(kPatience.count()) + " seconds")));
    }
    if (!socket_ && !connect()) return;
    if (send()) receive();
}

std::string text_of(const Json& object, const char* name) {
    const auto at = object.is_object() ? object.find(name) : object.end();
    return at != object.end() && at->is_string() ? at->get<std::string>() : "";
}

double number_of(const Json& object, const char* name) {
    const auto at = object.is_object() ? object.find(name) : object.end();
    return at != object.end() && at->is_number() ? at->get<double>() : 0;
}

bool flag_of(const Json& object, const char* name) {
    const auto at = object.is_object() ? object.find(name) : object.end();
    return at != object.end() && at->is_boolean() && at->get<bool>();
}

const Json& object_of(const Json& object, const char* name) {
    static const Json kNone = Json::object();
    const auto at = object.is_object() ? object.find(name) : object.end();
    return at != object.end() && at->is_object() ? *at : kNone;
}

const Json& array_of(const Json& object, const char* name) {
    static const Json kNone = Json::array();
    const auto at = object.is_object() ? object.find(name) : object.end();
    return at != object.end() && at->is_array() ? *at : kNone;
}

}  // namespace web
