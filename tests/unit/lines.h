// SPDX-License-Identifier: MIT
#pragma once
// Where the log goes of what a test builds.

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"

namespace superd {

/// The messages, without their fields.
struct Lines final : LogSink {
    explicit Lines(std::vector<std::string>& out) : said(out) {}
    void write(Level, std::string_view message, std::span<const Field>) override { said.emplace_back(message); }
    std::vector<std::string>& said;
};

struct NoLines final : LogSink {
    void write(Level, std::string_view, std::span<const Field>) override {}
};

}  // namespace superd
