// SPDX-License-Identifier: MIT
#include "lib/request.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <exception>

#include "lib/loop_guard.h"
#include "lib/stream.h"

namespace worker {
namespace {

void limit_stalls(Connection connection, int seconds) {
    const timeval limit{.tv_sec = seconds, .tv_usec = 0};
    // Pipes and terminals refuse, but they have no client that could hang.
    setsockopt(connection.in, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(connection.out, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

}  // namespace

bool attempt(const std::function<void()>& request) {
    try {
        request();
        return true;
    } catch (const std::exception& failure) {
        fprintf(stderr, "%s: request failed: %s\n", program_invocation_name, failure.what());
    } catch (...) {
        fprintf(stderr, "%s: request failed\n", program_invocation_name);
    }
    return false;
}

bool serve(const Service& service, Connection connection, int timeout_seconds) {
    if (timeout_seconds > 0) limit_stalls(connection, timeout_seconds);
    const bool served = attempt([&] { service.connection(connection); });
    discard_received(connection.in);
    return served;
}

std::optional<std::string> answer(const Service& service, const Datagram& datagram, std::uint16_t min_port) {
    if (!service.answer_anyone && !may_answer(datagram, min_port)) return std::nullopt;
    return service.datagram(datagram);
}

}  // namespace worker
