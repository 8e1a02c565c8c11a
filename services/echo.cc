// SPDX-License-Identifier: MIT
// RFC 862: sends back what it receives, on a stream until the client has finished sending. A datagram's reply is
// exactly as long as the datagram.

#include <array>

#include "lib/stream.h"
#include "lib/worker.h"

namespace {

void echo(worker::Connection client) {
    std::array<char, 65536> buffer;
    std::size_t got = 0;
    while ((got = worker::read_some(client.in, buffer)) > 0 && worker::write_all(client.out, {buffer.data(), got})) {
    }
}

}  // namespace

int main(int argc, char** argv) {
    return worker::run(argc, argv,
                       {.summary = "RFC 862 echo: sends back what it receives.",
                        .connection = echo,
                        .datagram = [](const worker::Datagram& datagram) { return std::string(datagram.data); }});
}
