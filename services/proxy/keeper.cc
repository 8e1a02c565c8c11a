// SPDX-License-Identifier: MIT
#include "proxy/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>
#include <set>
#include <vector>

namespace proxy {
namespace {

constexpr int kPassRights = 83;  // SO_PASSRIGHTS, Linux 6.16
constexpr Duration kLockPoll = std::chrono::milliseconds(50);
constexpr Duration kKillAgain = std::chrono::milliseconds(100);

class Keeper {
  public:
    Keeper(const Options& options, Fd channel) : options_(options), channel_(std::move(channel)) {}
    [[noreturn]] void run();

  private:
    enum class State { off, locking, running, ending };

    void prepare();
    int patience() const;
    void obey();
    void lock();
    void start();
    [[noreturn]] void become_backend(int report, int output, pid_t parent);
    void listen_for_notice();
    void hear_notice();
    bool hear_output();
    void end();
    void reap();
    bool kill_all(int signal);
    void tell_to_end();
    template <class Act>
    bool each_child(Act act);
    void tell(News::What what, int value = 0);
    void settle(News::What what, int value);

    const Options& options_;
    Fd channel_, signals_, notice_, output_;
    State state_ = State::off;
    pid_t backend_ = 0;  ///< 0: it has been reaped
    int status_ = 0;
    bool ready_ = false;
    bool orphaned_ = false;  ///< the proxy has gone
    std::optional<Instant> kill_at_;
    pid_t group_ = 0;       ///< the backend's
    std::set<pid_t> told_;  ///< what has left it, and has had SIGTERM
    std::string line_;
};

struct flock lock_of_service(short type) {
    // Each service has its own byte: under stderr = "inherit" several have the same file.
    const char* const name = getenv("SUPERD_SERVICE");
    std::uint64_t hash = 1469598103934665603u;  // FNV-1a
    for (const char* at = name != nullptr ? name : ""; *at != '\0'; ++at)
        hash = (hash ^ static_cast<unsigned char>(*at)) * 1099511628211u;
    struct flock place {};
    place.l_type = type;
    place.l_whence = SEEK_SET;
    place.l_start = static_cast<off_t>(hash >> 2);
    place.l_len = 1;
    return place;
}

void Keeper::prepare() {
    setsid();  // superd signals the proxy's group
    prctl(PR_SET_NAME, "superd-backend");
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    sigset_t wanted;
    sigemptyset(&wanted);
    for (const int signal : {SIGCHLD, SIGTERM, SIGINT, SIGHUP}) sigaddset(&wanted, signal);
    sigprocmask(SIG_SETMASK, &wanted, nullptr);
    signals_.reset(signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK));
    struct sigaction action {};
    action.sa_handler = [](int) {};  // without SA_RESTART: it interrupts
    sigaction(SIGALRM, &action, nullptr);
}

void Keeper::run() {
    prepare();
    while (!orphaned_ || state_ != State::off) {
        pollfd wanted[] = {{orphaned_ ? -1 : channel_.get(), POLLIN, 0},
                           {signals_.get(), POLLIN, 0},
                           {notice_.get(), POLLIN, 0},
                           {output_.get(), POLLIN, 0}};
        if (poll(wanted, 4, patience()) < 0 && errno != EINTR) _exit(EXIT_FAILURE);
        if (wanted[0].revents != 0) obey();
        if (wanted[1].revents != 0) {
            signalfd_siginfo told;
            while (read(signals_.get(), &told, sizeof told) > 0 || errno == EINTR) {
            }
        }
        if (wanted[2].revents != 0) hear_notice();
        if (wanted[3].revents != 0) hear_output();
        reap();
        if (state_ == State::locking) lock();
        if (kill_at_ && Clock::now() >= *kill_at_) {
            // Again soon: some may have been forked meanwhile, or were children of those that are killed.
            kill_at_ = Clock::now() + kKillAgain;
            if (!kill_all(SIGKILL) && backend_ == 0) settle(News::What::ended, status_);
        }
    }
    _exit(EXIT_SUCCESS);
}

int Keeper::patience() const {
    if (state_ == State::locking)
        return static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(kLockPoll).count());
    if (!kill_at_) return -1;
    return static_cast<int>(
        std::max<std::int64_t>(0, std::chrono::ceil<std::chrono::milliseconds>(*kill_at_ - Clock::now()).count()));
}

void Keeper::tell(News::What what, int value) {
    const News news{what, value};
    (void)!send(channel_.get(), &news, sizeof news, MSG_NOSIGNAL);
}

