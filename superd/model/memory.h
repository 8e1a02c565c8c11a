// SPDX-License-Identifier: MIT
#pragma once
// What a model remembers, as numbers in a row: one function of the model names its fields, and the same call writes
// them down and reads them back.

#include <concepts>
#include <cstdint>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "base/backoff.h"
#include "base/time.h"

namespace superd::model {

class Memory {
  public:
    Memory() = default;
    /// To be read from.
    explicit Memory(std::vector<std::int64_t> words) : words_(std::move(words)), reading_(true) {}

    template <class... Fields>
    void operator()(Fields&... fields) {
        (field(fields), ...);
    }
    const std::vector<std::int64_t>& words() const { return words_; }
    /// What was read makes no sense to the model.
    void refuse() { sound_ = false; }
    /// All has been read, and nothing was missing.
    bool done() const { return sound_ && (!reading_ || next_ == words_.size()); }

  private:
    template <std::integral Number>
    void field(Number& number) {
        if (!reading_) {
            words_.push_back(static_cast<std::int64_t>(number));
        } else if (next_ < words_.size()) {
            number = static_cast<Number>(words_[next_++]);
        } else {
            sound_ = false;
            number = {};
        }
    }
    void field(Duration& duration) {
        auto count = duration.count();
        field(count);
        duration = Duration(count);
    }
    void field(Instant& instant) {
        auto since = instant.time_since_epoch();
        field(since);
        instant = Instant(since);
    }
    void field(Backoff& backoff) {
        auto place = backoff.place();
        field(place.step);
        field(place.tries);
        backoff.go_on(place);
    }
    template <class T>
    void field(std::optional<T>& maybe) {
        bool there = maybe.has_value();
        field(there);
        if (there && !maybe) maybe.emplace();
        if (there) field(*maybe);
    }
    template <template <class...> class List, class T>
    requires std::same_as<List<T>, std::deque<T>> || std::same_as<List<T>, std::vector<T>>
    void field(List<T>& list) {
        auto size = list.size();
        field(size);
        // Each takes a word: more than are left cannot be meant.
        if (reading_ && size > words_.size() - next_) return refuse();
        list.resize(size);
        for (T& item : list) field(item);
    }

    std::vector<std::int64_t> words_;
    std::size_t next_ = 0;
    bool reading_ = false;
    bool sound_ = true;
};

}  // namespace superd::model
