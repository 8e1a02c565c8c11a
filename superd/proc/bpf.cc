// SPDX-License-Identifier: MIT
#include "proc/bpf.h"

#include <utility>

namespace superd::proc {
namespace {

/// A test jumps over at most so many instructions.
constexpr std::size_t kFarthest = 255;

}  // namespace

BpfProgram::Label BpfProgram::add(sock_filter instruction) {
    backwards_.push_back(instruction);
    return backwards_.size() - 1;
}

BpfProgram::Label BpfProgram::answer(std::uint32_t value) {
    return nearest_[value] = add(BPF_STMT(BPF_RET | BPF_K, value));
}

BpfProgram::Label BpfProgram::near(Label target, std::size_t more) {
    const auto is_near = [&](Label label) { return backwards_.size() + more - label - 1 <= kFarthest; };
    if (is_near(target)) return target;
    if (const sock_filter there = backwards_[target]; BPF_CLASS(there.code) == BPF_RET) {
        const Label last = nearest_[there.k];
        return is_near(last) ? last : answer(there.k);
    }
    const auto distance = static_cast<std::uint32_t>(backwards_.size() - target - 1);
    return add(BPF_STMT(BPF_JMP | BPF_JA, distance));
}

void BpfProgram::follow_with(Label next) {
    const std::size_t distance = backwards_.size() - next - 1;
    if (distance != 0) add(BPF_STMT(BPF_JMP | BPF_JA, static_cast<std::uint32_t>(distance)));
}

BpfProgram::Label BpfProgram::load(std::uint32_t offset, Label next) {
    follow_with(next);
    return add(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset));
}

BpfProgram::Label BpfProgram::mask(std::uint32_t bits, Label next) {
    follow_with(next);
    return add(BPF_STMT(BPF_ALU | BPF_AND | BPF_K, bits));
}

BpfProgram::Label BpfProgram::test(std::uint16_t how, std::uint32_t value, Label yes, Label no) {
    yes = near(yes, 1);  // the other one may still take an instruction
    no = near(no, 0);
    const auto to_yes = static_cast<std::uint8_t>(backwards_.size() - yes - 1);
    const auto to_no = static_cast<std::uint8_t>(backwards_.size() - no - 1);
    return add(BPF_JUMP(static_cast<std::uint16_t>(BPF_JMP | how | BPF_K), value, to_yes, to_no));
}

BpfProgram::Label BpfProgram::if_equal(std::uint32_t value, Label yes, Label no) {
    return test(BPF_JEQ, value, yes, no);
}
BpfProgram::Label BpfProgram::if_at_least(std::uint32_t value, Label yes, Label no) {
    return test(BPF_JGE, value, yes, no);
}
BpfProgram::Label BpfProgram::if_any_bit(std::uint32_t value, Label yes, Label no) {
    return test(BPF_JSET, value, yes, no);
}

std::vector<sock_filter> BpfProgram::take(Label first) {
    follow_with(first);
    std::vector<sock_filter> program(backwards_.rbegin(), backwards_.rend());
    backwards_.clear();
    nearest_.clear();
    return program;
}

}  // namespace superd::proc
