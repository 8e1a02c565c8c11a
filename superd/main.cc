// SPDX-License-Identifier: MIT
// superd: reads its words, prepares the process, starts the supervisor.
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>

#include "base/text.h"
#include "control/server.h"
#include "core/supervisor.h"
#include "ctl/definitions.h"
#include "sys/service_manager.h"

namespace {

using namespace superd;

struct Options {
    ctl::Places places;
    std::string log_format = "auto";
    std::string log_level = "info";
    std::string pid_file;
    std::string control;
    bool control_given = false;
    bool check = false;
    bool daemon = false;
};

/// 0, 1 and 2 must be taken, or the first sockets would be.
void fill_standard_descriptors() {
    int fd;
    while ((fd = open("/dev/null", O_RDWR)) >= 0 && fd <= STDERR_FILENO) {
    }
    if (fd > STDERR_FILENO) close(fd);
}

/// What whoever started superd left open is for no handler. LISTEN_FDS are taken over later all the same.
void close_inherited_on_exec() {
    if (close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC) == 0) return;
    for (int fd = STDERR_FILENO + 1; fd < static_cast<int>(sysconf(_SC_OPEN_MAX)); ++fd) fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/// Children inherit dispositions, so all are the default; what superd acts on comes through the loop.
void prepare_signals() {
    for (int number = 1; number < NSIG; ++number) signal(number, SIG_DFL);
    sigset_t blocked;
    sigemptyset(&blocked);
    // PIPE is never let through: writes report EPIPE.
    for (const int number : {SIGCHLD, SIGHUP, SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGPIPE}) sigaddset(&blocked, number);
    sigprocmask(SIG_SETMASK, &blocked, nullptr);
}

/// Raises superd's own limit of descriptors to the hard one. Returns what handlers are to get back.
rlimit raise_descriptor_limit() {
    rlimit started{};
    getrlimit(RLIMIT_NOFILE, &started);
    const rlimit raised{started.rlim_max, started.rlim_max};
    setrlimit(RLIMIT_NOFILE, &raised);
    return started;
}

std::unique_ptr<LogSink> choose_sink(const std::string& format) {
    if (format == "journal" || (format == "auto" && sys::is_journal(STDERR_FILENO))) return sys::journal_sink();
    LogStyle style = isatty(STDERR_FILENO) ? LogStyle::text : LogStyle::logfmt;
    if (format == "text") style = LogStyle::text;
    if (format == "logfmt") style = LogStyle::logfmt;
    if (format == "json") style = LogStyle::json;
    return line_sink(STDERR_FILENO, style);
}

/// Detaches. The first process waits on the pipe whose other end is returned here, and passes on as its exit
/// status the byte that comes; none is 1.
Result<sys::Fd> detach() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return fail_errno("pipe", errno);
    const pid_t child = fork();
    if (child < 0) return fail_errno("fork", errno);
    if (child != 0) {
        close(ends[1]);
        char status = 1;
        if (read(ends[0], &status, 1) != 1) status = 1;
        _exit(status);
    }
    close(ends[0]);
    setsid();
    (void)!chdir("/");
    const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    close(null);
    return sys::Fd(ends[1]).lifted();
}

/// Locked for as long as the descriptor is open, so that a second superd cannot take it over.
Result<sys::Fd> write_pid_file(const std::string& path) {
    if (path.empty()) return sys::Fd();
    sys::Fd file(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644));
    if (!file) return fail_errno(fmt::format("pid file {}", path), errno);
    file = std::move(file).lifted();
    struct flock whole {};
    whole.l_type = F_WRLCK;
    if (fcntl(file.get(), F_OFD_SETLK, &whole) != 0)
        return fail(fmt::format("pid file {} is held by a superd that runs", path));
    const std::string text = fmt::format("{}\n", getpid());
    if (ftruncate(file.get(), 0) != 0 ||
        write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
        return fail_errno(fmt::format("pid file {}", path), errno);
    return file;
}

/// Nothing: superd runs without. Only a path that was asked for has to be had.
Result<std::unique_ptr<control::Server>> open_control(const Options& options, sys::Loop& loop, Log& log,
                                                      core::Supervisor& supervisor) {
    if (options.control.empty()) {
        log.write(Level::warning, "no control socket: XDG_RUNTIME_DIR is not set; --control PATH puts it elsewhere");
        return nullptr;
    }
    auto server = control::Server::open(loop, log, supervisor, options.control);
    if (server || options.control_given) return server;
    log.write(Level::warning, fmt::format("{}; superd runs without", server.error().text));
    return nullptr;
}