/// Back to the beginning, and the next generation's turn.
void Keeper::settle(News::What what, int value) {
    state_ = State::off;
    kill_at_.reset();
    notice_.reset();
    while (output_ && hear_output()) {
    }
    output_.reset();
    struct flock place = lock_of_service(F_UNLCK);
    fcntl(STDERR_FILENO, F_SETLK, &place);
    tell(what, value);
}

void Keeper::obey() {
    char order = 0;
    const ssize_t got = recv(channel_.get(), &order, 1, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
        orphaned_ = true;
        order = static_cast<char>(Order::stop);
    }
    if (order == static_cast<char>(Order::start) && state_ == State::off) {
        state_ = State::locking;
        ready_ = false;
        struct flock place = lock_of_service(F_WRLCK);
        if (fcntl(STDERR_FILENO, F_GETLK, &place) == 0 && place.l_type != F_UNLCK) tell(News::What::waits);
    } else if (order == static_cast<char>(Order::stop)) {
        if (state_ == State::locking) settle(News::What::ended, 0);
        if (state_ == State::running) end();
    }
}

/// superd gives all handlers of a service the same stderr, whichever generation they are of. While the lock is held, no
/// descriptor of that file may be closed here: the kernel would free the lock.
void Keeper::lock() {
    struct flock place = lock_of_service(F_WRLCK);
    if (fcntl(STDERR_FILENO, F_SETLK, &place) == 0) return start();
    if (errno == EAGAIN || errno == EACCES || errno == EINTR) return;
    settle(News::What::failed, errno);
}

void Keeper::start() {
    int report[2], output[2] = {-1, -1};
    if (pipe2(report, O_CLOEXEC) != 0) return settle(News::What::failed, errno);
    Fd from(report[0]), to(report[1]);
    if (options_.readiness == Readiness::line && pipe2(output, O_CLOEXEC) != 0)
        return settle(News::What::failed, errno);
    output_.reset(output[0]);
    fcntl(output[0], F_SETFL, O_NONBLOCK);
    Fd written(output[1]);
    listen_for_notice();
    const pid_t parent = getpid();
    backend_ = fork();
    if (backend_ == 0) become_backend(report[1], output[1], parent);
    const int failed = errno;
    to.reset();
    if (backend_ < 0) {
        backend_ = 0;
        return settle(News::What::failed, failed);
    }
    state_ = State::running;
    group_ = backend_;
    int code = 0;
    if (read(from.get(), &code, sizeof code) != sizeof code) return tell(News::What::started, backend_);
    waitpid(backend_, nullptr, 0);
    backend_ = 0;
    settle(News::What::failed, code);
}

