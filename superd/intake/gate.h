// SPDX-License-Identifier: MIT
#pragma once
// The part of [access] that the kernel enforces: a socket filter on each listener. Access depends on it where handlers
// accept for themselves, and with on_deny = "drop" it keeps denied clients from costing anything.

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "conf/service.h"
#include "net/filter.h"
#include "net/listener.h"
#include "sys/loop.h"

namespace superd::intake {

class Gate {
  public:
    /// `changed`: the times of the week have opened or closed it: apply() to all listeners.
    Gate(sys::Loop& loop, std::function<void()> changed) : loop_(loop), changed_(std::move(changed)) {}
    Gate(const Gate&) = delete;

    void configure(const conf::Service& definition);
    /// The filter that such a socket should have; nullopt: none.
    std::optional<net::filter::Program> wanted(const net::Listener& listener) const;
    /// An error if a filter cannot be attached; superd's own judgement still holds where it sees the clients.
    Result<void> apply(net::Listener& listener) const;

  private:
    void look_at_clock();

    /// What keeps somebody out.
    struct Rules {
        std::vector<conf::TimeWindow> times;
        std::optional<net::filter::Program> lists;
        bool open = true;
        sys::Source minute;
    };

    sys::Loop& loop_;
    std::function<void()> changed_;
    std::unique_ptr<Rules> rules_;
};

}  // namespace superd::intake
