// SPDX-License-Identifier: MIT
#pragma once
// Upgrade in place: this process executes the binary on disk and continues as that, once a child of that binary has
// proved on a copy of the state that it can. Until then, and if it cannot, nothing changes.

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "core/child_owner.h"
#include "core/engine.h"
#include "core/state.h"
#include "core/successor.h"
#include "sys/alarm.h"

namespace superd::handover {

/// Options that a superd passes to its successor; not for users.
constexpr const char* kTakeOver = "--take-over";
constexpr const char* kProve = "--prove";

class Upgrade final : public core::Successor, public core::ChildOwner {
  public:
    /// What it needs from the supervisor.
    struct Owner {
        std::function<std::pair<core::State, sys::Descriptors>()> write_down;
        std::function<bool()> settled;  ///< false: something is under way that cannot be written down
        std::function<void(const std::string& why)> refused;
    };
    /// `words`: superd's own argv.
    Upgrade(core::Engine& engine, std::string binary, std::vector<std::string> words, Owner owner)
        : engine_(engine), binary_(std::move(binary)), words_(std::move(words)), owner_(std::move(owner)) {}
    Upgrade(const Upgrade&) = delete;
    ~Upgrade() override;

    /// Begins; `refused` may follow. On success nothing follows: this program ends in the exec.
    void begin() override;
    bool under_way() const override { return stage_ != Stage::none; }
    /// superd has other plans.
    void give_up(const std::string& why) override;
    /// A proving child has ended; another may be the current one.
    void exited(pid_t pid, int status, const rusage& used) override;
    void after_exit() override;

    static constexpr Duration kProofTime = std::chrono::seconds(10);
    /// How long handlers may take to reach their exec; longer than the spawner allows.
    static constexpr Duration kSettleTime = std::chrono::seconds(15);
    /// How long the log's reader may take; what it has not read by then counts as lost.
    static constexpr Duration kLogTime = std::chrono::seconds(1);

  private:
    enum class Stage { none, proving, settling };
    Result<void> start_proof();
    /// noexcept: the child must never return as a second superd.
    [[noreturn]] void run_proof(const sys::Descriptors& descriptors, int state, int words) noexcept;
    void hear();
    void tick();
    void execute();
    /// Returns only on failure: the reason.
    std::string become_next();
    void refuse(const std::string& why);
    /// Why the child that ended with `status` has not proved anything.
    std::string disproof(int status) const;

    core::Engine& engine_;
    const std::string binary_;
    const std::vector<std::string> words_;
    const Owner owner_;
    Stage stage_ = Stage::none;
    pid_t prover_ = 0;
    std::size_t proved_ = 0;  ///< descriptors that can be taken over
    bool late_ = false;
    std::string proof_, said_;
    sys::Fd voice_;  ///< the proving child's output
    sys::Source voice_source_;
    sys::Alarm timer_{engine_.loop, [this] { tick(); }};
    Instant deadline_{}, log_deadline_{};
};

/// The next superd's side: takes over the descriptor that --take-over names.
Result<core::State> receive_state(int number);
/// The line by which it proves that it has read the state and could continue with it and more descriptors.
std::string proof_line(const core::State& state);

}  // namespace superd::handover
