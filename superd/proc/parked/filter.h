// SPDX-License-Identifier: MIT
#pragma once
// The system call filter of a program that superd starts in a handler's stead. It comes on a descriptor, and is
// installed when the program has come to where the handler is to begin: until then it may have to make other calls.

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace superd::proc::parked {

/// The program in `fd`, which is closed; without one there is no filter. Inline here, because such programs link
/// nothing of superd.
class Filter {
  public:
    explicit Filter(int fd) {
        struct stat about {};
        if (fstat(fd, &about) != 0) {
            found_ = errno == EBADF;
            return;
        }
        const auto size = static_cast<unsigned long>(about.st_size);
        void* const memory = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
        close(fd);
        if (memory == MAP_FAILED) return;
        program_.filter = static_cast<sock_filter*>(memory);
        program_.len = static_cast<unsigned short>(size / sizeof(sock_filter));
        found_ = true;
    }
    Filter(const Filter&) = delete;

    /// False, and errno: it is not in force.
    bool install() const {
        if (!found_) return false;
        return program_.filter == nullptr || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program_) == 0;
    }

  private:
    bool found_ = false;
    sock_fprog program_{};
};

}  // namespace superd::proc::parked
