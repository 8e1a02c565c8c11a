// SPDX-License-Identifier: MIT
#pragma once
// The stage in which a peer says for whom it speaks: [proxy_protocol].

#include "conf/proxy_protocol.h"
#include "intake/stage.h"

namespace superd::intake {

/// Takes the header off the connection, and not a byte more, and makes the client the one that it names.
class HeaderStage final : public Stage {
  public:
    /// A client that is in it already goes on by these rules. Without a [proxy_protocol] it may send either version.
    void configure(const conf::ProxyProtocol& rules) { rules_ = rules; }
    const conf::ProxyProtocol& rules() const { return rules_; }
    bool on() const { return rules_.on; }
    /// May this peer name clients? On unix sockets everybody may who can connect.
    static bool trusts(const conf::ProxyProtocol& rules, const sys::Address& peer, bool on_unix);

    Id id() const override { return kHeader; }
    Duration timeout() const override { return rules_.timeout; }
    admit::Refusal overdue(const Entrant&) const override { return admit::Refusal::header_timeout; }
    Progress go_on(Entrant& entrant) override;

  private:
    conf::ProxyProtocol rules_;
};

}  // namespace superd::intake