int serve(const Options& options) {
    Level level{};
    parse_level(options.log_level, level);
    Result<sys::Fd> starter = sys::Fd();
    if (options.daemon) starter = detach();
    Log log(choose_sink(options.log_format), level);
    const auto give_up = [&log](const Error& error) {
        log.write(Level::error, fmt::format("cannot start: {}", error.text));
        return 1;
    };
    if (!starter) return give_up(starter.error());
    if (options.daemon && isatty(STDERR_FILENO))
        log.write(Level::warning, "the log goes to this terminal; to keep it, start with 2>>FILE");

    core::Settings settings;
    settings.definitions = ctl::surroundings(options.places);
    settings.starter = settings.definitions.handler_path + "/superd-exec";
    settings.started_nofile = raise_descriptor_limit();
    auto catalog = conf::load(settings.definitions);
    if (!catalog) {
        fmt::print(stderr, "{}", conf::format(catalog.error()));
        return give_up(Error{fmt::format("{} in the definitions", counted(catalog.error().size(), "error")), 0});
    }
    auto loop = sys::Loop::create();
    if (!loop) return give_up(loop.error());
    loop->serve_watchdog();
    sys::Source slow_log;
    const auto later = [&slow_log] { (void)slow_log.arm(now() + std::chrono::milliseconds(20)); };
    auto timer = loop->timer([&log, later] {
        if (!log.flush()) later();
    });
    if (!timer) return give_up(timer.error());
    slow_log = std::move(*timer);
    log.on_slow_reader(later);
    auto supervisor = core::Supervisor::create(*loop, log, std::move(settings), sys::passed_sockets());
    if (!supervisor) return give_up(supervisor.error());
    const auto pid_file = write_pid_file(options.pid_file);
    if (!pid_file) return give_up(pid_file.error());
    auto server = open_control(options, *loop, log, **supervisor);
    if (!server) return give_up(server.error());
    (*supervisor)->start(*catalog);
    if (*server) {
        (*server)->readers_changed();
        (*supervisor)->on_reload([&server] { (*server)->readers_changed(); });
    }
    if (*starter) {
        const char fine = 0;
        (void)!write(starter->get(), &fine, 1);
        starter->reset();
    }
    const auto code = loop->run();
    server->reset();
    if (!options.pid_file.empty()) unlink(options.pid_file.c_str());
    if (!code) return give_up(code.error());
    log.on_slow_reader({});
    log.write(Level::notice, "stopped");
    for (int i = 0; i < 50 && !log.flush(); ++i) usleep(20000);
    return *code;
}

}  // namespace

int main(int argc, char** argv) {
    fill_standard_descriptors();
    close_inherited_on_exec();
    tzset();
    Options options;
    CLI::App app("superd: listens on many ports and serves each by its declared model", "superd");
    app.set_version_flag("--version", "superd " SUPERD_VERSION);
    auto* config =
        app.add_option("--config", options.places.config, "settings and [defaults]; may be absent")->type_name("FILE");
    app.add_option("--conf-dir", options.places.conf_dir, "service definitions, NAME.toml")->type_name("DIR");
    auto* control_path =
        app.add_option("--control", options.control, "socket that superctl talks to")->type_name("PATH");
    app.add_option("--log-format", options.log_format, "how the log on stderr looks")
        ->check(CLI::IsMember({"auto", "text", "logfmt", "json", "journal"}));
    app.add_option("--log-level", options.log_level, "least severe level that is logged")
        ->check(CLI::IsMember({"error", "warning", "notice", "info", "debug"}));
    app.add_flag("--check", options.check, "check all definitions, print every error, and leave");
    app.add_flag("--daemon", options.daemon, "detach; returns once superd is ready");
    app.add_option("--pid-file", options.pid_file, "write the process id here")->type_name("FILE");
    app.get_formatter()->column_width(36);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        const bool asked = error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success);
        app.exit(error);
        return asked ? 0 : 2;
    }
    options.places.config_given = config->count() > 0;
    options.control_given = control_path->count() > 0;
    if (!options.control_given) options.control = control::default_path();
    // Handlers that are to ask superd get it by pass_environment = ["SUPERD_CONTROL"].
    if (!options.control.empty()) options.control = std::filesystem::absolute(options.control);
    if (!options.control.empty()) setenv("SUPERD_CONTROL", options.control.c_str(), 1);
    // --daemon leaves this folder, and a reload must find what the start found.
    for (std::string* path : {&options.places.config, &options.places.conf_dir, &options.pid_file})
        if (!path->empty() && options.daemon) *path = std::filesystem::absolute(*path);
    if (options.check) return ctl::check(options.places);
    prepare_signals();
    return serve(options);
}
