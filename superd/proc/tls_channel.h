// SPDX-License-Identifier: MIT
#pragma once
// superd's side of a superd-tls.

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "proc/environment.h"
#include "proc/parking.h"
#include "proc/tls_message.h"

namespace superd::proc {

/// Both ends of a handler's new connection, which superd-tls serves as `pair` in proc/tls_message.h.
struct PlainPair {
    sys::Fd handlers, tls;
};
Result<PlainPair> make_plain_pair();

/// Passes on a client's connection and its end of the pair. EAGAIN: there is no room now.
Result<void> order_handshake(int channel, std::uint64_t ticket, int connection, int pair);

struct TlsWord {
    TlsAnswer answer{};
    std::string text;
};
/// The next word, without waiting. `open`: there may be more later.
std::optional<TlsWord> tls_word(int channel, bool& open);

using TlsFacts = std::array<std::string_view, kTlsFacts>;
/// What a `done` says. nullopt: it is not such a text; clients may have taken superd-tls over.
std::optional<TlsFacts> read_facts(std::string_view text);
/// As the handler finds them: superd's own names and s6's.
void add_facts(const TlsFacts& facts, Environment& to);

}  // namespace superd::proc
