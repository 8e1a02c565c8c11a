// SPDX-License-Identifier: MIT
#pragma once
// Users and groups: the only look-ups in the name service. They happen at load time and never per connection.

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace superd::sys {

/// The identity that a handler runs as; complete, so that a child needs no look-up.
struct Identity {
    uid_t uid = 0;
    gid_t gid = 0;
    std::vector<gid_t> groups;  ///< supplementary groups, without duplicates
    std::string user;           ///< the name, or the number if there is none
    bool operator==(const Identity&) const = default;
};

struct User {
    uid_t uid = 0;
    gid_t gid = 0;  ///< primary group
    std::string name;
    std::string home;
    std::string shell;
    bool operator==(const User&) const = default;
};

/// A user by name or, if `name` is all digits, by number. nullopt: no such user. Error: the name service failed, which
/// is different. getpwnam_r(3)
Result<std::optional<User>> find_user(const std::string& name);
/// A group by name; a number is taken as it is, even without an entry. getgrnam_r(3)
Result<std::optional<gid_t>> find_group(const std::string& name);
/// The groups that the database gives a user, including the primary one. getgrouplist(3)
std::vector<gid_t> groups_of(const User& user);
/// superd's own supplementary groups. getgroups(2)
std::vector<gid_t> own_groups();
/// A port by its name in the services database; `protocol` is "tcp" or "udp". getservbyname_r(3)
Result<std::optional<std::uint16_t>> find_port(const std::string& name, const char* protocol);

/// The same look-ups with a memory, so that each is made once. A name service may be slow: where nobody may wait for
/// it, only answers that are already known are given.
class Names {
  public:
    /// Forgets everything, and looks up what it is asked for.
    void ask();
    /// Answers only what it knows; anything else is an error.
    void ask_nobody() { asks_ = false; }

    Result<std::optional<User>> find_user(const std::string& name);
    Result<std::optional<gid_t>> find_group(const std::string& name);
    Result<std::vector<gid_t>> groups_of(const User& user);
    Result<std::optional<std::uint16_t>> find_port(const std::string& name, const char* protocol);

    /// The answer to one question; which members matter depends on the question.
    struct Answer {
        std::string question;
        bool found = false;
        User user;
        std::vector<gid_t> groups;
        std::uint32_t number = 0;
        bool operator==(const Answer&) const = default;
    };
    /// Everything that it knows, so that another can continue from it.
    std::vector<Answer> answers() const;
    void go_on(std::vector<Answer> answers);
    /// Asks all of these again, or tells what it knows of them. True: every answer is what it was.
    bool as_before(const std::vector<Answer>& answers);

  private:
    void repeat(std::string_view question);
    template <class LookUp>
    Result<const Answer*> answer(std::string question, LookUp look_up);

    std::map<std::string, Answer> known_;
    bool asks_ = true;
};

}  // namespace superd::sys
