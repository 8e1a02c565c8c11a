// SPDX-License-Identifier: MIT
#include "core/sessions.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <string_view>
#include <vector>

namespace superd::core {
namespace {

constexpr Duration kDropsQuiet = std::chrono::seconds(10);

}  // namespace

Sessions::Sessions(Engine& engine, const std::string& service, SessionHost& host, Replies& replies)
    : engine_(engine),
      service_(service),
      host_(host),
      replies_(replies),
      episode_(engine.loop, kDropsQuiet, [this](std::uint64_t count, Duration) {
          if (count == 1) return;
          engine_.log.write(Level::notice, fmt::format("{} more datagrams were dropped", count - 1),
                            {{"SERVICE", service_}, {"COUNT", count - 1}});
      }) {}

void Sessions::configure(const conf::Service& definition) {
    limit_ = static_cast<std::size_t>(definition.limits->instances);
    idle_ = definition.datagram->session_idle;
    patience_ = definition.stop_timeout;
}

bool Sessions::Less::operator()(const View& a, const View& b) const {
    const auto bytes = [](const sys::Address& of) {
        return std::string_view(reinterpret_cast<const char*>(of.data()), of.size());
    };
    const int peers = bytes(a.first).compare(bytes(b.first));
    return peers != 0 ? peers < 0 : bytes(a.second) < bytes(b.second);
}

bool Sessions::receive(model::Client& client) {
    if (client.datagram.empty()) {
        dropped(Dropped::empty, client.peer);
        return true;
    }
    if (client.peer.family() == AF_UNSPEC) {
        dropped(Dropped::nameless, client.peer);
        return true;
    }
    if (client.datagram.size() > longest_) {  // or a handler would be started, and read nothing
        dropped(Dropped::too_long, client.peer);
        return true;
    }
    const auto at = by_peer_.find(key_of(client.peer, client.local));
    if (at == by_peer_.end()) return false;
    at->second.session->receive(std::move(client.datagram));
    return true;
}

std::unique_ptr<Session> Sessions::make(const model::Client& client, const sys::Address& bound) {
    SessionRecord record;
    record.peer = client.peer;
    record.local = client.local;
    record.bound = bound;
    record.idle = idle_;
    record.patience = patience_;
    record.begun = record.last = now();
    record.received = 1;
    record.first = client.datagram.size();
    record.listed = true;
    record.due = record.last + idle_;
    auto session = std::make_unique<Session>(*this, std::move(record));
    enter(*session);
    ++counts_.begun;
    return session;
}

bool Sessions::begin(const model::Client& client, const sys::Address& bound) {
    if (by_peer_.size() > limit_) return false;  // it has been lowered
    if (bytes_ + client.datagram.size() > kMostBytes) return false;
    if (by_peer_.size() == limit_) {
        if (singles_.empty()) return false;
        give_way(*singles_.front());
    }
    auto session = make(client, bound);
    by_peer_.find(key_of(client.peer, client.local))->second.waiting = std::move(session);
    wake();
    return true;
}

void Sessions::cancel(const model::Client& client) {
    const auto at = by_peer_.find(key_of(client.peer, client.local));
    if (at == by_peer_.end() || !at->second.waiting) return;
    const auto session = std::move(at->second.waiting);
    lost(session->queued(), client.peer);
}

bool Sessions::has_handler(const model::Client& client) const {
    const auto at = by_peer_.find(key_of(client.peer, client.local));
    return at != by_peer_.end() && !at->second.waiting;
}

std::unique_ptr<Session> Sessions::take_out(const model::Client& client, const sys::Address& bound) {
    const auto at = by_peer_.find(key_of(client.peer, client.local));
    if (at != by_peer_.end()) return std::move(at->second.waiting);
    auto session = make(client, bound);
    wake();
    return session;
}

void Sessions::put_back(std::unique_ptr<Session> session) {
    session->close();
    const SessionRecord& record = session->record();
    const auto at = by_peer_.find(key_of(record.peer, record.local));
    if (at != by_peer_.end() && at->second.session == session.get()) at->second.waiting = std::move(session);
}

void Sessions::enter(Session& session) {
    const SessionRecord& record = session.record_;
    if (record.due) due_.emplace(*record.due, &session);
    if (!record.listed) return;
    by_peer_[Key(record.peer, record.local)].session = &session;
    if (record.received == 1) session.single_ = singles_.insert(singles_.end(), &session);
}

void Sessions::learn_longest(int pair) {
    int room = 0;
    socklen_t size = sizeof room;
    if (getsockopt(pair, SOL_SOCKET, SO_SNDBUF, &room, &size) == 0 && room > kOfSocket)
        longest_ = static_cast<std::size_t>(room - kOfSocket);
}

void Sessions::is_established(Session& session) {
    if (!session.single_) return;
    singles_.erase(*session.single_);
    session.single_.reset();
}

void Sessions::unlist(Session& session) {
    is_established(session);
    if (!std::exchange(session.record_.listed, false)) return;
    const auto at = by_peer_.find(key_of(session.record_.peer, session.record_.local));
    if (at == by_peer_.end() || at->second.session != &session) return;
    const auto waiting = std::move(at->second.waiting);
    by_peer_.erase(at);
}

void Sessions::forget(Session& session) {
    set_due(session, std::nullopt);
    is_established(session);
    if (!session.record_.listed) return;
    session.record_.listed = false;
    const auto at = by_peer_.find(key_of(session.record_.peer, session.record_.local));
    if (at != by_peer_.end() && at->second.session == &session) by_peer_.erase(at);
}

void Sessions::give_way(Session& session) {
    ++counts_.gave_way;
    if (!session.has_handler()) return drop_waiting(session);
    unlist(session);
    set_due(session, std::nullopt);
    session.end_input();
    host_.stop_handler(session.pid());
}

void Sessions::drop_waiting(Session& session) {
    const sys::Address peer = session.record().peer, local = session.record().local;
    const auto waiting = std::move(by_peer_.find(key_of(peer, local))->second.waiting);
    lost(1 + session.queued(), peer);
    host_.drop_waiting(peer, local);
}

void Sessions::end(Session& session, Duration patience) {
    unlist(session);
    session.end_input();
    set_due(session, now() + patience);
    wake();
}

void Sessions::end_where(const std::function<bool(const SessionRecord&)>& is_over) {
    std::vector<Session*> ending;
    for (const auto& [key, entry] : by_peer_)
        if (is_over(entry.session->record())) ending.push_back(entry.session);
    for (Session* const session : ending)
        session->has_handler() ? end(*session, session->record().patience) : drop_waiting(*session);
}

void Sessions::answer_from(const std::function<int(const SessionRecord&)>& socket_of) {
    for (const auto& [key, entry] : by_peer_) {
        if (!entry.session->answers_) continue;
        // Without a descriptor for it the old socket serves as well, for as long as there is one.
        if (const int socket = socket_of(entry.session->record()); socket >= 0)
            (void)entry.session->answers_->answer_from(socket);
    }
}

void Sessions::clear() {
    while (!by_peer_.empty()) {
        Session& session = *by_peer_.begin()->second.session;
        const auto waiting = std::move(by_peer_.begin()->second.waiting);
        unlist(session);
    }
}

void Sessions::set_due(Session& session, std::optional<Instant> when) {
    auto place = session.record_.due ? due_.extract({*session.record_.due, &session}) : decltype(due_)::node_type();
    if (when && place) {  // without asking for memory: none may be left to look at it again
        place.value().first = *when;
        due_.insert(std::move(place));
    } else if (when) {
        due_.emplace(*when, &session);
    }
    session.record_.due = when;
}

void Sessions::wake() {
    if (due_.empty() || (wake_at_ && *wake_at_ <= due_.begin()->first)) return;
    const Instant first = due_.begin()->first;
    host_.wake_sessions_at(first);
    wake_at_ = first;
}

void Sessions::woken() {
    wake_at_.reset();
    while (!due_.empty() && due_.begin()->first <= now()) look_at(*due_.begin()->second);
    wake();
}

/// The time when something passed last is not entered each time: most sessions are looked at once or twice.
void Sessions::look_at(Session& session) {
    const SessionRecord& record = session.record();
    if (!record.listed) {  // its handler has read an end, and is still there
        set_due(session, std::nullopt);
        return host_.stop_handler(session.pid());
    }
    if (record.last + record.idle > now()) return set_due(session, record.last + record.idle);
    ++counts_.idle;
    session.has_handler() ? end(session, record.patience) : drop_waiting(session);
}

void Sessions::lost(std::size_t datagrams, const sys::Address& peer) {
    if (datagrams > 0) dropped(Dropped::unread, peer, datagrams);
}

void Sessions::dropped(Dropped why, const sys::Address& peer, std::uint64_t count) {
    static constexpr const char* kWhy[] = {
        "it is empty, and would read as an end", "its sender has no name by which it could have a session",
        "its handler does not keep up", "its session ended before a handler had read it",
        "it is too long for the handler's socket"};
    std::uint64_t* const counted[] = {&counts_.empty, &counts_.nameless, &counts_.overflow, &counts_.unread,
                                      &counts_.too_long};
    *counted[static_cast<int>(why)] += count;
    for (std::uint64_t i = 0; i < count; ++i) {
        if (!episode_.note(superd::now())) continue;
        const bool named = peer.family() != AF_UNSPEC;
        const std::string sender = named ? peer.text() : "a sender without a name";
        engine_.log.write(Level::notice,
                          fmt::format("{}: a datagram was dropped: {}", sender, kWhy[static_cast<int>(why)]),
                          {{"SERVICE", service_}, {"PEER", named ? peer.text() : ""}});
    }
}

bool Sessions::any_open() const {
    return std::ranges::any_of(by_peer_, [](const auto& entry) { return entry.second.session->has_handler(); });
}

SessionReport Sessions::report() const {
    SessionReport report;
    for (const auto& [key, entry] : by_peer_) ++(entry.session->has_handler() ? report.open : report.waiting);
    report.queued = queued_;
    report.counts = counts_;
    return report;
}

SessionsState Sessions::write_down() const {
    SessionsState state{counts_, episode_.memory(), {}};
    for (const auto& [key, entry] : by_peer_)
        if (entry.waiting) state.waiting.push_back(entry.waiting->record());
    return state;
}

void Sessions::take_up() {
    singles_.sort([](const Session* a, const Session* b) { return a->record().begun < b->record().begun; });
    wake();
}

Result<void> Sessions::go_on(const SessionsState& state) {
    counts_ = state.counts;
    for (const SessionRecord& record : state.waiting) {
        auto session = std::make_unique<Session>(*this, record);
        enter(*session);
        by_peer_.find(key_of(record.peer, record.local))->second.waiting = std::move(session);
    }
    episode_.go_on(state.dropped);
    return {};
}

}  // namespace superd::core
