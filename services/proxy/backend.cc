// SPDX-License-Identifier: MIT
#include "proxy/backend.h"

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace proxy {
namespace {

std::string seconds(Duration time) {
    const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(time).count();
    return milliseconds % 1000 == 0 ? std::to_string(milliseconds / 1000) + " s" : std::to_string(milliseconds) + " ms";
}

std::string ending(int status) {
    if (WIFSIGNALED(status)) return std::string("by signal ") + std::to_string(WTERMSIG(status));
    return "with status " + std::to_string(WEXITSTATUS(status));
}

}  // namespace

bool Backend::may_be_tried() const {
    if (state_ == State::ready) return true;
    return state_ == State::starting && (options_.readiness == Readiness::connect || said_ready_);
}

void Backend::order(Order what) {
    const char word = static_cast<char>(what);
    (void)!send(channel_.get(), &word, 1, MSG_NOSIGNAL);
}

void Backend::want(bool wanted) {
    wanted_ = wanted;
    if (!wanted || state_ != State::off) return;
    state_ = State::asked;
    said_ready_ = missed_ = failed_ = doubted_ = false;
    deadline_.reset();
    idle_until_.reset();
    order(Order::start);
}

void Backend::connected(Instant now) {
    if (state_ != State::starting) return;
    state_ = State::ready;
    ready_since_ = now;
    deadline_.reset();
    trouble_.clear();
    say("the backend is ready");
}

void Backend::doubt(Instant now) {
    if (state_ != State::ready) return;
    state_ = State::starting;
    said_ready_ = doubted_ = true;
    deadline_ = now + options_.ready_within;
    trouble_ = "the backend does not take connections any more";
    say(trouble_);
}

void Backend::idle(bool idle, Instant now) {
    idle_until_.reset();
    if (idle && options_.stop_after_idle.count() > 0) idle_until_ = now + options_.stop_after_idle;
}

void Backend::stop() {
    if (state_ == State::pausing) state_ = State::off;
    if (is_off() || state_ == State::stopping) return;
    state_ = State::stopping;
    deadline_.reset();
    idle_until_.reset();
    order(Order::stop);
}

std::optional<Instant> Backend::due() const {
    if (!deadline_ || (idle_until_ && *idle_until_ < *deadline_)) return idle_until_;
    return deadline_;
}

void Backend::tick(Instant now, bool serves) {
    if (deadline_ && now >= *deadline_) {
        deadline_.reset();
        if (state_ == State::pausing) {
            state_ = State::off;
            if (wanted_) want(true);
        } else if (state_ == State::starting && doubted_ && serves) {
            // It may only be busy. Whoever it serves is not to pay for those who wait.
            deadline_ = now + options_.ready_within;
        } else if (state_ == State::starting && !wanted_ && !missed_ && options_.readiness == Readiness::connect) {
            say("the backend is stopped: its clients have left before anybody was connected");
            stop();
        } else if (state_ == State::starting) {
            trouble_ = "the backend has not become ready within " + seconds(options_.ready_within);
            say(trouble_ + ", and is stopped");
            stop();
            failed_ = true;
        }
    }
    if (idle_until_ && now >= *idle_until_) {
        idle_until_.reset();
        if (is_off() || state_ == State::stopping) return;
        say("the backend is stopped: no client for " + seconds(options_.stop_after_idle));
        stop();
    }
}

void Backend::hear(Instant now) {
    for (;;) {
        News news;
        const ssize_t got = recv(channel_.get(), &news, sizeof news, MSG_DONTWAIT);
        if (got == sizeof news)
            heard(news, now);
        else if (got < 0 && errno == EAGAIN)
            return;
        else if (got >= 0 || errno != EINTR)
            break;
    }
    say("the process that keeps the backend has gone");
    _exit(EXIT_FAILURE);  // threads that look up names may be running
}

void Backend::heard(const News& news, Instant now) {
    switch (news.what) {
        case News::What::waits:
            trouble_ = "the backend of an earlier generation still has clients";
            say(trouble_ + "; the next one starts after it");
            break;
        case News::What::started:
            if (state_ != State::asked) break;
            state_ = State::starting;
            trouble_ = "the backend is not ready yet";
            deadline_ = now + options_.ready_within;
            say("the backend is started: " + options_.start.front() + ", pid " + std::to_string(news.value));
            break;
        case News::What::ready:
            said_ready_ = true;
            if (options_.readiness != Readiness::connect) connected(now);
            break;
        case News::What::failed:
            ended("could not be started: " + options_.start.front() + ": " + error_text(news.value), false, now);
            break;
        case News::What::ended:
            ended("has ended " + ending(news.value), WIFEXITED(news.value) && WEXITSTATUS(news.value) == 0, now);
    }
}

void Backend::ended(const std::string& how, bool well, Instant now) {
    const bool asked_to = state_ == State::stopping && !failed_;
    const bool proved = state_ == State::ready && now - ready_since_ >= kProof;
    // One that leaves by itself, without fault, when it has nothing to do, may come again at once.
    const bool sound = asked_to || proved || (state_ == State::ready && well);
    if (!asked_to || !well) say("the backend " + how);
    if (!asked_to && !failed_) trouble_ = "the backend " + how;
    idle_until_.reset();
    deadline_.reset();
    failed_ = false;
    if (!sound) return pause(now);
    next_pause_ = kFirstPause;
    state_ = State::off;
    if (wanted_) want(true);
}

void Backend::pause(Instant now) {
    state_ = State::pausing;
    deadline_ = now + next_pause_;
    next_pause_ = std::min(next_pause_ * 2, kLongestPause);
}

}  // namespace proxy
