// SPDX-License-Identifier: MIT
// Limits and access for these sockets and this model: superd can enforce only what it sees.
#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <utility>

#include "conf/validate.h"

namespace superd::conf {

namespace {

using toml::Value;

constexpr std::size_t most_filtered = 250;  ///< prefixes for which the filter is sure to be small enough

class LimitsResolver {
  public:
    LimitsResolver(Draft& draft, const Context& context, Diagnostics& errors)
        : draft_(draft), service_(draft.service), context_(context), errors_(errors) {}

    void resolve() {
        const bool settled = !service_.listen.empty() && !draft_.is_broken("listen") && !draft_.is_broken("model") &&
                             !draft_.is_broken("handoff") && draft_.get("model") != nullptr;
        if (settled) {
            leave_what_is_seen();
            check_prefixes();
        }
        set_burst("limits.rate", "limits.burst", service_.limits->rate);
        set_burst("limits.per_source_rate", "limits.per_source_burst", service_.limits->per_source_rate);
        check_reject_text();
        if (service_.handler.error_output != Stderr::log)
            reject_own({"log.stderr_rate", "log.stderr_burst"}, "has no effect without stderr = \"log\"");
    }

  private:
    void reject_own(std::initializer_list<const char*> names, std::string_view why) {
        conf::reject_own(draft_, context_, names, why, errors_);
    }

    void leave_what_is_seen() {
        Limits& limits = *service_.limits;
        const bool datagram = service_.socket_type() == SocketType::datagram;
        if (service_.handoff == Handoff::listen) {
            const std::string why =
                datagram ? fmt::format(
                               "cannot be enforced: under model \"{}\" the handler receives datagrams itself, "
                               "and superd never sees their senders",
                               name_of(service_.model))
                         : "cannot be enforced: under handoff \"listen\" the handler accepts clients itself, and "
                           "superd never sees them";
            reject_own({"limits.per_source", "limits.rate", "limits.burst", "limits.per_source_rate",
                        "limits.per_source_burst", "limits.source_prefix_ipv4", "limits.source_prefix_ipv6"},
                       why);
            reject_own({"log.usage"}, why);
            service_.log_usage = false;
            reject_refusals(why);
            Limits seen;
            seen.instances = limits.instances;
            seen.max_load = limits.max_load;
            limits = seen;
        } else if (datagram) {
            reject_refusals("cannot be enforced: a datagram has no connection to hold or end, and is dropped instead");
            const Limits plain;
            limits.on_excess = plain.on_excess;
            limits.wait_timeout = plain.wait_timeout;
            limits.reject_text = plain.reject_text;
        }
    }

    /// Everything that needs superd to hold a client's connection.
    void reject_refusals(const std::string& why) {
        reject_own({"limits.wait_timeout", "limits.reject_text"}, why);
        if (service_.limits->on_excess != Excess::queue)
            reject_own({"limits.on_excess"}, why + ": only \"queue\" is possible");
        if (service_.access->on_deny != Denial::drop)
            reject_own({"access.on_deny"}, why + ": only \"drop\" is possible");
    }

    void check_prefixes() {
        Access& access = *service_.access;
        const bool named = std::as_const(service_).proxy_protocol->on;  // by a header, wherever that comes from
        const bool has_addresses = named || std::ranges::any_of(service_.listen, [](const Listen& listen) {
                                       return listen.transport == Transport::tcp ||
                                              listen.transport == Transport::udp ||
                                              listen.transport == Transport::inherited;
                                   });
        if (!has_addresses) {
            reject_own({"access.allow", "access.deny"},
                       "does not apply: the service listens on no IP address, so its clients have none");
            access.allow.clear();
            access.deny.clear();
        }
        const bool filtered = access.on_deny == Denial::drop || service_.handoff == Handoff::listen ||
                              service_.socket_type() == SocketType::datagram;
        if (filtered && service_.socket->mptcp && (access.restricts_sources() || !access.times.empty())) {
            reject_own({"socket.mptcp"},
                       "cannot be had with [access] under handoff = \"listen\" or on_deny = \"drop\": there a socket "
                       "filter enforces it, which Multipath TCP does not have");
            service_.socket->mptcp = false;
        }
        const std::size_t count = access.allow.size() + access.deny.size();
        if (!filtered || count <= most_filtered) return;
        const bool in_allow = access.allow.size() > most_filtered;
        const char* name = in_allow ? "access.allow" : "access.deny";
        const auto words = words_of(*draft_.get(name));
        draft_.reject(name, words[most_filtered - (in_allow ? 0 : access.allow.size())]->spot,
                      fmt::format("{}: {} prefixes in all, but the kernel's socket filter, which enforces them here, "
                                  "holds at most {}",
                                  name, count, most_filtered),
                      errors_);
    }

    void set_burst(const char* rate_name, const char* name, std::optional<Rate>& rate) {
        if (draft_.is_broken(rate_name)) return;
        if (draft_.get(rate_name) == nullptr) {
            reject_own({name}, fmt::format("has no effect without {}", rate_name));
        } else if (const Value* value = draft_.get(name); value != nullptr && rate) {
            rate->burst = static_cast<int>(value->integer);
        }
    }

    void check_reject_text() {
        const Limits& limits = service_.limits;
        if (draft_.is_broken("limits.on_excess") || draft_.is_broken("limits.reject_text")) return;
        if (limits.on_excess != Excess::reject && !limits.reject_text.empty()) {
            reject_own({"limits.reject_text"}, "has no effect without on_excess = \"reject\"");
        } else if (limits.on_excess == Excess::reject && limits.reject_text.empty()) {
            draft_.reject("limits.on_excess", draft_.get("limits.on_excess")->spot,
                          "limits.on_excess \"reject\" needs a reject_text to send to clients", errors_);
        }
    }

    Draft& draft_;
    Service& service_;
    const Context& context_;
    Diagnostics& errors_;
};

}  // namespace

void resolve_limits(Draft& draft, const Context& context, Diagnostics& errors) {
    LimitsResolver(draft, context, errors).resolve();
}

}  // namespace superd::conf
