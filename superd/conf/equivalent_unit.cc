// SPDX-License-Identifier: MIT
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/text.h"
#include "conf/exposure.h"
#include "conf/sandbox_words.h"

namespace superd::conf {
namespace {

/// A word of a command line or list: systemd.syntax(7).
std::string in_quotes(std::string_view word) {
    std::string out = "\"";
    for (const char c : word) {
        if (c == '"' || c == '\\')
            out += fmt::format("\\{}", c);
        else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
            out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
        else if (c == '%' || c == '$')
            out += std::string(2, c);
        else
            out += c;
    }
    return out + "\"";
}

class UnitText {
  public:
    explicit UnitText(const Service& service) : service_(service), handler_(service.handler), box_(*service.sandbox) {}

    std::string text() {
        line("# superd's service {} as a unit: what confines its handlers", service_.name);
        line("[Service]");
        command();
        identity();
        privileges();
        paths();
        calls();
        return std::move(out_);
    }

  private:
    template <class... Parts>
    void line(fmt::format_string<Parts...> form, Parts&&... parts) {
        out_ += fmt::format(form, std::forward<Parts>(parts)...);
        out_ += '\n';
    }
    void flag(const char* name, bool value) {
        if (value) line("{}=yes", name);
    }
    void list(const char* name, const std::vector<SandboxPath>& paths) {
        for (const SandboxPath& one : paths)
            line("{}={}", name, in_quotes(fmt::format("{}{}", one.may_be_absent ? "-" : "", one.path)));
    }
    /// systemd writes "~" before the whole list.
    void words(const char* name, Words all, std::string_view prefix = "") {
        const bool inverted = !all.empty() && all[0].starts_with('~');
        if (inverted) all[0].erase(0, 1);
        if (inverted && all == Words{""}) return;
        Words taken_out;
        for (Words::iterator one = all.begin(); one != all.end();) {
            if (!one->starts_with('~')) {
                one->insert(0, prefix);
                ++one;
                continue;
            }
            taken_out.push_back(one->substr(1));
            one = all.erase(one);
        }
        line("{}={}{}", name, inverted ? "~" : "", fmt::join(all, " "));
        if (!taken_out.empty()) line("{}=~{}", name, fmt::join(taken_out, " "));
    }

    void command() {
        const bool renamed = !handler_.argv.empty() && handler_.argv[0] != handler_.path;
        // As systemd has it, "@" makes the second word the name.
        std::string all = fmt::format("{}{}", renamed ? "@" : "", in_quotes(handler_.path));
        for (std::size_t i = renamed ? 0 : 1; i < handler_.argv.size(); ++i) all += " " + in_quotes(handler_.argv[i]);
        line("ExecStart={}", all);
        line("StandardInput=socket");
    }

    void identity() {
        if (handler_.identity) {
            line("User={}",
                 handler_.identity->user.empty() ? fmt::format("{}", handler_.identity->uid) : handler_.identity->user);
            line("Group={}", handler_.identity->gid);
            if (const auto groups = other_groups(handler_); !groups.empty())
                line("SupplementaryGroups={}", fmt::join(groups, " "));
        }
        if (!handler_.root_directory.empty()) line("RootDirectory={}", in_quotes(handler_.root_directory));
        line("UMask={:04o}", handler_.umask);
        line("KeyringMode=private");
    }

    void privileges() {
        const bool root = handler_.identity && handler_.identity->uid == 0;
        const std::uint64_t set =
            handler_.identity ? bounding_set(box_, root) : box_.capabilities.value_or(kAllCapabilities);
        words("CapabilityBoundingSet", capability_words(set), "CAP_");
        if (box_.ambient_capabilities != 0)
            words("AmbientCapabilities", capability_words(box_.ambient_capabilities), "CAP_");
        flag("NoNewPrivileges", box_.no_new_privileges);
    }

    void paths() {
        flag("PrivateNetwork", box_.private_network);
        flag("PrivateTmp", box_.private_tmp);
        flag("PrivateDevices", box_.private_devices && box_.changes_mounts());
        flag("PrivateMounts", box_.changes_mounts());
        flag("PrivateIPC", box_.private_ipc);
        flag("RemoveIPC", box_.private_ipc);
        if (box_.private_pids) line("# PrivatePIDs=yes (systemd 257)");
        if (box_.protect_system != ProtectSystem::no) line("ProtectSystem={}", name_of(box_.protect_system));
        if (box_.protect_home != ProtectHome::no) line("ProtectHome={}", name_of(box_.protect_home));
        // A process namespace of its own shows none of others'.
        const ProtectProc proc = box_.private_pids && box_.protect_proc == ProtectProc::standard
                                     ? ProtectProc::invisible
                                     : box_.protect_proc;
        if (proc != ProtectProc::standard) line("ProtectProc={}", name_of(proc));
        for (const char* one : {"ProtectKernelTunables", "ProtectControlGroups"})
            flag(one, box_.protect_kernel && box_.changes_mounts());
        for (const char* one : {"ProtectKernelModules", "ProtectKernelLogs", "ProtectClock", "ProtectHostname"})
            flag(one, box_.protect_kernel);
        list("ReadOnlyPaths", box_.read_only_paths);
        list("ReadWritePaths", box_.read_write_paths);
        list("InaccessiblePaths", box_.inaccessible_paths);
        if (!box_.state_directory.empty()) line("StateDirectory={}", in_quotes(box_.state_directory));
    }

    void calls() {
        if (!box_.syscalls.permits_all()) words("SystemCallFilter", syscall_words(box_.syscalls));
        if (box_.syscall_error != 0) line("SystemCallErrorNumber={}", errno_word(box_.syscall_error));
        if (box_.needs_filter()) line("SystemCallArchitectures=native");
        flag("MemoryDenyWriteExecute", box_.memory_deny_write_execute);
        if (!box_.address_families.permits_all())
            words("RestrictAddressFamilies", address_family_words(box_.address_families));
        if (box_.forbidden_namespaces == all_namespaces())
            line("RestrictNamespaces=yes");
        else if (box_.forbidden_namespaces != 0)
            line("RestrictNamespaces={}", fmt::join(namespace_words(box_.forbidden_namespaces), " "));
        flag("RestrictRealtime", box_.restrict_realtime);
        flag("RestrictSUIDSGID", box_.restrict_suid_sgid);
        flag("LockPersonality", box_.lock_personality);
    }

    const Service& service_;
    const Handler& handler_;
    const Sandbox& box_;
    std::string out_;
};

}  // namespace

std::string equivalent_unit(const Service& service) {
    return UnitText(service).text();
}

}  // namespace superd::conf
