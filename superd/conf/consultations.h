// SPDX-License-Identifier: MIT
#pragma once
// What other programs are asked of definitions in one load: several at the same time, and all of them within one time.

#include <map>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/time.h"
#include "sys/consultation.h"

namespace superd::conf {

class Consultations {
  public:
    /// More are asked later, so that many definitions do not take all descriptors.
    static constexpr std::size_t kAtOnce = 16;
    /// From the first question on: whoever has not answered then has not answered in time.
    static constexpr Duration kAll = std::chrono::seconds(10);

    /// The answer; nullptr: settle() brings it nearer, and the same question is then to be asked again. `question` says
    /// everything that the answer depends on; `begin` asks it.
    template <class Begin>
    const Result<std::string>* ask(const std::string& question, Begin begin) {
        if (const auto known = answers_.find(question); known != answers_.end()) return &known->second;
        const Instant time = now();
        if (!until_) until_ = time + kAll;
        if (time >= *until_) return &answer(question, fail("superd-tls has not answered in time: too many were asked"));
        if (asked_.contains(question) || asked_.size() >= kAtOnce) return nullptr;
        Result<sys::Consultation> asked = begin();
        if (!asked) return &answer(question, std::unexpected(asked.error()));
        asked_.emplace(question, std::move(*asked));
        return nullptr;
    }
    /// Waits for those that have been asked.
    void settle();

  private:
    const Result<std::string>& answer(const std::string& question, Result<std::string> text) {
        return answers_.insert_or_assign(question, std::move(text)).first->second;
    }

    std::optional<Instant> until_;
    std::map<std::string, sys::Consultation> asked_;
    std::map<std::string, Result<std::string>> answers_;
};

}  // namespace superd::conf
