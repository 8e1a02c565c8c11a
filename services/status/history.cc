// SPDX-License-Identifier: MIT
#include "status/history.h"

#include <algorithm>

namespace status {
namespace {

std::int64_t number_of_slot(web::Instant time) {
    return time.time_since_epoch() / History::kSlot;
}

double grown(double now, double before) {
    return now < before ? now : now - before;
}

}  // namespace

History::Slot& History::slot(std::int64_t number) {
    const auto place = [](std::int64_t n) { return static_cast<std::size_t>(n) % kSlots; };
    for (auto n = std::max(newest_ + 1, number - static_cast<std::int64_t>(kSlots) + 1); n <= number; ++n)
        slots_[place(n)] = {};
    newest_ = std::max(newest_, number);
    return slots_[place(number)];
}

History::Counts History::add(web::Instant time, const Counts& counts) {
    Counts more;
    if (last_ && time > *last_) {
        more = {grown(counts.clients, counts_.clients), grown(counts.ended, counts_.ended),
                grown(counts.seconds, counts_.seconds)};
        const double passed = std::chrono::duration<double>(time - *last_).count();
        const std::int64_t oldest = number_of_slot(time) - static_cast<std::int64_t>(kSlots) + 1;
        for (auto n = std::max(number_of_slot(*last_), oldest); n <= number_of_slot(time); ++n) {
            const auto from = std::max(*last_, web::Instant(n * kSlot)),
                       to = std::min(time, web::Instant((n + 1) * kSlot));
            const double seen = std::chrono::duration<double>(to - from).count(), part = seen / passed;
            Slot& of = slot(n);
            of.seen += static_cast<float>(seen);
            of.clients += static_cast<float>(more.clients * part);
            of.ended += static_cast<float>(more.ended * part);
            of.seconds += static_cast<float>(more.seconds * part);
        }
    }
    last_ = time;
    counts_ = counts;
    return more;
}

template <class Value>
std::vector<std::optional<double>> History::all(const Value& value) const {
    std::vector<std::optional<double>> out;
    for (std::size_t i = 1; i <= kSlots; ++i)
        out.push_back(value(slots_[(static_cast<std::size_t>(newest_) + i) % kSlots]));
    return out;
}

std::vector<std::optional<double>> History::clients_per_second() const {
    return all([](const Slot& of) { return of.seen > 0 ? std::optional<double>(of.clients / of.seen) : std::nullopt; });
}

std::vector<std::optional<double>> History::handler_seconds() const {
    return all(
        [](const Slot& of) { return of.ended > 0 ? std::optional<double>(of.seconds / of.ended) : std::nullopt; });
}

}  // namespace status
