// SPDX-License-Identifier: MIT
// An echo that fails or takes long on request, to show that a failed request ends alone and a long one holds up no
// other. It also answers broadcasts.

#include <unistd.h>

#include <array>
#include <stdexcept>

#include "lib/stream.h"
#include "lib/worker.h"

namespace {

std::string echo_or_throw(std::string_view request) {
    if (request == "throw") throw std::runtime_error("as told");
    if (request == "throw 1") throw 1;
    if (request == "slow") usleep(100'000);
    return std::string(request);
}

}  // namespace

int main(int argc, char** argv) {
    return worker::run(argc, argv,
                       {.summary = "Fails on request.",
                        .connection =
                            [](worker::Connection client) {
                                std::array<char, 64> buffer;
                                while (const std::size_t got = worker::read_some(client.in, buffer))
                                    worker::write_all(client.out, echo_or_throw({buffer.data(), got}));
                            },
                        .datagram = [](const worker::Datagram& datagram) { return echo_or_throw(datagram.data); },
                        .answer_anyone = true});
}
