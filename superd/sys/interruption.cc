// SPDX-License-Identifier: MIT
#include "sys/interruption.h"

#include <sys/time.h>

namespace superd::sys {

Interruption::Interruption(Duration period) {
    struct sigaction nothing {};
    nothing.sa_handler = [](int) {};  // without SA_RESTART
    sigaction(SIGALRM, &nothing, &action_);
    sigset_t alarm;
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    sigprocmask(SIG_UNBLOCK, &alarm, &mask_);
    // Repeated, because a signal that comes before the call sleeps is lost.
    const itimerval each{{0, period.count()}, {0, period.count()}};
    setitimer(ITIMER_REAL, &each, &timer_);
}

Interruption::~Interruption() {
    setitimer(ITIMER_REAL, &timer_, nullptr);
    sigprocmask(SIG_SETMASK, &mask_, nullptr);
    sigaction(SIGALRM, &action_, nullptr);
}

}  // namespace superd::sys
