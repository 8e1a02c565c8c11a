// SPDX-License-Identifier: MIT
#pragma once
// Those who wait for a deadline.

#include <cstddef>
#include <cstdint>

namespace superd::tls {

class Connection;

/// Connections whose deadlines are all as far away, the nearest first.
class Line {
  public:
    void add(Connection& one, std::int64_t deadline);
    void remove(Connection& one);
    Connection* first() const { return first_; }
    std::size_t size() const { return size_; }

  private:
    Connection *first_ = nullptr, *last_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace superd::tls
