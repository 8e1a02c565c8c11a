// SPDX-License-Identifier: MIT
#pragma once
// superd itself: all running services, their sockets and children, and what signals and the manager ask of it.

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "conf/catalog.h"
#include "conf/plan.h"
#include "core/engine.h"
#include "core/operations.h"
#include "core/port.h"
#include "core/service.h"
#include "core/sockets.h"
#include "core/state.h"
#include "core/store.h"
#include "core/successor.h"
#include "core/watch.h"
#include "sys/alarm.h"
#include "sys/changes.h"

namespace superd::core {

/// How superd was started.
struct Invocation {
    conf::Surroundings definitions;  ///< what is read at start and at each reload
    std::string starter;             ///< path of superd-exec
    std::string warmer;              ///< path of superd-warm, which need not be there
    std::string holder, launcher;    ///< of superd-hold and superd-launch; likewise
    std::string tls;                 ///< of superd-tls; likewise
    rlimit started_nofile{};
    std::string binary;  ///< executed at an upgrade
    std::string folder;  ///< that paths in them are relative to
    bool watch = false;  ///< reload by itself, whatever superd.toml says
};

class Cgroups;
class ServiceCgroup;

class Supervisor final : public Operations {
  public:
    /// Signals that superd acts on must be blocked already.
    static Result<std::unique_ptr<Supervisor>> create(sys::Loop& loop, Log& log, sys::ServiceManager& manager,
                                                      Invocation invocation, std::vector<sys::PassedSocket> passed);
    ~Supervisor() override;

    /// What has been loaded, and when, as files tell the time.
    struct Loaded {
        conf::Catalog catalog;
        conf::Seen seen;              ///< what the load went by
        std::set<std::string> files;  ///< that the definitions name
        std::chrono::nanoseconds since{};
    };
    /// Puts the definitions in force; waits for an address that is not available yet.
    void start(Loaded loaded);
    /// Instead of start(): continues with the state of another. Does nothing yet to what that one, if it lives, still
    /// uses: this begins with take_up(), which cannot fail.
    Result<void> take_over(const State& state, sys::Descriptors& descriptors);
    void take_up();
    /// The successor for upgrade(), which is refused until then. It must outlive the loop's run.
    void succeed_by(Successor& successor) { successor_ = &successor; }
    Engine& engine() { return *engine_; }
    /// Everything for the successor; and whether something is under way that cannot be written down.
    std::pair<State, sys::Descriptors> write_down();
    bool settled() const;
    void upgrade_refused(const std::string& why);
    /// Whatever else must survive an upgrade.
    void on_upgrade(std::function<void(State&, sys::Descriptors&)> complete) { complete_ = std::move(complete); }
    /// Reads everything again and swaps, or changes nothing and logs why.
    ReloadReport reload() override;
    ReloadReport plan(bool look_up) override;
    /// The first call ends handlers by their stop ladder, the second at once. The loop ends when all are gone.
    void stop() override;
    void drain_all() override;
    /// TERM and INT: the first drains, if there is a time for it, and the second ends handlers at once.
    void end();
    /// Called after each reload that succeeded.
    void on_reload(std::function<void()> reloaded) { reloaded_ = std::move(reloaded); }
    void write_status();

    DaemonReport report() const override;
    std::vector<ServiceReport> services() const override;
    const conf::Catalog& in_force() const override { return catalog_; }
    std::pair<std::vector<ProcessReport>, std::size_t> processes(const std::string& service,
                                                                 std::size_t most) const override;
    const std::vector<gid_t>& readers() const override { return catalog_.control.readers; }
    Result<void> pause(const std::string& service) override { return wish(service, Service::Wish::paused); }
    Result<void> resume(const std::string& service) override { return wish(service, Service::Wish::open); }
    Result<void> drain(const std::string& service) override { return wish(service, Service::Wish::drained); }
    Result<std::vector<pid_t>> kill(const std::string& target, std::optional<int> signal) override;
    Result<intake::Explanation> explain(const std::string& service, const std::string& client,
                                        const std::string& via) override;
    Result<void> upgrade() override;

