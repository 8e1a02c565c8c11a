// SPDX-License-Identifier: MIT
#pragma once
// Values of the lower floors as JSON, for core/state.cc alone. A struct is the list of its fields in order; the
// structured binding sees to it that none can be forgotten.

#include <bit>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/state.h"

namespace superd::state_json {

using Json = nlohmann::json;

/// Paths, arguments and datagrams may hold any bytes, JSON only UTF-8: each byte becomes the code point of its number.
inline std::string wide(const std::string& bytes) {
    std::string out;
    out.reserve(bytes.size());
    for (const char c : bytes) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x80) {
            out += c;
        } else {
            out += static_cast<char>(0xc0 | (byte >> 6));
            out += static_cast<char>(0x80 | (byte & 0x3f));
        }
    }
    return out;
}
inline std::string narrow(const std::string& text) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto byte = static_cast<unsigned char>(text[i]);
        if (byte >= 0x80 && (byte > 0xc3 || i + 1 == text.size())) throw std::out_of_range("no byte");
        out += byte < 0x80 ? text[i] : static_cast<char>((byte << 6) | (static_cast<unsigned char>(text[++i]) & 0x3f));
    }
    return out;
}

template <class T>
Json to(const T& value) {
    return value;
}
/// As its bits: every other number is whole, so that none with a fraction is read.
inline Json to(double value) {
    return std::bit_cast<std::int64_t>(value);
}
inline Json to(const std::string& value) {
    return wide(value);
}
inline Json to(const std::vector<std::string>& values) {
    Json all = Json::array();
    for (const std::string& value : values) all.push_back(wide(value));
    return all;
}
template <class T>
void from(const Json& json, T& value) {
    json.get_to(value);
}
inline void from(const Json& json, double& value) {
    value = std::bit_cast<double>(json.get<std::int64_t>());
}
inline void from(const Json& json, std::string& value) {
    value = narrow(json.get_ref<const std::string&>());
}
inline void from(const Json& json, std::vector<std::string>& values) {
    values.clear();
    for (const Json& item : json) values.push_back(narrow(item.get_ref<const std::string&>()));
}

template <class... Fields>
void put(Json& json, const Fields&... fields) {
    json = Json::array();
    (json.push_back(to(fields)), ...);
}
template <class... Fields>
void take(const Json& json, Fields&... fields) {
    if (!json.is_array() || json.size() != sizeof...(fields)) throw std::out_of_range("fields");
    std::size_t at = 0;
    (from(json[at++], fields), ...);
}

}  // namespace superd::state_json

/// In the namespace of Type, which must be an aggregate: all its fields, in order.
#define SUPERD_STATE(Type, ...)                                      \
    inline void to_json(nlohmann::json& json, const Type& value) {   \
        const auto& [__VA_ARGS__] = value;                           \
        superd::state_json::put(json, __VA_ARGS__);                  \
    }                                                                \
    inline void from_json(const nlohmann::json& json, Type& value) { \
        auto& [__VA_ARGS__] = value;                                 \
        superd::state_json::take(json, __VA_ARGS__);                 \
    }

