// SPDX-License-Identifier: MIT
#pragma once
// What a worker with an event loop hears from superd by signals, and tells it.

#include <cstddef>
#include <cstdint>

#include "lib/fd.h"
#include "lib/reports.h"

namespace worker {

/// Sends held back reports on SIGALRM, and returns a signalfd of TERM and INT. `reports` must stay.
Fd take_signals(Reports& reports);

/// What is reported as room while so many are served. superd counts up to 1024: past that, some room is left until the
/// last place is taken, and the room that was there at first is there again only when nobody is left.
std::uint32_t room(int connections, std::size_t count);
/// One more than `count` are served now.
void report_taken(Reports& reports, int connections, std::size_t count);
/// One has gone, and `count` are left.
void report_over(Reports& reports, int connections, std::size_t count);

}  // namespace worker
