// SPDX-License-Identifier: MIT
#pragma once
// What a service's handlers write to stderr, as lines in the log: one stream for all of them.

#include <string>
#include <string_view>

#include "core/engine.h"

namespace superd::core {

class Descriptors;
struct ErrorStreamState;

class ErrorStream {
  public:
    ErrorStream(Engine& engine, std::string service) : engine_(engine), service_(std::move(service)) {}
    ErrorStream(const ErrorStream&) = delete;
    ~ErrorStream();

    /// A descriptor for a handler's stderr. The pipe is made with the first.
    Result<sys::Fd> writer();

    ErrorStreamState write_down(Descriptors& descriptors) const;
    Result<void> go_on(const ErrorStreamState& state, Descriptors& descriptors);

    static constexpr std::size_t kLongestLine = 2048;
    /// A line without an end is written after so long.
    static constexpr Duration kPatience = std::chrono::milliseconds(500);

  private:
    Result<void> watch(sys::Fd read, sys::Fd write);
    bool read_some();
    void take(std::string_view bytes);
    void write_line(std::string_view line);
    void write_partial();

    Engine& engine_;
    std::string service_;
    sys::Fd read_, write_;
    sys::Source source_, patience_;
    std::string partial_;
};

}  // namespace superd::core
