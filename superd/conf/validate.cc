// SPDX-License-Identifier: MIT
#include "conf/validate.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "conf/listen.h"

namespace superd::conf {

namespace {

using toml::Value;

void require_keys(Draft& draft, Diagnostics& errors) {
    for (const Key& key : keys()) {
        if (!key.required) continue;
        const std::string name = key.full_name();
        if (draft.get(name) != nullptr || draft.is_broken(name)) continue;
        std::string message = name + " is missing";
        if (!key.shape.choices.empty()) message += fmt::format(": one of {}", fmt::join(key.shape.choices, ", "));
        draft.reject(name, std::move(message), errors);
    }
}

void resolve_listen(Draft& draft, const Context& context, Diagnostics& errors) {
    const Value* value = draft.get("listen");
    if (value == nullptr) return;
    std::vector<Listen>& all = draft.service.listen;
    const SocketOptions& socket = draft.service.socket;
    const std::vector<const Value*> words = words_of(*value);
    if (words.empty()) draft.reject("listen", value->spot, "listen is empty: a service needs an address", errors);
    for (const Value* word : words) {
        const auto reject = [&](std::string message) {
            draft.reject("listen", word->spot, fmt::format("listen \"{}\": {}", word->text, message), errors);
        };
        auto listen = parse_listen(word->text, context.from.names);
        if (!listen) {
            reject(listen.error().text);
            errors.back().local = listen.error().code != 0;
            continue;
        }
        if (const auto why = cannot_bind(*listen, socket)) {
            reject(*why);
            continue;
        }
        const auto clash = std::ranges::find_if(all, [&](const Listen& other) {
            const Overlap met = overlap(*listen, socket, other, socket);
            return met == Overlap::same || (met == Overlap::partial && !socket.reuse_port);
        });
        const auto type = listen->socket_type();
        const auto differs = std::ranges::find_if(
            all, [&](const Listen& other) { return type && other.socket_type() && other.socket_type() != type; });
        if (clash != all.end()) {
            reject(*clash == *listen ? "given twice" : fmt::format("overlaps {}", clash->uri()));
        } else if (differs != all.end()) {
            reject(fmt::format("a {} socket, but {} is a {} socket: all sockets of a service must have the same type",
                               name_of(*type), differs->uri(), name_of(*differs->socket_type())));
            return;
        }
        all.push_back(std::move(*listen));
    }
}

void resolve_handoff(Draft& draft, Diagnostics& errors) {
    Service& service = draft.service;
    if (draft.get("model") == nullptr || draft.is_broken("handoff") || draft.is_broken("listen") ||
        service.listen.empty())
        return;
    const Value* given = draft.get("handoff");
    // The type of an inherited socket is not known yet: only what holds for all types is an error now.
    const SocketType type = service.socket_type().value_or(SocketType::stream);
    if (given == nullptr) service.handoff = handoff_for(service.model, service.handoff, type);
    if (const auto why = cannot_serve(service.model, service.handoff, type)) {
        const Value* at =
            given != nullptr && cannot_serve(service.model, handoff_for(service.model, Handoff::connection, type),
                                             type) == std::nullopt
                ? given
                : draft.get("model");
        draft.reject(at == given ? "handoff" : "model", at->spot, *why, errors);
    }
}

void fit_pool_to_handoff(Draft& draft, const Context& context, Diagnostics& errors) {
    Service& service = draft.service;
    const bool delayed = service.model == Model::delayed && service.handoff == Handoff::listen;
    if ((service.model != Model::prefork && !delayed) || service.listen.empty() || draft.is_broken("listen") ||
        draft.is_broken("model") || draft.is_broken("handoff"))
        return;
    // An inherited socket may still turn out to be a datagram socket, whose handlers get the socket itself.
    if (!service.socket_type() && draft.get("handoff") == nullptr) return;
    if (service.handoff == Handoff::connection) {
        reject_own(draft, context, {"prefork.max_requests", "prefork.grow_after"},
                   "needs handoff = \"listen\": under handoff \"connection\" a parked process takes one connection",
                   errors);
        const Prefork plain;
        service.prefork->max_requests = plain.max_requests;
        service.prefork->grow_after = plain.grow_after;
        if (service.prefork->warm == Warm::off) {
            reject_own(
                draft, context, {"prefork.max_age"},
                "needs handoff = \"listen\" or prefork.warm: a process that is parked before its exec does not age",
                errors);
            service.prefork->max_age = plain.max_age;
            reject_own(draft, context, {"prefork.warm_within"}, "needs prefork.warm", errors);
            service.prefork->warm_within = plain.warm_within;
        }
        return;
    }
    const std::size_t count = service.listen.size();
    if (draft.is_broken("limits.instances") || count <= static_cast<std::size_t>(service.limits->instances)) return;
    const Value* instances = own(draft, context, "limits.instances");
    errors.push_back({(instances != nullptr ? instances : draft.get("listen"))->spot.place(),
                      fmt::format("limits.instances {} is too few for {} addresses: each needs a worker, which has its "
                                  "listening socket",
                                  service.limits->instances, count)});
}

/// A handler can be warm where superd gives it one connection, and where it waits for it before it comes.
void fit_warm(Draft& draft, const Context& context, Diagnostics& errors) {
    Service& service = draft.service;
    if (service.prefork->warm == Warm::off || draft.is_broken("model") || draft.is_broken("handoff") ||
        draft.is_broken("listen"))
        return;
    const bool prefork = service.model == Model::prefork && service.handoff == Handoff::connection;
    const bool stream = service.socket_type().value_or(SocketType::stream) == SocketType::stream;
    if (prefork && stream) return;
    reject_own(draft, context, {"prefork.warm"},
               !prefork ? "needs model = \"prefork\" and handoff = \"connection\"" : "needs stream sockets", errors);
    service.prefork->warm = Warm::off;
}

/// One handler for each datagram, or for each peer: only where superd receives the datagrams itself.
void fit_sessions(Draft& draft, const Context& context, Diagnostics& errors) {
    Service& service = draft.service;
    if (draft.is_broken("model") || draft.is_broken("listen") || draft.is_broken("datagram.session")) return;
    if (service.has_sessions() && (service.model != Model::fork ||
                                   service.socket_type().value_or(SocketType::datagram) != SocketType::datagram)) {
        reject_own(draft, context, {"datagram.session"}, "needs model = \"fork\" and datagram sockets", errors);
        service.datagram->session = Session::none;
    } else if (!service.has_sessions()) {
        reject_own(draft, context, {"datagram.session_idle"}, "has no effect without datagram.session = \"peer\"",
                   errors);
        service.datagram->session_idle = Datagrams().session_idle;
    }
}

void resolve_prefork(Draft& draft, const Context& context, Diagnostics& errors) {
    fit_warm(draft, context, errors);
    fit_pool_to_handoff(draft, context, errors);
    const Value* min = draft.get("prefork.min_spare");
    const Value* max = draft.get("prefork.max_spare");
    Prefork& prefork = *draft.service.prefork;
    if (draft.is_broken("prefork.min_spare") || draft.is_broken("prefork.max_spare")) return;
    if (min != nullptr && max != nullptr && prefork.min_spare > prefork.max_spare) {
        draft.reject(
            "prefork.min_spare", min->spot,
            fmt::format("prefork.min_spare {} is more than max_spare {}", prefork.min_spare, prefork.max_spare),
            errors);
        return;
    }
    // A value that nobody wrote yields to one that somebody did.
    if (max == nullptr) prefork.max_spare = std::max(prefork.max_spare, prefork.min_spare);
    if (min == nullptr) prefork.min_spare = std::min(prefork.min_spare, prefork.max_spare);
    if (draft.service.model != Model::prefork || draft.is_broken("limits.instances")) return;
    const int cap = draft.service.limits->instances;
    const auto fit = [&](const char* name, const Value* value, int& number) {
        if (number > cap && value != nullptr) {
            draft.reject(name, value->spot, fmt::format("{} {} is more than limits.instances {}", name, number, cap),
                         errors);
        }
        number = std::min(number, cap);
    };
    fit("prefork.min_spare", min, prefork.min_spare);
    fit("prefork.max_spare", max, prefork.max_spare);
}

}  // namespace

const Value* own(const Draft& draft, const Context& context, std::string_view name) {
    const Value* value = draft.get(name);
    return value != nullptr && value->spot.source != context.defaults && !draft.is_broken(name) ? value : nullptr;
}

void reject_own(Draft& draft, const Context& context, std::initializer_list<const char*> names, std::string_view why,
                Diagnostics& errors) {
    for (const char* name : names) {
        if (const Value* value = own(draft, context, name))
            draft.reject(name, value->spot, fmt::format("{} {}", name, why), errors);
    }
}

void validate(Draft& draft, const Context& context, Diagnostics& errors) {
    if (context.complete) require_keys(draft, errors);
    resolve_listen(draft, context, errors);
    resolve_handoff(draft, errors);
    resolve_prefork(draft, context, errors);
    fit_sessions(draft, context, errors);
    resolve_socket(draft, context, errors);
    resolve_proxy_protocol(draft, context, errors);
    resolve_limits(draft, context, errors);
    resolve_resources(draft, context, errors);
    resolve_penalty(draft, context, errors);
    resolve_handler(draft, context, errors);
    resolve_tls(draft, context, errors);
    resolve_sandbox(draft, context, errors);
    draft.service.settle();
}

}  // namespace superd::conf
