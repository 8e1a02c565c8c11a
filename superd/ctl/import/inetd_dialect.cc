// SPDX-License-Identifier: MIT
// Whose inetd a file was written for, recognized by what only one of them has.
#include <algorithm>
#include <array>

#include "base/text.h"
#include "ctl/import/inetd.h"

namespace superd::ctl {

namespace inetd {

namespace {

struct Name {
    std::string_view name;
    Dialect dialect;
    const char* whose;
};
constexpr std::array<Name, 5> dialects{{{"bsd", Dialect::bsd, "of 4.4BSD"},
                                        {"openbsd", Dialect::openbsd, "of OpenBSD and Debian's openbsd-inetd"},
                                        {"netbsd", Dialect::netbsd, "of NetBSD"},
                                        {"freebsd", Dialect::freebsd, "of FreeBSD"},
                                        {"gnu", Dialect::gnu, "of GNU inetutils"}}};

bool has_family(std::string_view protocol, std::string_view family) {
    return (protocol.starts_with("tcp") || protocol.starts_with("udp")) && protocol.substr(3) == family;
}

std::optional<Dialect> shown_by(std::string_view line) {
    if (line.starts_with(kOffMark) || line.find("update-inetd") != std::string_view::npos) return Dialect::openbsd;
    if (line.starts_with('#')) return std::nullopt;
    const auto words = words_of(line, false);
    if (!words || words->empty()) return std::nullopt;
    const std::vector<std::string>& fields = *words;
    if (fields[0] == ".include") return Dialect::netbsd;
    if (fields.size() < 5) return std::nullopt;
    const std::string &service = fields[0], &type = fields[1], &wait = fields[3];
    const std::string protocol = fields[2].substr(0, fields[2].find(','));
    if (type == "on" || type == "off" || type.find_first_of(",:") != std::string::npos ||
        wait.find(':') != std::string::npos || protocol.starts_with("faith/"))
        return Dialect::netbsd;
    if (service.starts_with(':') || wait.find('/') != std::string::npos || fields[4].find('/') != std::string::npos)
        return Dialect::freebsd;
    if (has_family(protocol, "6only")) return Dialect::gnu;
    if (has_family(protocol, "46") || service.find(',') != std::string::npos) return Dialect::openbsd;
    return std::nullopt;
}

}  // namespace

Guess guess(std::string_view text) {
    int number = 0;
    for (const std::string_view line : split(text, '\n')) {
        ++number;
        if (const auto shown = shown_by(trimmed(line))) return {*shown, number};
    }
    return {};
}

const char* whose(Dialect dialect) {
    return std::ranges::find(dialects, dialect, &Name::dialect)->whose;
}

}  // namespace inetd

std::optional<Dialect> dialect_of(std::string_view name) {
    const auto found = std::ranges::find(inetd::dialects, name, &inetd::Name::name);
    return found != inetd::dialects.end() ? std::optional(found->dialect) : std::nullopt;
}

}  // namespace superd::ctl
