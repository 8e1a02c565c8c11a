// SPDX-License-Identifier: MIT
#pragma once
// Where the log goes: lines on a descriptor, or records in the journal. Neither ever waits for its reader.

#include <memory>
#include <string>

#include "base/log.h"

namespace superd::sys {

/// Lines on a file, pipe, socket or terminal, whose descriptor it does not own.
std::unique_ptr<QueuedSink> line_sink(int fd, LogStyle style);

/// Is this descriptor the journal's stream? JOURNAL_STREAM in systemd.exec(5)
bool is_journal(int fd);
/// Records in the journal's native protocol, sent to the socket at that path. While nobody listens or reads there, they
/// wait as lines do; the next listener gets them.
std::unique_ptr<QueuedSink> journal_sink(std::string path = "/run/systemd/journal/socket");

}  // namespace superd::sys
