// SPDX-License-Identifier: MIT
// [sandbox] of one service: its preset, then each key over it, then what of them goes together and is to be had here.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <linux/capability.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "base/text.h"
#include "conf/program.h"
#include "conf/sandbox_machine.h"
#include "conf/sandbox_view.h"
#include "conf/sandbox_words.h"
#include "conf/validate.h"

namespace superd::conf {
namespace {

using toml::Kind;
using toml::Value;

class SandboxResolver {
  public:
    SandboxResolver(Draft& draft, const Context& context, Diagnostics& errors)
        : draft_(draft), context_(context), errors_(errors) {}

    void resolve() {
        if (!is_asked_for()) return;
        if (const Value* value = get("preset")) box_ = sandbox_of(*find_named<Preset>(value->text));
        read_flags();
        read_words();
        read_paths();
        read_lists();
        read_state_directory();
        check_together();
        fit_to_machine();
        need_no_new_privileges();
        check_handler_within(box_, draft_, context_, errors_);
        tell_state_directory();
        draft_.service.sandbox = std::move(box_);
    }

  private:
    static std::string full(std::string_view name) { return fmt::format("sandbox.{}", name); }
    const Value* get(std::string_view name) const {
        return draft_.is_broken(full(name)) ? nullptr : draft_.get(full(name));
    }
    const Value* own_value(std::string_view name) const { return own(draft_, context_, full(name)); }
    void reject(std::string_view name, const Value& at, std::string_view why) {
        draft_.reject(full(name), at.spot, fmt::format("{} {}", full(name), why), errors_);
    }
    void reject_here(std::string_view name, const Value& at, std::string_view why) {
        draft_.reject_here(full(name), &at, fmt::format("{} {}", full(name), why), errors_);
    }
    bool is_root() const {
        const auto& identity = draft_.service.handler.identity;
        return (identity ? identity->uid : context_.from.uid) == 0;
    }

    bool is_asked_for() const {
        const auto first = draft_.given.lower_bound("sandbox.");
        return first != draft_.given.end() && first->first.starts_with("sandbox.");
    }

    void read_flags() {
        static constexpr std::array<std::pair<const char*, bool Sandbox::*>, 11> flags{{
            {"no_new_privileges", &Sandbox::no_new_privileges},
            {"private_network", &Sandbox::private_network},
            {"private_tmp", &Sandbox::private_tmp},
            {"private_devices", &Sandbox::private_devices},
            {"private_pids", &Sandbox::private_pids},
            {"private_ipc", &Sandbox::private_ipc},
            {"protect_kernel", &Sandbox::protect_kernel},
            {"memory_deny_write_execute", &Sandbox::memory_deny_write_execute},
            {"restrict_realtime", &Sandbox::restrict_realtime},
            {"restrict_suid_sgid", &Sandbox::restrict_suid_sgid},
            {"lock_personality", &Sandbox::lock_personality},
        }};
        for (const auto& [name, member] : flags)
            if (const Value* value = get(name)) box_.*member = value->boolean;
    }

    template <Named Word>
    void read_word(const char* name, Word& out) {
        const Value* value = get(name);
        if (value == nullptr) return;
        const std::string text = value->kind == Kind::boolean ? (value->boolean ? "true" : "false") : value->text;
        out = *find_named<Word>(text);
    }

    void read_words() {
        read_word("protect_system", box_.protect_system);
        read_word("protect_home", box_.protect_home);
        read_word("protect_proc", box_.protect_proc);
        const Value* error = get("syscall_error");
        if (error == nullptr) return;
        if (const auto code = read_errno(error->text)) {
            box_.syscall_error = *code;
        } else {
            reject("syscall_error", *error,
                   fmt::format("\"{}\" is neither an error's name, such as \"EPERM\", nor \"kill\"", error->text));
        }
    }

    void read_paths() {
        read_path_list("read_only_paths", box_.read_only_paths);
        read_path_list("read_write_paths", box_.read_write_paths);
        read_path_list("inaccessible_paths", box_.inaccessible_paths);
    }