void Keeper::become_backend(int report, int output, pid_t parent) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(EXIT_FAILURE);
    setpgid(0, 0);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    signal(SIGPIPE, SIG_DFL);
    for (const int fd : {STDOUT_FILENO, STDERR_FILENO})
        if (output >= 0) dup2(output, fd);
    for (const char* name :
         {"SUPERD_STATUS_FD", "SUPERD_MAX_REQUESTS", "SUPERD_INSTANCES", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"})
        unsetenv(name);
    std::vector<char*> words;
    for (const std::string& word : options_.start) words.push_back(const_cast<char*>(word.c_str()));
    words.push_back(nullptr);
    execvp(words[0], words.data());
    const int code = errno;
    (void)!write(report, &code, sizeof code);
    _exit(127);
}

/// NOTIFY_SOCKET. Without it, the backend can still become ready in other ways.
void Keeper::listen_for_notice() {
    notice_.reset(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    socklen_t size = sizeof name.sun_family;  // the kernel chooses one
    const int on = 1, off = 0;
    setsockopt(notice_.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
    setsockopt(notice_.get(), SOL_SOCKET, kPassRights, &off, sizeof off);
    if (bind(notice_.get(), reinterpret_cast<sockaddr*>(&name), size) != 0) return notice_.reset();
    size = sizeof name;
    getsockname(notice_.get(), reinterpret_cast<sockaddr*>(&name), &size);
    const std::size_t length = size - offsetof(sockaddr_un, sun_path) - 1;
    setenv("NOTIFY_SOCKET", ("@" + std::string(name.sun_path + 1, length)).c_str(), 1);
}

/// Anybody may send here, so the kernel must say that it is the same user, or root.
void Keeper::hear_notice() {
    char text[4096];
    iovec part{text, sizeof text};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(ucred))];
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    // To drop a socket that somebody has passed along may take as long as it lingers, unless a signal comes.
    const itimerval often{.it_interval = {0, 100'000}, .it_value = {0, 100'000}}, never{};
    setitimer(ITIMER_REAL, &often, nullptr);
    const ssize_t got = recvmsg(notice_.get(), &message, MSG_DONTWAIT);
    setitimer(ITIMER_REAL, &never, nullptr);
    if (got <= 0) return;
    ucred sender{};
    for (cmsghdr* one = CMSG_FIRSTHDR(&message); one != nullptr; one = CMSG_NXTHDR(&message, one))
        if (one->cmsg_level == SOL_SOCKET && one->cmsg_type == SCM_CREDENTIALS)
            std::memcpy(&sender, CMSG_DATA(one), sizeof sender);
    if (sender.pid == 0 || (sender.uid != geteuid() && sender.uid != 0)) return;
    const std::string said = "\n" + std::string(text, static_cast<std::size_t>(got)) + "\n";
    if (!ready_ && options_.readiness != Readiness::line && said.find("\nREADY=1\n") != std::string::npos) {
        ready_ = true;
        tell(News::What::ready);
    }
}

/// Passes it on to superd's log and looks for the line. False: there is nothing more for now.
bool Keeper::hear_output() {
    char text[4096];
    const ssize_t got = read(output_.get(), text, sizeof text);
    if (got == 0) output_.reset();
    if (got <= 0) return false;
    for (ssize_t put = 0; put < got;) {
        const ssize_t written = write(STDERR_FILENO, text + put, static_cast<std::size_t>(got - put));
        if (written < 0 && errno != EINTR) break;
        if (written > 0) put += written;
    }
    for (const char c : std::string_view(text, static_cast<std::size_t>(got))) {
        if (c == '\n') {
            line_.clear();
            continue;
        }
        if (!ready_ && line_.size() < 4096) line_ += c;
        if (ready_ || !line_.ends_with(options_.ready_line)) continue;
        ready_ = true;
        tell(News::What::ready);
    }
    return true;
}

void Keeper::end() {
    state_ = State::ending;
    told_.clear();
    if (backend_ > 0) kill(-backend_, SIGTERM);
    tell_to_end();
    kill_all(SIGCONT);
    kill_at_ = Clock::now() + kStopTime;
}

/// The backend's process group, and what has left it: all of that is this process's child by now, or will be.
bool Keeper::kill_all(int signal) {
    if (backend_ > 0) kill(-backend_, signal);
    return each_child([signal](pid_t pid) { kill(pid, signal); });
}

/// Each of them once: what is a child only since its parent left has not heard of it yet, unless as one of the group.
void Keeper::tell_to_end() {
    each_child([this](pid_t pid) {
        if (told_.insert(pid).second && getpgid(pid) != group_) kill(pid, SIGTERM);
    });
}

/// But for the backend itself. False: a sandbox without /proc does not tell.
template <class Act>
bool Keeper::each_child(Act act) {
    Fd children(open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC));
    char text[65536];
    const ssize_t got = children ? read(children.get(), text, sizeof text) : 0;
    for (const char* at = text; got > 0 && at < text + got;) {
        pid_t pid = 0;
        const auto [end, error] = std::from_chars(at, text + got, pid);
        if (error == std::errc() && pid > 0 && pid != backend_) act(pid);
        at = end + 1;
    }
    return static_cast<bool>(children);
}

void Keeper::reap() {
    for (;;) {
        siginfo_t gone{};
        if (waitid(P_ALL, 0, &gone, WEXITED | WNOHANG | WNOWAIT) != 0) {
            if (errno == EINTR) continue;
            break;
        }
        if (gone.si_pid == 0) return;
        // Before it is reaped, its number cannot be another group's.
        if (gone.si_pid == backend_) kill(-backend_, SIGTERM);
        int status = 0;
        waitpid(gone.si_pid, &status, 0);
        told_.erase(gone.si_pid);
        if (state_ == State::ending) tell_to_end();  // its children are this process's now
        if (gone.si_pid != backend_) continue;
        status_ = status;
        backend_ = 0;
        if (state_ == State::running) end();
    }
    // No child is left, and descendants without a parent would be children.
    if (state_ == State::running || state_ == State::ending) settle(News::What::ended, status_);
}

}  // namespace

std::expected<Fd, int> start_keeper(const Options& options) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return std::unexpected(errno);
    Fd ours(ends[0]), theirs(ends[1]);
    const pid_t pid = fork();
    if (pid < 0) return std::unexpected(errno);
    if (pid == 0) {
        ours.reset();
        dup3(STDERR_FILENO, STDOUT_FILENO, 0);
        // The socket on which clients wait, and superd's for reports.
        const int kept = theirs.get() == 3 ? 3 : dup3(theirs.get(), 3, O_CLOEXEC);
        if (kept != 3 || close_range(4, ~0u, 0) != 0) _exit(EXIT_FAILURE);
        Keeper(options, Fd(3)).run();
    }
    fcntl(ours.get(), F_SETFL, O_NONBLOCK);
    return ours;
}

}  // namespace proxy
