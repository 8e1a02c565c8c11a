// SPDX-License-Identifier: MIT
#include "sys/interruption.h"

#include <sys/time.h>

#include <csignal>

namespace superd::sys {
namespace {

void set_handler() {
    struct sigaction nothing {};
    nothing.sa_handler = [](int) {};  // without SA_RESTART
    sigaction(SIGALRM, &nothing, nullptr);
    sigset_t alarm;
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    sigprocmask(SIG_UNBLOCK, &alarm, nullptr);
}

}  // namespace

/// Once for all: to set and undo it each time would cost more than what is guarded.
void Interruption::prepare() {
    [[maybe_unused]] static const bool prepared = (set_handler(), true);
}

Interruption::Interruption(Duration period) {
    prepare();
    // Repeated, because a signal that comes before the call sleeps is lost.
    const itimerval each{{0, period.count()}, {0, period.count()}};
    setitimer(ITIMER_REAL, &each, &timer_);
}

Interruption::~Interruption() {
    setitimer(ITIMER_REAL, &timer_, nullptr);
}

}  // namespace superd::sys
