// SPDX-License-Identifier: MIT
#pragma once
// A world for models: clients are numbers in a queue, children are numbers, time stands until it is moved.

#include <deque>
#include <set>
#include <vector>

#include "model/model.h"

namespace superd::model {

class FakeHost final : public Host {
  public:
    std::optional<Client> take(std::size_t listener) override {
        if (waiting == 0 || scarce) return std::nullopt;
        --waiting;
        Client client;
        client.listener = listener;
        return client;
    }
    std::optional<pid_t> serve(Client) override {
        if (scarce) return ++waiting, std::nullopt;
        return *direct.insert(++last).first;
    }
    std::optional<pid_t> start_owner(std::size_t) override {
        if (scarce) return std::nullopt;
        return *owners.insert(++last).first;
    }
    std::optional<pid_t> start_worker(std::size_t) override {
        if (scarce) return std::nullopt;
        return *workers.insert(++last).first;
    }
    std::optional<pid_t> park() override {
        if (scarce) return std::nullopt;
        return *parked.insert(++last).first;
    }
    bool hand_over(pid_t pid, Client&) override {
        if (parked.erase(pid) == 0) return false;
        handed.insert(pid);
        return true;
    }
    void retire(pid_t pid) override { retired.push_back(pid); }
    void wake_at(Instant when) override { wake = when; }
    void when_idle() override { idle_asked = true; }
    Instant now() const override { return time; }
    std::size_t listeners() const override { return listener_count; }
    bool others_running() const override { return others; }

    int waiting = 0;
    bool scarce = false, others = false, idle_asked = false;
    std::size_t listener_count = 1;
    pid_t last = 100;
    std::set<pid_t> direct, owners, workers, parked, handed;
    std::vector<pid_t> retired;
    Instant time{};
    std::optional<Instant> wake;
};

}  // namespace superd::model
