// SPDX-License-Identifier: MIT
#pragma once
// The service manager that started superd, where there is one: sd_notify(3), sd_listen_fds(3).

#include <string>
#include <vector>

#include "base/log.h"
#include "sys/fd.h"

namespace superd::sys {

/// A socket the manager passed, with its name in LISTEN_FDNAMES.
struct PassedSocket {
    std::string name;
    Fd fd;
};

/// Takes over all passed sockets, lifted and CLOEXEC, and clears the variables. Anything else that was passed
/// is closed.
std::vector<PassedSocket> passed_sockets();

/// Sends state lines such as "READY=1"; without a manager it does nothing.
void notify(const std::string& state);
/// RELOADING=1 with the MONOTONIC_USEC that Type=notify-reload asks for.
void notify_reloading();

/// Is this descriptor the journal's stream? JOURNAL_STREAM in systemd.exec(5)
bool is_journal(int fd);
/// Native records. sd_journal_sendv(3)
std::unique_ptr<LogSink> journal_sink();

}  // namespace superd::sys
