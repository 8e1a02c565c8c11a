// SPDX-License-Identifier: MIT
#include "intake/refusal_log.h"

#include <fmt/format.h>

namespace superd::intake {

void RefusalLog::note(admit::Refusal why, const sys::Address& peer, bool log) {
    const auto index = static_cast<std::size_t>(why);
    ++counts_[index];
    if (!log) return;
    if (!until_ && !open_window(now() + kWindow)) return;
    if (++in_window_[index] > kEach) return;
    log_.write(Level::notice, fmt::format("{}: refused: {}", peer.text(), admit::name_of(why)),
               {{"SERVICE", service_}, {"PEER", peer.text()}, {"REFUSAL", admit::name_of(why)}});
}

Result<void> RefusalLog::open_window(Instant until) {
    if (!timer_) {
        auto timer = loop_.timer([this] { end_window(); });
        if (!timer) return std::unexpected(timer.error());
        timer_ = std::move(*timer);
    }
    if (auto armed = timer_.arm(until); !armed) return armed;
    until_ = until;
    return {};
}

Result<void> RefusalLog::go_on(const Memory& memory) {
    counts_ = memory.counts;
    in_window_ = memory.in_window;
    return memory.until ? open_window(*memory.until) : Result<void>{};
}

void RefusalLog::end_window() {
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
