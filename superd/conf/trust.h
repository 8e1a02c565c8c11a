// SPDX-License-Identifier: MIT
#pragma once
// Whether a definition can be trusted: only if nobody but root, or superd's own user, could have written it, or put
// another in its place.

#include <map>
#include <optional>
#include <string>

#include "conf/catalog.h"
#include "conf/diagnostic.h"
#include "sys/file.h"

namespace superd::conf {

/// For one load: looks at each folder and link once, and reports it once.
class Trust {
  public:
    /// Both outlive this object; errors on a way go to `errors`.
    Trust(const Surroundings& from, Diagnostics& errors) : from_(from), errors_(errors) {}

    /// Walks `path` from the root as the kernel does, from trusted folder to trusted folder, so that no untrusted user
    /// can change what was found sound. Judges all folders and links on the way, and the last name if it is one of
    /// these; a file there is judged after it has been opened. Returns the real path of that last name. nullopt: there
    /// is none, or a link on the way may belong to somebody else and must not be followed, since it could lead to a
    /// file that only superd may read; that has been reported.
    std::optional<std::string> follow(const std::string& path);

    /// Reports what is wrong with one file, by the status of the opened file.
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
