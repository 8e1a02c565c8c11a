// SPDX-License-Identifier: MIT
#include "base/error.h"

#include <cerrno>
#include <cstring>
#include <utility>

namespace superd {

std::unexpected<Error> fail(std::string text) {
    return std::unexpected(Error{std::move(text), 0});
}

std::unexpected<Error> no_memory() {
    return std::unexpected(Error{"no memory", ENOMEM});
}

std::unexpected<Error> fail_errno(std::string_view what, int code) {
    std::string text(what);
    text += ": ";
    text += errno_text(code);
    return std::unexpected(Error{std::move(text), code});
}

std::string_view errno_text(int code) {
    const char* text = strerrordesc_np(code);
    return text != nullptr ? text : "Unknown error";
}

}  // namespace superd
