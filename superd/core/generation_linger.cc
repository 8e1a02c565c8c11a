// SPDX-License-Identifier: MIT
// A replaced socket, and clients that came to it before.
#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <new>
#include <utility>

#include "base/text.h"
#include "core/generation.h"
#include "net/queue.h"

namespace superd::core {
namespace {

/// Between two looks at the queue; a client that has found the path before it led elsewhere arrives meanwhile.
constexpr Duration kLook = std::chrono::milliseconds(20);
/// A TCP client that has begun to connect is in the queue within this time.
constexpr Duration kHandshake = std::chrono::milliseconds(500);
/// An upgrade waits for the end, but not for ever.
constexpr Duration kMost = std::chrono::seconds(10);

}  // namespace

bool Generation::linger(std::size_t listener, net::Listener& socket) try {
    const int family = socket.address().family();
    const bool local = family != AF_INET && family != AF_INET6;
    const Instant time = now();
    lingering_.reset(new Lingering{listener, std::move(socket), time + (local ? kLook : kHandshake),
                                   time + std::min(definition_.stop_timeout, kMost), Counted(engine_.unsettled)});
    linger_.set(time + kLook);
    return true;
} catch (const std::bad_alloc&) {
    return false;
}

net::Listener Generation::end_linger() {
    linger_.clear();
    net::Listener socket = std::move(lingering_->socket);
    lingering_.reset();
    return socket;
}

void Generation::linger_on() {
    const Instant time = now();
    const std::size_t left = net::waiting(lingering_->socket);
    if (time >= lingering_->until || (left == 0 && time >= lingering_->from)) {
        if (left > 0)
            engine_.log.write(Level::warning,
                              fmt::format("{}: {} on the replaced socket, and were not served in time: they are lost",
                                          lingering_->socket.uri(),
                                          left == 1 ? "a client waited" : fmt::format("{} clients waited", left)),
                              {{"SERVICE", definition_.name}, {"ADDRESS", lingering_->socket.uri()}});
        return host_.lingered(*this);
    }
    // Nothing else reports them.
    if (left > 0) model_->ready(lingering_->listener);
    linger_.set(time + kLook);
}

net::Listener* Generation::socket(std::size_t listener) const {
    const bool old = lingering_ && lingering_->listener == listener;
    return old ? &lingering_->socket : host_.socket(listener);
}

}  // namespace superd::core
