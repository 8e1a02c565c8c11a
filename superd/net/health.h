// SPDX-License-Identifier: MIT
#pragma once
// Is a listening socket still what it was? Every holder can change it for all the others, and what it is bound to can
// change too.

#include <optional>
#include <string>

#include "base/error.h"

namespace superd::net {

struct Health {
    std::string wrong;          ///< for people, comma-separated; empty: it is as it was
    bool filter = false;        ///< its filter is not the one that was set, and can be set again
    std::optional<Error> left;  ///< what cannot be put right on this socket
    bool deaf = false;          ///< no client reaches it until that is put right
    bool renewable = true;      ///< a new socket may be better

    void add(std::string_view what) { wrong.append(wrong.empty() ? "" : ", ").append(what); }
    void leave(Error why) {
        if (!left) left = std::move(why);
    }
};

/// The options that any holder can change and that a handler or its client would notice, as the kernel has them now:
/// bytes to compare and keep.
std::string read_settings(int fd);
/// Restores what differs from `settings`; `named_device`: except the interface, which has another owner. False: some of
/// it cannot be restored.
bool restore_settings(int fd, const std::string& settings, bool named_device, Health& health);
/// Updates in `settings` what has changed from `before` to `after`.
std::string merge_settings(const std::string& settings, const std::string& before, const std::string& after);

/// A number for the attached socket filter: 0 without one; nullopt if the query failed.
std::optional<std::uint64_t> filter_print(int fd);

/// Lets the kernel move waiting clients from a listening socket that is shut down to the others in its reuse_port
/// group. False: it does not; this takes Linux 5.14, CAP_BPF and CAP_NET_ADMIN.
bool let_migrate(int fd);
/// Sends new connections to the socket that joined a reuse_port group as number `place`, from 0. This takes no
/// privilege.
void steer(int fd, std::uint32_t place);

}  // namespace superd::net
