// SPDX-License-Identifier: MIT
// Does a handler find in its sandbox what it needs to start: its program, interpreter and folder?
#include <fmt/format.h>
#include <sys/stat.h>

#include "conf/program.h"
#include "conf/sandbox_machine.h"
#include "conf/sandbox_view.h"
#include "conf/validate.h"
#include "sys/elf.h"

namespace superd::conf {
namespace {

using toml::Value;

class HandlerChecker {
  public:
    HandlerChecker(Draft& draft, const Context& context, const Sandbox& box, Diagnostics& errors)
        : draft_(draft), context_(context), handler_(draft.service.handler), box_(box), view_(box), errors_(errors) {}

    void run() {
        const Value* exec = draft_.get("exec");
        if (exec != nullptr && !handler_.path.empty() && !draft_.is_broken("exec")) check_program(exec->items[0]);
        if (draft_.is_broken("working_directory") || draft_.is_broken("root_directory")) return;
        check_seen("working_directory", draft_.get("working_directory"), handler_.working_directory, "");
    }

  private:
    void reject(const char* key, const Value* at, std::string message) {
        if (at != nullptr)
            draft_.reject(key, at->spot, std::move(message), errors_);
        else
            draft_.reject(key, std::move(message), errors_);
    }

    void check_program(const Value& exec) {
        if (!check_seen("exec", &exec, handler_.path, "")) return;
        std::string binary = real_path(handler_.path);
        const std::string interpreter = context_.lookups.ask<std::string>(
            Lookups::question({"interpreter", binary}), [binary](Lookups&) { return sys::interpreter_of(binary); });
        if (interpreter.starts_with('/')) {
            if (!check_seen("exec", &exec, interpreter, "its interpreter ")) return;
            binary = real_path(interpreter);
        }
        warn_of_set_id(exec);
        if (!box_.needs_filter()) return;
        const bool foreign = context_.lookups.ask<bool>(Lookups::question({"foreign", binary}),
                                                        [binary](Lookups&) { return sys::is_foreign_program(binary); });
        if (foreign)
            reject("exec", &exec,
                   fmt::format("exec \"{}\" is for another processor or form of it than superd: sandbox.{} refuses all "
                               "its calls",
                               exec.text, first_with_filter(box_)));
    }

    void warn_of_set_id(const Value& exec) {
        const Result<sys::FoundFile> found = find_program(context_.lookups, root_of(draft_, context_), handler_.path);
        if (!box_.no_new_privileges || !found || (found->status.mode & (S_ISUID | S_ISGID)) == 0) return;
        draft_.warnings.push_back({exec.spot.place(),
                                   fmt::format("exec \"{}\" has a set-id bit, which sandbox.no_new_privileges leaves "
                                               "without effect",
                                               exec.text),
                                   true, true});
    }

    /// As found from outside the root directory; "" if it is not there.
    std::string real_path(const std::string& path) const {
        const Result<sys::FoundFile> found = find_program(context_.lookups, root_of(draft_, context_), path);
        return found ? found->real_path : "";
    }

    bool check_seen(const char* key, const Value* at, const std::string& path, const char* whose) {
        if (view_.shows_all()) return true;
        const std::string root = root_of(draft_, context_);
        std::string real = real_path(path);
        if (root != "/" && real.starts_with(root)) real.erase(0, root.size());
        for (const std::string& way : {path, real}) {
            const std::string by = way.empty() ? "" : view_.hider_of(way);
            if (by.empty()) continue;
            const std::string shown = at != nullptr ? at->text : path;
            reject(key, at,
                   fmt::format("{} \"{}\": {}{} is hidden by {}", key, shown, whose,
                               *whose == '\0' && way == shown ? "it" : way, by));
            return false;
        }
        return true;
    }

    Draft& draft_;
    const Context& context_;
    const Handler& handler_;
    const Sandbox& box_;
    const View view_;
    Diagnostics& errors_;
};

}  // namespace

std::string root_of(const Draft& draft, const Context& context) {
    const std::string& path = draft.service.handler.root_directory;
    if (path.empty()) return "/";
    const Result<sys::FoundFile> found = find_program(context.lookups, "/", path);
    return found ? found->real_path : "/";
}

void check_handler_within(const Sandbox& sandbox, Draft& draft, const Context& context, Diagnostics& errors) {
    HandlerChecker(draft, context, sandbox, errors).run();
}

}  // namespace superd::conf
