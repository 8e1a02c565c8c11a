// SPDX-License-Identifier: MIT
#include "core/replies.h"

#include <fmt/format.h>

namespace superd::core {

Replies::Replies(Engine& engine, const std::string& service, Stats& stats)
    : engine_(engine),
      service_(service),
      stats_(stats),
      failures_(engine.loop, std::chrono::seconds(10), [this](std::uint64_t count, Duration) {
          if (count == 1) return;
          engine_.log.write(Level::notice, fmt::format("{} more answers could not be sent", count - 1),
                            {{"SERVICE", service_}, {"COUNT", count - 1}});
      }) {}

void Replies::failed(const sys::Address& peer, const Error& why) {
    ++stats_.reply_failures;
    if (!failures_.note(now())) return;
    engine_.log.write(Level::notice, fmt::format("{}: an answer could not be sent: {}", peer.text(), why.text),
                      {{"SERVICE", service_}, {"PEER", peer.text()}, {"ERRNO", why.code}});
}

}  // namespace superd::core
