// SPDX-License-Identifier: MIT
#pragma once
// The child's side of superd, written once: turns a request function into a program for every model.
//
//     int main(int argc, char** argv) {
//         return worker::run(argc, argv, {.summary = "says hello", .connection = hello});
//     }
//
// The program looks at its stdin and serves what it finds there:
//   a connection, a pipe, a terminal   serves that one and exits
//   a listening socket                 accepts for itself, connection after connection (handoff = "listen")
//   a datagram socket                  receives and answers; alone on it (no SUPERD_STATUS_FD, no SUPERD_MAX_REQUESTS)
//                                      it leaves after --idle seconds of silence, so that superd watches again. While
//                                      requests are short and several wait, it takes up to 16 at once (lib/pace.h)
//   a file                             is one datagram, and each write to stdout is one reply (fork on datagrams)
// In the two socket loops the program exits with 0 on SIGTERM, when the other end of SUPERD_STATUS_FD closes, or after
// SUPERD_MAX_REQUESTS. It first serves everything that it took from the socket. SIGPIPE is always ignored.

#include <netinet/in.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace worker {

/// A client on a stream or seqpacket socket. Under superd both descriptors are the same socket; the library closes
/// them. Reads and writes that stall for --timeout seconds fail with EAGAIN. A signal may interrupt one with EINTR:
/// repeat it (lib/stream.h does) and finish the connection.
struct Connection {
    int in;
    int out;
};

struct Endpoint {
    bool known = false;  ///< false for a peer that is not IPv4 or IPv6: unix and vsock
    in6_addr address{};  ///< IPv4 as ::ffff:a.b.c.d
    std::uint16_t port = 0;
};

struct Datagram {
    std::string_view data;
    Endpoint sender;
    Endpoint local;          ///< the address that it was sent to, and the port of this socket
    bool broadcast = false;  ///< sent to a whole network, as far as the kernel says
};

/// A program leaves out what it does not serve. With --threads the functions run in many threads at once. An exception
/// from one is reported on stderr and ends only that request.
struct Service {
    std::string_view summary;  ///< one line for --help
    std::function<void(Connection)> connection;
    std::function<std::optional<std::string>(const Datagram&)> datagram;  ///< the reply, if there is one
    bool answer_anyone = false;  ///< call `datagram` even for senders that lib/loop_guard.h rejects
};

/// The exit status of the program: 0, 1 for a socket or a request that failed, 2 for wrong usage.
int run(int argc, char** argv, const Service& service);

}  // namespace worker
