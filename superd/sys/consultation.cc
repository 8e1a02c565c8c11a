// SPDX-License-Identifier: MIT
#include "sys/consultation.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace superd::sys {
namespace {

constexpr std::size_t kMostOfAnswer = 65536;

bool become(const Identity& who) {
    return setgroups(who.groups.size(), who.groups.data()) == 0 && setresgid(who.gid, who.gid, who.gid) == 0 &&
           setresuid(who.uid, who.uid, who.uid) == 0;
}

/// Never returns. `argv` was made before the fork.
[[noreturn]] void answer(const std::string& program, char** argv, const std::optional<Identity>& identity, int out,
                         const std::vector<Fd>& files, int first) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    bool done = !identity || become(*identity);
    const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    done = done && dup2(null, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0 && dup2(null, STDERR_FILENO) >= 0;
    for (std::size_t i = 0; i < files.size(); ++i)
        done = done && dup2(files[i].get(), first + static_cast<int>(i)) >= 0;
    const auto beyond = static_cast<unsigned>(first) + static_cast<unsigned>(files.size());
    syscall(SYS_close_range, beyond, ~0U, CLOSE_RANGE_CLOEXEC);
    syscall(SYS_close_range, 3U, static_cast<unsigned>(first - 1), CLOSE_RANGE_CLOEXEC);
    char* environment[] = {nullptr};
    if (done) execve(program.c_str(), argv, environment);
    _exit(127);
}

/// Until its end, or the deadline: then false.
bool read_all(int fd, Instant until, std::string& text) {
    for (;;) {
        pollfd one{fd, POLLIN, 0};
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - now()).count();
        const int ready = left > 0 ? poll(&one, 1, static_cast<int>(left)) : 0;
        if (ready < 0 && errno == EINTR) continue;
        if (ready <= 0) return false;
        char part[4096];
        const ssize_t n = read(fd, part, sizeof part);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return n == 0;
        text.append(part, static_cast<std::size_t>(n));
        if (text.size() > kMostOfAnswer) return false;
    }
}

}  // namespace

Result<std::string> consult(const std::string& program, const std::vector<std::string>& words,
                            const std::optional<Identity>& identity, const std::vector<Fd>& files, int first,
                            Duration patience) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return fail_errno("pipe", errno);
    Fd in(ends[0]), out(ends[1]);
    // Above every number that one of them becomes.
    const int above = first + static_cast<int>(files.size());
    std::vector<Fd> high;
    for (const Fd& file : files) high.emplace_back(fcntl(file.get(), F_DUPFD_CLOEXEC, above));
    Fd high_out(fcntl(out.get(), F_DUPFD_CLOEXEC, above));
    if (!high_out || !std::ranges::all_of(high, [](const Fd& fd) { return static_cast<bool>(fd); }))
        return fail_errno("descriptors", errno);
    std::vector<char*> argv;
    for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    const pid_t child = fork();
    if (child < 0) return fail_errno("fork", errno);
    if (child == 0) answer(program, argv.data(), identity, high_out.get(), high, first);
    out.reset();
    high_out.reset();
    std::string text;
    const bool ended = read_all(in.get(), now() + patience, text);
    if (!ended) kill(child, SIGKILL);
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (!ended) return fail(fmt::format("{} did not answer in {}", program, format_duration(patience)));
    if (!WIFEXITED(status)) return fail(fmt::format("{} was killed by signal {}", program, WTERMSIG(status)));
    if (WEXITSTATUS(status) == 127) return fail(fmt::format("{} cannot be executed", program));
    return text;
}

}  // namespace superd::sys
