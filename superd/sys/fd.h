// SPDX-License-Identifier: MIT
#pragma once
// A descriptor that its owner closes.

#include <fcntl.h>
#include <unistd.h>

#include <utility>

namespace superd::sys {

class Fd {
  public:
    Fd() = default;
    explicit Fd(int fd) : fd_(fd) {}
    Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Fd& operator=(Fd&& other) noexcept {
        if (this != &other) reset(std::exchange(other.fd_, -1));
        return *this;
    }
    Fd(const Fd&) = delete;
    Fd& operator=(const Fd&) = delete;
    ~Fd() { reset(); }

    int get() const { return fd_; }
    explicit operator bool() const { return fd_ >= 0; }
    int release() { return std::exchange(fd_, -1); }
    void reset(int fd = -1) {
        if (fd_ >= 0) ::close(fd_);  // close(2): the descriptor is gone on Linux even after EINTR
        fd_ = fd;
    }

    /// The same file under a number of at least kLongLived. Whatever superd keeps open for long lives up there, because
    /// a child copies all descriptors up to the highest one that it needs (proc/spawner.h). If the limit leaves no room
    /// there, the number stays.
    Fd lifted() && {
        const int high = fcntl(fd_, F_DUPFD_CLOEXEC, kLongLived);
        if (high < 0) return std::move(*this);
        reset();
        return Fd(high);
    }
    /// Another descriptor of the same file, at the lowest free number above 2; invalid with errno on failure.
    Fd duplicate() const { return Fd(fcntl(fd_, F_DUPFD_CLOEXEC, 3)); }

    static constexpr int kLongLived = 128;

  private:
    int fd_ = -1;
};

}  // namespace superd::sys
