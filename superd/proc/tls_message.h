// SPDX-License-Identifier: MIT
#pragma once
// What superd and superd-tls say to each other over the SOCK_SEQPACKET pair on superd-tls's descriptor kTlsChannel.
// When superd closes its end, or shuts it down, no more clients come: superd-tls serves those that it has, and ends.

#include <cstddef>
#include <cstdint>

namespace superd::proc {

/// Of all that follows: what a superd-tls says as it becomes ready, and a superd of another one does not talk to it.
constexpr std::uint64_t kTlsVersion = 1;
constexpr int kTlsChannel = 3;
constexpr std::size_t kTlsMostText = 4096;

struct TlsOrder {
    enum class Word : std::uint32_t {
        client = 1,  ///< comes with two descriptors: the connection, and an end of a unix stream pair
    };
    Word word;
    std::uint64_t ticket;
};

/// Why there is no handshake.
enum class TlsEnd : std::uint32_t {
    none,
    handshake,  ///< the client's fault, or not to its taste
    gone,       ///< it left before anything was wrong
    scarce,     ///< not its fault
};

/// Text follows, at most kTlsMostText bytes.
struct TlsAnswer {
    enum class Word : std::uint32_t {
        ready = 1,  ///< it serves
        failed,     ///< a file or a setting is not in order: the text says why
        done,       ///< the handshake is over: the text has TlsFacts, each ended by NUL
        refused,    ///< there was none: the text says why
    };
    Word word;
    TlsEnd end;  ///< refused
    std::uint64_t
        about;  ///< done, refused: the client's ticket; failed: the file's descriptor, or 0; ready: kTlsVersion
};

/// What becomes known of a client, in this order. A fact that there is none of is empty.
enum class TlsFact { protocol, cipher, server_name, alpn, client_subject, client_hash };
constexpr std::size_t kTlsFacts = 6;
/// Of one fact.
constexpr std::size_t kTlsMostFact = 1024;

}  // namespace superd::proc
