// SPDX-License-Identifier: MIT
#pragma once
// A few descriptors kept back, so that what frees others can go on when all are taken: the start of a handler, whose
// connection closes here with it, and a reload.

#include <array>

#include "sys/fd.h"

namespace superd::core {

class Reserve {
  public:
    /// Takes what it can get of `like`; true if that is all that it should have.
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
    std::array<sys::Fd, 6> kept_;  ///< a datagram's start needs the most
};

}  // namespace superd::core
