// SPDX-License-Identifier: MIT
#pragma once
// A few spare descriptors for work that frees others when all are in use: the start of a handler, whose connection then
// closes here, and a reload.

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
    void release() {
        for (sys::Fd& fd : kept_) fd.reset();
    }

  private:
    std::array<sys::Fd, 6> kept_;  ///< the start for a datagram needs the most
};

}  // namespace superd::core
