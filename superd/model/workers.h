// SPDX-License-Identifier: MIT
#pragma once
// Long-lived workers that accept for themselves on the shared socket (handoff "listen").

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/backoff.h"
#include "model/model.h"

namespace superd::model {

/// Each listener has workers of its own. Their number depends on what is known of them:
///
/// Workers that report (Model::reported) under prefork: at least min_spare are without a client. Each waiting client
/// has one on its way, once fewer were spare for grow_after and clients wait longer than that. At most max_spare stay
/// without a client.
///
/// Others, and all under delayed: min_spare (delayed: one), and more while clients have waited for grow_after (delay).
///
/// A worker that has not been needed for max_idle leaves. If none is left, the first client brings the first worker.
class Workers final : public Model {
  public:
    Workers(Host& host, const conf::Service& definition);
    bool wants(std::size_t listener) const override;
    void ready(std::size_t listener) override;
    void exited(pid_t pid, End end) override;
    void resume() override;
    void woken() override;
    void refill() override;
    void drain() override;
    std::size_t spare() const override;
    void reported(pid_t pid, const Reports& reports) override;
    void pass(sys::Archive& archive) override;

    static constexpr Duration kDefaultIdle = std::chrono::seconds(60);
    static constexpr Duration kGrowAfter = std::chrono::milliseconds(50);
    /// The same for workers that report. They may hold reports back for half of that.
    static constexpr Duration kReportedGrowAfter = std::chrono::milliseconds(10);
    /// With more than max_spare for this long, some leave.
    static constexpr Duration kOverMost = std::chrono::seconds(1);
    /// A worker started for waiting clients is expected to take one within this time.
    static constexpr Duration kStartTime = std::chrono::seconds(1);
    /// A successor that has not died within this time serves.
    static constexpr Duration kProof = std::chrono::milliseconds(100);
    /// The wait before a successor of a worker that ended in haste.
    static constexpr Duration kHaste = std::chrono::milliseconds(20);

  private:
    struct Worker {
        std::size_t listener = 0;
        Instant started;
        Reports reports;
        SUPERD_OWN_FIELDS(Worker, listener, started, reports)
    };
    /// While more are spare than wanted: the number of them that stayed unused for the whole window.
    struct Window {
        std::optional<Instant> end;
        int lowest = 0;
        SUPERD_OWN_FIELDS(Window, end, lowest)
    };
    /// Since too few are spare.
    struct Shortage {
        Instant end;
        std::uint64_t taken;  ///< clients, at the beginning
        SUPERD_OWN_FIELDS(Shortage, end, taken)
    };
    /// The workers of one listener.
    struct Pool {
        std::size_t workers = 0;
        int spare = 0;  ///< room for clients: as reported, or 1 for each worker that does not report, or not yet
        int each = 1;   ///< room in one worker, as far as known
        int room = 0;   ///< room for clients in all: spare and taken
        std::uint64_t taken = 0;  ///< clients, as far as reported
        std::optional<Shortage> shortage;
        bool growing = false;  ///< until each waiting client has a worker on its way
        Window over_most, over_least;
        Instant grown;                   ///< the last time that clients had waited too long
        std::optional<Instant> look_at;  ///< clients wait: when to look at the queue again
        Instant filled_since;            ///< no worker has been started for them since
        std::uint64_t taken_before = 0;  ///< clients, until then
        std::size_t burst = 1;           ///< how many to start next time; doubles
        std::size_t coming = 0;          ///< workers started for waiting clients that have not taken them
        std::size_t waiting = 0;         ///< at the last look
        SUPERD_OWN_FIELDS(Pool, workers, spare, each, room, taken, shortage, growing, over_most, over_least, grown,
                          look_at, filled_since, taken_before, burst, coming, waiting)
    };
    using Position = std::unordered_map<pid_t, Worker>::iterator;

    bool can_start() const { return !drained_ && !retry_at_ && workers_.size() < most_; }
    bool by_reports() const { return reports_ && !delayed_; }
    /// If fewer are spare, superd may have to start some.
    int wanted() const { return by_reports() ? std::max(least_, 1) : least_; }
    static int free(const Worker& worker) { return worker.reports.any() ? worker.reports.free : 1; }
    static int room(const Worker& worker) { return std::max(worker.reports.slots, 1); }
    /// Have so many clients been taken that each waiting one is served before a new worker could help?
    bool turns_over(std::size_t listener, std::uint64_t taken) const;
    std::size_t missing(std::size_t listener) const;
    /// False: not now.
    bool start(std::size_t listener);
    void fill();
    void look_at_queue(std::size_t listener);
    /// True: a window was opened, so that the timer may have to be set.
    bool note_spare(Pool& pool);
    bool note_shortage(std::size_t listener);
    void judge_shortage(std::size_t listener);
    void shrink(std::size_t listener);
    /// Lets workers without a client go, with room for this many clients in all.
    void retire_spare(std::size_t listener, int room_for);
    Position retire(Position at);
    Position forget(Position at);
    void replace_old();
    void set_timer();

    Host& host_;
    const bool delayed_;
    const int least_, most_spare_;
    const std::size_t most_;  ///< in all
    const Duration grow_after_, reported_grow_after_, idle_;
    const std::optional<Duration> max_age_;
    const std::optional<int> max_requests_;
    bool reports_ = false;  ///< one of them has reported
    bool drained_ = false;
    std::optional<Instant> retry_at_;    ///< start none until then
    std::optional<Instant> replace_at_;  ///< replace none for its age until then
    pid_t replaced_ = 0;                 ///< the worker that leaves then
    bool dying_ = false;                 ///< because the last one left by itself, at once: the handler's fault
    std::optional<Instant> timer_;       ///< as set with the host
    Backoff backoff_{std::chrono::milliseconds(20), std::chrono::milliseconds(900)};  ///< when they die
    Backoff scarce_{std::chrono::milliseconds(100), std::chrono::seconds(2)};         ///< when there is no room for one
    std::unordered_map<pid_t, Worker> workers_;                                       ///< except for the retired
    std::vector<Pool> pools_;                                                         ///< by listener
};

}  // namespace superd::model
