// SPDX-License-Identifier: MIT
#pragma once
// Errors as values: every fallible function returns Result<T>.

#include <expected>
#include <string>
#include <string_view>

namespace superd {

/// What was tried, on what, and why it failed: "bind [::]:79: Address already in use".
struct Error {
    std::string text;
    int code = 0;  ///< errno, or 0 where no system call failed
    bool operator==(const Error&) const = default;
};

template <class T>
using Result = std::expected<T, Error>;

/// An error without a system call behind it.
std::unexpected<Error> fail(std::string text);

/// "WHAT: strerror(code)".
std::unexpected<Error> fail_errno(std::string_view what, int code);

/// After std::bad_alloc: it needs no memory itself.
std::unexpected<Error> no_memory();

/// The text of an errno; thread-safe and independent of the locale.
std::string_view errno_text(int code);

}  // namespace superd
