// SPDX-License-Identifier: MIT
#include "ctl/screen.h"

#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>

namespace superd::ctl {
namespace {

void put(std::string_view text) {
    while (!text.empty()) {
        const ssize_t n = write(STDOUT_FILENO, text.data(), text.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return;  // the terminal is gone; wait() reports it
        text.remove_prefix(static_cast<std::size_t>(n));
    }
}

}  // namespace

Result<void> Screen::open() {
    if (isatty(STDIN_FILENO) == 0 || isatty(STDOUT_FILENO) == 0)
        return fail("top needs a terminal; superctl status prints the same once");
    sigset_t set;
    sigemptyset(&set);
    for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH}) sigaddset(&set, number);
    if (sigprocmask(SIG_BLOCK, &set, nullptr) != 0) return fail_errno("sigprocmask", errno);
    signals_.reset(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!signals_) return fail_errno("signalfd", errno);
    if (tcgetattr(STDIN_FILENO, &before_) != 0) return fail_errno("terminal", errno);
    termios raw = before_;
    raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO | ISIG | IEXTEN);
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) != 0) return fail_errno("terminal", errno);
    open_ = true;
    put("\x1b[?1049h\x1b[?25l\x1b[2J");  // another page, without a cursor
    measure();
    return {};
}

Screen::~Screen() {
    if (!open_) return;
    put("\x1b[0m\x1b[?25h\x1b[?1049l");
    tcsetattr(STDIN_FILENO, TCSANOW, &before_);
}

void Screen::measure() {
    winsize size{};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) return;
    width_ = size.ws_col;
    height_ = size.ws_row;
}

void Screen::draw(const std::vector<std::string>& lines) {
    std::string all = "\x1b[H";
    for (std::size_t i = 0; i < lines.size() && i < height_; ++i) {
        if (i > 0) all += "\r\n";
        all += lines[i] + "\x1b[0m\x1b[K";
    }
    if (lines.size() < height_) all += "\r\n\x1b[J";
    put(all);
}

Screen::Event Screen::next_key() {
    if (typed_.empty()) return Event::none;
    const auto is = [this](std::string_view keys) {
        if (!typed_.starts_with(keys)) return false;
        typed_.erase(0, keys.size());
        return true;
    };
    if (is("\x1b[A") || is("\x1bOA")) return Event::up;
    if (is("\x1b[B") || is("\x1bOB")) return Event::down;
    if (is("\x1b[5~")) return Event::page_up;
    if (is("\x1b[6~")) return Event::page_down;
    key_ = typed_[0];
    if (key_ == '\x1b' && typed_.size() > 1)
        typed_.clear();  // a key without a meaning here
    else
        typed_.erase(0, 1);
    return key_ == '\x03' ? Event::leave : Event::key;
}

Screen::Event Screen::wait(int milliseconds) {
    if (const Event event = next_key(); event != Event::none) return event;
    pollfd ready[2] = {{STDIN_FILENO, POLLIN, 0}, {signals_.get(), POLLIN, 0}};
    if (poll(ready, 2, milliseconds) <= 0) return Event::none;
    if ((ready[1].revents & POLLIN) != 0) {
        signalfd_siginfo info{};
        if (read(signals_.get(), &info, sizeof info) != sizeof info) return Event::none;
        if (info.ssi_signo != SIGWINCH) return Event::leave;
        measure();
        return Event::resized;
    }
    char buffer[64];
    const ssize_t n = read(STDIN_FILENO, buffer, sizeof buffer);
    if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN)) return Event::leave;
    if (n > 0) typed_.append(buffer, static_cast<std::size_t>(n));
    return next_key();
}

}  // namespace superd::ctl
