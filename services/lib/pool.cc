// SPDX-License-Identifier: MIT
#include "lib/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <system_error>
#include <thread>
#include <vector>

#include "lib/inbox.h"
#include "lib/request.h"

namespace worker {
namespace {

constexpr int wake_signal = SIGUSR1;  // has a thread look at its socket again

// What the SIGTERM handler of the process works on, which has no other way to know; set before it is installed.
int handler_socket = -1;
int handler_decoy = -1;

// From here on whoever is about to take a client fails at once instead of waiting for one that need not come, and
// whoever has just taken one is left in peace. The socket is closed even if this process stays busy for long.
void leave_socket(int) {
    const int kept = errno;
    dup3(handler_decoy, handler_socket, O_CLOEXEC);
    errno = kept;
}

void on_signal(int signal, void (*handler)(int)) {
    struct sigaction action {};
    action.sa_handler = handler;
    action.sa_flags = 0;  // not SA_RESTART: who waits is to look again
    sigaction(signal, &action, nullptr);
}

// The same socket as on stdin, given once more for programs that know the protocol of LISTEN_FDS.
void close_listen_fd() {
    const char* const pid = getenv("LISTEN_PID");
    if (pid != nullptr && atoi(pid) == getpid()) close(3);
}

// -1 if there is none: the variable may have come down from an ancestor without the descriptor. Non-blocking, because a
// supervisor that does not listen must not hold a client.
int adopt_status_fd(std::optional<int> fd) {
    if (!fd || fcntl(*fd, F_SETFD, FD_CLOEXEC) != 0) return -1;
    fcntl(*fd, F_SETFL, fcntl(*fd, F_GETFL) | O_NONBLOCK);
    return *fd;
}

}  // namespace

Pool::Pool(const Service& service, const Options& options, int type)
    : service_(service),
      options_(options),
      type_(type),
      status_fd_(adopt_status_fd(options.status_fd)),
      idle_milliseconds_(type == SOCK_DGRAM && !options.status_fd && !options.max_requests && options.idle > 0
                             ? options.idle * 1000
                             : -1),
      tickets_(options.max_requests.value_or(0)) {}

int Pool::run() {
    close_listen_fd();
    socket_ = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
    decoy_ = eventfd(1, EFD_CLOEXEC);
    if (socket_ < 0 || decoy_ < 0) {
        fprintf(stderr, "%s: take over the socket: %s\n", program_invocation_name, strerror(errno));
        return EXIT_FAILURE;
    }
    if (type_ == SOCK_DGRAM) {
        local_port_ = local_port(STDIN_FILENO);
        ask_for_local_address(STDIN_FILENO);
    } else {
        // Leaving the socket must close it: when superd has closed it as well, clients are to be refused, not to wait
        // in a queue that nobody empties.
        dup2(decoy_, STDIN_FILENO);
        dup2(decoy_, STDOUT_FILENO);
    }
    handler_socket = socket_;
    handler_decoy = decoy_;
    if (options_.threads == 1)
        run_alone();
    else
        run_threads();
    return failed_ ? EXIT_FAILURE : EXIT_SUCCESS;
}

void Pool::run_alone() {
    on_signal(SIGTERM, leave_socket);
    work();
}

void Pool::run_threads() {
    on_signal(wake_signal, [](int) {});
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &term, nullptr);
    sigset_t all_but_wake;
    sigfillset(&all_but_wake);
    sigdelset(&all_but_wake, wake_signal);
    sigset_t before;
    pthread_sigmask(SIG_SETMASK, &all_but_wake, &before);  // threads inherit it

    std::vector<std::thread> threads;
    std::atomic<int> at_work = 1;  // this thread, which counts itself out once all have started
    const auto leave = [&] {
        if (--at_work == 0) kill(getpid(), SIGTERM);  // for the sigwait() below: nobody else takes it
    };
    try {
        while (std::ssize(threads) < options_.threads) {
            ++at_work;
            threads.emplace_back([&] {
                work();
                leave();
            });
        }
    } catch (const std::system_error& failure) {
        --at_work;
        fprintf(stderr, "%s: start thread %zu of %d: %s\n", program_invocation_name, threads.size() + 1,
                options_.threads, failure.what());
        failed_ = threads.empty();
    }
    leave();

    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    int signal = 0;
    sigwait(&term, &signal);
    leave_socket(signal);
    for (std::thread& thread : threads) pthread_kill(thread.native_handle(), wake_signal);
    for (std::thread& thread : threads) thread.join();
}

void Pool::work() {
    const std::unique_ptr<Inbox> inbox(type_ == SOCK_DGRAM ? new Inbox(socket_) : nullptr);
    while (take_ticket() && (inbox ? serve_datagram(*inbox) : serve_connection())) {
    }
}

// Taken before the client, so that threads together take exactly as many as they may.
bool Pool::take_ticket() {
    return !options_.max_requests || tickets_-- > 0;
}

bool Pool::wait_readable(int milliseconds) const {
    pollfd wanted{.fd = socket_, .events = POLLIN, .revents = 0};
    return poll(&wanted, 1, milliseconds) != 0;
}

/// The result of `take`, or -1 when this thread is to leave.
ssize_t Pool::next(const std::function<ssize_t()>& take) {
    for (;;) {
        if (idle_milliseconds_ >= 0 && !wait_readable(idle_milliseconds_)) return -1;
        const ssize_t got = take();
        if (got >= 0) return got;
        switch (errno) {
            case EINTR:
                break;
            case ENOTSOCK:
                return -1;
            case EAGAIN:  // the flag belongs to all who share the socket, and superd may have set it
                wait_readable(-1);
                break;
            case EBADF:
            case EINVAL:
            case EOPNOTSUPP:
                fprintf(stderr, "%s: take a client: %s\n", program_invocation_name, strerror(errno));
                failed_ = true;
                return -1;
            default:  // out of descriptors or memory, or trouble of one client's network: it passes
                poll(nullptr, 0, 50);
        }
    }
}

bool Pool::serve_connection() {
    const auto fd = static_cast<int>(next([this] { return accept4(socket_, nullptr, nullptr, SOCK_CLOEXEC); }));
    if (fd < 0) return false;
    report("busy\n");
    serve(service_, {fd, fd}, options_.timeout);
    close(fd);
    report("idle\n");
    return true;
}

bool Pool::serve_datagram(Inbox& inbox) {
    // In a pool the wait is in recvmsg() itself, where the kernel wakes one for each datagram; poll() wakes all.
    const int flags = idle_milliseconds_ >= 0 ? MSG_DONTWAIT : 0;
    if (next([&] { return inbox.receive(socket_, flags); }) < 0) return false;
    report("busy\n");
    attempt([&] {
        const std::optional<Datagram> datagram = inbox.datagram(local_port_);
        if (!datagram) return;
        const std::optional<std::string> reply = answer(service_, *datagram, options_.min_port);
        if (reply) inbox.reply(STDIN_FILENO, *reply);
    });
    report("idle\n");
    return true;
}

void Pool::report(std::string_view record) const {
    if (status_fd_ < 0) return;
    [[maybe_unused]] const ssize_t sent = write(status_fd_, record.data(), record.size());
}

}  // namespace worker
