// SPDX-License-Identifier: MIT
#include "core/service.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/sysinfo.h>

#include <algorithm>
#include <cerrno>

namespace superd::core {
namespace {

/// If this many handlers in a row end badly at once, they count as not starting at all.
constexpr int kBadStarts = 20;

/// Clients refused in one go.
constexpr int kMostRefused = 16;

/// After this long without a failed try, the shortage is over.
constexpr Duration kEpisodeEnds = std::chrono::seconds(10);
constexpr Duration kGatesAgain = std::chrono::seconds(10);

admit::Refusal refusal_for(int code) {
    return code == EMFILE || code == ENFILE ? admit::Refusal::no_descriptors : admit::Refusal::no_processes;
}

}  // namespace

Service::Service(Engine& engine, std::string name)
    : engine_(engine),
      name_(std::move(name)),
      errors_(engine, name_, stats_),
      replies_(engine, name_, stats_),
      intake_(engine.loop, engine.log, name_, *this),
      wake_(engine.loop, [this] { intake_.woken(); }),
      gate_(engine.loop, [this] { set_gates(); }),
      episode_(engine.loop, [this] { end_episode(); }),
      retry_(engine.loop, [this] { retry(); }),
      throttle_timer_(engine.loop, [this] { retry(); }),
      gates_timer_(engine.loop, [this] { try_gates_again(); }) {}

Service::~Service() {
    intake_.clear();
    current_.reset();
    former_.clear();
}

void Service::configure(const conf::Service& definition) {
    intake_.configure(definition);
    gate_.configure(definition);
    errors_.configure(definition.stderr_rate);
    on_excess_ = definition.limits.on_excess;
    judges_itself_ = definition.handoff == conf::Handoff::connection;
}

const conf::Service& Service::keep(Definition definition) {
    return kept_.emplace_back(std::move(definition)).mapped();
}

Service::Definition Service::own(conf::Service definition) {
    std::map<std::string, conf::Service> one;
    const auto at = one.emplace("", std::move(definition)).first;
    return one.extract(at);
}

void Service::enforce(const conf::Service& definition, std::vector<Port*> ports) {
    withdrawn_ = false;
    ports_ = std::move(ports);
    configure(definition);
    throttled_until_ = {};
    bad_starts_ = 0;
    cannot_start_.clear();
    const bool given = definition.handoff == conf::Handoff::listen;
    // Present holders may rely on a non-blocking socket, and others like them set it so themselves.
    const bool alike =
        given && current_ && current_->definition().handler == definition.handler && !current_->holders().empty();
    auto next = std::make_unique<Generation>(engine_, *this, definition, ports_.size());
    for (std::size_t i = 0; i < ports_.size(); ++i) {
        ports_[i]->belong(this, i);
        if (net::Listener* listener = ports_[i]->listener(); listener != nullptr && !(alike && listener->given()))
            listener->set_blocking(given);
    }
    set_gates();
    if (current_ && given) {
        // Nobody will take clients from here any more: who is here is served as before, at once.
        while (auto client = intake_.take_here())
            if (!current_->serve(std::move(*client))) break;
        intake_.clear();
    }
    if (current_) former_.push_back(std::move(current_));
    current_ = std::move(next);
    // Successors first: the pool never stands empty.
    if (hold_ == Hold::open) current_->resume();
    retire_if_held();
    if (!former_.empty()) former_.back()->drain();
    tidy();
    reconcile();
}

void Service::withdraw() {
    withdrawn_ = true;
    hold_ = Hold::open;
    ports_.clear();
    reconcile();
    tidy();
}

void Service::collect(const net::Listener& socket) {
    const bool accepts = current_ && current_->definition().handoff == conf::Handoff::connection;
    if (socket.type() != conf::SocketType::datagram && accepts) intake_.take_all(socket, 0);
}

void Service::stop() {
    withdrawn_ = true;
    for (Port* port : ports_) port->watch(false);
    ports_.clear();
    intake_.clear();
    if (current_) former_.push_back(std::move(current_));
    for (const auto& generation : former_) generation->stop();
    tidy();
}

void Service::kill_all() {
    for (const auto& generation : former_) generation->kill_all();
}

void Service::port_ready(std::size_t index) {
    if (current_) current_->model().ready(index);
    reconcile();
}

void Service::port_came(std::size_t index) {
    Port& port = *ports_[index];
    announce(port);
    if (!current_) return;
    set_gates();
    port.listener()->set_blocking(current_->definition().handoff == conf::Handoff::listen);
    current_->resume();
    reconcile();
}

void Service::announce(Port& port) {
    engine_.log.write(Level::info, fmt::format("listening on {}", port.uri()),
                      {{"SERVICE", name_}, {"ADDRESS", port.uri()}});
}

void Service::reconcile() {
    if (reconciling_ || !current_) return;
    struct Once {
        bool& under_way;
        explicit Once(bool& flag) : under_way(flag) { under_way = true; }
        ~Once() { under_way = false; }
    };
    const Once once(reconciling_);
    model::Model& model = current_->model();
    // Whoever was taken before goes before the backlog.
    const bool ready = !backing_off() && (!throttled() || on_excess_ != conf::Excess::queue);
    while (ready && !backing_off() && model.wants(0) && intake_.advance()) {
        const auto before = intake_.stalled();
        model.ready(0);
        if (intake_.stalled() >= before) break;
    }
    intake_.rest();
    const bool open = hold_ == Hold::open && !withdrawn_ && !shut_ && ready && !backing_off() &&
                      intake_.stalled() == 0 && intake_.is_open();
    for (std::size_t i = 0; i < ports_.size(); ++i) ports_[i]->watch(open && !ports_[i]->deaf() && model.wants(i));
}

void Service::changed() {
    reconcile();
    tidy();
}

/// sysinfo(2) needs no descriptor, which may be just what is scarce.
double Service::load_average() const {
    struct sysinfo info {};
    return ::sysinfo(&info) == 0 ? static_cast<double>(info.loads[0]) / (1 << SI_LOAD_SHIFT) : 0;
}

void Service::set_gates() {
    shut_ = false;
    for (Port* port : ports_) {
        if (port->listener() == nullptr) continue;
        const auto applied = gate_.apply(*port->listener());
        if (applied) continue;
        shut_ = shut_ || !judges_itself_;
        engine_.log.write(Level::error,
                          fmt::format("{}: the access filter: {}; {}", port->uri(), applied.error().text,
                                      judges_itself_ ? "denied clients are closed instead" : "no client is let in"),
                          {{"SERVICE", name_}, {"ADDRESS", port->uri()}, {"ERRNO", applied.error().code}});
    }
    if (shut_) (void)gates_timer_.set(now() + kGatesAgain);
}

void Service::try_gates_again() {
    set_gates();
    if (shut_ || !current_) return;
    current_->resume();
    reconcile();
}

void Service::back_off(const Error& why) {
    note_scarcity(why);
    if (backing_off()) return;
    // Without memory for a timer the next client is the next try.
    if (retry_.set(now() + backoff_.next())) reconcile();
}

void Service::could_not_add(const Error& why) {
    note_scarcity(why);
}

void Service::note_scarcity(const Error& why) {
    intake_.count(refusal_for(why.code));
    ++episode_tries_;
    last_scarce_ = now();
    if (episode_.is_set()) return;
    engine_.log.write(
        Level::warning,
        fmt::format("cannot start as many handlers as clients need: {}; clients wait, none is lost", why.text),
        {{"SERVICE", name_}, {"ERRNO", why.code}});
    (void)episode_.set(now() + kEpisodeEnds);
}

void Service::end_episode() {
    if (now() - last_scarce_ < kEpisodeEnds) return (void)episode_.set(last_scarce_ + kEpisodeEnds);
    engine_.log.write(Level::notice,
                      fmt::format("starts handlers as clients need them again; {} tries had failed", episode_tries_),
                      {{"SERVICE", name_}, {"TRIES", episode_tries_}});
    episode_tries_ = 0;
}

void Service::retry() {
    retry_.clear();
    reconcile();
    tidy();
}

void Service::started() {
    ++stats_.started;
    backoff_.reset();
}

void Service::could_not_start(Instant began, std::string why) {
    cannot_start_ = std::move(why);
    cannot_start_at_ = began;
}

// Handlers from before the failure do not count, however late they end.
void Service::has_started(Instant began) {
    if (began > cannot_start_at_) cannot_start_.clear();
}

void Service::start_went(bool well, bool certain) {
    if (well) {
        bad_starts_ = 0;
        if (throttle_.tries() > 0 && !throttled()) {
            engine_.log.write(Level::notice, "handlers start again", {{"SERVICE", name_}});
            throttle_.reset();
        }
        return;
    }
    if (!certain && ++bad_starts_ < kBadStarts) return;
    bad_starts_ = 0;
    if (throttled()) return;
    if (throttle_.tries() == 0)
        engine_.log.write(Level::warning,
                          "handlers fail as soon as they start; clients are slowed down until one works",
                          {{"SERVICE", name_}});
    const Instant until = now() + throttle_.next();
    if (!throttle_timer_.set(until)) return;
    throttled_until_ = until;
    reconcile();
}

std::optional<model::Client> Service::take(std::size_t listener) {
    if (backing_off()) return std::nullopt;
    if (!throttled() || on_excess_ == conf::Excess::queue) return intake_.take(socket(listener), listener);
    // Under queue nobody is watched then; else whoever comes is told, so many at one go that others get their turn.
    for (int i = 0; i < kMostRefused; ++i) {
        auto client = intake_.take(socket(listener), listener);
        if (!client) break;
        std::move(client->charge).undo();
        intake_.refuse(std::move(*client), admit::Refusal::exec_failed);
    }
    return std::nullopt;
}

void Service::child_left(const Generation& generation) {
    renew_sockets();
    intake_.released();
    // Its place may be what a new definition's pool was waiting for.
    if (current_ && &generation != current_.get()) current_->resume();
    reconcile();
    tidy();
}

void Service::tidy() {
    if (withdrawn_ && intake_.stalled() + intake_.held() == 0 && current_) {
        current_->drain();
        former_.push_back(std::move(current_));
    }
    std::erase_if(former_, [](const auto& generation) { return generation->empty(); });
    const auto in_use = [this](const Definition& kept) {
        const auto has_it = [&](const auto& generation) { return &generation->definition() == &kept.mapped(); };
        return (current_ && has_it(current_)) || std::ranges::any_of(former_, has_it);
    };
    std::erase_if(kept_, [&](const Definition& kept) { return !in_use(kept); });
    if (!finished()) return;
    engine_.finished.push_back(name_);
    if (engine_.forget_soon) engine_.forget_soon();
}

bool Service::others_running(const Generation& but) const {
    const auto runs = [&](const Generation& other) {
        return &other != &but && (other.running() > 0 || (other.lingers() && !but.lingers()));
    };
    return std::ranges::any_of(former_, [&](const auto& generation) { return runs(*generation); }) ||
           (current_ && runs(*current_));
}

bool Service::has_room_for(const Generation& generation) {
    const admit::Admission& admission = intake_.admission();
    if (generation.lingers()) return admission.has_room();
    const auto kept =
        std::ranges::count_if(former_, [](const auto& other) { return other->lingers() && other->running() == 0; });
    return admission.in_use() + kept < admission.instances();
}

std::size_t Service::running() const {
    std::size_t count = current_ ? current_->running() : 0;
    for (const auto& generation : former_) count += generation->running();
    return count;
}

}  // namespace superd::core
