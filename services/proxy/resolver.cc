// SPDX-License-Identifier: MIT
#include "proxy/resolver.h"

#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>

#include <cstdint>
#include <system_error>
#include <thread>

namespace proxy {

Resolver::Resolver(const std::vector<Target>& targets)
    : targets_(targets), asked_(targets.size()), wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

void Resolver::ask(std::size_t target) {
    if (asked_[target]) return;
    asked_[target] = true;
    sigset_t all, before;  // signals are the main thread's
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
        std::thread([this, target] {
            const Target& wanted = targets_[target];
            answer({target, resolve(wanted.host, wanted.port, wanted.datagrams())});
        }).detach();
    } catch (const std::system_error& failure) {
        answer({target, std::unexpected(std::string("start a thread: ") + failure.what())});
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void Resolver::answer(Answer answer) {
    {
        const std::lock_guard lock(mutex_);
        answers_.push_back(std::move(answer));
    }
    const std::uint64_t one = 1;
    (void)!write(wake_.get(), &one, sizeof one);
}

std::vector<Resolver::Answer> Resolver::take() {
    std::uint64_t count = 0;
    (void)!read(wake_.get(), &count, sizeof count);
    std::vector<Answer> answers;
    {
        const std::lock_guard lock(mutex_);
        answers.swap(answers_);
    }
    for (const Answer& one : answers) asked_[one.target] = false;
    return answers;
}

}  // namespace proxy
