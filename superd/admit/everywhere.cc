// SPDX-License-Identifier: MIT
#include "admit/everywhere.h"

#include <algorithm>

namespace superd::admit {

SourceKey key_of(const sys::IpBytes& address, int bits) {
    SourceKey key;
    key.kind = address.v6 ? SourceKey::Kind::ipv6 : SourceKey::Kind::ipv4;
    key.bytes = sys::masked(address, bits).bytes;
    key.bits = static_cast<std::uint8_t>(bits);
    return key;
}

const Debt* Everywhere::find(const SourceKey& source, const std::optional<sys::IpBytes>& address) const {
    if (sources_.size() == 0) return nullptr;
    if (!address) {
        const Source* known = sources_.find(source);
        return known != nullptr ? &known->debt : nullptr;
    }
    const Debt* worst = nullptr;
    for (const int bits : bits_[address->v6]) {
        const Source* known = sources_.find(key_of(*address, bits));
        if (known != nullptr && (worst == nullptr || known->debt.refused_until > worst->refused_until))
            worst = &known->debt;
    }
    return worst;
}

void Everywhere::add(const SourceKey& source, Duration amount, const conf::Penalty& rules, Instant now) {
    note_bits(source);
    sources_.penalise(source, amount, rules, now);
}

void Everywhere::remember(const std::vector<Owed>& memory) {
    for (const Owed& owed : memory) note_bits(owed.key);
    sources_.remember(memory);
}

void Everywhere::note_bits(const SourceKey& source) {
    using Kind = SourceKey::Kind;
    if (source.kind != Kind::ipv4 && source.kind != Kind::ipv6) return;
    auto& known = bits_[source.kind == Kind::ipv6];
    if (std::ranges::find(known, source.bits) == known.end()) known.push_back(source.bits);
}

}  // namespace superd::admit
