// SPDX-License-Identifier: MIT
#include "control/peer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "sys/fd.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

namespace superd::control {
namespace {

/// Steps up the line of parents, including retries after a race. A process with more ancestors has made them on
/// purpose.
constexpr int kMostSteps = 256;

/// nullopt: there is no such process, or superd may not see it.
std::optional<pid_t> parent_of(pid_t pid) {
    const sys::Fd file(open(fmt::format("/proc/{}/stat", pid).c_str(), O_RDONLY | O_CLOEXEC));
    char text[256];
    const ssize_t n = file ? read(file.get(), text, sizeof text - 1) : -1;
    if (n <= 0) return std::nullopt;
    text[n] = '\0';
    // PID (NAME) STATE PPID …, and a name may contain anything.
    const auto end = std::string_view(text).rfind(") ");
    if (end == std::string_view::npos || end + 4 >= static_cast<std::size_t>(n)) return std::nullopt;
    return static_cast<pid_t>(std::strtol(text + end + 4, nullptr, 10));
}

/// Is it still the process that connected, or has another one got its number? Before Linux 6.5 this cannot be known.
bool is_same(int socket) {
    int number = -1;
    socklen_t size = sizeof number;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &number, &size) != 0)
        return errno == ENOPROTOOPT || errno == EMFILE || errno == ENFILE;
    const sys::Fd peer(number);
    return syscall(SYS_pidfd_send_signal, number, 0, nullptr, 0) == 0 || errno != ESRCH;
}

}  // namespace

bool is_descendant(int socket, pid_t pid) {
    if (pid <= 0) return false;  // of another pid namespace, around superd's
    const pid_t self = getpid();
    pid_t child = pid;
    auto parent = parent_of(child);
    if (!parent) return true;
    for (int i = 0; i < kMostSteps; ++i) {
        if (*parent == self) return true;
        if (*parent <= 1) return !is_same(socket);
        const auto next = parent_of(*parent);
        if (parent_of(child) != parent) {
            // Its parent has ended meanwhile, and another process may have that number by now.
            child = pid;
            parent = parent_of(child);
            if (!parent) return true;
        } else if (!next) {
            return !is_same(socket);
        } else {
            child = *parent;
            parent = next;
        }
    }
    return true;
}

}  // namespace superd::control
