// SPDX-License-Identifier: MIT
#pragma once
// A client, and what is known of it.

#include <sys/types.h>

#include <cstddef>
#include <optional>
#include <string>

#include "admit/admission.h"
#include "base/time.h"
#include "proc/environment.h"
#include "sys/address.h"
#include "sys/passed_rights.h"

namespace superd::model {

/// Of a peer on a unix socket.
struct Credentials {
    pid_t pid = 0;
    uid_t uid = 0;
    gid_t gid = 0;
    bool operator==(const Credentials&) const = default;
};

/// What was learnt of a client in front of the handler, where its connection does not tell: it is a proxy's, or another
/// one than the client made.
struct Introduction {
    std::optional<Credentials> credentials;
    bool is_proxy = false;  ///< it may name clients, and speaks for itself: [access] and limits for each source do not
                            ///< apply to it
    bool touched = false;   ///< what each connection costs ([penalty] touched) has been earned
};

struct Client {
    enum class Kind {
        connection,
        datagram,  ///< a single datagram
    };
    Kind kind = Kind::connection;
    std::size_t listener = 0;
    sys::GuardedFd connection;  ///< not for a datagram
    std::string datagram;
    sys::Address peer;
    sys::Address local;           ///< the address that the client used
    Instant accepted{};           ///< when it was taken from the kernel
    proc::Environment variables;  ///< the handler's variables for this client, beyond those of every handler
    std::optional<Introduction> introduction;  ///< peer, local and variables say who it is, and not its connection
    admit::Charge charge;
};

/// nullopt: it has none, or they are not known.
std::optional<Credentials> credentials_of(const Client& client);

}  // namespace superd::model
