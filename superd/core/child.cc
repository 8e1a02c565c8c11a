// SPDX-License-Identifier: MIT
#include "core/child.h"

#include <signal.h>

#include <cerrno>

namespace superd::core {

model::Records Child::read_reports(bool& open) {
    model::Records records;
    char message[model::Records::kMessage];
    ssize_t n = 0;
    // Bounded, since a worker that never stops must not hold up others.
    for (int i = 0; i < 16 && (n = sys::receive_without_rights(pair.get(), message, sizeof message)) > 0; ++i)
        records.read({message, static_cast<std::size_t>(n)});
    open = n > 0 || (n < 0 && errno == EAGAIN);
    if (!records.none()) reports.add(records.busy, records.idle, records.busy_first);
    return records;
}

const char* name_of(ChildRecord::Kind kind) {
    static constexpr const char* kNames[] = {"handler", "handler", "worker", "parked process"};
    return kNames[static_cast<int>(kind)];
}

int signal_session(pid_t pid, int number) {
    const int sent = kill(-pid, number);
    return sent != 0 && errno == ESRCH ? kill(pid, number) : sent;
}

}  // namespace superd::core
