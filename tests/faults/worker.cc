// SPDX-License-Identifier: MIT
// A pool's worker for every fault: sends its pid, waits for a line, takes WORKER_PAUSE milliseconds for it, answers.

#include <time.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "lib/stream.h"
#include "lib/worker.h"

int main(int argc, char** argv) {
    const char* const pause = std::getenv("WORKER_PAUSE");
    const long milliseconds = pause != nullptr ? std::atol(pause) : 0;
    const bool silent = std::getenv("WORKER_SILENT") != nullptr;  // behaves like one that knows nothing of reports
    if (silent) unsetenv("SUPERD_STATUS_FD");
    worker::Service service;
    service.summary = "Says its pid and answers.";
    service.connection = [milliseconds](worker::Connection client) {
        worker::write_all(client.out, std::to_string(getpid()) + "\n");
        char byte = 0;
        while (worker::read_some(client.in, {&byte, 1}) == 1 && byte != '\n') {
        }
        timespec left{milliseconds / 1000, milliseconds % 1000 * 1000000};
        while (nanosleep(&left, &left) != 0) {
        }
        worker::write_all(client.out, "answer\n");
    };
    return worker::run(argc, argv, service);
}
