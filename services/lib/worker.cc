// SPDX-License-Identifier: MIT
#include "lib/worker.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "lib/options.h"
#include "lib/pool.h"
#include "lib/request.h"
#include "lib/stream.h"

namespace worker {
namespace {

int give_up(const char* what, const char* why) {
    fprintf(stderr, "%s: %s: %s\n", program_invocation_name, what, why);
    return EXIT_FAILURE;
}

int socket_option(int fd, int name) {
    int value = -1;
    socklen_t size = sizeof value;
    return getsockopt(fd, SOL_SOCKET, name, &value, &size) == 0 ? value : -1;
}

std::string_view environment(const char* name) {
    const char* const value = getenv(name);
    return value != nullptr ? value : "";
}

Endpoint endpoint(const char* address_name, const char* port_name) {
    Endpoint result;
    std::string address(environment(address_name));
    address.resize(std::min(address.size(), address.find('%')));  // fe80::1%eth0
    if (address.find(':') == std::string::npos) address.insert(0, "::ffff:");
    result.known = inet_pton(AF_INET6, address.c_str(), &result.address) == 1;
    const std::string_view port = environment(port_name);
    std::from_chars(port.data(), port.data() + port.size(), result.port);
    return result;
}

int serve_one_connection(const Service& service, const Options& options) {
    return serve(service, {STDIN_FILENO, STDOUT_FILENO}, options.timeout) ? EXIT_SUCCESS : EXIT_FAILURE;
}

int serve_one_datagram(const Service& service, const Options& options) {
    std::string data;
    std::array<char, 65536> part;
    while (const std::size_t got = read_some(STDIN_FILENO, part)) data.append(part.data(), got);
    const Datagram datagram{.data = data,
                            .sender = endpoint("UDPREMOTEIP", "UDPREMOTEPORT"),
                            .local = endpoint("UDPLOCALIP", "UDPLOCALPORT")};
    const bool served = attempt([&] {
        const std::optional<std::string> reply = answer(service, datagram, options.min_port);
        if (reply && write(STDOUT_FILENO, reply->data(), reply->size()) < 0)
            fprintf(stderr, "%s: write the reply: %s\n", program_invocation_name, strerror(errno));
    });
    return served ? EXIT_SUCCESS : EXIT_FAILURE;
}

int serve_stdin(const Service& service, const Options& options) {
    struct stat found {};
    if (fstat(STDIN_FILENO, &found) != 0) return give_up("look at stdin", strerror(errno));
    // PROTO says UDP; for unix datagrams, the place where replies go shows it. Any other file is a connection's input.
    const bool one_datagram = S_ISREG(found.st_mode) && (environment("PROTO") == "UDP" ||
                                                         socket_option(STDOUT_FILENO, SO_TYPE) == SOCK_SEQPACKET);
    const bool socket = S_ISSOCK(found.st_mode);
    const int type = socket ? socket_option(STDIN_FILENO, SO_TYPE) : SOCK_STREAM;

    if (one_datagram || type == SOCK_DGRAM) {
        if (!service.datagram) return give_up("stdin", "this service does not answer datagrams");
        return one_datagram ? serve_one_datagram(service, options) : Pool(service, options, type).run();
    }
    if (!service.connection) return give_up("stdin", "this service answers only datagrams");
    const bool listening = socket && socket_option(STDIN_FILENO, SO_ACCEPTCONN) == 1;
    return listening ? Pool(service, options, type).run() : serve_one_connection(service, options);
}

}  // namespace

int run(int argc, char** argv, const Service& service) {
    const std::expected<Options, int> options = parse_options(argc, argv, service.summary);
    if (!options) return options.error();
    signal(SIGPIPE, SIG_IGN);
    return serve_stdin(service, *options);
}

}  // namespace worker
