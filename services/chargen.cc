// SPDX-License-Identifier: MIT
// RFC 864: lines of 72 characters, each beginning one further into the 95 printable ones. A stream has no end until the
// client closes it; what the client sends is thrown away. A datagram's reply is twice as long as the datagram and no
// longer than the RFC's 512 characters: by the RFC, a forged empty datagram would earn 512 bytes.

#include <algorithm>
#include <array>

#include "lib/stream.h"
#include "lib/worker.h"

namespace {

constexpr std::size_t printable = 0x7f - ' ';
constexpr std::size_t line_length = 72;
constexpr std::size_t longest_reply = 512;
constexpr std::size_t reply_factor = 2;

// The pattern repeats after this many lines.
constexpr auto pattern = [] {
    std::array<char, printable*(line_length + 2)> lines{};
    std::size_t at = 0;
    for (std::size_t line = 0; line < printable; ++line) {
        for (std::size_t column = 0; column < line_length; ++column)
            lines[at++] = static_cast<char>(' ' + (line + column) % printable);
        lines[at++] = '\r';
        lines[at++] = '\n';
    }
    return lines;
}();

void chargen(worker::Connection client) {
    while (worker::write_all(client.out, {pattern.data(), pattern.size()})) worker::discard_received(client.in);
}

std::string some_characters(const worker::Datagram& datagram) {
    return {pattern.data(), std::min(datagram.data.size() * reply_factor, longest_reply)};
}

}  // namespace

int main(int argc, char** argv) {
    return worker::run(
        argc, argv,
        {.summary = "RFC 864 chargen: endless characters.", .connection = chargen, .datagram = some_characters});
}
