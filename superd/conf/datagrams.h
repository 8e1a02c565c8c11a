// SPDX-License-Identifier: MIT
#pragma once
// [datagram]: whether the datagrams of one peer belong together.

#include <array>

#include "base/names.h"
#include "base/time.h"

namespace superd::conf {

using superd::name_of;

/// Whose datagrams one handler serves. none: each has its own.
enum class Session { none, peer };
constexpr auto names_of(Session) {
    return std::array{"none", "peer"};
}

struct Datagrams {
    Session session = Session::none;
    Duration session_idle = std::chrono::seconds(30);
    bool operator==(const Datagrams&) const = default;
};

}  // namespace superd::conf
