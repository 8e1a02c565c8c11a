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
#include <utility>

namespace superd::sys {
namespace {

constexpr std::size_t kMostOfAnswer = 65536;
/// For a process that has been killed, or has said all, to end.
constexpr Duration kKillPatience = std::chrono::milliseconds(500);

bool become(const Identity& who) {
    return setgroups(who.groups.size(), who.groups.data()) == 0 && setresgid(who.gid, who.gid, who.gid) == 0 &&
           setresuid(who.uid, who.uid, who.uid) == 0;
}

/// Never returns. `argv` was made before the fork.
[[noreturn]] void become_asked(const std::string& program, char** argv, const std::optional<Identity>& identity,
                               int out, const std::vector<Fd>& files, int first) {
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

}  // namespace

Result<Consultation> Consultation::begin(const std::string& program, const std::vector<std::string>& words,
                                         const std::optional<Identity>& identity, const std::vector<Fd>& files,
                                         int first) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0 || fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0) return fail_errno("pipe", errno);
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
    if (child == 0) become_asked(program, argv.data(), identity, high_out.get(), high, first);
    return Consultation(program, std::move(in), child);
}

Consultation::Consultation(Consultation&& other) noexcept
    : program_(std::move(other.program_)),
      in_(std::move(other.in_)),
      child_(std::exchange(other.child_, 0)),
      text_(std::move(other.text_)) {}

Consultation::~Consultation() {
    if (child_ > 0) (void)answer();
}

void Consultation::read_some() {
    char part[4096];
    const ssize_t n = read(in_.get(), part, sizeof part);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
    if (n > 0) text_.append(part, static_cast<std::size_t>(n));
    if (n <= 0 || text_.size() > kMostOfAnswer) in_.reset();
}

void Consultation::hear_all(const std::vector<Consultation*>& all, Instant until) {
    for (;;) {
        std::vector<pollfd> polled;
        std::vector<Consultation*> whose;
        for (Consultation* const one : all) {
            if (!one->in_) continue;
            polled.push_back({one->in_.get(), POLLIN, 0});
            whose.push_back(one);
        }
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - now()).count();
        if (polled.empty() || left <= 0) return;
        if (poll(polled.data(), polled.size(), static_cast<int>(left)) < 0 && errno != EINTR) return;
        for (std::size_t i = 0; i < polled.size(); ++i)
            if (polled[i].revents != 0) whose[i]->read_some();
    }
}

std::optional<int> Consultation::reap() {
    const pid_t child = std::exchange(child_, 0);
    const Instant until = now() + kKillPatience;
    for (int status = 0;; usleep(1000)) {
        const pid_t ended = waitpid(child, &status, WNOHANG);
        if (ended == child) return status;
        if ((ended < 0 && errno != EINTR) || now() >= until) return std::nullopt;
    }
}

Result<std::string> Consultation::answer() {
    const bool said_all = !in_ && text_.size() <= kMostOfAnswer;
    in_.reset();
    // It ends after its last word. What is stuck in the kernel is not waited for.
    if (!said_all) kill(child_, SIGKILL);
    const pid_t child = child_;
    auto status = reap();
    if (!status && said_all) kill(child, SIGKILL);
    if (!said_all || !status) return fail(fmt::format("{} did not answer in time", program_));
    if (!WIFEXITED(*status)) return fail(fmt::format("{} was killed by signal {}", program_, WTERMSIG(*status)));
    if (WEXITSTATUS(*status) == 127) return fail(fmt::format("{} cannot be executed", program_));
    return std::move(text_);
}

Result<std::string> consult(const std::string& program, const std::vector<std::string>& words,
                            const std::optional<Identity>& identity, const std::vector<Fd>& files, int first,
                            Duration patience) {
    auto asked = Consultation::begin(program, words, identity, files, first);
    if (!asked) return std::unexpected(asked.error());
    Consultation::hear_all({&*asked}, now() + patience);
    return asked->answer();
}

}  // namespace superd::sys
