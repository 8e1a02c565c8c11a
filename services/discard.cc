// SPDX-License-Identifier: MIT
// RFC 863: throws away what it receives and never answers.

#include <array>

#include "lib/stream.h"
#include "lib/worker.h"

namespace {

void discard(worker::Connection client) {
    std::array<char, 65536> buffer;
    while (worker::read_some(client.in, buffer) > 0) {
    }
}

}  // namespace

int main(int argc, char** argv) {
    return worker::run(argc, argv,
                       {.summary = "RFC 863 discard: throws away what it receives.",
                        .connection = discard,
                        .datagram = [](const worker::Datagram&) { return std::nullopt; }});
}
