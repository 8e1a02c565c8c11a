// SPDX-License-Identifier: MIT
// What confines a handler under systemd (systemd.exec(5), "Sandboxing") as keys of [sandbox].
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "base/text.h"
#include "conf/sandbox_words.h"
#include "ctl/import/systemd.h"

namespace superd::ctl::systemd {
namespace {

using unit::Assignment;
using WordList = std::vector<std::string>;

struct Name {
    const char* theirs;
    const char* ours;  ///< without "sandbox."
};
constexpr std::array<Name, 10> kFlags{{{"NoNewPrivileges", "no_new_privileges"},
                                       {"PrivateNetwork", "private_network"},
                                       {"PrivateTmp", "private_tmp"},
                                       {"PrivateDevices", "private_devices"},
                                       {"PrivatePIDs", "private_pids"},
                                       {"PrivateIPC", "private_ipc"},
                                       {"MemoryDenyWriteExecute", "memory_deny_write_execute"},
                                       {"RestrictRealtime", "restrict_realtime"},
                                       {"RestrictSUIDSGID", "restrict_suid_sgid"},
                                       {"LockPersonality", "lock_personality"}}};
/// true, false or a word.
constexpr std::array<Name, 3> kWords{
    {{"ProtectSystem", "protect_system"}, {"ProtectHome", "protect_home"}, {"ProtectProc", "protect_proc"}}};
constexpr std::array<Name, 3> kPaths{{{"ReadOnlyPaths", "read_only_paths"},
                                      {"ReadWritePaths", "read_write_paths"},
                                      {"InaccessiblePaths", "inaccessible_paths"}}};
/// All of them are protect_kernel.
constexpr std::array<const char*, 6> kKernel{"ProtectKernelTunables", "ProtectKernelModules", "ProtectKernelLogs",
                                             "ProtectControlGroups",  "ProtectClock",         "ProtectHostname"};
/// What superd does in any case, if it has this value.
constexpr std::array<std::pair<const char*, const char*>, 1> kSettled{{{"KeyringMode", "private"}}};
constexpr std::array<const char*, 8> kOthers{
    "CapabilityBoundingSet", "AmbientCapabilities",     "SystemCallFilter", "SystemCallErrorNumber",
    "RestrictNamespaces",    "RestrictAddressFamilies", "StateDirectory",   "SystemCallArchitectures"};

class SandboxMapper {
  public:
    SandboxMapper(const Handler& handler, Imported& out, Import& import)
        : unit_(handler.service), specifiers_(handler.specifiers), out_(out), import_(import) {}

    void run() {
        for (const Name& one : kFlags) flag(one);
        for (const Name& one : kWords) word(one);
        for (const Name& one : kPaths) paths(one);
        kernel();
        capabilities("CapabilityBoundingSet", "capabilities", conf::kAllCapabilities);
        capabilities("AmbientCapabilities", "ambient_capabilities", 0);
        namespaces();
        calls();
        list("RestrictAddressFamilies", "restrict_address_families");
        if (const Assignment* one = last("SystemCallErrorNumber")) set(*one, "syscall_error", one->value);
        state_directory();
        settled();
    }

  private:
    const Assignment* last(std::string_view key) const { return unit_.last("Service", key); }
    std::vector<const Assignment*> all(std::string_view key) const { return unit_.all("Service", key); }
    static std::string full(std::string_view name) { return fmt::format("sandbox.{}", name); }
    void set(const Assignment& one, const char* name, std::string_view text) { out_.set(full(name), text, one.at); }
    void note(const Assignment& one, Fate fate, std::string_view why, const char* about = nullptr) {
        import_.note(one.at, out_.name, fate, fmt::format("{}={}: {}", one.key, one.value, why));
        if (about != nullptr) import_.notes.back().key = full(about);
    }
    void lost(const Assignment& one, std::string_view why) { note(one, Fate::lost, why); }

    void flag(const Name& name) {
        const Assignment* one = last(name.theirs);
        if (one == nullptr) return;
        if (const auto value = unit::boolean(one->value))
            out_.set(full(name.ours), *value, one->at);
        else
            lost(*one, fmt::format("write {} by hand", full(name.ours)));
    }

