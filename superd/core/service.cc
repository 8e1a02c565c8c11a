// SPDX-License-Identifier: MIT
#include "core/service.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/sysinfo.h>

#include <algorithm>
#include <cerrno>

#include "core/service_cgroup.h"

namespace superd::core {
namespace {

/// Clients refused in one go.
constexpr int kMostRefused = 16;

constexpr Duration kGatesAgain = std::chrono::seconds(10);

}  // namespace

Service::Service(Engine& engine, std::string name)
    : engine_(engine), name_(std::move(name)), gate_(engine.loop, [this] { set_gates(); }) {}

Service::~Service() {
    if (traffic_) traffic_->intake.clear();
    current_.reset();
    former_.clear();
}

Traffic& Service::traffic() {
    if (traffic_) return *traffic_;
    traffic_ = std::make_unique<Traffic>(
        engine_, name_, *this, [this] { retry(); }, [this] { end_episode(); });
    if (const conf::Service* definition = this->definition()) traffic_->configure(*definition);
    return *traffic_;
}

const conf::Service* Service::definition() const {
    if (current_) return &current_->definition();
    return former_.empty() ? nullptr : &former_.back()->definition();
}

void Service::configure(const conf::Service& definition) {
    gate_.configure(definition);
    on_excess_ = definition.limits->on_excess;
    judges_itself_ = definition.handoff == conf::Handoff::connection;
    // The load keeps clients out before there is one.
    if (traffic_ || definition.limits->max_load) traffic().configure(definition);
    if (peers_) peers_->sessions.configure(definition);
}

ServiceCgroup& Service::make_cgroup() {
    if (!cgroup_)
        cgroup_ = std::make_unique<ServiceCgroup>(
            *engine_.cgroups, name_, engine_.children, [this] { changed(); }, [this] { begin_anew(); });
    return *cgroup_;
}

ServiceCgroup* Service::cgroup() {
    if (cgroup_ || engine_.cgroups == nullptr || !engine_.cgroups->usable()) return cgroup_.get();
    make_cgroup();
    if (const conf::Service* definition = this->definition()) cgroup_->apply(*definition);
    return cgroup_.get();
}

void Service::adopt_cgroup() {
    if (ServiceCgroup* const group = cgroup()) group->adopt();
}

void Service::begin_anew() {
    if (current_ && !withdrawn_) enforce(current_->definition(), std::vector<Port*>(ports_));
}

bool Service::is_deserted() const {
    return !cgroup_ || cgroup_->is_unkillable() || !cgroup_->is_populated();
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
    if (cgroup_) cgroup_->apply(definition);
    if (traffic_) {
        traffic_->throttled_until = {};
        traffic_->failing.clear();
        traffic_->cannot_start.clear();
    }
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
    if (current_ && given && traffic_) {
        // No more clients will be taken from here: those that are here are served as before, at once.
        while (auto client = traffic_->intake.take_here()) {
            const std::size_t others = traffic_->intake.stalled();
            (void)current_->serve(std::move(*client));  // perhaps by a launcher, which has not said a pid yet
            if (traffic_->intake.stalled() > others) break;
        }
        traffic_->intake.dismiss(std::nullopt, ": handlers accept clients themselves from now on");
        traffic_->intake.clear();
    }
    end_less_checked(definition);
    if (current_) former_.push_back(std::move(current_));
    current_ = std::move(next);
    // Successors first: the pool is never empty.
    if (wish_ == Wish::open) current_->resume();
    retire_unless_open();
    end_sessions();
    if (!former_.empty()) former_.back()->drain();
    tidy();
    reconcile();
}

/// Those whose handshakes the new definition would not have let pass in the same way: its handler goes by it.
void Service::end_less_checked(const conf::Service& next) {
    if (!current_ || !traffic_ || current_->handshake() == nullptr) return;
    const conf::Tls& before = current_->definition().tls;
    const conf::Tls& after = next.tls;
    if (before.client_ca == after.client_ca && before.client_crl == after.client_crl &&
        before.client_certificate == after.client_certificate && before.min_version == after.min_version)
        return;
    constexpr std::string_view why = ": [tls] asks for something else from now on";
    traffic_->intake.dismiss(current_->handshake()->id(), why);
    (void)traffic_->intake.end_secured(intake::Intake::Secured::all, why);
}

void Service::withdraw() {
    withdrawn_ = true;
    wish_ = Wish::open;
    ports_.clear();
    end_sessions();
    reconcile();
    tidy();
}

const conf::ProxyProtocol& Service::proxy_protocol() const {
    static const conf::ProxyProtocol none;
    const conf::Service* const in_force = definition();
    return in_force != nullptr ? *in_force->proxy_protocol : none;
}

void Service::collect(const net::Listener& socket, const conf::ProxyProtocol& rules) {
    const bool accepts = current_ && current_->definition().handoff == conf::Handoff::connection;
    if (socket.type() != conf::SocketType::datagram && accepts) traffic().intake.take_all(socket, 0, rules);
}

void Service::stop() {
    withdrawn_ = true;
    for (Port* port : ports_) port->watch(false);
    ports_.clear();
    if (traffic_) traffic_->intake.clear();
    if (peers_) peers_->sessions.clear();
    if (current_) former_.push_back(std::move(current_));
    for (const auto& generation : former_) generation->stop();
    if (cgroup_) cgroup_->end();
    tidy();
}

void Service::kill_all() {
    if (cgroup_) cgroup_->kill();
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
    const bool ready = !backing_off() && (!throttled() || on_excess_ != conf::Excess::queue) &&
                       current_->has_sandbox() && (!has_sessions() || wish_ == Wish::open);
    if (traffic_) {
        intake::Intake& intake = traffic_->intake;
        // Clients taken before go before the backlog.
        while (ready && !backing_off() && model.wants(0) && intake.advance()) {
            const auto before = intake.stalled();
            model.ready(0);
            if (intake.stalled() >= before) break;
        }
        intake.rest();
    }
    bool open = wish_ == Wish::open && !withdrawn_ && !shut_ && ready && !backing_off() && current_->takes_clients() &&
                (!traffic_ || (traffic_->intake.stalled() == 0 && traffic_->intake.is_open()));
    // Peers that have a session go on, whatever keeps new ones waiting.
    if (has_sessions())
        open = !withdrawn_ && !shut_ && !(peers_ && peers_->scarce) &&
               (wish_ == Wish::open || (peers_ && peers_->sessions.any_open()));
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
    if (!shut_) return;
    if (!gates_timer_) gates_timer_ = std::make_unique<sys::Alarm>(engine_.loop, [this] { try_gates_again(); });
    gates_timer_->set(now() + kGatesAgain);
}

void Service::try_gates_again() {
    set_gates();
    if (shut_ || !current_) return;
    current_->resume();
    reconcile();
}

Result<void> Service::can_accept() {
    if (engine_.reserve.fill(engine_.null)) return {};
    return fail_errno("accept", EMFILE);
}

std::optional<model::Client> Service::take(std::size_t listener) {
    if (has_sessions()) return take_of_sessions(listener);
    if (backing_off()) return std::nullopt;
    intake::Intake& intake = traffic().intake;
    // The model may ask although no listener is watched.
    const net::Listener* const from = current_ && current_->takes_clients() ? socket(listener) : nullptr;
    if (!throttled() || on_excess_ == conf::Excess::queue) return intake.take(from, listener);
    // Under queue nothing is watched then; otherwise clients are refused, so many in one go that others get their turn.
    for (int i = 0; i < kMostRefused; ++i) {
        auto client = intake.take(from, listener);
        if (!client) break;
        std::move(client->charge).undo();
        intake.refuse(std::move(*client), admit::Refusal::exec_failed);
    }
    return std::nullopt;
}

void Service::child_left(const Generation& generation) {
    renew_sockets();
    if (traffic_) traffic_->intake.released();
    // A new definition's pool may have been waiting for its place.
    if (current_ && &generation != current_.get()) current_->resume();
    reconcile();
    tidy();
}

intake::Stage* Service::stage(intake::Stage::Id id) {
    const auto is_it = [id](Generation& one) { return one.handshake() != nullptr && one.handshake()->id() == id; };
    if (current_ && is_it(*current_)) return current_->handshake();
    for (const auto& former : former_)
        if (is_it(*former)) return former->handshake();
    return nullptr;
}

void Service::sandbox_changed(const Generation& generation) {
    if (current_.get() == &generation && wish_ == Wish::open && !withdrawn_) current_->resume();
    reconcile();
    tidy();
}

void Service::tidy() {
    const bool served =
        !traffic_ || traffic_->intake.stalled() + traffic_->intake.held() + traffic_->intake.pending() == 0;
    if (withdrawn_ && served && current_) {
        current_->drain();
        former_.push_back(std::move(current_));
    }
    std::erase_if(former_, [](const auto& generation) { return generation->empty(); });
    const auto in_use = [this](const Definition& kept) {
        const auto has_it = [&](const auto& generation) { return &generation->definition() == &kept.mapped(); };
        return (current_ && has_it(current_)) || std::ranges::any_of(former_, has_it);
    };
    std::erase_if(kept_, [&](const Definition& kept) { return !in_use(kept); });
    // What its handlers have left goes with the service.
    if (!current_ && former_.empty() && cgroup_) cgroup_->end();
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
    const admit::Admission& admission = this->admission();
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
