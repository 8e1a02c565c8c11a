// SPDX-License-Identifier: MIT
#pragma once
// A running service: its ports, its counts, the definition in force and those before it that still have children.

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "admit/admission.h"
#include "core/error_stream.h"
#include "core/generation.h"
#include "core/port.h"
#include "core/stats.h"

namespace superd::core {

class Service {
  public:
    Service(Engine& engine, std::string name);
    ~Service();
    const std::string& name() const { return name_; }

    /// Puts a definition in force on these ports; the one before it drains.
    void adopt(conf::Service definition, std::vector<Port*> ports);
    /// The service is no longer defined: clients already taken are served, handlers finish.
    void withdraw();
    /// Takes over every client that waits on a port which is about to be closed.
    void collect(Port& port);
    /// superd stops: handlers are ended by their stop ladder, at once the second time.
    void stop();
    void kill_all();

    /// The one place that decides whether the listeners are watched. Called after every change.
    void reconcile();

    void port_ready(std::size_t index);
    void port_came(std::size_t index);
    /// The kernel has no room for another handler or connection: wait, then try again. Nothing is lost.
    void back_off(const Error& why);
    /// A handler was started: what was scarce is there again.
    void started();
    /// A client that could not be served yet; take() returns it before any other.
    void stall(model::Client client);
    std::optional<model::Client> take(std::size_t listener);
    /// A child of `generation` left.
    void child_left(const Generation& generation);

    /// nullptr: the address is not there, or not yet.
    net::Listener* socket(std::size_t index) { return index < ports_.size() ? ports_[index]->listener() : nullptr; }
    admit::Admission& admission() { return admission_; }
    Stats& stats() { return stats_; }
    ErrorStream& errors() { return errors_; }

    const Generation* current() const { return current_.get(); }
    bool is_withdrawn() const { return withdrawn_; }
    bool others_running(const Generation& but) const;
    std::size_t running() const;
    /// Withdrawn and without a child: may be forgotten.
    bool finished() const { return !current_ && former_.empty(); }
    void write_status();

  private:
    std::optional<model::Client> accept(std::size_t listener);
    std::optional<model::Client> receive(std::size_t listener);
    const char* state() const;
    void retry();
    /// Forgets definitions that have no children left.
    void tidy();
    void announce(Port& port);

    Engine& engine_;
    const std::string name_;
    admit::Admission admission_;
    Stats stats_;
    ErrorStream errors_;
    std::vector<Port*> ports_;
    std::deque<model::Client> stalled_;
    std::vector<std::unique_ptr<Generation>> former_;
    std::unique_ptr<Generation> current_;
    Backoff backoff_{std::chrono::milliseconds(10), std::chrono::seconds(1)};
    sys::Source retry_;
    bool backing_off_ = false;
    bool withdrawn_ = false;
    bool reconciling_ = false;
};

}  // namespace superd::core
