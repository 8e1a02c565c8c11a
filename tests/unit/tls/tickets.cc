// SPDX-License-Identifier: MIT
// The keys of session tickets, as time passes.
#include "tls/tickets.h"

#include <algorithm>
#include <span>

#include "catch.h"

using superd::tls::Tickets;

namespace {

bool is_wiped(const Tickets& tickets) {
    const std::span bytes(reinterpret_cast<const unsigned char*>(&tickets), sizeof tickets);
    return std::ranges::all_of(bytes, [](unsigned char byte) { return byte == 0; });
}

}  // namespace

TEST_CASE("a ticket's key is wiped once it opens no ticket any more, without any handshake") {
    SSL_CTX* const context = SSL_CTX_new(TLS_server_method());
    REQUIRE(context != nullptr);
    Tickets tickets;
    CHECK(is_wiped(tickets));
    REQUIRE(tickets.use_for(context));
    const auto made = Tickets::now();
    tickets.forget_old(made + Tickets::kRenewal + Tickets::kLifetime - 60);
    CHECK_FALSE(is_wiped(tickets));
    tickets.forget_old(made + Tickets::kRenewal + Tickets::kLifetime);
    CHECK(is_wiped(tickets));
    SSL_CTX_free(context);
}
