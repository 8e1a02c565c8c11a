// SPDX-License-Identifier: MIT
#pragma once
// Asks another program a question at load time.

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "sys/fd.h"
#include "sys/identity.h"

namespace superd::sys {

/// A program that has been asked. It runs as `identity`, if there is one, with these words, no environment, and `files`
/// as its descriptors from `first` on. Whoever has not ended when this goes is killed.
class Consultation {
  public:
    static Result<Consultation> begin(const std::string& program, const std::vector<std::string>& words,
                                      const std::optional<Identity>& identity, const std::vector<Fd>& files, int first);
    Consultation(Consultation&& other) noexcept;
    Consultation& operator=(Consultation&&) = delete;
    ~Consultation();

    /// Waits until all have ended, or for the deadline.
    static void hear_all(const std::vector<Consultation*>& all, Instant until);
    /// What it has written to its stdout, at most 64 KiB of it. Error: it was killed, or has not ended and is now.
    Result<std::string> answer();

  private:
    Consultation(std::string program, Fd in, pid_t child)
        : program_(std::move(program)), in_(std::move(in)), child_(child) {}
    void read_some();
    /// Its status; nullopt: it cannot even be killed now, and is left to whoever reaps children.
    std::optional<int> reap();

    std::string program_;
    Fd in_;  ///< none: it has said all
    pid_t child_ = 0;
    std::string text_;
};

/// The same for one, with so much time.
Result<std::string> consult(const std::string& program, const std::vector<std::string>& words,
                            const std::optional<Identity>& identity, const std::vector<Fd>& files, int first,
                            Duration patience);

}  // namespace superd::sys