  private:
    /// One address of one service in a catalog. Two with equal keys are the same socket.
    struct Wanted {
        std::string key;
        const conf::Service* service;
        conf::Listen where;
    };
    struct Swap;

    Supervisor(sys::Loop& loop, Log& log, sys::ServiceManager& manager, Invocation invocation,
               std::vector<sys::PassedSocket> passed);
    Result<void> set_up();

    Swap prepare(conf::Reload next, const std::vector<conf::PlanItem>& plan) const;
    void want(const conf::Service& service, Swap& swap) const;
    Result<void> open_new(Swap& swap);
    struct InTheWay;
    InTheWay in_the_way_of(const Wanted& wanted, Swap& swap);
    Result<net::Listener> open_beside(const Wanted& wanted, const InTheWay& older);
    void put_in_force(Swap& swap);
    void collect_going(Swap& swap);
    void install(Swap& swap);
    void enforce(Swap& swap);
    void wait_for_missing(Swap& swap);
    void close_going(Swap& swap);
    void go_by(Swap& swap);
    void tell_left_out(const Swap& swap);
    Result<net::Listener> open_again(const std::string& service, const conf::Listen& where);
    void drop(Port& port);
    std::expected<conf::Reload, conf::Diagnostics> read_definitions(bool look_up,
                                                                    std::set<std::string>* files = nullptr);
    ReloadReport read_and_swap(std::set<std::string>& files);
    Picture look_at_files(const std::set<std::string>& files);
    void watch_on(std::set<std::string> files);
    Result<Service*> find(const std::string& name) const;
    Result<void> wish(const std::string& name, Service::Wish what);
    /// Of services alone: not the one that proves an upgrade.
    std::size_t count_processes() const;
    pid_t reap_one(int& status, rusage& used);
    void reap();
    void forget_finished();
    /// Groups that an earlier superd has left.
    void adopt_cgroups();
    bool strays_are_left() const;
    /// Looks at all sockets, or only at those that others have had, after the current event.
    void look_soon(bool all = true);
    void look_soon(Duration pause, bool all);
    void look_at_sockets(bool all);
    void look_at_exposed(bool all);
    void hear_of_changes();
    void report_to_manager();

    sys::Loop& loop_;
    Log& log_;
    sys::ServiceManager& manager_;
    Invocation invocation_;
    std::unique_ptr<proc::Spawner> spawner_;
    std::unique_ptr<Engine> engine_;
    std::unique_ptr<Cgroups> cgroups_;
    std::string cgroup_folder_;                                     ///< over an upgrade
    std::map<std::string, std::unique_ptr<ServiceCgroup>> strays_;  ///< of services that are not defined any more
    Successor* successor_ = nullptr;
    std::function<void(State&, sys::Descriptors&)> complete_;
    Store store_;
    PassedSockets passed_;
    conf::Catalog catalog_;
    conf::Seen seen_;  ///< what the load went by
    std::size_t enabled_ = 0;
    Ports ports_;
    std::map<std::string, std::unique_ptr<Service>> services_;
    std::vector<sys::Source> signals_;
    int stops_ = 0;
    bool signalled_ = false;  ///< a signal has asked for the end
    sys::Alarm drained_{loop_, [this] { stop(); }};
    sys::Source forget_;
    sys::Changes changes_{loop_, [this] { look_soon(); }};
    sys::Alarm look_{loop_, [this] { look_at_sockets(std::exchange(look_at_all_, false)); }};
    bool look_at_all_ = false;
    bool told_deaf_ = false;  ///< that it does not hear of changes
    std::function<void()> reloaded_;
    std::unique_ptr<Watch> watch_;
    std::optional<WatchState> watch_before_;  ///< until take_up()
    std::uint64_t reloads_ = 0, reloads_refused_ = 0;
    std::string reload_refused_because_;  ///< the last one
    std::uint64_t upgrades_ = 0, upgrades_refused_ = 0;
    std::string upgrade_refused_because_;  ///< the last time
    Instant begun_ = now();
    std::time_t begun_at_ = std::time(nullptr);
};

}  // namespace superd::core
