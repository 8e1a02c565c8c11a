// SPDX-License-Identifier: MIT
#pragma once
// Which paths a handler does not find in its sandbox.

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "conf/diagnostic.h"
#include "conf/sandbox.h"

namespace superd::conf {

/// state_directory is below it.
inline constexpr const char* kStateFolder = "/var/lib";

class View {
  public:
    explicit View(const Sandbox& sandbox);
    bool shows_all() const { return hidden_.empty(); }
    /// "sandbox.private_tmp = true", which hides this absolute path; "": it is there as ever.
    std::string hider_of(std::string_view path) const;

  private:
    std::vector<std::pair<std::string, std::string>> hidden_;  ///< folders or files, and who hides them
};

struct Draft;
struct Context;

/// The handler's root directory, without symbolic links; "/" if it has none.
std::string root_of(const Draft& draft, const Context& context);

/// Program, interpreter and working directory must be seen, and be of a form whose calls are not all refused.
void check_handler_within(const Sandbox& sandbox, Draft& draft, const Context& context, Diagnostics& errors);

}  // namespace superd::conf
