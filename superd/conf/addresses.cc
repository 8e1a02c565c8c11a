// SPDX-License-Identifier: MIT
#include "conf/addresses.h"

namespace superd::conf {

namespace {

using Taken = Addresses::Taken;

std::string bucket_of(const Listen& listen) {
    switch (listen.transport) {
        case Transport::tcp:
            return "tcp " + std::to_string(listen.port);
        case Transport::udp:
            return "udp " + std::to_string(listen.port);
        default:
            return listen.path.starts_with('/') ? listen.path : listen.uri();
    }
}

bool is_wildcard(const Listen& listen) {
    return listen.host == "*" || listen.host == "::" || listen.host == "0.0.0.0";
}

std::optional<Taken> first_of(const std::vector<Taken>& others, const Taken& mine) {
    for (const Taken& other : others) {
        if (other.by == mine.by) continue;
        const Overlap met = overlap(*mine.listen, mine.by->socket, *other.listen, other.by->socket);
        const bool shared = mine.by->socket->reuse_port && other.by->socket->reuse_port;
        if (met == Overlap::none || (met == Overlap::partial && shared)) continue;
        Taken found = other;
        found.how = met;
        return found;
    }
    return std::nullopt;
}

}  // namespace

std::optional<Taken> Addresses::in_the_way(const Taken& mine) const {
    const auto bucket = buckets_.find(bucket_of(*mine.listen));
    if (bucket == buckets_.end()) return std::nullopt;
    if (is_wildcard(*mine.listen)) return first_of(bucket->second.all, mine);
    if (auto taken = first_of(bucket->second.wildcards, mine)) return taken;
    const auto same = bucket->second.hosts.find(mine.listen->host);
    return same == bucket->second.hosts.end() ? std::nullopt : first_of(same->second, mine);
}

void Addresses::add(const Taken& mine) {
    Bucket& bucket = buckets_[bucket_of(*mine.listen)];
    bucket.all.push_back(mine);
    (is_wildcard(*mine.listen) ? bucket.wildcards : bucket.hosts[mine.listen->host]).push_back(mine);
}

}  // namespace superd::conf
