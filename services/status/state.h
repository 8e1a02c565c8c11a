// SPDX-License-Identifier: MIT
#pragma once
// What superd last said of itself. However many look, superd is asked once a second at most, and every five seconds
// while nobody does, so that the history has no gaps.

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "status/history.h"
#include "status/usage.h"
#include "web/control.h"

namespace status {

class State {
  public:
    explicit State(web::Control& control) : control_(control) {}

    /// For the loop: asks superd when it is time to. Says when it is next.
    std::optional<web::Instant> tick();
    /// Somebody looks. True: what is here is as new as it may be. False: `then` is called when superd has been asked,
    /// even if it did not answer.
    bool look(std::function<void()> then);

    /// The answers to `status` and `processes`; null before the first. A process has `usage` (cpu_percent, memory) too,
    /// null where it cannot be seen.
    const web::Json& status() const { return status_; }
    const web::Json& processes() const { return processes_; }
    /// nullptr: it is not there.
    const web::Json* service(const std::string& name) const;
    /// Why superd does not answer; empty: it does.
    const std::string& trouble() const { return trouble_; }
    /// When it last did.
    web::Instant seen() const { return seen_; }
    /// Another number with each change of all this.
    unsigned long version() const { return version_; }

    const History& history() const { return total_; }
    /// nullptr: there is none yet.
    const History* history(const std::string& service) const;

    /// superd spends about a twentieth of its time on answers at most, however much it has to tell.
    static constexpr int kShare = 20;

  private:
    void ask();
    void have_processes(web::Answer answer);
    void finish(const std::string& trouble);
    void remember();

    web::Control& control_;
    web::Json status_, processes_, asked_;
    std::string trouble_;
    web::Instant seen_{}, asked_at_{}, may_ask_at_{}, watched_until_{};
    bool asking_ = false;
    unsigned long version_ = 0;
    std::vector<std::function<void()>> waiting_;
    std::map<std::string, History> histories_;
    History total_;
    History::Counts all_;
    UsageOf usage_;
};

}  // namespace status
