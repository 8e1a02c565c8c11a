// SPDX-License-Identifier: MIT
// RFC 867: the local date and time for people, in one line of 26 characters: "Thu Feb  7 06:28:15 2036\r\n".
// A reply to a datagram has at most 32 bytes, whatever the request's length: with headers, an empty request is 28 bytes
// long and the reply 54, so a forged sender gains less than twice what it spends.

#include <array>
#include <ctime>

#include "lib/stream.h"
#include "lib/worker.h"

namespace {

std::string daytime() {
    const std::time_t now = std::time(nullptr);
    std::tm local{};
    localtime_r(&now, &local);
    std::array<char, 33> line;  // 32 and a NUL
    return {line.data(), std::strftime(line.data(), line.size(), "%a %b %e %H:%M:%S %Y\r\n", &local)};
}

}  // namespace

int main(int argc, char** argv) {
    return worker::run(argc, argv,
                       {.summary = "RFC 867 daytime: the date and time, for people.",
                        .connection = [](worker::Connection client) { worker::write_all(client.out, daytime()); },
                        .datagram = [](const worker::Datagram&) { return daytime(); }});
}
