// SPDX-License-Identifier: MIT
#pragma once
// Penalties that count at every service, whichever service they were earned at ([penalty] everywhere). Pure.

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "admit/sources.h"
#include "sys/prefix.h"

namespace superd::admit {

/// The source of that many bits that an address belongs to.
SourceKey key_of(const sys::IpBytes& address, int bits);

class Everywhere {
  public:
    /// The worst that stands against a client. nullptr: nothing. `source`: what it counts as where it comes to, which
    /// may be of other bits than where the penalty was earned; `address`: if it has one.
    const Debt* find(const SourceKey& source, const std::optional<sys::IpBytes>& address) const;
    void add(const SourceKey& source, Duration amount, const conf::Penalty& rules, Instant now);
    /// How many sources are refused.
    std::size_t refused(Instant now) const { return sources_.refused(now); }
    std::size_t size() const { return sources_.size(); }

    std::vector<Owed> memory(Instant now) const { return sources_.owed(now); }
    void remember(const std::vector<Owed>& memory);

  private:
    void note_bits(const SourceKey& source);

    Sources sources_;
    std::array<std::vector<std::uint8_t>, 2> bits_;  ///< of IPv4 and IPv6 sources; the definitions alone decide on them
};

}  // namespace superd::admit
