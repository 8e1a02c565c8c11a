// SPDX-License-Identifier: MIT
#pragma once
// A few spare descriptors for work that frees others when all are in use: the start of a handler, whose connection then
// closes here, and a reload.

#include <sys/resource.h>

#include <array>

#include "sys/fd.h"

namespace superd::core {

class Reserve {
  public:
    /// Fills up with copies of `like`; true if it is full.
    bool fill(const sys::Fd& like) {
        bool full = true;
        for (sys::Fd& fd : kept_) {
            if (!fd) fd = like.duplicate().lifted();
            full = full && fd;
        }
        return full;
    }
    /// Is a descriptor with this number, the lowest that was free, among the last quarter? What can do without it, or
    /// can wait, leaves those to clients.
    static bool is_high(int number) {
        rlimit limit{};
        getrlimit(RLIMIT_NOFILE, &limit);
        return static_cast<rlim_t>(number) >= limit.rlim_cur - limit.rlim_cur / 4;
    }
    void release() {
        for (sys::Fd& fd : kept_) fd.reset();
    }

  private:
    std::array<sys::Fd, 6> kept_;  ///< the start for a datagram needs the most
};

}  // namespace superd::core
