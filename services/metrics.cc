// SPDX-License-Identifier: MIT
// superd's own counters over HTTP/1.1, for Prometheus: GET /metrics. Each scrape is one request to superd's control
// socket, whose path comes from --control PATH or SUPERD_CONTROL (pass_environment = ["SUPERD_CONTROL"]). [control]
// readers must let the user of this program read there.

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kLongestHead = 8192;              // a request's line and its fields
constexpr std::size_t kLongestAnswer = 64u << 20;       // superd's answer
constexpr auto kPatience = std::chrono::seconds(10);    // for a request, and for superd
constexpr auto kKeepAlive = std::chrono::seconds(120);  // Prometheus comes back every minute or sooner

bool wait_for(int fd, short events, Clock::time_point until) {
    for (;;) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
        if (left <= 0) return false;
        pollfd one{fd, events, 0};
        const int n = poll(&one, 1, static_cast<int>(left));
        if (n > 0) return true;
        if (n == 0 || errno != EINTR) return false;
    }
}

bool write_all(int fd, std::string_view data, Clock::time_point until) {
    while (!data.empty()) {
        if (!wait_for(fd, POLLOUT, until)) return false;
        // At most what poll() has promised room for, so that a blocking write does not wait for ever.
        const ssize_t n = write(fd, data.data(), std::min<std::size_t>(data.size(), 2048));
        if (n < 0 && errno != EINTR && errno != EAGAIN) return false;
        if (n > 0) data.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
}

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r')) text.remove_suffix(1);
    return text;
}

std::string lower(std::string_view text) {
    std::string out(text);
    for (char& c : out)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return out;
}

struct Request {
    std::string method, target;
    bool openmetrics = false;
    bool keep_alive = true;
    bool has_body = false;
};

/// RFC 9112. nullopt: not an HTTP/1 request.
std::optional<Request> parse(std::string_view head) {
    const std::size_t end = head.find('\n');
    const std::string_view line = trimmed(head.substr(0, end));
    const std::size_t first = line.find(' '), last = line.rfind(' ');
    if (first == std::string_view::npos || last <= first) return std::nullopt;
    const std::string_view version = line.substr(last + 1);
    if (!version.starts_with("HTTP/1.")) return std::nullopt;
    Request request;
    request.method = line.substr(0, first);
    request.target = trimmed(line.substr(first + 1, last - first - 1));
    request.keep_alive = version != "HTTP/1.0";
    for (std::string_view rest = end == std::string_view::npos ? "" : head.substr(end + 1); !rest.empty();) {
        const std::size_t stop = std::min(rest.find('\n'), rest.size());
        const std::string_view field = trimmed(rest.substr(0, stop));
        rest.remove_prefix(std::min(stop + 1, rest.size()));
        const std::size_t colon = field.find(':');
        if (colon == std::string_view::npos) continue;
        const std::string name = lower(trimmed(field.substr(0, colon))),
                          value = lower(trimmed(field.substr(colon + 1)));
        if (name == "accept" && value.find("application/openmetrics-text") != std::string::npos)
            request.openmetrics = true;
        if (name == "connection" && value.find("close") != std::string::npos) request.keep_alive = false;
        if (name == "transfer-encoding" || (name == "content-length" && value != "0")) request.has_body = true;
    }
    return request;
}

/// What superd answers, or why it does not answer.
struct Metrics {
    std::string text, error;
};

Metrics ask(const std::string& path, bool openmetrics) {
    const auto until = Clock::now() + kPatience;
    const auto failed = [&](const std::string& why) {
        return Metrics{"", "superd's control socket " + path + ": " + why};
    };
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty()) return {"", "no control socket: pass_environment = [\"SUPERD_CONTROL\"], or --control PATH"};
    if (path.size() >= sizeof address.sun_path) return failed("its path is too long");
    std::memcpy(address.sun_path, path.data(), path.size());
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return failed(strerrordesc_np(errno));
    std::string answer;
    if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        const int code = errno;
        close(fd);
        const bool forbidden = code == EACCES || code == EPERM;
        return failed(std::string(strerrordesc_np(code)) +
                      (forbidden ? ": add this handler's group to [control] readers in superd.toml" : ""));
    }
    const std::string format = openmetrics ? "openmetrics" : "prometheus";
    const std::string request = R"({"version":1,"verb":"metrics","format":")" + format + "\"}\n";
    (void)!send(fd, request.data(), request.size(), MSG_NOSIGNAL);  // a refusal is read below
    while (!answer.ends_with('\n') && answer.size() < kLongestAnswer && wait_for(fd, POLLIN, until)) {
        char buffer[65536];
        const ssize_t n = read(fd, buffer, sizeof buffer);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        answer.append(buffer, static_cast<std::size_t>(n));
    }
    close(fd);
    const auto parsed = nlohmann::json::parse(answer, nullptr, false);
    if (!parsed.is_object()) return failed("no answer");
    if (const auto text = parsed.find("text"); text != parsed.end() && text->is_string())
        return {text->get<std::string>(), ""};
    const auto error = parsed.find("error");
    return failed(error != parsed.end() && error->is_string() ? error->get<std::string>() : "no metrics in its answer");
}

