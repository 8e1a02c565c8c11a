// SPDX-License-Identifier: MIT
#include "daemon/run.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <malloc.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "base/text.h"

namespace superd {
namespace {

/// Raises superd's own limit of descriptors to the hard one. Returns the limit for handlers: theirs is the soft limit
/// that superd was started with, but not above select(2)'s sets, since a manager that passes many sockets has to start
/// superd with more.
rlimit raise_descriptor_limit() {
    rlimit started{};
    getrlimit(RLIMIT_NOFILE, &started);
    const rlimit raised{started.rlim_max, started.rlim_max};
    setrlimit(RLIMIT_NOFILE, &raised);
    return {std::min<rlim_t>(started.rlim_cur, FD_SETSIZE), started.rlim_max};
}

/// Logs what no handler has dealt with, mostly lack of memory: only once in a while, since it comes in numbers.
std::function<void(const char*)> tell_exceptions(Log& log) {
    return [&log, told = Instant{}, since = 0](const char* what) mutable {
        ++since;
        if (now() - told < std::chrono::seconds(10)) return;
        log.write(Level::error,
                  fmt::format("out of memory, or a fault of superd's: {}; superd continues, what it was doing "
                              "is tried again or lost ({} times)",
                              what, since),
                  {{"COUNT", since}});
        told = now();
        since = 0;
    };
}

/// Keeps it locked while the descriptor is open, so that a second superd cannot take it over.
Result<sys::Fd> write_pid_file(const std::string& path) {
    if (path.empty()) return sys::Fd();
    sys::Fd file(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644));
    if (!file) return fail_errno(fmt::format("pid file {}", path), errno);
    file = std::move(file).lifted();
    struct flock whole {};
    whole.l_type = F_WRLCK;
    if (fcntl(file.get(), F_OFD_SETLK, &whole) != 0)
        return errno == EAGAIN || errno == EACCES ? fail(fmt::format("pid file {} is held by a running superd", path))
                                                  : fail_errno(fmt::format("lock pid file {}", path), errno);
    const std::string text = fmt::format("{}\n", getpid());
    if (ftruncate(file.get(), 0) != 0 ||
        write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
        const int code = errno;
        unlink(path.c_str());
        return fail_errno(fmt::format("pid file {}", path), code);
    }
    return file;
}

/// On failure superd runs without; only a path that was asked for is required.
Result<std::unique_ptr<control::Server>> open_control(const Options& options, sys::Loop& loop, Log& log,
                                                      core::Supervisor& supervisor) {
    if (options.control.empty() && options.places.command) return nullptr;  // nobody has asked for one
    if (options.control.empty()) {
        log.write(Level::warning, "no control socket: XDG_RUNTIME_DIR is not set; --control PATH sets another path");
        return nullptr;
    }
    auto server = control::Server::open(loop, log, supervisor, options.control);
    if (server || options.control_given) return server;
    log.write(Level::warning, fmt::format("{}; superd runs without it", server.error().text));
    return nullptr;
}

/// The socket that the earlier superd opened, or a new one.
Result<std::unique_ptr<control::Server>> take_over_control(const core::State& state, sys::Descriptors& descriptors,
                                                           sys::Loop& loop, Log& log, core::Supervisor& supervisor) {
    if (!state.control) return nullptr;
    sys::Fd fd = descriptors.claim(state.control->socket.fd);
    if (!fd) return fail("the control socket is missing");
    return control::Server::go_on(loop, log, supervisor, net::Listener::go_on(std::move(fd), state.control->socket),
                                  state.control->made_folder);
}

/// Reading thousands of definitions leaves holes between what stays: where they fill pages, the kernel gets them.
void give_back_memory() {
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

}  // namespace

void end_proof(const Result<void>& outcome, const core::State* state) {
    if (outcome && state != nullptr)
        fmt::print("{}\n", handover::proof_line(*state));
    else
        fmt::print(stderr, "{}\n", outcome ? "no state" : outcome.error().text);
    std::fflush(nullptr);
    _exit(outcome ? 0 : 1);
}

Result<void> SlowReader::attend(sys::Loop& loop) {
    auto timer = loop.timer([this] {
        waiting_ = false;
        log_.flush() ? patience_.reset() : later();
    });
    if (!timer) return std::unexpected(timer.error());
    timer_ = std::move(*timer);
    log_.on_slow_reader([this] { later(); });
    return {};
}

void SlowReader::later() {
    if (!waiting_) waiting_ = timer_.arm(now() + patience_.next()).has_value();
}

Result<void> Run::set_up() {
    core::Invocation invocation = this->invocation();
    if (before_ == nullptr)
        if (auto loaded = load(invocation.definitions); !loaded) return loaded;
    auto loop = sys::Loop::create();
    if (!loop) return std::unexpected(loop.error());
    loop_.emplace(std::move(*loop));
    loop_->on_exception(tell_exceptions(log_));
    auto manager = sys::ServiceManager::create(*loop_);
    if (!manager) return std::unexpected(manager.error());
    manager_ = std::move(*manager);
    if (auto attended = slow_reader_.attend(*loop_); !attended) return attended;
    auto passed = before_ != nullptr ? std::vector<sys::PassedSocket>{} : sys::passed_sockets();
    auto supervisor = core::Supervisor::create(*loop_, log_, *manager_, std::move(invocation), std::move(passed));
    if (!supervisor) return std::unexpected(supervisor.error());
    supervisor_ = std::move(*supervisor);
    upgrade_.emplace(supervisor_->engine(), binary_, options_.words,
                     handover::Upgrade::Owner{[this] { return supervisor_->write_down(); },
                                              [this] { return supervisor_->settled(); },
                                              [this](const std::string& why) { supervisor_->upgrade_refused(why); }});
    supervisor_->succeed_by(*upgrade_);
    return {};
}

Result<void> Run::load(const conf::Surroundings& from) {
    loaded_.since = std::chrono::system_clock::now().time_since_epoch();
    auto catalog = conf::load(from, nullptr, &loaded_.seen, &loaded_.files);
    if (!catalog) {
        fmt::print(stderr, "{}", conf::format(catalog.error()));
        return fail(fmt::format("{} in {}", counted(catalog.error().size(), "error"),
                                from.command ? "the command line" : "the definitions"));
    }
    loaded_.catalog = std::move(*catalog);
    return {};
}

Result<void> Run::begin() {
    auto pid_file = write_pid_file(options_.pid_file);
    if (!pid_file) return std::unexpected(pid_file.error());
    pid_file_ = std::move(*pid_file);
    if (auto opened = open_control_socket(); !opened) return opened;
    supervisor_->start(std::move(loaded_));
    give_back_memory();
    attend_control_socket();
    return {};
}

Result<void> Run::go_on() {
    sys::Descriptors descriptors(before_->descriptors);
    if (auto right = descriptors.check(); !right) return right;
    if (auto taken = supervisor_->take_over(*before_, descriptors); !taken) return taken;
    pid_file_ = descriptors.claim(before_->pid_file);
    auto server = take_over_control(*before_, descriptors, *loop_, log_, *supervisor_);
    if (!server) return std::unexpected(server.error());
    server_ = std::move(*server);
    if (!descriptors.sound()) return fail("the state does not account for each descriptor");
    if (options_.prove) end_proof({}, before_);
    if (auto opened = open_control_socket(); !opened) return opened;
    supervisor_->take_up();
    attend_control_socket();
    return {};
}

Result<int> Run::until_told() {
    auto code = loop_->run();
    server_.reset();
    if (!options_.pid_file.empty()) unlink(options_.pid_file.c_str());
    if (code) log_.on_slow_reader({});
    return code;
}

core::Invocation Run::invocation() const {
    core::Invocation invocation;
    invocation.definitions = conf::surroundings(options_.places);
    if (before_ == nullptr) invocation.definitions.cgroup = sys::find_delegation();
    invocation.starter = invocation.definitions.handler_path + "/superd-exec";
    invocation.warmer = invocation.definitions.handler_path + "/superd-warm";
    invocation.holder = invocation.definitions.handler_path + "/superd-hold";
    invocation.tls = invocation.definitions.handler_path + "/superd-tls";
    invocation.launcher = invocation.definitions.handler_path + "/superd-launch";
    invocation.folder = options_.folder;
    invocation.watch = options_.watch;
    invocation.binary = binary_;
    invocation.started_nofile = raise_descriptor_limit();
    if (before_ != nullptr) invocation.started_nofile = {before_->nofile_soft, before_->nofile_hard};
    return invocation;
}

Result<void> Run::open_control_socket() {
    if (server_) return {};
    auto server = open_control(options_, *loop_, log_, *supervisor_);
    if (!server) {
        if (!options_.pid_file.empty()) unlink(options_.pid_file.c_str());
        return std::unexpected(server.error());
    }
    server_ = std::move(*server);
    return {};
}

void Run::attend_control_socket() {
    supervisor_->on_upgrade([this](core::State& state, sys::Descriptors& descriptors) {
        state.pid_file = descriptors.keep(pid_file_);
        if (!server_) return;
        state.control = core::ControlState{server_->listener().kept(), server_->made_folder()};
        descriptors.keep(state.control->socket.fd);
    });
    if (!server_) return;
    server_->readers_changed();
    supervisor_->on_reload([this] { server_->readers_changed(); });
}

}  // namespace superd
