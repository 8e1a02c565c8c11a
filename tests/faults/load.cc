// SPDX-License-Identifier: MIT
// Clients for superd, many at once and from many addresses. Each connects and reads to the end; it was served if the
// text begins with "answer". Prints one line of JSON.
//
//   address=A port=P  where to
//   source=A sources=N  from A on, one after the other (IPv6: one /64 after the other); default: the kernel's choice
//   parallel=P total=N  P in flight, N in all (0: until TERM, or until the seconds are over)
//   rate=R seconds=S  or: R a second for S seconds, whether or not answers come
//   abandon=MS  give up after MS and continue with the next
//   patience=S  a client without an answer after S seconds is lost

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::microseconds;

volatile std::sig_atomic_t told_to_end = 0;

struct Options {
    std::map<std::string, std::string> words;
    long number(const char* name, long otherwise) const {
        const auto at = words.find(name);
        return at == words.end() ? otherwise : std::atol(at->second.c_str());
    }
    const char* text(const char* name) const {
        const auto at = words.find(name);
        return at == words.end() ? nullptr : at->second.c_str();
    }
};

struct Address {
    sockaddr_storage storage{};
    socklen_t size = 0;
    const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

Address parse(const char* text, long port) {
    Address address;
    auto* v4 = reinterpret_cast<sockaddr_in*>(&address.storage);
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(static_cast<std::uint16_t>(port));
        address.size = sizeof *v4;
    } else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(static_cast<std::uint16_t>(port));
        address.size = sizeof *v6;
    } else {
        std::fprintf(stderr, "not an address: %s\n", text);
        std::exit(2);
    }
    return address;
}

/// The address `step` after this one: the next host of IPv4, the next /64 of IPv6.
Address advance(Address address, std::uint32_t step) {
    if (address.storage.ss_family == AF_INET) {
        auto& in = reinterpret_cast<sockaddr_in*>(&address.storage)->sin_addr;
        in.s_addr = htonl(ntohl(in.s_addr) + step);
    } else {
        std::uint8_t* bytes = reinterpret_cast<sockaddr_in6*>(&address.storage)->sin6_addr.s6_addr;
        std::uint32_t word;
        std::memcpy(&word, bytes + 4, sizeof word);
        word = htonl(ntohl(word) + step);
        std::memcpy(bytes + 4, &word, sizeof word);
    }
    return address;
}

class Load {
  public:
    explicit Load(const Options& options)
        : to_(parse(options.text("address"), options.number("port", 0))),
          sources_(static_cast<std::uint32_t>(options.number("sources", 1))),
          parallel_(options.number("parallel", 1)),
          total_(options.number("total", 0)),
          rate_(options.number("rate", 0)),
          abandon_(options.number("abandon", 0)),
          patience_(options.number("patience", 60)),
          seconds_(options.number("seconds", 0)) {
        if (const char* from = options.text("source")) from_ = parse(from, 0);
        if (rate_ > 0) total_ = rate_ * seconds_;
        epoll_ = epoll_create1(EPOLL_CLOEXEC);
    }
    int run();

  private:
    struct Connection {
        int fd = -1;
        Clock::time_point begun;
        std::string text;
    };

    bool may_begin(Clock::time_point now) const;
    void begin(Clock::time_point now);
    void look(Connection& connection);
    void end(Connection& connection, const char* how);
    void end_the_late(Clock::time_point now);
    int pause(Clock::time_point now) const;

    Address to_, from_;
    std::uint32_t sources_;
    long parallel_, total_, rate_, abandon_, patience_, seconds_;
    int epoll_;
    std::map<int, Connection> open_;
    std::deque<std::pair<int, Clock::time_point>> order_;  ///< by age; closed ones stay among them
    long begun_ = 0;
    std::map<std::string, long> ends_;
    std::vector<long> times_;
    Clock::time_point start_ = Clock::now();
};

bool Load::may_begin(Clock::time_point now) const {
    if (told_to_end != 0 || (total_ > 0 && begun_ >= total_)) return false;
    if (rate_ > 0) return now - start_ >= microseconds(1000000 / rate_ * begun_);
    if (seconds_ > 0 && now - start_ >= std::chrono::seconds(seconds_)) return false;
    return static_cast<long>(open_.size()) < parallel_;
}

