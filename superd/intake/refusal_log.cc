// SPDX-License-Identifier: MIT
#include "intake/refusal_log.h"

#include <fmt/format.h>

namespace superd::intake {

void RefusalLog::note(admit::Refusal why, const sys::Address& peer, Instant now, std::string_view more) {
    count(why);
    expire(now);
    if (!until_) until_ = now + kWindow;
    if (++in_window_[static_cast<std::size_t>(why)] > kEach) return;
    log_.write(Level::notice, fmt::format("{}: refused: {}{}", peer.text(), admit::name_of(why), more),
               {{"SERVICE", service_}, {"PEER", peer.text()}, {"REFUSAL", admit::name_of(why)}});
}

void RefusalLog::go_on(const Memory& memory) {
    counts_ = memory.counts;
    in_window_ = memory.in_window;
    until_ = memory.until;
}

void RefusalLog::expire(Instant now) {
    if (!until_ || now < *until_) return;
    until_.reset();
    for (std::size_t i = 0; i < admit::kRefusals; ++i) {
        if (in_window_[i] > kEach) {
            const char* why = admit::name_of(static_cast<admit::Refusal>(i));
            log_.write(Level::notice, fmt::format("{} more refused: {}", in_window_[i] - kEach, why),
                       {{"SERVICE", service_}, {"REFUSAL", why}, {"COUNT", in_window_[i] - kEach}});
        }
        in_window_[i] = 0;
    }
}

std::string RefusalLog::summary() const {
    std::string text;
    for (std::size_t i = 0; i < admit::kRefusals; ++i)
        if (counts_[i] > 0)
            text += fmt::format("{}{} {}", text.empty() ? "" : ", ", admit::name_of(static_cast<admit::Refusal>(i)),
                                counts_[i]);
    return text;
}

}  // namespace superd::intake
