// SPDX-License-Identifier: MIT
// load ADDRESS PORT CLIENTS SECONDS [TEXT [PAUSE]]: keeps CLIENTS connections in flight for SECONDS, and until one has
// been served. Each connects, sends TEXT if there is any and closes its side, reads to the end of the stream and closes;
// the next begins at once, or after PAUSE milliseconds, for which a single client waits. Prints one line:
//   rate R p50 US p99 US first US connections N failures F
// "first" is the median time to the first byte.
// The server closes first, so TIME_WAIT is on its side. Sources go through 127.0.1.1 to 127.0.1.32, so there are enough
// ports even if a server does not close first.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

struct Connection {
    int fd = -1;
    bool answered = false;
    Clock::time_point begin;  ///< before connect()
};

class Load {
  public:
    Load(const char* host, int port, std::size_t clients, std::string text, int pause)
        : text_(std::move(text)), pause_(pause), connections_(clients) {
        server_.sin_family = AF_INET;
        server_.sin_port = htons(static_cast<in_port_t>(port));
        if (inet_pton(AF_INET, host, &server_.sin_addr) != 1) {
            std::fprintf(stderr, "%s: not an IPv4 address\n", host);
            std::exit(2);
        }
        epoll_ = epoll_create1(EPOLL_CLOEXEC);
    }

    void run(double seconds) {
        const auto begin = Clock::now();
        const auto end = begin + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
        for (std::size_t i = 0; i < connections_.size(); ++i) start(i);
        struct epoll_event events[64];
        while (Clock::now() < end || (times_.empty() && failures_ == 0)) {
            const int count = epoll_wait(epoll_, events, 64, 100);
            for (int i = 0; i < count; ++i) read_some(static_cast<std::size_t>(events[i].data.u64));
        }
        report(std::chrono::duration<double>(Clock::now() - begin).count());
    }

  private:
    void start(std::size_t index) {
        Connection& connection = connections_[index];
        if (pause_ > 0) std::this_thread::sleep_for(std::chrono::milliseconds(pause_));
        // On loopback a connection is made at once.
        const int type = SOCK_STREAM | SOCK_CLOEXEC | (text_.empty() ? SOCK_NONBLOCK : 0);
        connection = Connection{socket(AF_INET, type, 0), false, Clock::now()};
        const int on = 1;
        setsockopt(connection.fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
        struct sockaddr_in source {};
        source.sin_family = AF_INET;
        source.sin_addr.s_addr = htonl(0x7f000101U + static_cast<unsigned>(started_++ % 32));
        auto* const from = reinterpret_cast<struct sockaddr*>(&source);
        auto* const to = reinterpret_cast<struct sockaddr*>(&server_);
        if (bind(connection.fd, from, sizeof source) != 0 ||
            (connect(connection.fd, to, sizeof server_) != 0 && errno != EINPROGRESS)) {
            std::perror("connect");
            std::exit(1);
        }
        if (!text_.empty() && (send(connection.fd, text_.data(), text_.size(), MSG_NOSIGNAL) < 0 ||
                               shutdown(connection.fd, SHUT_WR) != 0))
            ++failures_;
        struct epoll_event event {};
        event.events = EPOLLIN;
        event.data.u64 = index;
        epoll_ctl(epoll_, EPOLL_CTL_ADD, connection.fd, &event);
    }

    void read_some(std::size_t index) {
        Connection& connection = connections_[index];
        char buffer[4096];
        const ssize_t size = read(connection.fd, buffer, sizeof buffer);
        if (size > 0) {
            if (!connection.answered) first_.push_back(since(connection.begin));
            connection.answered = true;
            return;
        }
        if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (size == 0 && connection.answered) {
            times_.push_back(since(connection.begin));
        } else {
            ++failures_;
        }
        close(connection.fd);
        start(index);
    }

    static double since(Clock::time_point begin) {
        return std::chrono::duration<double, std::micro>(Clock::now() - begin).count();
    }

    static double percentile(std::vector<double>& times, double part) {
        if (times.empty()) return 0;
        const auto at = static_cast<std::ptrdiff_t>(part * static_cast<double>(times.size() - 1));
        std::nth_element(times.begin(), times.begin() + at, times.end());
        return times[static_cast<std::size_t>(at)];
    }

    void report(double seconds) {
        const double rate = static_cast<double>(times_.size()) / seconds;
        std::printf("rate %.1f p50 %.0f p99 %.0f first %.0f connections %zu failures %zu\n", rate,
                    percentile(times_, 0.5), percentile(times_, 0.99), percentile(first_, 0.5), times_.size(),
                    failures_);
    }

    struct sockaddr_in server_ {};
    std::string text_;
    int pause_;
    int epoll_ = -1;
    std::vector<Connection> connections_;
    std::vector<double> times_, first_;
    std::size_t started_ = 0;
    std::size_t failures_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
    if (argc < 5 || argc > 7) {
        std::fputs("usage: load ADDRESS PORT CLIENTS SECONDS [TEXT [PAUSE]]\n", stderr);
        return 2;
    }
    Load load(argv[1], std::atoi(argv[2]), static_cast<std::size_t>(std::atoi(argv[3])), argc > 5 ? argv[5] : "",
              argc > 6 ? std::atoi(argv[6]) : 0);
    load.run(std::atof(argv[4]));
}
