// SPDX-License-Identifier: MIT
#pragma once
// One of those whose number somebody wants to know without going through all: it counts for as long as it lives.

#include <cstddef>
#include <utility>

namespace superd {

class Counted {
  public:
    Counted() = default;  ///< does not count
    /// `number` outlives it.
    explicit Counted(std::size_t& number) : number_(&number) { ++number; }
    Counted(Counted&& other) noexcept : number_(std::exchange(other.number_, nullptr)) {}
    Counted& operator=(Counted other) noexcept {
        std::swap(number_, other.number_);
        return *this;
    }
    ~Counted() {
        if (number_ != nullptr) --*number_;
    }

  private:
    std::size_t* number_ = nullptr;
};

}  // namespace superd
