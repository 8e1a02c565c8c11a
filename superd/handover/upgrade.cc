// SPDX-License-Identifier: MIT
#include "handover/upgrade.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <new>

#include "base/place.h"
#include "base/signal.h"
#include "base/text.h"
#include "handover/text.h"

namespace superd::handover {
namespace {

constexpr Duration kTick = std::chrono::milliseconds(5);
constexpr const char* kNoMemory = "not enough memory to write down the state";
constexpr std::size_t kMostSaid = 16 * 1024;
/// Room that a proof leaves, since clients come and are held between it and the exec.
constexpr std::size_t kSpareMemory = 8 << 20;
constexpr std::size_t kMostSpare = 1024;  ///< descriptors; the proof asks for no more
/// The socket to the service manager, and its copy while it is lifted: the proving child has no manager.
constexpr std::size_t kOfManager = 2;
constexpr int kSeals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

Result<sys::Fd> sealed(const std::string& text) {
    sys::Fd file(memfd_create("superd-state", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!file) return fail_errno("memfd_create", errno);
    file = std::move(file).lifted();
    for (std::size_t done = 0; done < text.size();) {
        const ssize_t n = write(file.get(), text.data() + done, text.size() - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return fail_errno("memfd of the state", n < 0 ? errno : ENOSPC);
        done += static_cast<std::size_t>(n);
    }
    if (fcntl(file.get(), F_ADD_SEALS, kSeals) != 0) return fail_errno("seal the state", errno);
    return file;
}

std::string random_word() {
    unsigned char bytes[16];
    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes) return {};
    std::string word;
    for (const unsigned char byte : bytes) word += fmt::format("{:02x}", byte);
    return word;
}

/// The first line with a word in it: a dying program says there why.
std::string first_line(const std::string& said) {
    for (std::size_t from = 0; from < said.size();) {
        const std::size_t end = std::min(said.find('\n', from), said.size());
        const std::string line = said.substr(from, end - from);
        if (line.find_first_of("abcdefghijklmnopqrstuvwxyz") != std::string::npos) return escape(line.substr(0, 500));
        from = end + 1;
    }
    return {};
}

/// Together with anything it has started: all of them hold copies of the sockets.
void end_prover(pid_t pid) {
    if (kill(-pid, SIGKILL) != 0) kill(pid, SIGKILL);
}

/// In front of a program that superd serves, whose arguments come last.
std::vector<std::string> with(std::vector<std::string> words, const std::vector<std::string>& more) {
    words.insert(std::ranges::find(words, "--"), more.begin(), more.end());
    return words;
}

std::vector<char*> pointers(std::vector<std::string>& words) {
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    return argv;
}

}  // namespace

Result<core::State> receive_state(int number) {
    struct stat status {};
    if (number <= STDERR_FILENO || fstat(number, &status) != 0)
        return fail("--take-over is superd's own word to its successor");
    const sys::Fd file(number);
    // Anyone who could still write to it could change what was checked.
    if (fcntl(number, F_GET_SEALS) != kSeals) return fail("the state to take over is not sealed");
    std::string text(static_cast<std::size_t>(status.st_size), '\0');
    for (std::size_t done = 0; done < text.size();) {
        const ssize_t n = pread(number, text.data() + done, text.size() - done, static_cast<off_t>(done));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return fail_errno("read the state", n < 0 ? errno : EIO);
        done += static_cast<std::size_t>(n);
    }
    return read_state(text);
}

std::string proof_line(const core::State& state) {
    std::vector<sys::Fd> spare(kMostSpare);
    std::size_t count = 0;
    for (sys::Fd& fd : spare) {
        fd = sys::Fd(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
        if (!fd) break;
        ++count;
    }
    spare.clear();
    const std::vector<char> memory(kSpareMemory);
    return fmt::format("superd can take over {} and {} descriptors more", state.proof, count);
}

namespace {

/// If the exec fails and superd continues, no handler may get the descriptors that were to pass it.
struct Passing {
    sys::Descriptors& descriptors;
    ~Passing() { (void)descriptors.pass_exec(false); }
};

/// The number of descriptors, beyond those of the state, that there is room for; nullopt: it has proved nothing.
std::optional<std::size_t> proved_by(const std::string& said, const std::string& proof) {
    const std::string line = fmt::format("\nsuperd can take over {} and ", proof);
    const std::string text = "\n" + said;
    const auto at = text.find(line);
    if (at == std::string::npos) return std::nullopt;
    std::size_t spare = 0;
    const char* const from = text.data() + at + line.size();
    if (std::from_chars(from, text.data() + text.size(), spare).ec != std::errc{}) return std::nullopt;
    return spare;
}

}  // namespace

Upgrade::~Upgrade() {
    if (prover_ > 0) end_prover(prover_);
    std::erase_if(engine_.children, [this](const auto& entry) { return entry.second == this; });
}

void Upgrade::begin() {
    if (under_way()) return;
    engine_.log.write(Level::info, fmt::format("upgrade: {} must prove that it can take over", binary_));
    said_.clear();
    late_ = false;
    engine_.reserve.release();
    const auto started = start_proof();
    engine_.reserve.fill(engine_.null);
    if (!started) return refuse(started.error().text);
    stage_ = Stage::proving;
}

Result<void> Upgrade::start_proof() try {
    auto [state, descriptors] = owner_.write_down();
    proved_ = descriptors.entries().size();
    proof_ = random_word();
    if (proof_.empty()) return fail_errno("getrandom", errno);
    state.proof = proof_;
    const auto file = sealed(write_state(std::move(state)));
    if (!file) return std::unexpected(file.error());
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return fail_errno("pipe", errno);
    sys::Fd ours(ends[0]);
    const sys::Fd theirs(ends[1]);
    fcntl(ours.get(), F_SETFL, O_NONBLOCK);
    auto source = engine_.loop.io(ours.get(), EPOLLIN, [this](std::uint32_t) { hear(); });
    if (!source) return std::unexpected(source.error());
    if (auto limited = source->limit(std::chrono::milliseconds(100), 100); !limited) return limited;
    timer_.set(now() + kProofTime);
    Place<decltype(engine_.children)> place(engine_.children);
    const pid_t pid = fork();
    if (pid < 0) return fail_errno("fork", errno);
    if (pid == 0) run_proof(descriptors, file->get(), theirs.get());
    voice_source_ = std::move(*source);
    voice_ = std::move(ours);
    prover_ = pid;
    place.take(pid, this);
    return {};
} catch (const std::bad_alloc&) {
    return fail(kNoMemory);
}

/// Runs in the child. Its descriptors are its own; the files behind them are not.
void Upgrade::run_proof(const sys::Descriptors& descriptors, int state, int words) noexcept {
    setpgid(0, 0);
    dup2(words, STDOUT_FILENO);
    dup2(words, STDERR_FILENO);
    unsetenv("NOTIFY_SOCKET");  // it must not talk to the service manager
    std::vector<std::string> argv = with(words_, {kTakeOver, std::to_string(state), kProve});
    const auto passed = descriptors.pass_exec(true);
    if (passed && fcntl(state, F_SETFD, 0) == 0) execve(binary_.c_str(), pointers(argv).data(), environ);
    fmt::print(stderr, "execute {}: {}\n", binary_, passed ? errno_text(errno) : passed.error().text);
    std::fflush(stderr);
    _exit(127);
}

void Upgrade::hear() {
    char buffer[4096];
    ssize_t n = -1;
    // As much as a pipe holds; a program that writes without end must not hold up the loop.
    for (int i = 0; i < 16 && (n = read(voice_.get(), buffer, sizeof buffer)) > 0; ++i)
        if (said_.size() < kMostSaid) said_.append(buffer, static_cast<std::size_t>(n));
    if (n == 0) voice_source_ = {};
}

void Upgrade::exited(pid_t pid, int status, const rusage&) {
    if (pid != prover_) return;  // given up, and another began meanwhile
    prover_ = 0;
    kill(-pid, SIGKILL);  // the processes that it left behind
    hear();
    voice_source_ = {};
    voice_.reset();
    if (stage_ != Stage::proving) return;  // given up meanwhile
    const auto spare = proved_by(said_, proof_);
    const std::size_t of_manager = engine_.manager.is_there() ? kOfManager : 0;
    if (status != 0 || !spare || late_) return refuse(disproof(status));
    if (*spare < of_manager) return refuse(fmt::format("{}: no descriptor is left for the service manager", binary_));
    proved_ += *spare - of_manager;
    stage_ = Stage::settling;
    deadline_ = now() + kSettleTime;
    log_deadline_ = now() + kLogTime;
    timer_.set(now());  // not from here, in the middle of reaping
}

void Upgrade::after_exit() {
    if (stage_ == Stage::proving && prover_ == 0) refuse("not enough memory");  // exited() did not complete
}

std::string Upgrade::disproof(int status) const {
    std::string how = "it does not take the state over";
    if (late_)
        how = fmt::format("it has not proved within {} that it can take over", format_duration(kProofTime));
    else if (WIFSIGNALED(status))
        how = fmt::format("it was killed by {}", signal_name(WTERMSIG(status)));
    else if (status != 0)
        how = fmt::format("it ended with status {}", WEXITSTATUS(status));
    const std::string why = first_line(said_);
    // In this case the child itself speaks, before it became another program.
    if (why.starts_with("execute ")) return why;
    return fmt::format("{}: {}{}{}", binary_, how, why.empty() ? "" : ": ", why);
}

void Upgrade::tick() {
    if (stage_ == Stage::proving) {
        late_ = true;
        if (prover_ > 0) end_prover(prover_);
    } else if (stage_ == Stage::settling) {
        // A child on its way copies the table of descriptors, and shares this memory, which the exec takes away.
        const bool settled = engine_.spawner.settle(std::chrono::milliseconds(20)) && owner_.settled();
        if (settled && (engine_.log.flush() || now() >= log_deadline_)) return execute();
        if (now() < deadline_ || settled) return timer_.set(now() + kTick);
        refuse("handlers do not reach their programs");
    }
}

void Upgrade::execute() {
    engine_.reserve.release();
    const std::string why = become_next();
    engine_.reserve.fill(engine_.null);
    refuse(why);
}

std::string Upgrade::become_next() try {
    auto [state, descriptors] = owner_.write_down();
    if (descriptors.entries().size() > proved_)
        return fmt::format("clients hold more descriptors ({}) than {} has proved room for ({})",
                           descriptors.entries().size(), binary_, proved_);
    const auto file = sealed(write_state(std::move(state)));
    if (!file) return file.error().text;
    std::vector<std::string> words = with(words_, {kTakeOver, std::to_string(file->get())});
    const std::vector<char*> argv = pointers(words);
    engine_.manager.tell_reloading();
    const Passing passing{descriptors};
    if (auto passed = descriptors.pass_exec(true); !passed) return passed.error().text;
    if (fcntl(file->get(), F_SETFD, 0) != 0) return fmt::format("keep the state over exec: {}", errno_text(errno));
    execve(binary_.c_str(), argv.data(), environ);
    return fmt::format("execute {}: {}", binary_, errno_text(errno));
} catch (const std::bad_alloc&) {
    return kNoMemory;
}

void Upgrade::give_up(const std::string& why) {
    if (!under_way()) return;
    if (prover_ > 0) end_prover(prover_);
    refuse(why);
}

void Upgrade::refuse(const std::string& why) {
    stage_ = Stage::none;
    timer_.clear();
    engine_.log.write(Level::error, fmt::format("upgrade refused, everything stays as it was: {}", why));
    owner_.refused(why);
}

}  // namespace superd::handover
