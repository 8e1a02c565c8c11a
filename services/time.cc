// SPDX-License-Identifier: MIT
// RFC 868: the seconds since 1900-01-01 00:00 UTC as 32 bits, highest byte first. The count wraps to 0 at 2036-02-07
// 06:28:16 UTC, and a client must know which cycle it is in. A datagram's reply has these 4 bytes, whatever the
// datagram's length.

#include <cstdint>
#include <ctime>

#include "lib/stream.h"
#include "lib/worker.h"

namespace {

constexpr std::uint32_t seconds_1900_to_1970 = 2'208'988'800;

std::string time_1900() {
    const std::uint32_t now = static_cast<std::uint32_t>(std::time(nullptr)) + seconds_1900_to_1970;
    std::string bytes;
    for (const int shift : {24, 16, 8, 0}) bytes.push_back(static_cast<char>(now >> shift));
    return bytes;
}

}  // namespace

int main(int argc, char** argv) {
    return worker::run(argc, argv,
                       {.summary = "RFC 868 time: the seconds since 1900, for machines.",
                        .connection = [](worker::Connection client) { worker::write_all(client.out, time_1900()); },
                        .datagram = [](const worker::Datagram&) { return time_1900(); }});
}
