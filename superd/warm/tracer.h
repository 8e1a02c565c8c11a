// SPDX-License-Identifier: MIT
#pragma once
// Brings a handler to its first system call that touches its client, and leaves it there with a stub in it.

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <time.h>

#include <cstdint>

#include "proc/warm_message.h"
#include "warm/stub.h"
#include "warm/tracee.h"

namespace superd::warm {

/// Reports to superd over `channel` why nothing was parked.
void tell(int channel, Obstacle obstacle, int code, const char* detail);

inline constexpr int kCallStop = SIGTRAP | 0x80;

struct Thread {
    pid_t id;
    const Rule* rule;  ///< of the call that it has entered
    bool stopped;      ///< while the handler is being parked
    int signal;        ///< still to be delivered
};

class Tracer {
  public:
    Tracer(pid_t leader, int channel) : leader_(leader), channel_(channel), files_(channel) {}
    /// Takes superd's order, seizes the process, and reports this on `ready` with one byte.
    bool seize(int ready);
    /// Follows it until it is parked. Kills it if it cannot be parked; EXITKILL kills it if the tracer dies first.
    void run();

  private:
    using Arguments = std::uint64_t[6];
    pid_t next_stop(pid_t which, int& status);
    void stopped(Thread& thread, int status);
    void entered(Thread& thread, const __ptrace_syscall_info& info);
    void left(Thread& thread, const __ptrace_syscall_info& info);
    void cloned(Thread& thread, int event);
    void executed();
    void note(const Rule& rule, const Arguments& a, bool leader);
    Thread* find(pid_t id);
    void ended(pid_t id, int status);
    static void go_on(pid_t id, int signal = 0) { ptrace(PTRACE_SYSCALL, id, 0, signal); }

    void park(Thread& thread);
    bool stop_others(const Thread& thread);
    bool hold_call(pid_t id);
    bool call(pid_t id, long number, const long (&arguments)[6], long& result);
    bool wait_for_call_stop(pid_t id);
    Obstacle judge();
    bool listen();
    bool place_stub(pid_t id, Registers& start);
    unsigned long map_near(pid_t id, unsigned long size);
    void give_channel();
    void stay();
    void give_up(Obstacle obstacle, int code = 0, const char* detail = "");
    long left_ms() const;

    pid_t leader_;
    int channel_;
    int process_ = -1;  ///< pidfd of the leader: another process may have its pid once superd has reaped it
    proc::warm::Order order_{};
    timespec end_{};
    bool started_ = false, over_ = false, timer_ = false;
    std::uint32_t facts_ = 0;
    int listener_ = -1, tracing_ = -1;
    unsigned count_ = 0;
    Thread threads_[proc::warm::kMostThreads];
    Registers base_{};             ///< for making the parked call
    unsigned long parked_at_ = 0;  ///< address of its instruction
    StubData data_{};
    proc::warm::Report report_{};
    Files files_;
};

}  // namespace superd::warm
