// SPDX-License-Identifier: MIT
#pragma once
// Replaces operator new, so one file of a test program may include this.

#include <cstdlib>
#include <new>

namespace superd {

/// While it lives, so many allocations succeed, and no further one does.
class MemoryEnds {
  public:
    explicit MemoryEnds(int after) {
        left_ = after;
        ends_ = true;
    }
    ~MemoryEnds() { ends_ = false; }
    MemoryEnds(const MemoryEnds&) = delete;

    static void* allocate(std::size_t size) noexcept { return ends_ && left_-- <= 0 ? nullptr : std::malloc(size); }

  private:
    static inline bool ends_ = false;
    static inline int left_ = 0;
};

}  // namespace superd

[[gnu::noinline]] void* operator new(std::size_t size) {
    if (void* const memory = superd::MemoryEnds::allocate(size); memory != nullptr) return memory;
    throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
    return superd::MemoryEnds::allocate(size);
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
    std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept {
    std::free(memory);
}
