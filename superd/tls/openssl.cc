// SPDX-License-Identifier: MIT
#include "tls/openssl.h"

namespace superd::tls {

std::string take_error() {
    const unsigned long code = ERR_peek_last_error();
    ERR_clear_error();
    if (code == 0) return "no reason given";
    const char* reason = ERR_reason_error_string(code);
    return reason != nullptr ? reason : "error " + std::to_string(code);
}

}  // namespace superd::tls
