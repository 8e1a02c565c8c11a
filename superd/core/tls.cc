// SPDX-License-Identifier: MIT
#include "core/tls.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <new>

#include "base/place.h"
#include "base/signal.h"
#include "base/text.h"
#include "intake/intake.h"

namespace superd::core {
namespace {

using admit::Refusal;
using intake::Progress;
using proc::TlsAnswer;
using proc::TlsEnd;

/// One that has been there for so long does not make its renewal wait.
constexpr Duration kTlsLasted = std::chrono::seconds(10);
/// Words that are read before others have their turn.
constexpr int kMostTlsWords = 64;
/// The next try to give it a client, where something was scarce.
constexpr Duration kTlsTryAgain = std::chrono::milliseconds(100);

std::string how_tls_ended(int status) {
    if (WIFSIGNALED(status)) return fmt::format("killed by {}", signal_name(WTERMSIG(status)));
    return fmt::format("exit status {}", WEXITSTATUS(status));
}

}  // namespace

Tls::Tls(Engine& engine, Host& host, const conf::Service& definition)
    : engine_(engine),
      host_(host),
      definition_(definition),
      // Different for each generation of a service, also after an upgrade: this clock goes on.
      id_(static_cast<Id>(std::max<Instant::rep>(1, now().time_since_epoch().count()))),
      alarm_(engine.loop, [this] { ring(); }),
      late_(engine.loop, [this] { kill_late(); }) {}

Tls::~Tls() {
    // It hears that its channel closes, and goes once it has no client.
    for (const pid_t pid : pids_) engine_.children.erase(pid);
}

void Tls::begin() {
    if (channel_ || drained_ || alarm_.is_set()) return;  // a try that has failed is repeated by the alarm
    if (auto started = start(); !started) fail_by(started.error().text);
}

Result<proc::Launch> Tls::launch() {
    if (!plan_) {
        conf::Handler handler;
        handler.path = definition_.name;
        handler.argv = conf::tls_words(definition_.tls);
        handler.identity = definition_.tls->identity;
        plan_ = std::make_unique<proc::ExecPlan>(handler, conf::sandbox_of(conf::Preset::none), engine_.started_nofile);
        plan_->start_by(engine_.tls.get(), "superd-tls", proc::Start::direct);
    }
    proc::Launch launch;
    launch.plan = plan_.get();
    launch.descriptors.push_back(engine_.null.duplicate());
    launch.number = {0, 0, 0};
    auto pair = proc::make_pair();
    if (!pair) return std::unexpected(pair.error());
    const int on = 1;
    if (setsockopt(pair->ours.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0)
        return fail_errno("SO_PASSCRED", errno);
    channel_ = std::move(pair->ours);
    launch.number.push_back(static_cast<int>(launch.descriptors.size()));
    launch.descriptors.push_back(std::move(pair->theirs));
    static_assert(proc::kTlsChannel == 3 && conf::kTlsFirstFile == 4);
    for (const conf::TlsFile& one : conf::files_of(definition_.tls)) {
        auto file = conf::open_pem(*one.file);
        if (!file) return fail(fmt::format("{} {}", one.key, file.error().text));
        launch.number.push_back(static_cast<int>(launch.descriptors.size()));
        launch.descriptors.push_back(std::move(*file));
    }
    if (!launch.descriptors[0]) return fail_errno("descriptor of superd-tls", errno);
    return launch;
}

Result<void> Tls::start() try {
    if (!engine_.tls) return fail("superd-tls is not installed");
    auto launch = this->launch();
    if (!launch) return std::unexpected(launch.error());
    if (auto watched = watch(); !watched) return watched;
    pids_.reserve(pids_.size() + 1);
    Place whose(engine_.children);
    const auto pid = engine_.spawner.spawn(*launch);
    if (!pid) return std::unexpected(pid.error());
    whose.take(*pid, this);
    pid_ = *pid;
    alive_ = true;
    pids_.push_back(pid_);
    unsettled_ = Counted(engine_.unsettled);
    alarm_.set(now() + kPatience);
    return {};
} catch (const std::bad_alloc&) {
    return no_memory();
}

Result<void> Tls::watch() {
    auto source = engine_.loop.io(channel_.get(), EPOLLIN, [this](std::uint32_t events) { listen(events); });
    if (!source) return std::unexpected(source.error());
    source_ = std::move(*source);
    wants_room_ = false;
    return {};
}

void Tls::listen(std::uint32_t events) {
    const bool was_ready = ready_;
    if ((events & EPOLLOUT) != 0) give_waiting();
    hear();
    if (ready_ != was_ready) host_.changed();
}

void Tls::hear() {
    bool open = true;
    for (int i = 0; i < kMostTlsWords && channel_ && open; ++i) {
        const auto word = proc::tls_word(channel_.get(), open);
        if (!word) break;
        take(*word);
    }
    if (open || !channel_) return;
    // Its end follows; until then the channel would be an event again and again.
    source_ = {};
    if (alive_ && !drained_) kill(pid_, SIGKILL);
}

void Tls::take(const proc::TlsWord& word) {
    switch (word.answer.word) {
        case TlsAnswer::Word::ready:
            if (ready_) return;
            if (word.answer.about != proc::kTlsVersion)
                return fail_by(fmt::format("superd-tls speaks version {}, and superd {}: they are of two releases",
                                           word.answer.about, proc::kTlsVersion));
            ready_ = true;
            alarm_.clear();
            unsettled_ = {};
            since_ = now();
            trouble_.clear();
            if (!std::exchange(told_, {}).empty())
                engine_.log.write(Level::notice, "TLS is served again", {{"SERVICE", definition_.name}});
            return give_waiting();
        case TlsAnswer::Word::failed: {
            const auto files = conf::files_of(definition_.tls);
            const auto index = word.answer.about - conf::kTlsFirstFile;
            const std::string what =
                index < files.size() ? fmt::format("{} \"{}\" ", files[index].key, files[index].file->path) : "";
            return fail_by(what + word.text);
        }
        case TlsAnswer::Word::done:
            return done(word.answer.about, word.text);
        case TlsAnswer::Word::refused:
            return refused(word.answer.about, word);
    }
    if (alive_) kill(pid_, SIGKILL);  // it says what it should not
}

void Tls::done(intake::Ticket ticket, std::string_view text) {
    if (given_.erase(ticket) == 0) return;  // it was given up meanwhile
    intake::Entrant* const entrant = host_.intake().entrant(ticket);
    if (entrant == nullptr) return;
    const auto facts = proc::read_facts(text);
    if (!facts) return host_.intake().failed(ticket, Refusal::tls, ": superd-tls says what it should not");
    proc::add_facts(*facts, entrant->client.variables);
    host_.intake().passed(ticket);
}

void Tls::refused(intake::Ticket ticket, const proc::TlsWord& word) {
    if (given_.erase(ticket) == 0) return;
    const std::string more = word.text.empty() ? "" : fmt::format(": {}", escape(word.text));
    const Refusal why = word.answer.end == TlsEnd::gone     ? Refusal::gone
                        : word.answer.end == TlsEnd::scarce ? Refusal::tls
                                                            : Refusal::handshake;
    host_.intake().failed(ticket, why, more);
}

Progress Tls::go_on(intake::Entrant& entrant) {
    if (!ready_ || !waiting_.empty() || !give(entrant)) waiting_.push_back(entrant.ticket);
    return {Progress::Kind::elsewhere};
}

bool Tls::give(intake::Entrant& entrant) {
    auto pair = proc::make_plain_pair();
    if (!pair && pair.error().code == EMFILE) {
        // Once it is given, the client's own descriptor is free.
        engine_.reserve.release();
        pair = proc::make_plain_pair();
        engine_.reserve.fill(engine_.null);
    }
    if (!pair) return try_again(pair.error()), false;
    const auto given = given_.insert(entrant.ticket).first;
    if (auto sent =
            proc::order_handshake(channel_.get(), entrant.ticket, entrant.client.connection.get(), pair->tls.get());
        !sent) {
        given_.erase(given);
        const int code = sent.error().code;
        want_room(code == EAGAIN);
        // Where nobody listens any more, its end follows.
        if (code != EAGAIN && code != EPIPE && code != ECONNRESET) try_again(sent.error());
        return false;
    }
    entrant.client.connection = std::move(pair->handlers);
    host_.intake().begins_now(entrant.ticket);
    return true;
}

void Tls::try_again(const Error& why) {
    host_.scarce(why);
    want_room(false);
    alarm_.set_by(now() + kTlsTryAgain);
}

void Tls::give_waiting() {
    while (ready_ && !waiting_.empty()) {
        const intake::Ticket ticket = waiting_.front();
        if (intake::Entrant* const entrant = host_.intake().entrant(ticket); entrant != nullptr && !give(*entrant))
            return;
        waiting_.pop_front();
    }
    want_room(false);
    if (drained_ && waiting_.empty() && channel_) shutdown(channel_.get(), SHUT_WR);
}

void Tls::want_room(bool on) {
    if (wants_room_ == on || !source_) return;
    if (source_.watch(on ? EPOLLIN | EPOLLOUT : EPOLLIN)) wants_room_ = on;
}

/// Whoever could not be given to it has had no handshake to finish.
Refusal Tls::overdue(const intake::Entrant& entrant) const {
    return given_.contains(entrant.ticket) ? Refusal::handshake_timeout : Refusal::tls;
}

void Tls::forget(const intake::Entrant& entrant) {
    given_.erase(entrant.ticket);
    std::erase(waiting_, entrant.ticket);
}

void Tls::drain() {
    drained_ = true;
    if (channel_) {
        if (waiting_.empty()) shutdown(channel_.get(), SHUT_WR);
        return;
    }
    alarm_.clear();
    lose_waiting_soon();
}

void Tls::stop() {
    drain();
    if (!pids_.empty()) late_.set(now() + definition_.stop_timeout);
}

/// A client that takes nothing in, or whoever has taken it over, would keep superd from its end.
void Tls::kill_late() {
    const std::size_t lost = lost_now();
    for (const pid_t pid : pids_) {
        if (pid == left_) continue;
        engine_.log.write(Level::notice,
                          fmt::format("superd-tls, process {}, has not left in {} and is killed", pid,
                                      format_duration(definition_.stop_timeout)),
                          {{"SERVICE", definition_.name}, {"CHILD_PID", pid}, {"COUNT", lost}});
    }
    kill_all();
}

/// Whoever hears of a lost client may end this, which a caller of drain() does not expect.
void Tls::lose_waiting_soon() {
    losing_ = !(waiting_.empty() && given_.empty());
    if (losing_) alarm_.set(now());
}

void Tls::kill_all() {
    for (const pid_t pid : pids_)
        if (pid != left_) kill(pid, SIGKILL);
}

void Tls::close() {
    source_ = {};
    channel_.reset();
    alarm_.clear();
    ready_ = alive_ = false;
    pid_ = 0;
    unsettled_ = {};
}

/// Told once, until it is there or something else is the matter.
void Tls::fail_by(const std::string& why) {
    const std::size_t lost = ready_ ? lost_now() : 0;
    if (alive_) kill(pid_, SIGKILL);
    close();
    trouble_ = fmt::format("TLS cannot be served: {}", escape(why));
    if (std::exchange(told_, trouble_) != trouble_)
        engine_.log.write(Level::error,
                          fmt::format("{}; {}clients wait", trouble_,
                                      lost > 0 ? counted(lost, "connection") + " lost, " : std::string()),
                          {{"SERVICE", definition_.name}});
    if (!drained_) alarm_.set(now() + backoff_.next());
    lose_clients("superd-tls is not there");
}

void Tls::lose_clients(const std::string& why) {
    const std::string more = ": " + why;
    for (const intake::Ticket ticket : std::exchange(given_, {})) host_.intake().failed(ticket, Refusal::tls, more);
    if (!drained_) return;  // the next one takes them
    for (const intake::Ticket ticket : std::exchange(waiting_, {})) host_.intake().failed(ticket, Refusal::tls, more);
}

void Tls::ring() {
    if (ready_) return give_waiting();
    if (losing_) {
        lose_clients("superd-tls is not there");
        losing_ = false;
        return host_.left();
    }
    if (!channel_) return begin();
    fail_by(fmt::format("superd-tls is not ready after {}", format_duration(kPatience)));
}

void Tls::exited(pid_t pid, int status, const rusage&) {
    left_ = pid;  // it counts until after_exit(): lost clients are told of, and this must not end meanwhile
    const auto failure = engine_.spawner.reaped(pid);
    if (pid != pid_) return;
    alive_ = false;
    hear();  // it may have said why
    if (pid != pid_) return;
    const std::string how = failure ? fmt::format("{}: {}", proc::name_of(failure->step), errno_text(failure->code))
                                    : how_tls_ended(status);
    if (drained_ && status == 0) {
        close();
        return lose_clients("superd-tls has ended");
    }
    if (!ready_) return fail_by(fmt::format("superd-tls ended before it was ready: {}", how));
    close();
    trouble_ = fmt::format("superd-tls ended ({})", how);
    tell_end(pid, how);
    if (now() - since_ >= kTlsLasted) backoff_.reset();
    if (!drained_) alarm_.set(now() + backoff_.next());
    lose_clients("superd-tls has ended");
}

void Tls::tell_end(pid_t pid, const std::string& how) {
    const std::size_t lost = lost_now() + host_.end_cut_off(": superd-tls has ended");
    engine_.log.write(Level::error,
                      fmt::format("superd-tls, process {}, ended: {}; {} lost with it{}", pid, how,
                                  counted(lost, "connection"), drained_ ? "" : ", and it is started again"),
                      {{"SERVICE", definition_.name}, {"CHILD_PID", pid}, {"COUNT", lost}});
}

void Tls::after_exit() {
    std::erase(pids_, std::exchange(left_, 0));
    host_.left();
}

void Tls::overdue(pid_t pid) {
    engine_.log.write(Level::error, fmt::format("superd-tls did not start; process {} is killed", pid),
                      {{"SERVICE", definition_.name}, {"CHILD_PID", pid}});
}

}  // namespace superd::core
