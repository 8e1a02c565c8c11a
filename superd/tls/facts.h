// SPDX-License-Identifier: MIT
#pragma once
// What a handshake has shown of a client, as superd takes it.

#include <openssl/ssl.h>

#include <string>

namespace superd::tls {

/// proc::TlsFact, each ended by NUL: printable ASCII only, each bounded. One that does not fit is left empty, so that
/// nobody goes by half of it.
std::string facts_of(SSL* session);

}  // namespace superd::tls
