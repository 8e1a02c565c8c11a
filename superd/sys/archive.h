// SPDX-License-Identifier: MIT
#pragma once
// Values on their way from one process to the next: written and read by the same call, which names each field once.
//
// The text is JSON. A struct is an object by the names of its fields: one that the reader does not know is passed over,
// one that is missing keeps the value that it has there. So a field may be added or taken away between two releases;
// a field whose meaning changes gets another name.

#include <array>
#include <bit>
#include <concepts>
#include <cstdint>
#include <deque>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/backoff.h"
#include "base/boxed.h"
#include "base/error.h"
#include "base/histogram.h"
#include "base/time.h"
#include "sys/address.h"

namespace superd::sys {

/// Of an older text: its structs are arrays, and this tells where in them each field is.
class Positions {
  public:
    static constexpr int kNone = -1;  ///< the text does not have it
    static constexpr int kSame = -2;  ///< it is a struct whose fields stand among those of this one
    virtual ~Positions() = default;
    /// How many fields the array has. nullopt: there is no such struct in the text.
    virtual std::optional<std::size_t> fields(std::string_view type) const = 0;
    virtual int of(std::string_view type, std::string_view field) const = 0;
};

/// A value that whoever carries it does not look into: JSON as an archive has written it.
struct Record {
    std::string text = "{}";
};

class Archive {
  public:
    /// Writes.
    Archive();
    /// Reads; any bytes may be in `text`.
    explicit Archive(std::string_view text);
    /// The text is of a release whose structs are arrays. `positions` outlives the archive.
    void read_by(const Positions& positions);
    /// Neither: collects what is written of each struct, its fields and their types.
    static Archive describing();
    Archive(Archive&&) noexcept;
    ~Archive();

    /// "": all is well. The first thing that did not fit, and where; nothing is read after it.
    const std::string& fault() const;
    /// What was read makes no sense to its owner.
    void refuse(std::string_view why);
    /// What has been written.
    std::string text() &&;
    /// "Type\n  field: its type\n" for each struct, in the order of their names.
    std::string description() const;

    template <class T>
    void operator()(T& value) {
        pass_value(value);
    }
    /// All fields of a struct. `names`: "first, second_"; an underscore at the end is left out.
    template <class... Fields>
    void fields(std::string_view type, [[maybe_unused]] std::string_view names, Fields&... all) {
        if (!begin_struct(type)) return;
        (field(type, next_name(names), all), ...);
        end_struct();
    }

  private:
    enum class Mode { write, read, describe };
    struct Text;
    explicit Archive(Mode mode);

    static std::string_view next_name(std::string_view& names);
    /// False: there is nothing to pass.
    bool begin_struct(std::string_view type);
    void end_struct();
    bool begin_field(std::string_view type, std::string_view name);
    void end_field();
    /// Of `size`; of the text's own size where it is read.
    std::size_t begin_list(std::size_t size);
    void begin_item(std::size_t index);
    void end_list();
    /// The names of a map's items.
    std::vector<std::string> keys();
    void begin_map();
    bool begin_key(const std::string& key);
    void end_key();
    void end_map();
    bool is_null();
    bool is_list();
    void null();

    void boolean(bool& value);
    /// A whole number between these.
    void number(std::int64_t& value, std::int64_t least, std::int64_t most);
    void natural(std::uint64_t& value, std::uint64_t most);
    void bytes(std::string& value);
    void record(Record& value);
    void describe(std::string_view text);

    template <class T>
    void field(std::string_view type, std::string_view name, T& value) {
        if (!begin_field(type, name)) return;
        pass_value(value);
        end_field();
    }
    template <class T>
    void item(std::size_t index, T& value) {
        begin_item(index);
        pass_value(value);
        end_field();
    }

