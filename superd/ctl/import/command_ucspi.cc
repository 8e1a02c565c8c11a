// SPDX-License-Identifier: MIT
// tcpserver(1), tcpsvd(8), udpsvd(8): one program for each connection, limits as options, rules in a cdb or a folder.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/text.h"
#include "ctl/import/command.h"

namespace superd::ctl::command {

namespace {

std::string base_name(std::string_view path) {
    return std::string(path.substr(path.rfind('/') + 1));
}

/// A number in an option, within superd's range; 0: not a number.
int number_in(std::string_view text) {
    int number = 0;
    const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), number);
    return status == std::errc{} && number > 0 ? number : 0;
}

void set_number(Import& import, Imported& out, const Options& options, std::string_view option, const char* key,
                int fallback) {
    const std::string* given = options.find(option);
    const int number = given != nullptr ? number_in(*given) : fallback;
    if (number > 0) return out.set(key, number, out.at);
    import.note(out.at, out.name, Fate::lost, fmt::format("{} {}: not a number above 0", option, *given));
}

/// HOST PORT PROGRAM ARG…; false: some of these are missing, which is noted.
bool set_rest(Import& import, Imported& out, const Machine& machine, const Options& options,
              std::string_view protocol) {
    if (options.rest.size() < 3) {
        import.note(out.at, "", Fate::error, "needs a host, a port and a program");
        return false;
    }
    const std::vector<std::string> listen = uris(import, out, machine, protocol, options.rest[0], options.rest[1], "4");
    if (listen.empty()) return false;
    // They bind the first address of a name.
    out.set("listen", std::vector<std::string>{listen[0]}, out.at);
    out.name = base_name(options.rest[2]);
    set_program(import, out, {options.rest.begin() + 2, options.rest.end()}, machine.folder);
    return true;
}

void note_names(Import& import, const Imported& out, std::string_view what) {
    import.note(
        out.at, out.name, Fate::lost,
        fmt::format("{}: superd does not look up clients' names; TCPREMOTEHOST and TCPREMOTEINFO are not set", what));
}

}  // namespace

void map_tcpserver(const std::vector<std::string>& words, const Machine& machine, Imported& out, Import& import) {
    const auto options = read_options(words, "-c -x -B -g -u -b -l -t -i -k -z");
    if (!options) return import.note(out.at, "", Fate::error, options.error().text);
    if (!set_rest(import, out, machine, *options, "tcp")) return;
    out.set("model", "fork", out.at);
    set_number(import, out, *options, "-c", "limits.instances", 40);
    set_number(import, out, *options, "-b", "socket.backlog", 20);
    const std::string *uid = options->find("-u"), *gid = options->find("-g");
    out.set("user", uid != nullptr ? *uid : "root", out.at);
    if (gid != nullptr) out.set("group", *gid, out.at);
    if (uid != nullptr) out.set("supplementary_groups", std::vector<std::string>{}, out.at);
    if (options->has("-U"))
        import.note(out.at, out.name, Fate::lost,
                    "-U: superd does not take users from its environment; write user and group");
    if (options->has("-D")) out.set("socket.nodelay", true, out.at);
    if (options->has("-B"))
        import.note(out.at, out.name, Fate::lost, "-B: superd itself sends nothing to clients that it serves");
    if (options->has("-p"))
        import.disable(out, out.at,
                       "-p: superd knows clients only by address and would let in those with a wrong name");
    if (!options->has("-H")) note_names(import, out, "without -H");
    if (const std::string* path = options->find("-x")) {
        const auto content = machine.read(*path);
        if (content) return set_access(import, out, {rules_of_cdb(*path, *content, false)});
        if (!options->has("-X"))
            import.disable(out, out.at,
                           fmt::format("-x {}: {}; without it tcpserver serves nobody", *path, content.error().text));
    }
}

void map_ipsvd(const std::vector<std::string>& words, const Machine& machine, Imported& out, Import& import) {
    const auto options = read_options(words, "-i -x -u -c -C -b -l -t -E");
    if (!options) return import.note(out.at, "", Fate::error, options.error().text);
    const bool udp = out.comment.substr(0, out.comment.find(' ')).ends_with("udpsvd");
    if (!set_rest(import, out, machine, *options, udp ? "udp" : "tcp")) return;
    out.set("model", udp ? "iterative" : "fork", out.at);
    if (!udp) {
        set_number(import, out, *options, "-c", "limits.instances", 30);
        set_number(import, out, *options, "-b", "socket.backlog", 20);
    }
    out.set("user", "root", out.at);
    if (const std::string* user = options->find("-u")) {
        std::vector<std::string> groups;
        for (const std::string_view part : split(*user, ':')) groups.emplace_back(part);
        out.set("user", groups[0], out.at);
        if (groups.size() > 1) out.set("group", groups[1], out.at);
        if (groups.size() > 1) out.set("supplementary_groups", std::vector(groups.begin() + 1, groups.end()), out.at);
    }
    if (const std::string* each = options->find("-C"); each != nullptr && !udp) {
        const std::size_t colon = std::min(each->find(':'), each->size());
        if (const int number = number_in(std::string_view(*each).substr(0, colon)); number > 0)
            out.set("limits.per_source", number, out.at);
        const bool text = colon + 1 < each->size();
        out.set("limits.on_excess", text ? "reject" : "close", out.at);
        if (text) out.set("limits.reject_text", each->substr(colon + 1), out.at);
    }
    if (options->has("-h")) note_names(import, out, "-h");
    if (options->has("-p"))
        import.disable(out, out.at,
                       "-p: superd knows clients only by address and would let in those with a wrong name");
    if (const std::string* path = options->find("-x")) {
        const auto content = machine.read(*path);
        if (!content) return import.disable(out, out.at, fmt::format("-x {}: {}", *path, content.error().text));
        set_access(import, out, {rules_of_cdb(*path, *content, true)});
    } else if (const std::string* folder = options->find("-i")) {
        set_access(import, out, {rules_of_folder(machine, *folder)});
    }
}

}  // namespace superd::ctl::command