/// An enum that counts from 0 to `last`.
#define SUPERD_STATE_ENUM(Type, last)                                                      \
    inline void to_json(nlohmann::json& json, Type value) {                                \
        json = static_cast<int>(value);                                                    \
    }                                                                                      \
    inline void from_json(const nlohmann::json& json, Type& value) {                       \
        const auto number = json.get<std::int64_t>();                                      \
        if (number < 0 || number > static_cast<int>(last)) throw std::out_of_range(#Type); \
        value = static_cast<Type>(number);                                                 \
    }

namespace nlohmann {

template <class T>
struct adl_serializer<std::optional<T>> {
    static void to_json(json& out, const std::optional<T>& value) {
        if (value)
            out = json::array({superd::state_json::to(*value)});
        else
            out = nullptr;
    }
    static void from_json(const json& in, std::optional<T>& value) {
        value.reset();
        if (in.is_null()) return;
        if (!in.is_array() || in.size() != 1) throw std::out_of_range("optional");
        superd::state_json::from(in[0], value.emplace());
    }
};

template <>
struct adl_serializer<superd::Duration> {
    static void to_json(json& out, superd::Duration value) { out = value.count(); }
    static void from_json(const json& in, superd::Duration& value) {
        value = superd::Duration(in.get<superd::Duration::rep>());
    }
};

template <>
struct adl_serializer<superd::Instant> {
    static void to_json(json& out, superd::Instant value) { out = value.time_since_epoch().count(); }
    static void from_json(const json& in, superd::Instant& value) {
        value = superd::Instant(superd::Duration(in.get<superd::Duration::rep>()));
    }
};

template <>
struct adl_serializer<superd::sys::Address> {
    static void to_json(json& out, const superd::sys::Address& value) {
        out = superd::state_json::wide({reinterpret_cast<const char*>(value.data()), value.size()});
    }
    static void from_json(const json& in, superd::sys::Address& value) {
        const auto bytes = superd::state_json::narrow(in.get_ref<const std::string&>());
        if (bytes.size() > sizeof(sockaddr_storage)) throw std::out_of_range("address");
        sockaddr_storage storage{};
        bytes.copy(reinterpret_cast<char*>(&storage), bytes.size());
        value = {reinterpret_cast<const sockaddr*>(&storage), static_cast<socklen_t>(bytes.size())};
    }
};

template <>
struct adl_serializer<superd::Histogram> {
    static void to_json(json& out, const superd::Histogram& value) {
        superd::state_json::put(out, value.counts(), value.sum());
    }
    static void from_json(const json& in, superd::Histogram& value) {
        superd::Histogram::Counts counts{};
        superd::Duration sum{};
        superd::state_json::take(in, counts, sum);
        value = {counts, sum};
    }
};

}  // namespace nlohmann

namespace superd::sys {
SUPERD_STATE(IpBytes, v6, bytes)
SUPERD_STATE(Prefix, base, length)
SUPERD_STATE(Identity, uid, gid, groups, user)
SUPERD_STATE(User, uid, gid, name, home, shell)
SUPERD_STATE(Names::Answer, question, found, user, groups, number)
}  // namespace superd::sys

namespace superd::conf {
SUPERD_STATE_ENUM(Model, Model::delayed)
SUPERD_STATE_ENUM(Handoff, Handoff::listen)
SUPERD_STATE_ENUM(SocketType, SocketType::seqpacket)
SUPERD_STATE_ENUM(Transport, Transport::inherited)
SUPERD_STATE_ENUM(Stderr, Stderr::inherit)
SUPERD_STATE_ENUM(LogConnections, LogConnections::all)
SUPERD_STATE_ENUM(Excess, Excess::reject)
SUPERD_STATE_ENUM(Denial, Denial::drop)
SUPERD_STATE(Listen, transport, host, port, cid, path, name)
SUPERD_STATE(SocketOptions, backlog, reuse_port, v6only, freebind, bind_to_device, keepalive, keepalive_time,
             keepalive_interval, keepalive_probes, nodelay, defer_accept, receive_buffer, send_buffer, priority, tos,
             mark, mode, user, group)
SUPERD_STATE(Rate, interval, burst)
SUPERD_STATE(Limits, instances, per_source, rate, per_source_rate, source_prefix_ipv4, source_prefix_ipv6, max_load,
             on_excess, reject_text, wait_timeout)
SUPERD_STATE(TimeWindow, days, from, until)
SUPERD_STATE(Access, allow, deny, times, on_deny)
SUPERD_STATE(Prefork, min_spare, max_spare, max_requests, max_idle, max_age, grow_after)
SUPERD_STATE(ResourceLimit, resource, soft, hard)
SUPERD_STATE(Handler, path, argv, environment, identity, working_directory, root_directory, umask, nice, error_output,
             rlimits)
SUPERD_STATE(Service, name, description, enabled, listen, model, handoff, handler, stop_signal, stop_timeout,
             max_lifetime, socket, limits, access, prefork, delay, log_connections, stderr_rate)
SUPERD_STATE(Control, readers)
SUPERD_STATE(Catalog, services, control)
}  // namespace superd::conf

namespace superd::admit {
SUPERD_STATE_ENUM(SourceKey::Kind, SourceKey::Kind::cid)
SUPERD_STATE(SourceKey, kind, bytes)
SUPERD_STATE(Admission::Memory, full_at, latest, sources)
}  // namespace superd::admit

namespace superd::model {
SUPERD_STATE(Reports, free, slots, clients)
}  // namespace superd::model

namespace superd::intake {
SUPERD_STATE(RefusalLog::Memory, counts, in_window, until)
}  // namespace superd::intake

namespace superd::net {
SUPERD_STATE(Listener::Kept, fd, where, options, type, inherited, given, passed_name, path, device, inode, settings)
}  // namespace superd::net