std::string response(const char* status, const char* type, const std::string& body, const Request& request) {
    std::string out = std::string("HTTP/1.1 ") + status + "\r\nContent-Type: " + type +
                      "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n";
    if (std::strncmp(status, "405", 3) == 0) out += "Allow: GET, HEAD\r\n";
    if (!request.keep_alive) out += "Connection: close\r\n";
    out += "\r\n";
    return request.method == "HEAD" ? out : out + body;
}

std::string answer_to(const Request& request, const std::string& path) {
    constexpr const char* kPlain = "text/plain; charset=utf-8";
    if (request.method != "GET" && request.method != "HEAD")
        return response("405 Method Not Allowed", kPlain, "GET /metrics\n", request);
    const std::string_view target = request.target;
    if (target.substr(0, target.find('?')) != "/metrics")
        return response("404 Not Found", kPlain, "superd's metrics are at /metrics\n", request);
    const Metrics metrics = ask(path, request.openmetrics);
    if (!metrics.error.empty()) {
        std::fprintf(stderr, "%s\n", metrics.error.c_str());
        return response("503 Service Unavailable", kPlain, metrics.error + "\n", request);
    }
    const char* type = request.openmetrics ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                                           : "text/plain; version=0.0.4; charset=utf-8";
    return response("200 OK", type, metrics.text, request);
}

/// Serves one request after the other, until the client has had enough.
void serve(const std::string& path) {
    std::string input;
    for (auto until = Clock::now() + kPatience;; until = Clock::now() + kKeepAlive) {
        std::size_t end;
        while ((end = input.find("\r\n\r\n")) == std::string::npos) {
            if (input.size() > kLongestHead || !wait_for(STDIN_FILENO, POLLIN, until)) return;
            char buffer[4096];
            const ssize_t n = read(STDIN_FILENO, buffer, sizeof buffer);
            if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
            if (n <= 0) return;
            input.append(buffer, static_cast<std::size_t>(n));
        }
        auto request = parse(std::string_view(input).substr(0, end + 2));
        input.erase(0, end + 4);
        const bool sound = request.has_value();
        if (!sound) request.emplace();
        // If nothing more is read, it does not matter where a body ends.
        if (!sound || request->has_body) request->keep_alive = false;
        const std::string out =
            sound ? answer_to(*request, path)
                  : response("400 Bad Request", "text/plain", "this is not an HTTP/1.1 request\n", *request);
        if (!write_all(STDOUT_FILENO, out, Clock::now() + kPatience) || !request->keep_alive) return;
    }
}

int usage(FILE* where, int status) {
    std::fputs(
        "Usage: superd-metrics [--control PATH]\n"
        "Serves superd's metrics to Prometheus: HTTP/1.1 on stdin and stdout, GET /metrics.\n"
        "  --control PATH   superd's control socket (default: SUPERD_CONTROL)\n"
        "  --version        print the version\n",
        where);
    return status;
}

}  // namespace

int main(int argc, char** argv) {
    const char* named = std::getenv("SUPERD_CONTROL");
    std::string path = named != nullptr ? named : geteuid() == 0 ? "/run/superd/control.sock" : "";
    for (int i = 1; i < argc; ++i) {
        const std::string_view word = argv[i];
        if (word == "--help") return usage(stdout, 0);
        if (word == "--version") return std::printf("superd-metrics %s\n", SUPERD_VERSION) < 0;
        if (word != "--control" || i + 1 == argc) return usage(stderr, 2);
        path = argv[++i];
    }
    signal(SIGPIPE, SIG_IGN);  // write() shows that the client has gone
    serve(path);
    // Unread input would turn the end of the connection into a reset.
    char rest[4096];
    shutdown(STDOUT_FILENO, SHUT_WR);
    while (recv(STDIN_FILENO, rest, sizeof rest, MSG_DONTWAIT) > 0) {
    }
    return 0;
}
