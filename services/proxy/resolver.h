// SPDX-License-Identifier: MIT
#pragma once
// Looks names up without holding anybody up: at most one thread for each target that is a name.

#include <mutex>
#include <string>
#include <vector>

#include "proxy/target.h"

namespace proxy {

/// Must live as long as the process: a name service may never answer.
class Resolver {
  public:
    struct Answer {
        std::size_t target = 0;
        std::expected<std::vector<Address>, std::string> addresses;
    };

    explicit Resolver(const std::vector<Target>& targets);
    /// Readable when there are answers.
    int fd() const { return wake_.get(); }
    /// While a target is being looked up, all who ask for it get the same answer.
    void ask(std::size_t target);
    std::vector<Answer> take();

  private:
    void answer(Answer answer);

    const std::vector<Target>& targets_;
    std::vector<bool> asked_;
    Fd wake_;
    std::mutex mutex_;  ///< for answers_
    std::vector<Answer> answers_;
};

}  // namespace proxy