void Load::begin(Clock::time_point now) {
    Connection connection;
    connection.begun = now;
    const auto number = static_cast<std::uint32_t>(begun_++);
    connection.fd = socket(to_.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connection.fd < 0) return end(connection, std::strerror(errno));
    if (from_.size > 0) {
        const int on = 1;
        setsockopt(connection.fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
        setsockopt(connection.fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof on);
        const Address from = advance(from_, number % sources_);
        if (bind(connection.fd, from.get(), from.size) != 0) return end(connection, std::strerror(errno));
    }
    if (connect(connection.fd, to_.get(), to_.size) != 0 && errno != EINPROGRESS)
        return end(connection, std::strerror(errno));
    epoll_event event{};
    event.events = EPOLLIN | EPOLLRDHUP;
    event.data.fd = connection.fd;
    epoll_ctl(epoll_, EPOLL_CTL_ADD, connection.fd, &event);
    order_.emplace_back(connection.fd, now);
    open_[connection.fd] = std::move(connection);
}

void Load::look(Connection& connection) {
    char buffer[512];
    for (;;) {
        const ssize_t n = recv(connection.fd, buffer, sizeof buffer, 0);
        if (n > 0) {
            connection.text.append(buffer, static_cast<std::size_t>(n));
        } else if (n == 0) {
            return end(connection, connection.text.starts_with("answer") ? "served" : "closed");
        } else if (errno == EAGAIN) {
            return;
        } else {
            return end(connection, errno == ECONNRESET     ? "reset"
                                   : errno == ECONNREFUSED ? "refused"
                                                           : std::strerror(errno));
        }
    }
}

void Load::end(Connection& connection, const char* how) {
    ++ends_[how];
    if (std::strcmp(how, "served") == 0)
        times_.push_back(std::chrono::duration_cast<microseconds>(Clock::now() - connection.begun).count());
    const int fd = connection.fd;
    open_.erase(fd);
    if (fd >= 0) close(fd);
}

void Load::end_the_late(Clock::time_point now) {
    const auto most = abandon_ > 0 ? std::chrono::milliseconds(abandon_) : std::chrono::seconds(patience_);
    while (!order_.empty()) {
        const auto [fd, begun] = order_.front();
        const auto at = open_.find(fd);
        const bool gone = at == open_.end() || at->second.begun != begun;
        if (!gone && now - begun < most) return;
        order_.pop_front();
        if (!gone) end(at->second, abandon_ > 0 ? "abandoned" : "lost");
    }
}

int Load::pause(Clock::time_point now) const {
    if (abandon_ > 0) return 1;
    if (rate_ == 0 || begun_ >= total_) return 50;
    const auto next = start_ + microseconds(1000000 / rate_ * begun_);
    return static_cast<int>(
        std::clamp<long>(std::chrono::duration_cast<std::chrono::milliseconds>(next - now).count() + 1, 0, 50));
}

int Load::run() {
    for (;;) {
        const auto now = Clock::now();
        while (may_begin(now)) begin(now);
        const bool over = told_to_end != 0 || (total_ > 0 && begun_ >= total_) ||
                          (rate_ == 0 && seconds_ > 0 && now - start_ >= std::chrono::seconds(seconds_));
        if (over && open_.empty()) break;
        epoll_event events[256];
        const int count = epoll_wait(epoll_, events, 256, pause(now));
        for (int i = 0; i < count; ++i)
            if (const auto at = open_.find(events[i].data.fd); at != open_.end()) look(at->second);
        end_the_late(Clock::now());
    }
    const auto took = std::chrono::duration_cast<microseconds>(Clock::now() - start_).count();
    std::ranges::sort(times_);
    const auto at = [&](long percent) {
        return times_.empty() ? 0 : times_[(times_.size() - 1) * static_cast<std::size_t>(percent) / 100];
    };
    std::printf("{\"begun\": %ld, \"microseconds\": %ld, \"p50\": %ld, \"p99\": %ld, \"max\": %ld, \"ends\": {", begun_,
                static_cast<long>(took), at(50), at(99), at(100));
    const char* comma = "";
    for (const auto& [how, times] : ends_) {
        std::printf("%s\"%s\": %ld", comma, how.c_str(), times);
        comma = ", ";
    }
    std::printf("}}\n");
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    Options options;
    for (int i = 1; i < argc; ++i) {
        const std::string word = argv[i];
        const auto equals = word.find('=');
        if (equals == std::string::npos) return 2;
        options.words[word.substr(0, equals)] = word.substr(equals + 1);
    }
    if (options.text("address") == nullptr) return 2;
    std::signal(SIGTERM, [](int) { told_to_end = 1; });
    std::signal(SIGPIPE, SIG_IGN);
    return Load(options).run();
}
