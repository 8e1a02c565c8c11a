// SPDX-License-Identifier: MIT
#pragma once
// A world for models: clients are numbers in a queue, children are numbers, time stands still until it is moved.

#include <deque>
#include <set>
#include <utility>
#include <vector>

#include "model/model.h"

namespace superd::model {

class FakeHost final : public Host {
  public:
    static constexpr Duration kPause = std::chrono::milliseconds(5);

    std::optional<Client> take(std::size_t listener) override {
        if (clients == 0 || scarce) return std::nullopt;
        --clients;
        Client client;
        client.listener = listener;
        return client;
    }
    std::optional<pid_t> serve(Client) override {
        if (scarce) return ++clients, std::nullopt;
        return *direct.insert(++last).first;
    }
    std::optional<pid_t> start_owner(std::size_t) override {
        if (scarce) return std::nullopt;
        return *owners.insert(++last).first;
    }
    std::optional<pid_t> start_worker(std::size_t listener) override {
        if (!has_place()) return std::nullopt;
        started_on.push_back(listener);
        return *workers.insert(++last).first;
    }
    Parking park() override {
        using Outcome = Parking::Outcome;
        if (starting) return {Outcome::later, 0};
        if (!has_place()) return {Outcome::not_now, 0};
        if (slow) return ++coming, Parking{Outcome::coming, 0};
        return {Outcome::ready, *parked.insert(++last).first};
    }
    void serve_past_parked(Client client) override { (void)serve(std::move(client)); }
    Duration pause_for_parking() const override { return kPause; }
    bool hand_over(pid_t pid, Client&) override {
        if (refuses_hand_over || parked.erase(pid) == 0) return false;
        handed.insert(pid);
        return true;
    }
    void retire(pid_t pid) override { retired.push_back(pid); }
    bool has_socket(std::size_t listener) const override { return !absent.contains(listener); }
    std::size_t waiting(std::size_t) const override { return static_cast<std::size_t>(queue); }
    void wake_at(Instant when) override { wake = when; }
    void when_idle() override { idle_asked = true; }
    Instant now() const override { return time; }
    std::size_t listeners() const override { return listener_count; }
    bool others_running() const override { return others; }

    /// Lets time pass until the model wants to wake up; the test wakes it.
    void pass_to_wake() {
        time = wake.value();
        wake.reset();
    }
    /// The same, and then does what the loop does.
    void pass(Model& model) {
        pass_to_wake();
        model.woken();
        calm(model);
    }
    /// Acts as a loop with nothing else to do.
    void calm(Model& model) {
        if (std::exchange(idle_asked, false)) model.refill();
    }

    int clients = 0;  ///< for take() to return
    int queue = 0;    ///< for workers to accept
    bool scarce = false, others = false, idle_asked = false;
    bool refuses_hand_over = false;  ///< although the parked process lives
    bool slow = false;               ///< a process that is to park comes later
    bool starting = false;           ///< nobody can be parked until the test calls Model::resume()
    std::size_t coming = 0;          ///< processes that have been asked for while slow
    std::size_t places = 1000;       ///< for workers and parked processes; leaving does not return one
    std::size_t listener_count = 1;
    std::set<std::size_t> absent;  ///< listeners without a socket
    pid_t last = 100;
    std::set<pid_t> direct, owners, workers, parked, handed;
    std::vector<pid_t> retired;
    std::vector<std::size_t> started_on;  ///< the listener of each worker, in order
    Instant time{std::chrono::hours(1)};
    std::optional<Instant> wake;

  private:
    bool has_place() {
        if (scarce || places == 0) return false;
        --places;
        return true;
    }
};

}  // namespace superd::model