    void pass_value(bool& value) { boolean(value); }
    void pass_value(std::string& value) { bytes(value); }
    void pass_value(Record& value) { record(value); }
    template <std::integral T>
    void pass_value(T& value) {
        if constexpr (std::signed_integral<T>) {
            std::int64_t wide = value;
            number(wide, std::numeric_limits<T>::min(), std::numeric_limits<T>::max());
            value = static_cast<T>(wide);
        } else {
            std::uint64_t wide = value;
            natural(wide, std::numeric_limits<T>::max());
            value = static_cast<T>(wide);
        }
    }
    /// As its bits: every number is whole.
    void pass_value(double& value) {
        auto bits = std::bit_cast<std::int64_t>(value);
        pass_value(bits);
        value = std::bit_cast<double>(bits);
    }
    /// last_of() is the highest of its values, which count from 0. A new one comes after it.
    template <class T>
    requires std::is_enum_v<T>
    void pass_value(T& value) {
        auto wide = static_cast<std::int64_t>(value);
        number(wide, 0, static_cast<std::int64_t>(last_of(value)));
        value = static_cast<T>(wide);
    }
    void pass_value(Duration& value) {
        Duration::rep count = value.count();
        pass_value(count);
        value = Duration(count);
    }
    void pass_value(Instant& value) {
        Duration since = value.time_since_epoch();
        pass_value(since);
        value = Instant(since);
    }
    template <class T>
    void pass_value(std::optional<T>& value) {
        if (mode_ == Mode::read ? is_null() : mode_ == Mode::write && !value) {
            value.reset();
            return null();
        }
        if (mode_ == Mode::describe) describe("?");
        if (mode_ != Mode::write) value.emplace();
        // It may have had a value always in the release that wrote it.
        if (mode_ == Mode::read && !is_list()) return pass_value(*value);
        if (begin_list(1) != 1) return refuse("neither null nor one value in brackets");
        item(0, *value);
        end_list();
    }
    template <class T>
    void pass_value(std::vector<T>& value) {
        pass_list(value);
    }
    template <class T>
    void pass_value(std::deque<T>& value) {
        pass_list(value);
    }
    template <class List>
    void pass_list(List& value) {
        const std::size_t size = begin_list(value.size());
        if (mode_ != Mode::write) value.clear();
        // One by one: a short text does not claim memory for many before the first has turned out sound.
        for (std::size_t i = 0; i < size && fault().empty(); ++i) {
            if (mode_ != Mode::write) value.emplace_back();
            item(i, value[i]);
        }
        end_list();
    }
    /// One that has grown since keeps its defaults past what was written.
    template <class T, std::size_t N>
    void pass_value(std::array<T, N>& value) {
        const std::size_t size = begin_list(mode_ == Mode::describe ? 1 : N);
        if (size > N) return refuse("too many values");
        for (std::size_t i = 0; i < size; ++i) item(i, value[i]);
        end_list();
    }
    template <class A, class B>
    void pass_value(std::pair<A, B>& value) {
        if (begin_list(2) != 2) return refuse("not two values");
        item(0, value.first);
        item(1, value.second);
        end_list();
    }
    template <class T>
    void pass_value(std::map<std::string, T>& value) {
        std::vector<std::string> names;
        if (mode_ == Mode::read) {
            names = keys();
            value.clear();
        } else if (mode_ == Mode::describe) {
            names = {""};
        } else {
            for (const auto& [name, of_it] : value) names.push_back(name);
        }
        begin_map();
        for (const std::string& name : names)
            if (begin_key(name)) {
                pass_value(value[name]);
                end_key();
            }
        end_map();
    }
    template <class T>
    void pass_value(Boxed<T>& value) {
        pass_value(*value);
        value.settle();
    }
    void pass_value(Address& value);
    void pass_value(Histogram& value);
    void pass_value(Backoff& value) {
        Backoff::Place place = value.place();
        pass_value(place);
        value.go_on(place);
    }
    void pass_value(Backoff::Place& value) { fields("Backoff", "step, tries", value.step, value.tries); }
    /// Everything else: SUPERD_FIELDS, or a function pass(Archive&, T&) in its namespace.
    template <class T>
    requires(std::is_class_v<T>) void pass_value(T& value) { pass(*this, value); }

    Mode mode_;
    std::unique_ptr<Text> text_;
};

}  // namespace superd::sys

/// In the namespace of Type, which must be an aggregate: all its fields, each by the name that it is written under. The
/// structured binding sees to it that none can be forgotten.
#define SUPERD_FIELDS(Type, ...)                                   \
    inline void pass(superd::sys::Archive& archive, Type& value) { \
        auto& [__VA_ARGS__] = value;                               \
        archive.fields(#Type, #__VA_ARGS__, __VA_ARGS__);          \
    }
/// The same within Type, where nobody else may see it.
#define SUPERD_OWN_FIELDS(Type, ...)                               \
    friend void pass(superd::sys::Archive& archive, Type& value) { \
        auto& [__VA_ARGS__] = value;                               \
        archive.fields(#Type, #__VA_ARGS__, __VA_ARGS__);          \
    }
/// In a class that is no aggregate: those of its members that go over.
#define SUPERD_PASS(archive, Type, ...) (archive).fields(#Type, #__VA_ARGS__, __VA_ARGS__)
/// An enum that counts from 0 to `last`.
#define SUPERD_ENUM(Type, last)    \
    constexpr Type last_of(Type) { \
        return last;               \
    }
