// SPDX-License-Identifier: MIT
#pragma once
// Descriptors that stay open over an exec, by their numbers, each with what it leads to.

#include <cstdint>
#include <utility>
#include <vector>

#include "base/error.h"
#include "sys/fd.h"

namespace superd::sys {

class Descriptors {
  public:
    struct Entry {
        int number = -1;
        std::uint64_t device = 0, inode = 0;  ///< fstat(2); a socket, pipe or memfd has an inode of its own
        bool claimed = false;
    };

    Descriptors() = default;
    /// As written down by the process before.
    explicit Descriptors(std::vector<Entry> entries);

    /// Notes one that is to stay open. Its number, or -1 where it is none.
    int keep(int number);
    int keep(const Fd& fd) { return keep(fd.get()); }
    const std::vector<Entry>& entries() const { return entries_; }

    /// Is each number open and still what it was?
    Result<void> check() const;
    /// Of what another has kept: hands one to its owner. Each goes once; a number that was not kept is invalid, and
    /// makes all of it unsound.
    Fd claim(int number);
    /// Has each found its owner, and no owner been left without?
    bool sound() const;

    /// Lets them pass the next exec of this process, or not. Fails too if one could not be kept.
    Result<void> pass_exec(bool on) const;

  private:
    std::vector<Entry> entries_;
    bool missed_ = false;
    int unkept_ = 0;  ///< errno
};

}  // namespace superd::sys
