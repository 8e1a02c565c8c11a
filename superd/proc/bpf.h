// SPDX-License-Identifier: MIT
#pragma once
// A classic BPF program, written from its end: each instruction's targets exist before it does.

#include <linux/filter.h>

#include <cstdint>
#include <map>
#include <vector>

namespace superd::proc {

class BpfProgram {
  public:
    /// Where an instruction is, counted from the end of the program. It stays valid as more come before it.
    using Label = std::size_t;

    /// Ends with this answer.
    Label answer(std::uint32_t value);
    /// A = the 32 bits of the kernel's record at this offset; then what follows at `next`.
    Label load(std::uint32_t offset, Label next);
    /// A &= mask
    Label mask(std::uint32_t bits, Label next);
    /// A == value, A >= value, or A & value != 0: `yes`, else `no`.
    Label if_equal(std::uint32_t value, Label yes, Label no);
    Label if_at_least(std::uint32_t value, Label yes, Label no);
    Label if_any_bit(std::uint32_t value, Label yes, Label no);

    /// The program, which begins at `first`.
    std::vector<sock_filter> take(Label first);

  private:
    Label add(sock_filter instruction);
    Label test(std::uint16_t how, std::uint32_t value, Label yes, Label no);
    /// The target, or its like that a test can reach which has at most `more` instructions between it and here.
    Label near(Label target, std::size_t more);
    /// What is added now goes on at `next`.
    void follow_with(Label next);

    std::vector<sock_filter> backwards_;
    std::map<std::uint32_t, Label> nearest_;  ///< of each answer, the last that was added
};

}  // namespace superd::proc
