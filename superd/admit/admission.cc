// SPDX-License-Identifier: MIT
#include "admit/admission.h"

#include <algorithm>
#include <cassert>

namespace superd::admit {

Charge::~Charge() {
    if (admission_ != nullptr) admission_->leave(source_);
}

void Charge::undo() && {
    if (admission_ == nullptr) return;
    const conf::Limits& limits = admission_->limits_;
    if (limits.rate) admission_->bucket_.give_back(*limits.rate);
    if (source_ != Sources::kNone && limits.per_source_rate)
        admission_->sources_.at(source_).bucket.give_back(*limits.per_source_rate);
    std::exchange(admission_, nullptr)->leave(source_);
}

std::optional<SourceKey> Charge::source() const {
    if (admission_ == nullptr) return std::nullopt;
    return source_ == Sources::kNone ? SourceKey{} : admission_->sources_.at(source_).key;
}

Admission::~Admission() {
    assert(in_use_ == 0);
}

void Admission::configure(const conf::Limits& limits, Instant now) {
    limits_ = limits;
    if (limits_.rate) bucket_.configure(*limits_.rate, now);
}

Instant Admission::rate_opens_at() const {
    return limits_.rate ? bucket_.ready_at(*limits_.rate) : Instant{};
}

std::optional<Refusal> Admission::refuses(const SourceKey& key, Instant now) const {
    const Source* source = sources_.find(key);
    if (source == nullptr) return std::nullopt;
    if (limits_.per_source && source->in_use >= *limits_.per_source) return Refusal::per_source;
    if (limits_.per_source_rate && source_opens_at(key) > now) return Refusal::per_source_rate;
    return std::nullopt;
}

Instant Admission::source_opens_at(const SourceKey& key) const {
    const Source* source = sources_.find(key);
    if (source == nullptr || !limits_.per_source_rate) return Instant{};
    return source->bucket.ready_at(*limits_.per_source_rate);
}

const Debt* Admission::debt(const SourceKey& key) const {
    const Source* source = sources_.find(key);
    return source != nullptr ? &source->debt : nullptr;
}

void Admission::penalise(const SourceKey& key, Duration amount, const conf::Penalty& rules, Instant now) {
    latest_ = now;
    sources_.penalise(key, amount, rules, now);
}

void Admission::unfinished(const SourceKey& key, Instant now) {
    latest_ = now;
    if (!limits_.per_source_rate || key.kind == SourceKey::Kind::none) return;
    Bucket& bucket = sources_.at(sources_.get(key, now)).unfinished;
    const conf::Rate& rate = *limits_.per_source_rate;
    bucket.take(rate, now);
    // So many had begun before the first of them failed: they count too, but no more than that.
    constexpr int at_once = 64;
    bucket.set_full_at(std::min(bucket.full_at(), now + rate.interval * (rate.burst + at_once)));
}

bool Admission::may_shake(const SourceKey& key, Instant now, std::size_t under_way) const {
    const Source* const source = sources_.find(key);
    if (source == nullptr || !limits_.per_source_rate || source->unfinished.full_at() <= now) return true;
    Bucket expected = source->unfinished;
    expected.set_full_at(expected.full_at() + limits_.per_source_rate->interval * under_way);
    return expected.ready(*limits_.per_source_rate, now);
}

Charge Admission::charge(const SourceKey& key, Instant now) {
    latest_ = now;
    ++in_use_;
    if (limits_.rate) bucket_.take(*limits_.rate, now);
    if (key.kind == SourceKey::Kind::none) return {this, Sources::kNone};
    const auto index = sources_.get(key, now);
    Source& source = sources_.at(index);
    ++source.in_use;
    if (limits_.per_source_rate) {
        source.bucket.configure(*limits_.per_source_rate, now);
        source.bucket.take(*limits_.per_source_rate, now);
    }
    return {this, index};
}

Charge Admission::recharge(const SourceKey& key) {
    ++in_use_;
    if (key.kind == SourceKey::Kind::none) return {this, Sources::kNone};
    const auto index = sources_.get(key, latest_);
    ++sources_.at(index).in_use;
    return {this, index};
}

Admission::Memory Admission::memory() const {
    return {bucket_.full_at(), latest_, sources_.buckets(), sources_.owed(latest_), sources_.unfinished(latest_)};
}

void Admission::remember(const Memory& memory) {
    bucket_.set_full_at(memory.full_at);
    latest_ = memory.latest;
    // With the zero time as now, get() does not forget sources that were restored just before.
    for (const auto& [key, full_at] : memory.sources) sources_.at(sources_.get(key, {})).bucket.set_full_at(full_at);
    for (const auto& [key, full_at] : memory.unfinished)
        sources_.at(sources_.get(key, {})).unfinished.set_full_at(full_at);
    sources_.remember(memory.owed);
}

void Admission::leave(Sources::Index index) {
    --in_use_;
    if (index == Sources::kNone) return;
    --sources_.at(index).in_use;
    sources_.release(index, latest_);
}

}  // namespace superd::admit
