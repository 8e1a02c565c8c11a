// SPDX-License-Identifier: MIT
// datagram_load ADDRESS PORT SOCKETS SECONDS [EACH]: keeps EACH datagrams of 64 bytes (1) in flight on each of SOCKETS
// for SECONDS: takes a socket's echoes, sends as many again, and continues with the next socket. Prints one line:
//   rate R p50 US p99 US datagrams N failures F
// A failure is an echo of something not in flight, or no echo within a second; it ends the run. The load must cost less
// than the server, or it would measure itself: so it takes and sends in batches if there is more than one.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t most_each = 16;

struct Text {
    std::uint64_t slot;
    std::uint64_t number;  ///< differs from datagram to datagram
    std::array<std::uint64_t, 6> more;
};

struct Client {
    int fd = -1;
    std::array<std::uint64_t, most_each> in_flight{};  ///< the number by slot; 0: free
    std::array<Clock::time_point, most_each> sent;
};

class Load {
  public:
    Load(const char* host, int port, std::size_t sockets, std::size_t each) : clients_(sockets), each_(each) {
        struct sockaddr_in server {};
        server.sin_family = AF_INET;
        server.sin_port = htons(static_cast<in_port_t>(port));
        if (inet_pton(AF_INET, host, &server.sin_addr) != 1) {
            std::fprintf(stderr, "%s: not an IPv4 address\n", host);
            std::exit(2);
        }
        const struct timeval second = {.tv_sec = 1, .tv_usec = 0};
        for (Client& client : clients_) {
            client.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
            if (setsockopt(client.fd, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof second) != 0 ||
                connect(client.fd, reinterpret_cast<struct sockaddr*>(&server), sizeof server) != 0) {
                std::perror("connect");
                std::exit(1);
            }
        }
        for (std::size_t i = 0; i < most_each; ++i) {
            parts_[i] = {&texts_[i], sizeof texts_[i]};
            messages_[i].msg_hdr.msg_iov = &parts_[i];
            messages_[i].msg_hdr.msg_iovlen = 1;
        }
        times_.reserve(1U << 20);
    }

    void run(double seconds) {
        const auto begin = Clock::now();
        const auto end = begin + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
        for (Client& client : clients_) fill(client);
        do {
            for (Client& client : clients_) {
                take(client);
                fill(client);
            }
        } while (Clock::now() < end && failures_ == 0);
        report(std::chrono::duration<double>(Clock::now() - begin).count());
    }

  private:
    void fill(Client& client) {
        unsigned count = 0;
        const auto now = Clock::now();
        for (std::size_t slot = 0; slot < each_; ++slot) {
            if (client.in_flight[slot] != 0) continue;
            client.in_flight[slot] = ++number_;
            client.sent[slot] = now;
            texts_[count++] = {slot, number_, {}};
        }
        const bool sent = count == 1 ? send(client.fd, texts_.data(), sizeof(Text), 0) == sizeof(Text)
                                     : sendmmsg(client.fd, messages_.data(), count, 0) == static_cast<int>(count);
        if (!sent) ++failures_;
    }

    void take(Client& client) {
        int count = 1;
        if (each_ > 1) {
            count = recvmmsg(client.fd, messages_.data(), static_cast<unsigned>(each_), MSG_WAITFORONE, nullptr);
        } else if (recv(client.fd, texts_.data(), sizeof(Text), 0) != sizeof(Text)) {
            count = -1;
        }
        if (count < 1) ++failures_;
        const auto now = Clock::now();
        for (std::size_t i = 0; static_cast<int>(i) < count; ++i) {
            const auto [slot, number, more] = texts_[i];
            if (slot >= each_ || client.in_flight[slot] != number) {
                ++failures_;
                return;
            }
            client.in_flight[slot] = 0;
            times_.push_back(std::chrono::duration<double, std::micro>(now - client.sent[slot]).count());
        }
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
    const std::size_t each_;
    std::uint64_t number_ = 0;
    std::array<Text, most_each> texts_;
    std::array<struct iovec, most_each> parts_;
    std::array<struct mmsghdr, most_each> messages_{};
    std::vector<double> times_;
    std::size_t failures_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
    const auto number = [&](int word) { return word < argc ? static_cast<std::size_t>(std::atoi(argv[word])) : 1; };
    if (argc < 5 || argc > 6 || number(3) < 1 || number(5) < 1 || number(5) > most_each) {
        std::fprintf(stderr, "usage: datagram_load ADDRESS PORT SOCKETS SECONDS [EACH]\n");
        return 2;
    }
    Load load(argv[1], std::atoi(argv[2]), number(3), number(5));
    load.run(std::atof(argv[4]));
}