    void word(const Name& name) {
        const Assignment* one = last(name.theirs);
        if (one == nullptr) return;
        if (const auto value = unit::boolean(one->value))
            out_.set(full(name.ours), *value, one->at);
        else
            set(*one, name.ours, one->value);
    }

    /// nullopt after a note.
    std::optional<WordList> words_of(const Assignment& one) {
        auto words = unit::words_of(one.value);
        if (!words) lost(one, "a quote is not closed");
        return words;
    }

    void paths(const Name& name) {
        WordList found;
        const Assignment* at = nullptr;
        for (const Assignment* one : all(name.theirs)) {
            const auto words = words_of(*one);
            if (!words) continue;
            for (const std::string& each : *words) {
                if (const auto path = path_of(*one, each)) found.push_back(*path);
            }
            at = one;
        }
        if (!found.empty()) out_.set(full(name.ours), found, at->at);
    }

    /// "-" and "+" come in this order.
    std::optional<std::string> path_of(const Assignment& one, const std::string& word) {
        auto path = specifiers_.expand(word);
        if (!path) {
            lost(one, fmt::format("\"{}\" has a specifier that superd cannot give a value", word));
            return std::nullopt;
        }
        const bool optional = path->starts_with('-');
        if (optional) path->erase(0, 1);
        const bool inside = path->starts_with('+');
        if (inside) path->erase(0, 1);
        if (!inside && last("RootDirectory") != nullptr)
            note(one, Fate::changed, fmt::format("{}: superd looks for it below the root directory", *path));
        return (optional ? "-" : "") + *path;
    }

    void kernel() {
        std::vector<const Assignment*> on, off;
        for (const char* key : kKernel) {
            const Assignment* one = last(key);
            if (one == nullptr) continue;
            // "private" and "strict" of later releases protect as well.
            (unit::boolean(one->value).value_or(true) ? on : off).push_back(one);
        }
        if (on.empty()) return;
        out_.set(full("protect_kernel"), true, on.front()->at);
        if (on.size() == kKernel.size()) return;
        std::string more;
        for (const char* key : kKernel) {
            const bool here = std::ranges::any_of(on, [&](const Assignment* one) { return one->key == key; });
            if (!here) more += fmt::format("{}{}", more.empty() ? "" : ", ", key);
        }
        note(*on.front(), Fate::changed, fmt::format("sandbox.protect_kernel is {} as well", more), "protect_kernel");
    }

    /// As systemd merges lines: the first sets or inverts, later ones add or take away.
    void capabilities(const char* theirs, const char* ours, std::uint64_t initial) {
        std::uint64_t set = initial;
        const Assignment* at = nullptr;
        for (const Assignment& one : unit_.assignments()) {
            if (one.section != "Service" || one.key != theirs) continue;
            at = &one;
            if (one.value.empty()) {
                set = 0;
                continue;
            }
            const bool inverted = one.value.starts_with('~');
            auto words = unit::words_of(std::string_view(one.value).substr(inverted ? 1 : 0));
            if (!words) {
                lost(one, "a quote is not closed");
                continue;
            }
            for (std::string& word : *words)
                if (word.starts_with("CAP_")) word.erase(0, 4);
            std::vector<conf::BadWord> bad;
            const std::uint64_t these = conf::read_capabilities(*words, bad);
            for (const conf::BadWord& each : bad) lost(one, each.why);
            if (set == initial)
                set = inverted ? ~these : these;
            else
                set = inverted ? set & ~these : set | these;
        }
        if (at != nullptr && set != initial) out_.set(full(ours), conf::capability_words(set), at->at);
    }

    void namespaces() {
        const auto lines = all("RestrictNamespaces");
        if (lines.empty()) return;
        const Assignment& first = *lines.front();
        const auto flag = unit::boolean(first.value);
        if (lines.size() == 1 && flag) return out_.set(full("restrict_namespaces"), *flag, first.at);
        list("RestrictNamespaces", "restrict_namespaces");
    }

