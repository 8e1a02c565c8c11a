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

#include <algorithm>
#include <functional>
#include <memory>
#include <system_error>
#include <thread>
#include <vector>

#include "lib/inbox.h"
#include "lib/request.h"

namespace worker {
namespace {

constexpr int wake_signal = SIGUSR1;  // makes a thread look at its socket again

// What the SIGTERM handler of the process uses, since it has no other way to know; set before it is installed.
int handler_socket = -1;
int handler_decoy = -1;
Reports* handler_reports = nullptr;
Silence* handler_silence = nullptr;

// From here on, a thread that is about to take a client fails at once instead of waiting for one that may never come; a
// thread that has just taken one is left alone. The socket is closed even if this process stays busy for long.
void leave_socket(int) {
    const int kept = errno;
    dup3(handler_decoy, handler_socket, O_CLOEXEC);
    errno = kept;
}

// superd has closed its side of the status descriptor, which means the same as SIGTERM.
void leave_if_closed(int signal) {
    const int kept = errno;
    if (handler_reports->is_closed()) leave_socket(signal);
    errno = kept;
}

void on_alarm(int signal) {
    const int kept = errno;
    handler_reports->flush();
    if (handler_silence->is_over()) leave_socket(signal);
    errno = kept;
}

void on_signal(int signal, void (*handler)(int)) {
    struct sigaction action {};
    action.sa_handler = handler;
    action.sa_flags = 0;  // without SA_RESTART: a waiting thread must look again
    sigaction(signal, &action, nullptr);
}

// The same socket as stdin, passed a second time for programs that use the LISTEN_FDS protocol.
void close_listen_fd() {
    const char* const pid = getenv("LISTEN_PID");
    if (pid != nullptr && atoi(pid) == getpid()) close(3);
}

}  // namespace

Pool::Pool(const Service& service, const Options& options, int type)
    : service_(service),
      options_(options),
      type_(type),
      reports_(options.status_fd),
      silence_(
          std::chrono::seconds(type == SOCK_DGRAM && !options.status_fd && !options.max_requests ? options.idle : 0)),
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
        local_ = receive_at(STDIN_FILENO);
    } else {
        // Leaving the socket must close it: once superd has closed it too, clients must be refused instead of waiting
        // in a queue that nobody empties.
        dup2(decoy_, STDIN_FILENO);
        dup2(decoy_, STDOUT_FILENO);
    }
    handler_socket = socket_;
    handler_decoy = decoy_;
    handler_reports = &reports_;
    handler_silence = &silence_;
    reports_.idle(static_cast<std::uint32_t>(options_.threads));
    if (options_.threads == 1)
        run_alone();
    else
        run_threads();
    return failed_ ? EXIT_FAILURE : EXIT_SUCCESS;
}

void Pool::run_alone() {
    on_signal(SIGTERM, leave_socket);
    on_signal(SIGIO, leave_if_closed);
    on_signal(SIGALRM, on_alarm);
    reports_.watch();
    silence_.watch();
    leave_if_closed(SIGIO);
    work();
    on_signal(SIGALRM, SIG_IGN);
    reports_.flush();
}

void Pool::run_threads() {
    on_signal(wake_signal, [](int) {});
    sigset_t told;  // what this thread waits for
    sigemptyset(&told);
    for (const int number : {SIGTERM, SIGIO, SIGALRM}) sigaddset(&told, number);
    pthread_sigmask(SIG_BLOCK, &told, nullptr);
    sigset_t all_but_wake;
    sigfillset(&all_but_wake);
    sigdelset(&all_but_wake, wake_signal);
    sigset_t before;                                       // with `told` blocked
    pthread_sigmask(SIG_SETMASK, &all_but_wake, &before);  // threads inherit it

    std::vector<std::thread> threads;
    std::atomic<int> at_work = 1;  // this thread counts itself out once all have started
    const auto leave = [&] {
        if (--at_work == 0) kill(getpid(), SIGTERM);  // for the sigwait() below: no other thread takes it
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
    reports_.watch();
    silence_.watch();
    for (int signal = 0; signal != SIGTERM && !reports_.is_closed();) {
        sigwait(&told, &signal);
        if (signal != SIGALRM) continue;
        reports_.flush();
        if (silence_.is_over()) break;
    }
    leave_socket(SIGTERM);
    for (std::thread& thread : threads) pthread_kill(thread.native_handle(), wake_signal);
    for (std::thread& thread : threads) thread.join();
    reports_.flush();
}

void Pool::work() {
    const std::unique_ptr<Inbox> inbox(type_ == SOCK_DGRAM ? new Inbox(socket_, local_) : nullptr);
    Pace pace;
    while (inbox ? serve_datagrams(*inbox, pace) : serve_connection()) {
    }
}

// Tickets come before clients, so that all threads together take exactly as many as allowed. 0: there are none left.
int Pool::take_tickets(int wanted) {
    if (!options_.max_requests) return wanted;
    int taken = 0;
    for (int left = tickets_; left > 0 && taken == 0;) {
        const int share = std::clamp(left / options_.threads, 1, wanted);  // leaves some for the other threads
        if (tickets_.compare_exchange_weak(left, left - share)) taken = share;
    }
    return taken;
}

/// The result of `take`, or -1 when this thread must leave.
template <class Take>
int Pool::next(const Take& take) {
    for (;;) {
        const int got = take();
        if (got >= 0) return got;
        switch (errno) {
            case EINTR:
                break;
            case ENOTSOCK:
                return -1;
            case EAGAIN: {  // everyone with this socket shares the flag, and superd may have set it
                pollfd wanted{.fd = socket_, .events = POLLIN, .revents = 0};
                poll(&wanted, 1, -1);
                break;
            }
            case EBADF:
            case EINVAL:
            case EOPNOTSUPP:
                fprintf(stderr, "%s: take a client: %s\n", program_invocation_name, strerror(errno));
                failed_ = true;
                return -1;
            default:  // out of descriptors or memory, or trouble in one client's network: it passes
                poll(nullptr, 0, 50);
        }
    }
}

bool Pool::serve_connection() {
    if (take_tickets(1) == 0) return false;
    const int fd = next([this] { return accept4(socket_, nullptr, nullptr, SOCK_CLOEXEC); });
    if (fd < 0) return false;
    reports_.busy();
    serve(service_, {fd, fd}, options_.timeout);
    close(fd);
    reports_.idle();
    return true;
}

bool Pool::serve_datagrams(Inbox& inbox, Pace& pace) {
    const int most = take_tickets(pace.most());
    if (most == 0) return false;
    // The receiving call itself waits: the kernel then wakes one thread for each datagram, where poll() would wake all.
    const int got = next([&] { return inbox.receive(socket_, most); });
    if (got < 0) return false;
    if (options_.max_requests) tickets_ += most - got;
    silence_.end();
    reports_.busy();
    pace.taken(got);
    for (int i = 0; i < got; ++i) {
        const auto request = [&] {
            const std::optional<Datagram> datagram = inbox.datagram(i);
            if (!datagram) return;
            std::optional<std::string> reply = answer(service_, *datagram, options_.min_port);
            if (reply) inbox.reply(i, std::move(*reply));
        };
        attempt(std::cref(request));  // a reference is small enough for std::function not to allocate
        if (pace.answered()) inbox.send(STDIN_FILENO);
    }
    inbox.send(STDIN_FILENO);
    reports_.idle_after(static_cast<std::uint32_t>(got));
    return true;
}

}  // namespace worker
