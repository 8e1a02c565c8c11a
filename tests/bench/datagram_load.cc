// SPDX-License-Identifier: MIT
// datagram_load ADDRESS PORT SOCKETS SECONDS: keeps one datagram of 64 bytes in flight on each of SOCKETS, from its
// sending to the echo of the same bytes, for SECONDS. Prints one line:
//   rate R p50 US p99 US datagrams N failures F
// A failure is an echo with other bytes, or none within a second.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

struct Client {
    int fd = -1;
    std::array<std::uint64_t, 8> text{};  ///< which differs from datagram to datagram
    Clock::time_point sent;
};

class Load {
  public:
    Load(const char* host, int port, std::size_t sockets) : clients_(sockets), epoll_(epoll_create1(EPOLL_CLOEXEC)) {
        struct sockaddr_in server {};
        server.sin_family = AF_INET;
        server.sin_port = htons(static_cast<in_port_t>(port));
        if (inet_pton(AF_INET, host, &server.sin_addr) != 1) {
            std::fprintf(stderr, "%s: not an IPv4 address\n", host);
            std::exit(2);
        }
        for (std::size_t i = 0; i < sockets; ++i) {
            clients_[i].fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
            const struct timeval second = {.tv_sec = 1, .tv_usec = 0};
            setsockopt(clients_[i].fd, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof second);
            struct epoll_event event {};
            event.events = EPOLLIN;
            event.data.u64 = i;
            if (connect(clients_[i].fd, reinterpret_cast<struct sockaddr*>(&server), sizeof server) != 0 ||
                epoll_ctl(epoll_, EPOLL_CTL_ADD, clients_[i].fd, &event) != 0) {
                std::perror("connect");
                std::exit(1);
            }
        }
        times_.reserve(1U << 20);
    }

    void run(double seconds) {
        const auto begin = Clock::now();
        const auto end = begin + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
        for (Client& client : clients_) send_next(client);
        std::array<struct epoll_event, 64> events;
        while (Clock::now() < end && failures_ == 0) {
            if (clients_.size() == 1) {  // waits in recv() itself, as a client of its own would
                take_echo(clients_[0]);
                continue;
            }
            const int count = epoll_wait(epoll_, events.data(), events.size(), 1000);
            if (count <= 0 && errno != EINTR) ++failures_;
            for (int i = 0; i < count; ++i)
                take_echo(clients_[static_cast<std::size_t>(events[static_cast<std::size_t>(i)].data.u64)]);
        }
        report(std::chrono::duration<double>(Clock::now() - begin).count());
    }

  private:
    void send_next(Client& client) {
        ++client.text[0];
        client.sent = Clock::now();
        if (send(client.fd, &client.text, sizeof client.text, 0) < 0) ++failures_;
    }

    void take_echo(Client& client) {
        decltype(client.text) echo;
        if (recv(client.fd, &echo, sizeof echo, 0) == sizeof echo && echo == client.text) {
            times_.push_back(std::chrono::duration<double, std::micro>(Clock::now() - client.sent).count());
        } else {
            ++failures_;
        }
        send_next(client);
    }

    double percentile(double part) {
        if (times_.empty()) return 0;
        const auto at = static_cast<std::ptrdiff_t>(part * static_cast<double>(times_.size() - 1));
        std::nth_element(times_.begin(), times_.begin() + at, times_.end());
        return times_[static_cast<std::size_t>(at)];
    }

    void report(double seconds) {
        std::printf("rate %.1f p50 %.1f p99 %.1f datagrams %zu failures %zu\n",
                    static_cast<double>(times_.size()) / seconds, percentile(0.5), percentile(0.99), times_.size(),
                    failures_);
    }

    std::vector<Client> clients_;
    int epoll_;
    std::vector<double> times_;
    std::size_t failures_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
    if (argc != 5 || std::atoi(argv[3]) < 1) {
        std::fputs("usage: datagram_load ADDRESS PORT SOCKETS SECONDS\n", stderr);
        return 2;
    }
    Load load(argv[1], std::atoi(argv[2]), static_cast<std::size_t>(std::atoi(argv[3])));
    load.run(std::atof(argv[4]));
}