    void read_path_list(const char* name, std::vector<SandboxPath>& out) {
        const Value* value = get(name);
        if (value == nullptr) return;
        out.clear();
        for (const Value& item : value->items) {
            SandboxPath path{item.text, item.text.starts_with('-')};
            if (path.may_be_absent) path.path.erase(0, 1);
            const auto why = cannot_be_path(path.path);
            if (!why.empty()) {
                reject(name, item, fmt::format("\"{}\" {}", item.text, why));
                continue;
            }
            while (path.path.size() > 1 && path.path.ends_with('/')) path.path.pop_back();
            if (!path.may_be_absent) check_exists(name, item, path.path);
            out.push_back(std::move(path));
        }
    }

    static std::string cannot_be_path(std::string_view path) {
        if (path.starts_with('+')) return "begins with \"+\": paths are below root_directory anyway";
        if (!path.starts_with('/')) return "is not an absolute path";
        for (const std::string_view part : split(path, '/'))
            if (part == ".." || part == ".") return "has a \"..\" or \".\" in it";
        return "";
    }

    void check_exists(const char* name, const Value& at, const std::string& path) {
        const Result<sys::FoundFile> found = find_program(context_.lookups, root_of(draft_, context_), path);
        if (!found)
            reject_here(name, at,
                        fmt::format("\"{}\": {}; write \"-{}\" if it need not exist", path, found.error().text, path));
    }

    template <class Set, class Out>
    void read_list(const char* name, Set (*read)(const Words&, std::vector<BadWord>&), Out& out) {
        const Value* value = get(name);
        if (value == nullptr) return;
        Words words;
        const std::vector<const Value*> items = words_of(*value);
        for (const Value* item : items) words.push_back(item->text);
        std::vector<BadWord> bad;
        const Set set = read(words, bad);
        for (const BadWord& one : bad) reject(name, *items[one.index], one.why);
        out = set;
    }

    void read_lists() {
        read_list("capabilities", read_capabilities, box_.capabilities);
        read_list("ambient_capabilities", read_capabilities, box_.ambient_capabilities);
        read_list("syscalls", read_syscalls, box_.syscalls);
        read_list("restrict_address_families", read_address_families, box_.address_families);
        const Value* namespaces = get("restrict_namespaces");
        if (namespaces != nullptr && namespaces->kind == Kind::boolean)
            box_.forbidden_namespaces = namespaces->boolean ? all_namespaces() : 0;
        else
            read_list("restrict_namespaces", read_namespaces, box_.forbidden_namespaces);
    }

    void read_state_directory() {
        const Value* value = get("state_directory");
        if (value == nullptr) return;
        box_.state_directory = value->text;
        for (const std::string_view part : split(value->text, '/')) {
            if (!part.empty() && part != "." && part != "..") continue;
            return reject("state_directory", *value,
                          fmt::format("\"{}\" is not a name below {}, such as \"{}\"", value->text, kStateFolder,
                                      draft_.service.name));
        }
    }

    void check_together() {
        const Value* ambient = own_value("ambient_capabilities");
        if (ambient != nullptr && box_.ambient_capabilities != 0 && is_root()) {
            reject("ambient_capabilities", *ambient,
                   "is for a handler that is not root: root has all of sandbox.capabilities without it");
        }
        if (is_root()) box_.ambient_capabilities = 0;
        if (const std::uint64_t more = box_.ambient_capabilities & ~bounding_set(box_, is_root()); more != 0) {
            const Value* at = ambient != nullptr ? ambient : own_value("capabilities");
            if (at != nullptr)
                reject("ambient_capabilities", *at,
                       fmt::format("has {}, which {} takes away", fmt::join(capability_words(more), ", "),
                                   get("capabilities") != nullptr ? full("capabilities") : "the rest of the sandbox"));
            box_.ambient_capabilities &= ~more;
        }
        const Value* error = own_value("syscall_error");
        if (error != nullptr && box_.syscalls.permits_all()) reject("syscall_error", *error, "needs sandbox.syscalls");
        check_exec_is_permitted();
        check_paths_differ();
        const Value* families = own_value("restrict_address_families");
        if (families != nullptr && draft_.service.prefork->warm != Warm::off && !box_.address_families.permits(AF_UNIX))
            reject("restrict_address_families", *families,
                   "needs AF_UNIX with prefork.warm: a warm handler gets its client by such a socket");
    }

    void check_exec_is_permitted() {
        if (may_exec(box_.syscalls)) return;
        if (const Value* value = get("syscalls"))
            reject("syscalls", *value, "refuses execve, without which no handler could be started");
    }

