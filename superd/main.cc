// SPDX-License-Identifier: MIT
// superd: reads its arguments, prepares the process, starts the supervisor.
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "ctl/definitions.h"
#include "daemon/run.h"
#include "handover/upgrade.h"
#include "proc/dumpable.h"
#include "sys/log_sinks.h"

namespace {

using namespace superd;

/// 0, 1 and 2 must be in use, or the first sockets would get these numbers.
void fill_standard_descriptors() {
    int fd;
    while ((fd = open("/dev/null", O_RDWR)) >= 0 && fd <= STDERR_FILENO) {
    }
    if (fd > STDERR_FILENO) close(fd);
}

/// Handlers must not get what the process that started superd left open. LISTEN_FDS are still taken over later.
void close_inherited_on_exec() {
    if (close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC) == 0) return;
    for (int fd = STDERR_FILENO + 1; fd < static_cast<int>(sysconf(_SC_OPEN_MAX)); ++fd) fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/// Children inherit dispositions, so all are the default; the loop receives the signals that superd acts on.
void prepare_signals() {
    for (int number = 1; number < NSIG; ++number) signal(number, SIG_DFL);
    sigset_t blocked;
    sigemptyset(&blocked);
    // PIPE stays blocked: writes report EPIPE.
    for (const int number : {SIGCHLD, SIGHUP, SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGPIPE}) sigaddset(&blocked, number);
    sigprocmask(SIG_SETMASK, &blocked, nullptr);
}

/// Where superd is not root, its handlers run as its own user: none of them may look into it, and their orphans stay
/// below it, where the control socket knows them by their parents. Only the second lasts over an exec.
void keep_apart_from_handlers() {
    if (geteuid() == 0) return;
    prctl(PR_SET_DUMPABLE, 0);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
}

std::unique_ptr<LogSink> choose_sink(const std::string& format) {
    if (format == "journal" || (format == "auto" && sys::is_journal(STDERR_FILENO))) return sys::journal_sink();
    LogStyle style = isatty(STDERR_FILENO) ? LogStyle::text : LogStyle::logfmt;
    if (format == "text") style = LogStyle::text;
    if (format == "logfmt") style = LogStyle::logfmt;
    if (format == "json") style = LogStyle::json;
    return sys::line_sink(STDERR_FILENO, style);
}

/// Detaches. The first process waits on the pipe whose other end this returns, and exits with the byte that comes as
/// its status, or with 1 if none comes.
Result<sys::Fd> detach() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return fail_errno("pipe", errno);
    const pid_t child = fork();
    if (child < 0) return fail_errno("fork", errno);
    if (child != 0) {
        close(ends[1]);
        char status = 1;
        ssize_t n;
        while ((n = read(ends[0], &status, 1)) < 0 && errno == EINTR) {
        }
        _exit(n == 1 ? status : 1);
    }
    close(ends[0]);
    sys::Fd starter = sys::Fd(ends[1]).lifted();
    if (setsid() < 0) return fail_errno("leave the session", errno);
    if (chdir("/") != 0) return fail_errno("change to /", errno);
    const sys::Fd null(open("/dev/null", O_RDWR | O_CLOEXEC));
    if (!null) return fail_errno("open /dev/null", errno);
    if (dup2(null.get(), STDIN_FILENO) < 0 || dup2(null.get(), STDOUT_FILENO) < 0)
        return fail_errno("leave the terminal", errno);
    return starter;
}

/// The file to execute at an upgrade. It is the path by which superd was called, if it is one, since its symbolic links
/// may lead to another version one day; /proc/self/exe has them resolved.
std::string binary_of(const std::string& called) {
    std::error_code error;
    const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
    if (called.find('/') == std::string::npos) return self;
    const auto path = std::filesystem::absolute(called, error);
    struct stat by_path {
    }, by_link{};
    const bool same = stat(path.c_str(), &by_path) == 0 && stat("/proc/self/exe", &by_link) == 0 &&
                      by_path.st_dev == by_link.st_dev && by_path.st_ino == by_link.st_ino;
    return same ? path : self;
}

/// With --daemon: superd is ready, and who has started it may go on.
void tell_starter(sys::Fd starter) {
    const char fine = 0;
    while (starter && write(starter.get(), &fine, 1) < 0 && errno == EINTR) {
    }
}

int serve(const Options& options, const core::State* before) {
    Level level{};
    parse_level(options.log_level, level);
    // Before superd leaves this folder.
    std::string binary = before != nullptr ? before->binary : binary_of(options.words[0]);
    Result<sys::Fd> starter = sys::Fd();
    if (options.daemon && before == nullptr) starter = detach();
    keep_apart_from_handlers();
    Log log(options.prove ? sys::line_sink(STDERR_FILENO, LogStyle::text) : choose_sink(options.log_format),
            options.prove ? Level::error : level);
    const auto give_up = [&log, &options](const Error& error) {
        if (options.prove) end_proof(std::unexpected(error));
        log.write(Level::error, fmt::format("cannot start: {}", error.text));
        return 1;
    };
    if (!starter) return give_up(starter.error());
    if (options.daemon && before == nullptr && isatty(STDERR_FILENO))
        log.write(Level::warning, "the log goes to this terminal; to keep it, start with 2>>FILE");
    // Ids change only if superd is root.
    if (const std::string warning = geteuid() == 0 ? proc::dumpable_warning() : "";
        !warning.empty() && before == nullptr)
        log.write(Level::warning, warning);
    Run run(options, before, log, std::move(binary));
    if (auto ready = run.set_up(); !ready) return give_up(ready.error());
    if (auto begun = before != nullptr ? run.go_on() : run.begin(); !begun) return give_up(begun.error());
    tell_starter(std::move(*starter));
    const auto code = run.until_told();
    if (!code) return give_up(code.error());
    log.write(Level::notice, "stopped");
    for (int i = 0; i < 50 && !log.flush(); ++i) usleep(20000);
    return *code;
}

}  // namespace

int main(int argc, char** argv) {
    fill_standard_descriptors();
    umask(022);  // others must reach the folders of sockets and the pid file, whatever a unit's UMask= says
    close_inherited_on_exec();  // also a state that is to be taken over: claiming a descriptor sets it too
    tzset();
    Options options;
    if (const auto status = read_options(argc, argv, options)) return *status;
    Result<core::State> before = core::State();
    const bool taking_over = options.take_over >= 0;
    if (taking_over && !(before = handover::receive_state(options.take_over))) {
        fmt::print(stderr, "superd: {}\n", before.error().text);
        return 1;
    }
    std::error_code no_folder;
    settle_paths(options, taking_over ? before->folder : std::filesystem::current_path(no_folder).string());
    // Handlers that are to ask superd get this through pass_environment = ["SUPERD_CONTROL"].
    if (!options.control.empty()) setenv("SUPERD_CONTROL", options.control.c_str(), 1);
    if (options.check) return ctl::check(options.places);
    prepare_signals();
    return serve(options, taking_over ? &*before : nullptr);
}
