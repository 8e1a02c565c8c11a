// SPDX-License-Identifier: MIT
#pragma once
// Is a listening socket still what it was? Whoever has it may change it for all who do, and what it is bound to may
// change under it.

#include <optional>
#include <string>

#include "base/error.h"

namespace superd::net {

struct Health {
    std::string wrong;          ///< for people, comma after comma; empty: it is as it was
    bool filter = false;        ///< its filter is not the one that was set, and may be set again
    std::optional<Error> left;  ///< what could not be put right on this socket
    bool deaf = false;          ///< no client comes to it until that is put right
    bool renewable = true;      ///< a new socket may be better

    void add(std::string_view what) { wrong.append(wrong.empty() ? "" : ", ").append(what); }
    void leave(Error why) {
        if (!left) left = std::move(why);
    }
};

/// The options that whoever has a socket may change and that a handler or its client would notice, as the kernel has
/// them now: bytes to be compared and kept.
std::string read_settings(int fd);
/// Sets what differs from `settings`; `named_device`: not the interface, which has another owner. False: some of it
/// cannot be set back.
bool restore_settings(int fd, const std::string& settings, bool named_device, Health& health);
/// Of `settings`, what has changed between `before` and `after` becomes as it is in the latter.
std::string merge_settings(const std::string& settings, const std::string& before, const std::string& after);

/// A number for the socket filter that is attached: 0 without one; nullopt where that could not be asked just now.
std::optional<std::uint64_t> filter_print(int fd);

/// Lets the kernel move whoever waits on one listening socket of a reuse_port group to the others when it is shut down.
/// False: it does not; it takes Linux 5.14, CAP_BPF and CAP_NET_ADMIN.
bool let_migrate(int fd);
/// New connections to a reuse_port group go to the socket that joined it as number `place`, from 0. Anybody may ask
/// that.
void steer(int fd, std::uint32_t place);

}  // namespace superd::net
