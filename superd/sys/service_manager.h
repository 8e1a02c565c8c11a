// SPDX-License-Identifier: MIT
#pragma once
// The service manager that started superd, where there is one: sd_notify(3), sd_listen_fds(3).

#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "base/time.h"
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

/// May the manager have a descriptor store for this process? systemd tells since 254 (FDSTORE); before that whoever is
/// to be notified may have one, and closes what it is sent where it has none.
bool has_descriptor_store();
/// Puts a copy under this name into the store, to be passed at the next start. What is stored already stays under the
/// name that it has. Names: sd_notify(3).
Result<void> store_descriptor(int fd, const std::string& name);
/// Takes all of this name out of the store, which closes them once the manager has got to it.
void remove_descriptor(const std::string& name);
/// Waits until the manager has dealt with everything sent so far, but not longer than this. sd_notify_barrier(3)
void await_manager(Duration most);

/// Is this descriptor the journal's stream? JOURNAL_STREAM in systemd.exec(5)
bool is_journal(int fd);
/// Native records. sd_journal_sendv(3)
std::unique_ptr<LogSink> journal_sink();

}  // namespace superd::sys
