// SPDX-License-Identifier: MIT
#pragma once
// What one client adds to a handler's environment (contract, section 4).

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace superd::proc {

/// "NAME=value" strings in one block, each ended by NUL: execve(2) points into it, and a parked process receives it as
/// it is.
class Environment {
  public:
    /// A value ends at its first NUL: what follows that would be a variable of its own.
    void set(std::string_view name, std::string_view value) {
        starts_.push_back(block_.size());
        block_.append(name).append(1, '=').append(value.substr(0, value.find('\0'))).append(1, '\0');
    }
    /// As block() has given it.
    static Environment of(std::string block) {
        Environment made;
        for (std::size_t at = 0; at < block.size(); at = block.find('\0', at) + 1) {
            if (block.find('\0', at) == block.npos) block += '\0';
            made.starts_.push_back(at);
        }
        made.block_ = std::move(block);
        return made;
    }
    const std::string& block() const { return block_; }
    std::size_t size() const { return starts_.size(); }
    /// The i-th string, in memory that its owner may modify.
    char* at(std::size_t i) { return block_.data() + starts_[i]; }

  private:
    std::string block_;
    std::vector<std::size_t> starts_;
};

}  // namespace superd::proc
