// SPDX-License-Identifier: MIT
#include "ctl/client.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>

#include "base/text.h"
#include "control/shapes.h"
#include "sys/address.h"

namespace superd::ctl {
namespace {

/// Enough for this many upgrades in a row, each at just the wrong moment.
constexpr int kTries = 5;

std::string advice(const std::string& path, int code) {
    const std::string shown = escape(path);
    if (code == ENOENT || code == ECONNREFUSED || code == ENOTDIR)
        return fmt::format(
            "superd is not running: nothing listens on {}; start it, or name another with --control PATH", shown);
    if (code == EACCES || code == EPERM)
        return fmt::format("{}: permission denied: root and superd's own user may, and members of [control] readers",
                           shown);
    return fmt::format("{}: {}", shown, errno_text(code));
}

}  // namespace

Result<Client> Client::connect(const std::string& path, int seconds) {
    if (path.empty()) return fail("no superd to talk to: XDG_RUNTIME_DIR is not set; name one with --control PATH");
    const auto address = sys::Address::local(path);
    if (!address) return std::unexpected(address.error());
    sys::Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd) return fail_errno("socket", errno);
    const timeval patience{seconds, 0};
    setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (::connect(fd.get(), address->data(), address->size()) != 0)
        return std::unexpected(Error{advice(path, errno), errno});
    return Client(std::move(fd), path, seconds);
}

Result<Json> Client::ask(const std::string& verb, Json members) {
    Json request{{"version", control::kVersion}, {"verb", verb}};
    request.update(members);
    // Arguments may not be UTF-8; such an argument names nothing.
    const std::string line = request.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
    // superd refuses and closes a client that may not connect, perhaps before it has sent anything: so read what comes.
    for (std::size_t sent = 0; sent < line.size();) {
        const ssize_t n = send(fd_.get(), line.data() + sent, line.size() - sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) break;
        sent += static_cast<std::size_t>(n);
    }
    std::string answer;
    while (!answer.ends_with('\n')) {
        char buffer[65536];
        const ssize_t n = recv(fd_.get(), buffer, sizeof buffer, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN)
            return fail(fmt::format("{}: superd has not answered for {} s", escape(path_), patience_));
        if (n < 0) return fail_errno(escape(path_), errno);
        if (n == 0)
            return std::unexpected(
                Error{fmt::format("{}: superd closed the connection without an answer", escape(path_)), ECONNRESET});
        answer.append(buffer, static_cast<std::size_t>(n));
    }
    Json parsed = Json::parse(answer, nullptr, false);
    const auto ok = parsed.is_object() ? parsed.find("ok") : parsed.end();
    if (!parsed.is_object() || ok == parsed.end() || !ok->is_boolean())
        return fail(fmt::format("{}: the program that answers there is not superd", escape(path_)));
    return parsed;
}

pid_t Client::peer() const {
    ucred peer{};
    socklen_t size = sizeof peer;
    return getsockopt(fd_.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 ? peer.pid : 0;
}

void Client::wait_for_end() {
    char byte;
    for (;;) {
        const ssize_t n = recv(fd_.get(), &byte, 1, 0);
        if (n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN))) continue;
        return;
    }
}

Result<Json> ask(const std::string& path, const std::string& verb, const Json& members) {
    const bool once = verb == "kill" || verb == "stop" || verb == "upgrade";
    for (int left = once ? 0 : kTries;; --left) {
        auto client = Client::connect(path);
        if (!client) return std::unexpected(client.error());
        auto answer = client->ask(verb, members);
        if (answer || answer.error().code != ECONNRESET || left == 0) return answer;
    }
}

}  // namespace superd::ctl
