// SPDX-License-Identifier: MIT
// Anything that workers of a pool may write to their status descriptors, between clients, deaths, time and upgrades.
// The pool never has more than `instances` workers, asks no worker twice to leave, and counts the room that they
// report.
#include <cstdlib>
#include <string_view>
#include <unordered_map>

#include "fuzz.h"
#include "model/workers.h"
#include "tests/unit/model/fake_host.h"

namespace {

using namespace superd;
using namespace superd::model;

constexpr std::size_t kInstances = 7;

conf::Service definition(unsigned kind) {
    conf::Service service;
    service.model = kind % 2 == 0 ? conf::Model::prefork : conf::Model::delayed;
    service.prefork->min_spare = static_cast<int>(kind / 2 % 3);
    service.prefork->max_spare = 4;
    if (kind & 0x10) service.prefork->max_requests = 3;
    if (kind & 0x20) service.prefork->max_age = std::chrono::seconds(5);
    if (kind & 0x40) service.prefork->max_idle = std::chrono::seconds(2);
    service.limits->instances = kInstances;
    return service;
}

struct World {
    explicit World(unsigned kind) : service(definition(kind)) {
        host.listener_count = 1 + (kind >> 7);
        pool = std::make_unique<Workers>(host, service);
        pool->resume();
    }

    /// The host's own part: a worker that was asked to leave no longer belongs to the pool, but holds its place until
    /// it has gone.
    void account() {
        for (const pid_t pid : host.retired)
            if (!leaving.insert(pid).second || host.workers.erase(pid) == 0) abort();
        host.retired.clear();
        host.places = kInstances - host.workers.size() - leaving.size();
    }
    void check() {
        account();
        if (host.workers.size() > kInstances) abort();
        std::size_t room = 0;
        for (const pid_t pid : host.workers) {
            const Reports& reports = said[pid];
            if (reports.free < 0 || reports.free > reports.slots || reports.slots > Reports::kMost) abort();
            room += reports.any() ? static_cast<std::size_t>(reports.free) : 1;
        }
        if (pool->spare() != room) abort();
    }
    pid_t any(unsigned which) const {
        if (host.workers.empty()) return 0;
        return *std::next(host.workers.begin(), static_cast<long>(which % host.workers.size()));
    }
    void say(pid_t pid, std::string_view message) {
        Records records;
        records.read(message);
        if (pid == 0 || records.none()) return;
        said[pid].add(records.busy, records.idle, records.busy_first);
        pool->reported(pid, said[pid]);
    }
    void end(pid_t pid, unsigned how) {
        if (pid == 0) return;
        host.workers.erase(pid);
        leaving.erase(pid);
        account();
        pool->exited(pid, static_cast<End>(how % 3));
    }
    void upgrade() {
        sys::Archive written;
        pool->pass(written);
        const std::string text = std::move(written).text();
        sys::Archive read(text);
        auto next = std::make_unique<Workers>(host, service);
        next->pass(read);
        sys::Archive again;
        next->pass(again);
        if (!read.fault().empty() || std::move(again).text().size() != text.size()) abort();
        pool = std::move(next);
    }

    FakeHost host;
    const conf::Service service;
    std::unique_ptr<Workers> pool;
    std::unordered_map<pid_t, Reports> said;
    std::set<pid_t> leaving;
};

}  // namespace

FUZZ(reports)(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    World world(data[0]);
    FakeHost& host = world.host;
    world.check();
    // Each step is a byte for the action, a byte for the worker or amount, and, for a worker's reports, also their
    // length.
    for (std::size_t at = 1; at + 2 < size;) {
        const unsigned what = data[at], which = data[at + 1];
        at += 2;
        switch (what % 8) {
            case 0:
            case 1: {
                const std::size_t length = std::min<std::size_t>(data[at], size - at - 1);
                ++at;
                world.say(world.any(which), {reinterpret_cast<const char*>(data) + at, length});
                at += length;
                break;
            }
            case 2:
                world.say(world.any(which), which & 0x80 ? "busy\n" : "idle\n");
                break;
            case 3:
                world.end(world.any(which), what / 8);
                break;
            case 4:
                if (!world.leaving.empty()) world.end(*world.leaving.begin(), what / 8);
                break;
            case 5:
                host.queue = static_cast<int>(which);
                if (host.queue > 0 && world.pool->wants(0)) world.pool->ready(0);
                break;
            case 6:
                if (host.wake) host.pass(*world.pool);
                break;
            case 7:
                if (which & 0x80)
                    world.upgrade();
                else
                    host.scarce = which & 1, world.pool->resume();
                break;
        }
        for (int turns = 0; host.idle_asked; ++turns) {
            if (turns > 100) abort();  // it would spin
            world.account();
            host.calm(*world.pool);
        }
        world.check();
    }
    return 0;
}
