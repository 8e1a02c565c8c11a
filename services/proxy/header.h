// SPDX-License-Identifier: MIT
#pragma once
// The header by which a backend learns who its client is: PROXY protocol, versions 1 and 2.

#include <string>

#include "proxy/common.h"

namespace proxy {

enum class HeaderVersion { none, v1, v2 };

/// `client` and `local`: the two ends of the client's connection. Where they are not both IPv4 or both IPv6, the header
/// says that it does not know.
std::string header(HeaderVersion version, const Address& client, const Address& local);

/// The two ends of the connection on `fd`. Where superd has told the handler of a client that the socket does not know,
/// since a proxy or TLS is in front of it, the environment counts.
struct Ends {
    Address client, local;
};
/// `client`: of that socket, as it is known already. Size 0: an address is not to be had.
Ends ends_of(int fd, const Address& client, bool by_environment);

}  // namespace proxy
