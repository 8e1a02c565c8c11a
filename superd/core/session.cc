// SPDX-License-Identifier: MIT
#include "core/session.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "core/reserve.h"
#include "core/sessions.h"
#include "sys/descriptors.h"

namespace superd::core {
namespace {

/// Messages in one go, so that one busy handler does not keep the loop from the others.
constexpr int kAnswersAtOnce = 16;
/// The sockets' buffers bound what can be there.
constexpr int kMostAnswersLeft = 4096;

}  // namespace

Session::Session(Sessions& table, SessionRecord record) : table_(table), record_(std::move(record)) {
    for (const std::string& data : record_.queue) bytes_ += data.size();
    table_.queued_ += record_.queue.size();
    table_.bytes_ += bytes_ + record_.first;
}

Session::~Session() {
    table_.queued_ -= record_.queue.size();
    table_.bytes_ -= bytes_ + record_.first;
    table_.forget(*this);
}

void Session::receive(std::string data) {
    if (++record_.received == 2) table_.is_established(*this);
    const bool first_in_line = ours_ && has_handler() && record_.queue.empty();
    if (!first_in_line || !give(data)) enqueue(std::move(data));
}

void Session::enqueue(std::string data) {
    const bool fits = record_.queue.size() < kMostQueued && bytes_ + data.size() <= kMostBytes &&
                      table_.bytes_ + data.size() <= Sessions::kMostBytes;
    if (!fits) return table_.dropped(Sessions::Dropped::overflow, record_.peer);
    bytes_ += data.size();
    table_.bytes_ += data.size();
    ++table_.queued_;
    record_.queue.push_back(std::move(data));
    if (has_handler()) want(EPOLLIN | EPOLLOUT);
}

bool Session::give(const std::string& data) {
    const ssize_t sent = send(ours_.get(), data.data(), data.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0) {
        ++record_.given;
        record_.last = table_.now();
        return true;
    }
    if (errno == EAGAIN || errno == EINTR) return false;
    table_.dropped(errno == EMSGSIZE ? Sessions::Dropped::too_long : Sessions::Dropped::unread, record_.peer);
    return true;
}

void Session::give_queued() {
    while (!record_.queue.empty() && give(record_.queue.front())) {
        const std::size_t size = record_.queue.front().size();
        bytes_ -= size;
        table_.bytes_ -= size;
        --table_.queued_;
        record_.queue.pop_front();
    }
    want(record_.queue.empty() ? EPOLLIN : EPOLLIN | EPOLLOUT);
    if (record_.ending && record_.queue.empty() && ours_) shutdown(ours_.get(), SHUT_WR);
}

Result<sys::Fd> Session::open(int listener, std::optional<net::Sender> as) {
    auto pair = make_message_pair();
    if (!pair) return std::unexpected(pair.error());
    setsockopt(pair->ours.get(), SOL_SOCKET, SO_SNDBUF, &Sessions::kPairBuffer, sizeof Sessions::kPairBuffer);
    table_.learn_longest(pair->ours.get());
    // Sessions stay for as long as their peers like: the last descriptors are for clients of other services.
    if (Reserve::is_high(pair->ours.get())) return fail_errno("descriptor of a session", EMFILE);
    auto copy = pair->theirs.duplicate();
    if (!copy) return fail_errno("descriptor of a session", errno);
    auto answers = std::make_unique<Answers>(table_.replies(), record_.peer, record_.local, as);
    if (auto had = answers->answer_from(listener); !had) return std::unexpected(had.error());
    ours_ = std::move(pair->ours);
    theirs_ = std::move(copy).lifted();
    answers_ = std::move(answers);
    if (auto watched = watch(); !watched) {
        close();
        return std::unexpected(watched.error());
    }
    return std::move(pair->theirs);
}

void Session::close() {
    source_ = {};
    ours_.reset();
    theirs_.reset();
    answers_.reset();
}

Result<void> Session::watch() {
    auto source = table_.engine().loop.io(ours_.get(), EPOLLIN, [this](std::uint32_t events) { look(events); });
    if (!source) return std::unexpected(source.error());
    source_ = std::move(*source);
    return {};
}

void Session::want(std::uint32_t events) {
    if (record_.over) events &= ~static_cast<std::uint32_t>(EPOLLIN);
    if (source_) (void)source_.watch(events);
}

void Session::look(std::uint32_t events) {
    auto passed = Answers::Passed::one;
    for (int i = 0; i < kAnswersAtOnce && !record_.over && passed == Answers::Passed::one; ++i) {
        passed = answers_->pass_on(ours_.get());
        if (passed == Answers::Passed::one) record_.last = table_.now();
        record_.over = passed == Answers::Passed::over;
    }
    // The kernel goes on telling of a socket that the handler has shut down on both sides, and of one with an error.
    const bool hung_up = (events & (EPOLLHUP | EPOLLERR)) != 0;
    if (hung_up && (record_.over || passed != Answers::Passed::one)) {
        record_.over = true;
        source_ = {};
    }
    give_queued();
}

void Session::began(pid_t pid, std::string first) {
    pid_ = pid;
    table_.bytes_ -= std::exchange(record_.first, 0);
    if (!give(first)) table_.dropped(Sessions::Dropped::unread, record_.peer);
    give_queued();
}

void Session::end_input() {
    record_.ending = true;
    give_queued();
}

std::vector<std::string> Session::finish() {
    std::vector<std::string> left;
    source_ = {};
    for (int i = 0; i < kMostAnswersLeft && ours_ && !record_.over; ++i)
        if (answers_->pass_on(ours_.get()) != Answers::Passed::one) break;
    std::array<char, 65536> data;
    for (ssize_t n = 0; theirs_ && (n = recv(theirs_.get(), data.data(), data.size(), MSG_DONTWAIT)) > 0; ++unread_)
        left.emplace_back(data.data(), static_cast<std::size_t>(n));
    for (std::string& queued : record_.queue) left.push_back(std::move(queued));
    table_.queued_ -= record_.queue.size();
    table_.bytes_ -= bytes_;
    bytes_ = 0;
    record_.queue.clear();
    close();
    return left;
}

SessionState Session::write_down(sys::Descriptors& descriptors) const {
    SessionState state{record_, descriptors.keep(ours_), descriptors.keep(theirs_), -1, std::nullopt};
    if (!answers_) return state;
    state.socket = descriptors.keep(answers_->socket);
    if (const auto& as = answers_->as()) state.as.emplace(as->uid, as->gid);
    return state;
}

Result<std::unique_ptr<Session>> Session::go_on(Sessions& table, pid_t pid, const SessionState& state,
                                                sys::Descriptors& descriptors) {
    auto session = std::make_unique<Session>(table, state.record);
    std::optional<net::Sender> as;
    if (state.as) as = net::Sender{state.as->first, state.as->second};
    session->answers_ = std::make_unique<Answers>(table.replies(), state.record.peer, state.record.local, as);
    session->ours_ = descriptors.claim(state.ours);
    session->theirs_ = descriptors.claim(state.theirs);
    session->answers_->socket = descriptors.claim(state.socket);
    if (!session->ours_ || !session->theirs_ || !session->answers_->socket)
        return fail("the sockets of a session are missing");
    if (auto watched = session->watch(); !watched) return std::unexpected(watched.error());
    session->pid_ = pid;
    session->want(session->record_.queue.empty() ? EPOLLIN : EPOLLIN | EPOLLOUT);
    table.enter(*session);
    return session;
}

}  // namespace superd::core
