// SPDX-License-Identifier: MIT
#pragma once
// Where the log goes: lines on a descriptor, or records in the journal. Neither ever waits for its reader.

#include <memory>
#include <string>

#include "base/log.h"

namespace superd::sys {

/// Lines on a descriptor that it does not own, of a file, pipe, socket or terminal.
std::unique_ptr<QueuedSink> line_sink(int fd, LogStyle style);

/// Is this descriptor the journal's stream? JOURNAL_STREAM in systemd.exec(5)
bool is_journal(int fd);
/// Records of the journal's native protocol, sent to the socket of that path. While nobody is there, or nobody reads,
/// they wait as lines do; whoever comes to listen there gets them.
std::unique_ptr<QueuedSink> journal_sink(std::string path = "/run/systemd/journal/socket");

}  // namespace superd::sys
