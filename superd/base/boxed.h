// SPDX-License-Identifier: MIT
#pragma once
// A value that mostly is its type's default: it takes a pointer, and memory of its own only where it differs.

#include <memory>
#include <utility>

namespace superd {

/// Copies are values of their own. Writing, or asking for what may be written to, takes the memory; settle() gives it
/// back where the value has turned out to be the default.
template <class T>
class Boxed {
  public:
    Boxed() = default;
    Boxed(T value) : value_(std::make_unique<T>(std::move(value))) { settle(); }  // NOLINT: it is one
    Boxed(const Boxed& other) : value_(other.value_ ? std::make_unique<T>(*other.value_) : nullptr) {}
    Boxed(Boxed&&) noexcept = default;
    Boxed& operator=(Boxed other) noexcept {
        value_ = std::move(other.value_);
        return *this;
    }
    ~Boxed() = default;

    const T& operator*() const { return value_ ? *value_ : plain(); }
    const T* operator->() const { return &**this; }
    operator const T&() const { return **this; }  // NOLINT
    T& operator*() {
        if (!value_) value_ = std::make_unique<T>();
        return *value_;
    }
    T* operator->() { return &**this; }

    void settle() {
        if (value_ && *value_ == plain()) value_.reset();
    }
    /// Does it take memory?
    bool is_kept() const { return value_ != nullptr; }
    bool operator==(const Boxed& other) const { return **this == *other; }
    bool operator==(const T& other) const { return **this == other; }

  private:
    static const T& plain() {
        static const T value{};
        return value;
    }

    std::unique_ptr<T> value_;
};

}  // namespace superd
