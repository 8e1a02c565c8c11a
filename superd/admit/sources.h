// SPDX-License-Identifier: MIT
#pragma once
// What is remembered of each source: how many of its clients are being served, its bucket, and its penalty.
//
// A source without clients whose bucket is full again and whose penalty has run off looks like one never seen, and is
// forgotten. The table holds at most kMost sources beyond those with clients. When it is full, of a few picked at
// random the one with the least penalty is forgotten, and among equals that with the fullest bucket. The heaviest users
// are thus remembered longest: rotating addresses wipes out only the records of those addresses, not the record of one
// that has used up its share.

#include <array>
#include <cstdint>
#include <random>
#include <unordered_set>
#include <utility>
#include <vector>

#include "admit/bucket.h"
#include "admit/penalties.h"

namespace superd::admit {

/// What a client counts as: the prefix of its address, its uid, or its CID.
struct SourceKey {
    enum class Kind : std::uint8_t { none, ipv4, ipv6, uid, cid };
    Kind kind = Kind::none;
    std::array<std::uint8_t, 16> bytes{};
    std::uint8_t bits = 0;  ///< of an address, where those of several lengths are together: Everywhere
    bool operator==(const SourceKey&) const = default;
    auto operator<=>(const SourceKey&) const = default;
};

struct Source {
    SourceKey key;
    int in_use = 0;
    Bucket bucket;
    Bucket unfinished;  ///< of handshakes that came to nothing
    Debt debt;
};

/// A source's penalty, for another process.
struct Owed {
    SourceKey key;
    Instant runs_off_at{}, refused_until{};
};

class Sources {
  public:
    using Index = std::uint32_t;
    static constexpr Index kNone = ~Index{0};
    static constexpr std::size_t kMost = 65536;
    /// Bytes in a full table: its slots, and a node and a bucket of the index for each.
    static constexpr std::size_t kCeiling = 8u << 20;

    Sources();
    /// nullptr: looks like one never seen.
    const Source* find(const SourceKey& key) const;
    /// The source's slot; it keeps the slot while it has clients.
    Index get(const SourceKey& key, Instant now);
    Source& at(Index index) { return slots_[index]; }
    /// Call it when in_use has gone down: forgets the source if there is nothing to remember.
    void release(Index index, Instant now);
    std::size_t size() const { return index_.size(); }
    /// When each bucket is full.
    std::vector<std::pair<SourceKey, Instant>> buckets() const;
    /// The same for handshakes that came to nothing, where there were any.
    std::vector<std::pair<SourceKey, Instant>> unfinished(Instant now) const;

    void penalise(const SourceKey& key, Duration amount, const conf::Penalty& rules, Instant now);
    /// How many are refused for their penalty.
    std::size_t refused(Instant now) const;
    /// The penalties that have not run off.
    std::vector<Owed> owed(Instant now) const;
    void remember(const std::vector<Owed>& owed);

  private:
    struct Hash {
        using is_transparent = void;
        const Sources* table;
        std::size_t operator()(Index index) const { return (*this)(table->slots_[index].key); }
        std::size_t operator()(const SourceKey& key) const;
    };
    struct Same {
        using is_transparent = void;
        const Sources* table;
        bool operator()(Index a, Index b) const { return a == b; }
        bool operator()(Index a, const SourceKey& b) const { return table->slots_[a].key == b; }
        bool operator()(const SourceKey& a, Index b) const { return table->slots_[b].key == a; }
    };

    void seed();
    void forget(Index index);
    void forget_one(Instant now);
    void clean_some(Instant now);

    std::minstd_rand random_;
    std::uint64_t seed_[2] = {0, 0};  ///< so that nobody can choose addresses that collide; 0 before the first source
    std::vector<Source> slots_;
    std::vector<Index> free_;
    std::unordered_set<Index, Hash, Same> index_;
    Index next_to_clean_ = 0;
};

}  // namespace superd::admit
