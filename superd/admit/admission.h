// SPDX-License-Identifier: MIT
#pragma once
// How many handlers a service may have at once. Pure counting: no sockets, no clock of its own.

#include <utility>

#include "conf/service.h"

namespace superd::admit {

class Admission;

/// One handler's place. It goes back by itself, so no error path can lose it.
class Charge {
  public:
    Charge() = default;
    Charge(Charge&& other) noexcept : admission_(std::exchange(other.admission_, nullptr)) {}
    Charge& operator=(Charge&& other) noexcept {
        std::swap(admission_, other.admission_);
        return *this;
    }
    ~Charge();

  private:
    friend class Admission;
    explicit Charge(Admission* admission) : admission_(admission) {}
    Admission* admission_ = nullptr;
};

/// Outlives the charges it hands out: it belongs to the running service, not to a definition, so counts hold
/// across reloads.
class Admission {
  public:
    Admission() = default;
    Admission(const Admission&) = delete;
    ~Admission();

    /// New limits count from the next client on; handlers past a lowered limit finish.
    void configure(const conf::Limits& limits) { instances_ = limits.instances; }
    bool has_room() const { return in_use_ < instances_; }
    /// Takes a place whether there is room or not: who asks has looked at has_room() before accepting.
    Charge charge();
    int in_use() const { return in_use_; }
    int instances() const { return instances_; }

  private:
    friend class Charge;
    int instances_ = 0;
    int in_use_ = 0;
};

}  // namespace superd::admit
