// SPDX-License-Identifier: MIT
#include "intake/held.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace superd::intake {

bool Held::has_place(const admit::SourceKey& source) const {
    const auto of_source = std::ranges::count_if(clients_, [&](const Entry& entry) { return entry.source == source; });
    return clients_.size() < kInAll && static_cast<std::size_t>(of_source) < kOfOneSource;
}

bool Held::add(model::Client& client, const admit::SourceKey& source, Instant until) {
    if (!has_place(source)) return false;
    clients_.push_back({std::move(client), source, until, {}});
    const Position entry = std::prev(clients_.end());
    auto source_of_events =
        loop_.io(entry->client.connection.get(), EPOLLRDHUP, [this, entry](std::uint32_t) { check_hang_up(entry); });
    if (source_of_events) entry->hang_up = std::move(*source_of_events);  // without it, its leaving is not noticed
    return true;
}

std::optional<model::Client> Held::next(const admit::Admission& admission, Instant now) {
    const auto entry =
        std::ranges::find_if(clients_, [&](const Entry& e) { return !admission.refuses(e.source, now); });
    if (entry == clients_.end()) return std::nullopt;
    std::optional<model::Client> client(std::move(entry->client));
    clients_.erase(entry);
    return client;
}

std::optional<model::Client> Held::first() {
    if (clients_.empty()) return std::nullopt;
    std::optional<model::Client> client(std::move(clients_.front().client));
    clients_.pop_front();
    return client;
}

std::list<model::Client> Held::take_if(const std::function<bool(const model::Client&)>& holds) {
    std::list<model::Client> taken;
    for (auto entry = clients_.begin(); entry != clients_.end();) {
        const Position one = entry++;
        if (!holds(one->client)) continue;
        taken.push_back(std::move(one->client));
        clients_.erase(one);
    }
    return taken;
}

std::optional<Instant> Held::opens_at(const admit::Admission& admission, Instant now) const {
    std::optional<Instant> earliest;
    for (const Entry& entry : clients_) {
        if (admission.refuses(entry.source, now) != admit::Refusal::per_source_rate) continue;
        const Instant when = admission.source_opens_at(entry.source);
        if (!earliest || when < *earliest) earliest = when;
    }
    return earliest;
}

void Held::end(Position entry, admit::Refusal why) {
    model::Client client = std::move(entry->client);
    clients_.erase(entry);
    ended_(std::move(client), why);
}

/// A client that sent its request and closed its side still wants the answer; one that closed without sending anything
/// probably does not.
void Held::check_hang_up(Position entry) {
    char byte;
    const ssize_t n = sys::receive_without_rights(entry->client.connection.get(), &byte, 1, MSG_PEEK);
    if (n > 0)
        entry->hang_up = {};
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        end(entry, admit::Refusal::gone);
}

std::optional<Instant> Held::ends_at() const {
    const auto first = std::ranges::min_element(clients_, {}, &Entry::until);
    return first == clients_.end() ? std::nullopt : std::optional(first->until);
}

void Held::expire(Instant now) {
    for (auto entry = clients_.begin(); entry != clients_.end();) {
        const Position one = entry++;
        if (one->until <= now) end(one, admit::Refusal::wait_timeout);
    }
}

}  // namespace superd::intake
