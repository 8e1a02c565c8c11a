// SPDX-License-Identifier: MIT
#include "model/client.h"

#include <sys/socket.h>

namespace superd::model {

std::optional<Credentials> credentials_of(const Client& client) {
    if (client.introduction) return client.introduction->credentials;
    if (client.local.family() != AF_UNIX || client.kind != Client::Kind::connection) return std::nullopt;
    ucred peer{};
    socklen_t size = sizeof peer;
    if (getsockopt(client.connection.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return std::nullopt;
    return Credentials{peer.pid, peer.uid, peer.gid};
}

}  // namespace superd::model
