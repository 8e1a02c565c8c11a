// SPDX-License-Identifier: MIT
#pragma once
// Accepted clients that wait for their own source's turn (on_excess = "queue").

#include <functional>
#include <list>
#include <optional>
#include <vector>

#include "admit/admission.h"
#include "model/host.h"
#include "sys/loop.h"

namespace superd::sys {
class Descriptors;
}  // namespace superd::sys

namespace superd::intake {

struct HeldState;

class Held {
  public:
    /// Called for each client that ends here, with the reason: its time is over, or it has left.
    using Ended = std::function<void(model::Client, admit::Refusal)>;
    Held(sys::Loop& loop, Ended ended) : loop_(loop), ended_(std::move(ended)) {}
    Held(const Held&) = delete;

    /// False: there is no place for another client of this source, or for any; `client` is unchanged.
    bool add(model::Client& client, const admit::SourceKey& source, Instant until);
    bool has_place(const admit::SourceKey& source) const;
    /// Takes out the first client whose source is let in now.
    std::optional<model::Client> next(const admit::Admission& admission, Instant now);
    /// Takes out the first client, whatever its source.
    std::optional<model::Client> first();
    /// Those for which this holds, which are held no more.
    std::list<model::Client> take_if(const std::function<bool(const model::Client&)>& holds);
    /// The earliest time at which a bucket lets one of them in, if one waits for that.
    std::optional<Instant> opens_at(const admit::Admission& admission, Instant now) const;
    /// When the first of them has waited long enough; expire() is due then.
    std::optional<Instant> ends_at() const;
    void expire(Instant now);
    std::size_t size() const { return clients_.size(); }
    void clear() { clients_.clear(); }

    std::vector<HeldState> write_down(sys::Descriptors& descriptors) const;
    Result<void> go_on(const std::vector<HeldState>& state, sys::Descriptors& descriptors);

    /// Each held client costs a descriptor.
    static constexpr std::size_t kOfOneSource = 16;
    static constexpr std::size_t kInAll = 512;

  private:
    struct Entry {
        model::Client client;
        admit::SourceKey source;
        Instant until;
        sys::Source hang_up;
    };
    using Position = std::list<Entry>::iterator;
    void end(Position entry, admit::Refusal why);
    void check_hang_up(Position entry);

    sys::Loop& loop_;
    Ended ended_;
    std::list<Entry> clients_;  ///< in order of arrival; a reload may give later ones less time
};

}  // namespace superd::intake
