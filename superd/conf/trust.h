// SPDX-License-Identifier: MIT
#pragma once
// Whose word counts: a definition is believed where nobody but root, or superd's own user, could have written it, or
// have put another in its place.

#include <map>
#include <optional>
#include <string>

#include "conf/catalog.h"
#include "conf/diagnostic.h"
#include "sys/file.h"

namespace superd::conf {

/// For one load: each folder and link is looked at once, and told once.
class Trust {
  public:
    /// Both outlive this object; what spoils a way goes to `errors`.
    Trust(const Surroundings& from, Diagnostics& errors) : from_(from), errors_(errors) {}

    /// Goes the way of `path` from the root as the kernel does, from trusted folder to trusted folder, so that what
    /// was found sound stays so for everybody who is not trusted. Judges all folders and links on the way, and the
    /// last name if it is one; a file that stands there is judged when it has been opened. Returns that last name's
    /// real path. nullopt: there is none, or a link on the way may be another's, and must not be followed, since it
    /// could lead to what superd alone may read; that has been reported.
    std::optional<std::string> follow(const std::string& path);

    /// Reports what is wrong with one file, by the status of what has been opened.
    void judge(const std::string& path, const sys::FileStatus& status) { judge(path, status, path); }

  private:
    struct Passed {
        mode_t mode = 0;
        bool sound = true;   ///< nobody else can change what is in this folder, or where this link leads
        std::string target;  ///< of a link
    };

    Result<const Passed*> pass(const std::string& path, const std::string& goal);
    bool judge(const std::string& path, const sys::FileStatus& status, const std::string& goal);

    const Surroundings& from_;
    Diagnostics& errors_;
    std::map<std::string, Passed> passed_;
};

}  // namespace superd::conf
