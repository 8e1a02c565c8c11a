// SPDX-License-Identifier: MIT
#pragma once
// A process that takes its clients from a shared socket: the loop, its threads and its end.

#include <sys/types.h>

#include <atomic>

#include "lib/options.h"
#include "lib/pace.h"
#include "lib/reports.h"
#include "lib/silence.h"
#include "lib/worker.h"

namespace worker {

class Pool {
  public:
    /// `service` and `options` outlive it. The socket is on stdin and of `type` (SOCK_STREAM …).
    Pool(const Service& service, const Options& options, int type);

    /// Runs until SIGTERM, max_requests or idle; returns the exit status. Once in the life of a process.
    int run();

  private:
    void run_alone();
    void run_threads();
    void work();
    int take_tickets(int wanted);
    template <class Take>
    int next(const Take& take);
    bool serve_connection();
    bool serve_datagrams(class Inbox& inbox, Pace& pace);

    const Service& service_;
    const Options& options_;
    const int type_;
    Reports reports_;
    Silence silence_;
    int socket_ = -1;  ///< our own descriptor of the shared socket; decoy_ replaces it when it is time to go
    int decoy_ = -1;   ///< readable at once and not a socket: after the end, a thread that waits or takes fails at once
    Endpoint local_;
    std::atomic<int> tickets_;  ///< requests left to take, if max_requests limits them
    std::atomic<bool> failed_ = false;
};

}  // namespace worker