    void check_paths_differ() {
        static constexpr std::array<std::pair<const char*, std::vector<SandboxPath> Sandbox::*>, 3> lists{
            {{"read_only_paths", &Sandbox::read_only_paths},
             {"read_write_paths", &Sandbox::read_write_paths},
             {"inaccessible_paths", &Sandbox::inaccessible_paths}}};
        for (std::size_t i = 0; i < lists.size(); ++i) {
            for (std::size_t j = 0; j < i; ++j) {
                for (const SandboxPath& one : box_.*lists[i].second) {
                    const bool twice = std::ranges::find(box_.*lists[j].second, one.path, &SandboxPath::path) !=
                                       (box_.*lists[j].second).end();
                    const Value* at = twice ? own_value(lists[i].first) : nullptr;
                    if (at != nullptr)
                        reject(lists[i].first, *at,
                               fmt::format("\"{}\" is in {} as well", one.path, full(lists[j].first)));
                }
            }
        }
    }

    /// What was written must be had; of what a preset or [defaults] says, the rest is used.
    void fit_to_machine() {
        if (!asks_of_machine(box_)) return;
        const sys::Confinement here = context_.from.confinement ? *context_.from.confinement : look();
        for (const Missing& one : fit(box_, here, is_root())) {
            if (const Value* value = own_value(one.key)) {
                reject_here(one.key, *value, fmt::format("is not to be had on this machine: {}", one.why));
                continue;
            }
            box_.left_out.push_back({full(one.key), one.why});
            const Value* at = get(one.key) != nullptr ? get(one.key) : get("preset");
            if (at != nullptr)
                draft_.warnings.push_back(
                    {at->spot.place(), fmt::format("{} is left out: {}", full(one.key), one.why), true, true});
        }
        privileged_ = here.privileged;
        check_state_directory();
    }

    sys::Confinement look() const {
        return context_.lookups.ask<sys::Confinement>(Lookups::question({"confinement"}),
                                                      [](Lookups&) { return sys::look_at_confinement(); });
    }

    /// Only root can make one; superd's own user may have been given it.
    void check_state_directory() {
        const Value* value = get("state_directory");
        if (value == nullptr || context_.from.uid == 0) return;
        const std::string path = fmt::format("{}/{}", kStateFolder, box_.state_directory);
        const Result<sys::FoundFile> found = find_program(context_.lookups, "/", path);
        if (found && S_ISDIR(found->status.mode) && found->status.uid == context_.from.uid) return;
        reject_here("state_directory", *value,
                    fmt::format("\"{}\": {} is not a folder of superd's user, and only root could make it so",
                                value->text, path));
    }

    /// What waits for a client installs the filter after its exec, with the capabilities that are left to it.
    bool waits_without_privilege() const {
        const Service& service = draft_.service;
        return service.model == Model::prefork && service.handoff == Handoff::connection && box_.needs_filter() &&
               (bounding_set(box_, true) >> CAP_SYS_ADMIN & 1) == 0;
    }

    void need_no_new_privileges() {
        const bool by_root = is_root() && privileged_;
        const bool needed = (box_.needs_filter() || uses_landlock(box_)) && !(by_root && !waits_without_privilege());
        if (!needed || box_.no_new_privileges) return;
        const Value* value = own_value("no_new_privileges");
        if (value != nullptr)
            reject(
                "no_new_privileges", *value,
                fmt::format("cannot be false with sandbox.{}{}", first_with_filter(box_),
                            by_root ? " under model \"prefork\": a process that waits for its client confines itself, "
                                      "for which it would need SYS_ADMIN in sandbox.capabilities"
                                    : ": the kernel confines in this way only root, or who cannot gain privileges"));
        box_.no_new_privileges = true;
    }

    void tell_state_directory() {
        if (box_.state_directory.empty()) return;
        auto& environment = draft_.service.handler.environment;
        const std::string prefix = "STATE_DIRECTORY=";
        const bool given =
            std::ranges::any_of(environment, [&](const std::string& one) { return one.starts_with(prefix); });
        if (!given) environment.push_back(fmt::format("{}{}/{}", prefix, kStateFolder, box_.state_directory));
    }

    Draft& draft_;
    const Context& context_;
    Diagnostics& errors_;
    Sandbox box_;
    bool privileged_ = false;
};

}  // namespace

void resolve_sandbox(Draft& draft, const Context& context, Diagnostics& errors) {
    SandboxResolver(draft, context, errors).resolve();
}

}  // namespace superd::conf
