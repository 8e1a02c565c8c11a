// SPDX-License-Identifier: MIT
#include "admit/sources.h"

#include <algorithm>
#include <cstring>

namespace superd::admit {
namespace {

/// Both halves of the 128-bit product, folded: one multiplication mixes all bits.
std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
    __extension__ using Wide = unsigned __int128;
    const Wide product = static_cast<Wide>(a) * b;
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

bool is_forgettable(const Source& source, Instant now) {
    return source.in_use == 0 && source.bucket.full_at() <= now && source.unfinished.full_at() <= now &&
           source.debt.runs_off_at <= now;
}

/// Would the first be missed less than the second?
bool gives_way(const Source& a, const Source& b, Instant now) {
    const Duration owes = a.debt.left(now), other = b.debt.left(now);
    return owes != other ? owes < other : a.bucket.full_at() < b.bucket.full_at();
}

}  // namespace

Sources::Sources() : index_(0, Hash{this}, Same{this}) {}

void Sources::seed() {
    std::random_device device;
    random_.seed(device());
    for (std::uint64_t& word : seed_) word = (std::uint64_t{device()} << 32) | device() | 1;
}

std::size_t Sources::Hash::operator()(const SourceKey& key) const {
    std::uint64_t high;
    std::uint64_t low;
    std::memcpy(&high, key.bytes.data(), 8);
    std::memcpy(&low, key.bytes.data() + 8, 8);
    const auto kind = static_cast<std::uint64_t>(key.kind);
    return mix(mix(high ^ table->seed_[0], low ^ table->seed_[1]) ^ kind ^ std::uint64_t{key.bits} << 8,
               table->seed_[1]);
}

const Source* Sources::find(const SourceKey& key) const {
    if (index_.empty()) return nullptr;
    const auto at = index_.find(key);
    return at == index_.end() ? nullptr : &slots_[*at];
}

Sources::Index Sources::get(const SourceKey& key, Instant now) {
    if (seed_[0] == 0) seed();
    if (const auto at = index_.find(key); at != index_.end()) return *at;
    clean_some(now);
    if (index_.size() >= kMost) forget_one(now);
    Index index;
    if (free_.empty()) {
        index = static_cast<Index>(slots_.size());
        slots_.push_back({key, 0, {}, {}, {}});
    } else {
        index = free_.back();
        free_.pop_back();
        slots_[index] = {key, 0, {}, {}, {}};
    }
    index_.insert(index);
    return index;
}

std::vector<std::pair<SourceKey, Instant>> Sources::buckets() const {
    std::vector<std::pair<SourceKey, Instant>> all;
    all.reserve(index_.size());
    for (const Index index : index_) all.emplace_back(slots_[index].key, slots_[index].bucket.full_at());
    return all;
}

std::vector<std::pair<SourceKey, Instant>> Sources::unfinished(Instant now) const {
    std::vector<std::pair<SourceKey, Instant>> all;
    for (const Source& source : slots_)
        if (source.unfinished.full_at() > now) all.emplace_back(source.key, source.unfinished.full_at());
    return all;
}

void Sources::penalise(const SourceKey& key, Duration amount, const conf::Penalty& rules, Instant now) {
    const Index index = get(key, now);
    slots_[index].debt.add(amount, rules, now);
    release(index, now);
}

std::size_t Sources::refused(Instant now) const {
    return static_cast<std::size_t>(
        std::ranges::count_if(slots_, [now](const Source& source) { return source.debt.is_refused(now); }));
}

std::vector<Owed> Sources::owed(Instant now) const {
    std::vector<Owed> all;
    for (const Source& source : slots_)
        if (source.debt.left(now) > Duration::zero())
            all.push_back({source.key, source.debt.runs_off_at, source.debt.refused_until});
    return all;
}

void Sources::remember(const std::vector<Owed>& owed) {
    // With the zero time as now, get() does not forget sources that were restored just before.
    for (const Owed& one : owed) slots_[get(one.key, {})].debt = {one.runs_off_at, one.refused_until};
}

void Sources::release(Index index, Instant now) {
    if (is_forgettable(slots_[index], now)) forget(index);
}

void Sources::forget(Index index) {
    index_.erase(index);
    slots_[index] = {};
    free_.push_back(index);
}

/// Looks at a few slots with each new source, so the table shrinks as fast as it can grow and no sweep holds up a
/// client.
void Sources::clean_some(Instant now) {
    for (int i = 0; i < 4 && !slots_.empty(); ++i) {
        next_to_clean_ = static_cast<Index>((next_to_clean_ + 1) % slots_.size());
        const Source& source = slots_[next_to_clean_];
        if (source.key.kind != SourceKey::Kind::none && is_forgettable(source, now)) forget(next_to_clean_);
    }
}

void Sources::forget_one(Instant now) {
    constexpr int kPicked = 8;
    std::uniform_int_distribution<Index> any(0, static_cast<Index>(slots_.size() - 1));
    Index least = kNone;
    // Those with clients stay, however many there are: `instances` bounds their number.
    for (int tries = 0; tries < 64; ++tries) {
        const Index index = any(random_);
        const Source& source = slots_[index];
        if (source.key.kind == SourceKey::Kind::none || source.in_use > 0) continue;
        if (least == kNone || gives_way(source, slots_[least], now)) least = index;
        if (tries >= kPicked) break;
    }
    if (least != kNone) forget(least);
}

}  // namespace superd::admit