    /// Lines of one kind are one list of superd's.
    void list(const char* theirs, const char* ours) {
        const auto lines = all(theirs);
        if (lines.empty()) return;
        const bool inverted = lines.front()->value.starts_with('~');
        WordList found;
        for (const Assignment* one : lines) {
            if (one->value.starts_with('~') != inverted) {
                lost(*one, "takes back what an earlier line says");
                continue;
            }
            const auto words = words_of(*one);
            if (words) found.insert(found.end(), words->begin(), words->end());
        }
        if (found.size() > 1) std::erase_if(found, [](const std::string& word) { return word == "none"; });
        out_.set(full(ours), found, lines.back()->at);
    }

    /// As systemd merges lines: in a list that permits, "~" takes away what stands before it.
    void calls() {
        const auto lines = all("SystemCallFilter");
        if (lines.empty()) return;
        const bool denies = lines.front()->value.starts_with('~');
        WordList found, taken_out;
        for (const Assignment* one : lines) {
            const bool inverted = one->value.starts_with('~');
            const auto words = unit::words_of(std::string_view(one->value).substr(inverted ? 1 : 0));
            if (!words) {
                lost(*one, "a quote is not closed");
                continue;
            }
            if (inverted != denies && denies) {
                lost(*one, "takes back what an earlier line refuses");
                continue;
            }
            for (const std::string& word : *words) {
                if (const auto known = call_of(*one, word)) add(*known, inverted, denies, found, taken_out);
            }
        }
        if (denies && !found.empty()) found[0].insert(0, 1, '~');
        for (const std::string& word : taken_out) found.push_back("~" + word);
        if (!found.empty()) out_.set(full("syscalls"), found, lines.back()->at);
    }

    static void add(const std::string& word, bool inverted, bool denies, WordList& found, WordList& taken_out) {
        if (inverted && !denies) return taken_out.push_back(word);
        // Permitted again by a later line.
        std::erase(taken_out, word);
        found.push_back(word);
    }

    /// systemd passes over names that it does not know.
    std::optional<std::string> call_of(const Assignment& one, const std::string& word) {
        const std::size_t colon = word.find(':');
        if (colon != std::string::npos)
            note(one, Fate::changed, fmt::format("\"{}\": superd has one error for all calls", word));
        std::vector<conf::BadWord> bad;
        std::string name = word.substr(0, colon);
        (void)conf::read_syscalls({name}, bad);
        if (bad.empty()) return name;
        lost(one, bad.front().why);
        return std::nullopt;
    }

    void state_directory() {
        const Assignment* one = last("StateDirectory");
        if (one == nullptr) return;
        const auto words = words_of(*one);
        if (!words) return;
        const auto name = words->size() == 1 ? specifiers_.expand(words->front()) : std::nullopt;
        if (!name || name->find(':') != std::string::npos || all("StateDirectory").size() > 1)
            return lost(*one, "superd has one state directory, without links to it");
        set(*one, "state_directory", *name);
    }

    void settled() {
        const bool filters =
            std::ranges::any_of(std::array{"syscalls", "memory_deny_write_execute", "restrict_realtime",
                                           "restrict_suid_sgid", "lock_personality"},
                                [&](const char* key) { return out_.has(full(key)); });
        const Assignment* tables = last("SystemCallArchitectures");
        if (tables != nullptr && !(tables->value == "native" && filters))
            lost(*tables, tables->value == "native"
                              ? "superd refuses other tables of calls with any key that judges calls"
                              : "superd knows only this processor's table of calls");
        for (const auto& [key, value] : kSettled) {
            const Assignment* one = last(key);
            if (one != nullptr && one->value != value) lost(*one, "superd has nothing like it");
        }
    }

    const unit::Unit& unit_;
    const unit::Specifiers& specifiers_;
    Imported& out_;
    Import& import_;
};

}  // namespace

bool is_sandbox_setting(std::string_view key) {
    const auto is_it = [&](const Name& one) { return key == one.theirs; };
    const auto is_word = [&](const char* one) { return key == one; };
    return std::ranges::any_of(kFlags, is_it) || std::ranges::any_of(kWords, is_it) ||
           std::ranges::any_of(kPaths, is_it) || std::ranges::any_of(kKernel, is_word) ||
           std::ranges::any_of(kOthers, is_word) ||
           std::ranges::any_of(kSettled, [&](const auto& one) { return key == one.first; });
}

void map_sandbox(const Handler& handler, Imported& out, Import& import) {
    SandboxMapper(handler, out, import).run();
}

}  // namespace superd::ctl::systemd
