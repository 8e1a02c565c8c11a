// SPDX-License-Identifier: MIT
// The text of stunnel.conf: options, sections, includes; and the options that stunnel 5 knows.
#include "ctl/import/stunnel.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <set>

#include "base/text.h"

namespace superd::ctl::stunnel {

namespace {

using How = Known::How;

constexpr std::string_view blanks = " \t\r\f\v";
constexpr std::size_t most_files = 4096;

constexpr const char* one_log = "superd has one log for all services";
constexpr const char* own_random = "OpenSSL takes its randomness from the kernel";
constexpr const char* no_engine = "superd-tls uses keys from files alone";
constexpr const char* no_client = "it is for client = yes";

constexpr std::array<Known, 78> options{{
    {"accept", How::carried},
    {"caengine", How::excludes, no_engine},
    {"cafile", How::carried},
    {"capath", How::carried},
    {"cert", How::carried},
    {"checkemail", How::carried},
    {"checkhost", How::carried},
    {"checkip", How::carried},
    {"chroot", How::global},
    {"ciphers", How::carried},
    {"ciphersuites", How::carried},
    {"client", How::carried},
    {"compression", How::global, "superd does not compress: it would show secrets (CRIME)"},
    {"config", How::lost, "superd-tls takes no commands of OpenSSL's configuration"},
    {"connect", How::carried},
    {"crlfile", How::carried},
    {"crlpath", How::carried},
    {"curves", How::lost, "superd-tls offers OpenSSL's own choice of curves"},
    {"debug", How::lost, one_log},
    {"delay", How::settled},
    {"egd", How::global, own_random},
    {"engine", How::global, no_engine},
    {"enginectrl", How::global, no_engine},
    {"enginedefault", How::global, no_engine},
    {"engineid", How::excludes, no_engine},
    {"enginenum", How::excludes, no_engine},
    {"exec", How::carried},
    {"execargs", How::carried},
    {"failover", How::carried},
    {"fips", How::carried},
    {"foreground", How::global},
    {"ident", How::excludes, "superd does not ask ident servers about its clients"},
    {"include", How::settled},
    {"key", How::carried},
    {"libwrap", How::carried},
    {"local", How::carried},
    {"log", How::global, one_log},
    {"logid", How::settled},
    {"ocsp", How::carried},
    {"ocspaia", How::carried},
    {"ocspflag", How::settled},
    {"ocspnonce", How::settled},
    {"options", How::carried},
    {"output", How::global, one_log},
    {"pid", How::global},
    {"protocol", How::carried},
    {"protocolauthentication", How::lost, no_client},
    {"protocoldomain", How::lost, no_client},
    {"protocolheader", How::lost, no_client},
    {"protocolhost", How::lost, no_client},
    {"protocolpassword", How::lost, no_client},
    {"protocolusername", How::lost, no_client},
    {"pskidentity", How::lost, no_client},
    {"psksecrets", How::lost, "superd-tls goes by certificates: clients with such keys are not served"},
    {"pty", How::carried},
    {"redirect", How::lost, "a client without a sound certificate is refused, and not connected elsewhere"},
    {"renegotiation", How::carried},
    {"requirecert", How::carried},
    {"reset", How::settled},
    {"retry", How::settled},
    {"rndbytes", How::global, own_random},
    {"rndfile", How::global, own_random},
    {"rndoverwrite", How::global, own_random},
    {"securitylevel", How::carried},
    {"service", How::settled},
    {"sessioncachesize", How::settled},
    {"sessioncachetimeout", How::lost, "superd-tls resumes by tickets, for two hours at most"},
    {"sessiond", How::lost, "superd-tls shares sessions with nobody"},
    {"sessionresume", How::carried},
    {"setgid", How::carried},
    {"setuid", How::carried},
    {"sni", How::carried},
    {"socket", How::carried},
    {"stack", How::settled},
    {"syslog", How::global},
    {"ticketkeysecret", How::lost, "superd-tls makes its ticket keys itself, and renews them"},
    {"ticketmacsecret", How::lost, "superd-tls makes its ticket keys itself, and renews them"},
    {"transparent", How::carried},
}};

/// Carried too, in numbers too many for one table to be read.
constexpr std::array<std::string_view, 10> more{"sslversion",   "sslversionmax",  "sslversionmin", "timeoutbusy",
                                                "timeoutclose", "timeoutconnect", "timeoutidle",   "verify",
                                                "verifychain",  "verifypeer"};

/// Those that stunnel takes only as yes or no.
constexpr std::array<std::string_view, 15> switches{
    "client",      "delay", "fips",         "libwrap",       "ocspaia", "ocspnonce",   "pty",       "renegotiation",
    "requirecert", "reset", "rndoverwrite", "sessionresume", "syslog",  "verifychain", "verifypeer"};

/// What stunnel does not like about the value; empty: it takes it.
std::string_view fault_of(const Option& option) {
    const std::string word = lower(option.value);
    if (std::ranges::find(switches, option.name) != switches.end() && word != "yes" && word != "no")
        return "is neither yes nor no";
    if (option.name == "foreground" && word != "yes" && word != "no" && word != "quiet")
        return "is neither yes, no nor quiet";
    const int level = level_of(option.value);
    if (option.name == "verify" && (level < 0 || level > 4)) return "is no level from 0 to 4";
    if (option.name == "securitylevel" && (level < 0 || level > 5)) return "is no level from 0 to 5";
    return "";
}

std::string_view trimmed(std::string_view text) {
    const std::size_t start = text.find_first_not_of(blanks);
    if (start == std::string_view::npos) return "";
    return text.substr(start, text.find_last_not_of(blanks) - start + 1);
}

class Reader {
  public:
    Reader(const Machine& machine, Notes& notes) : machine_(machine), notes_(notes) {}

    void read(const std::string& file, std::string_view text) {
        if (++files_ > most_files) return unread({file, 0}, fmt::format("more than {} files: not read", most_files));
        if (!open_.insert(file).second) return unread({file, 0}, "includes itself: not read again");
        if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
        int number = 0;
        for (const std::string_view line : split(text, '\n')) take(trimmed(line), {file, ++number});
        open_.erase(file);
    }

    File result() {
        // One bad line keeps stunnel from starting at all, and what is not read may concern any section.
        for (Section& section : file_.sections) {
            if (!section.fault.empty()) continue;
            section.fault = fault_;
            section.fault_at = fault_at_;
        }
        file_.global.fault = fault_;
        file_.global.fault_at = fault_at_;
        return std::move(file_);
    }

  private:
    /// What is missing may be an option that keeps clients out, or a section's name, without which its options change
    /// the section before it.
    void unread(const Origin& at, std::string why) {
        notes_.push_back({at, "", Fate::error, why});
        set_fault(at, std::move(why));
    }
    void refuse(const Origin& at, std::string why) { set_fault(at, std::move(why) + ": stunnel does not start"); }
    void set_fault(const Origin& at, std::string why) {
        if (!fault_.empty()) return;
        fault_ = std::move(why);
        fault_at_ = at;
    }

    void take(std::string_view line, const Origin& at) {
        if (line.empty() || line[0] == '#' || line[0] == ';') return;
        if (!is_plain_text(line)) return unread(at, "is not UTF-8 text: left out");
        if (line[0] == '[' && line.back() == ']') {
            Section section;
            section.name = line.substr(1, line.size() - 2);
            section.at = at;
            section.options = file_.global.options;
            std::erase_if(section.options, [](const Option& one) { return one.name == "service"; });  // inetd mode's
            return file_.sections.push_back(std::move(section));
        }
        const std::size_t equals = line.find('=');
        if (equals == std::string_view::npos) return refuse(at, fmt::format("\"{}\" has no \"=\"", line));
        Option option{lower(trimmed(line.substr(0, equals))), std::string(trimmed(line.substr(equals + 1))), at};
        if (option.name == "include") return include(option);
        const Known* one = known(option.name);
        if (one == nullptr || (one->how == How::global && !file_.sections.empty()))
            return refuse(at, fmt::format("\"{}\" is no option{}", option.name, one != nullptr ? " of a section" : ""));
        if (const std::string_view why = fault_of(option); !why.empty())
            return refuse(at, fmt::format("{} {}", option.text(), why));
        Section& section = file_.sections.empty() ? file_.global : file_.sections.back();
        section.options.push_back(std::move(option));
    }

    void include(const Option& option) {
        const std::string folder = absolute(option.value, machine_);
        const auto names = machine_.list(folder);
        if (!names) return unread(option.at, fmt::format("include {} cannot be read: {}", folder, names.error().text));
        for (const std::string& name : *names) {
            const std::string file = fmt::format("{}/{}", folder, name);
            const auto text = machine_.read(file);
            if (text) {
                read(file, *text);
            } else {
                unread(option.at, fmt::format("include {} cannot be read: {}", file, text.error().text));
            }
        }
    }

    const Machine& machine_;
    Notes& notes_;
    File file_;
    std::set<std::string> open_;  ///< files that are being read
    std::size_t files_ = 0;
    std::string fault_;
    Origin fault_at_;
};

}  // namespace

const Known* known(std::string_view name) {
    static constexpr Known carried{"", How::carried};
    if (std::ranges::find(more, name) != more.end()) return &carried;
    const auto found = std::ranges::find(options, name, &Known::name);
    return found != options.end() ? &*found : nullptr;
}

int level_of(const std::string& value) {
    char* end = nullptr;
    const int level = static_cast<int>(std::strtol(value.c_str(), &end, 10));
    return value.empty() || *end != 0 ? -1 : level;
}

const Option* Section::find(std::string_view wanted) const {
    const auto found =
        std::find_if(options.rbegin(), options.rend(), [&](const Option& option) { return option.name == wanted; });
    return found != options.rend() ? &*found : nullptr;
}

std::string Section::value(std::string_view wanted) const {
    const Option* const option = find(wanted);
    return option != nullptr ? option->value : "";
}

std::string absolute(const std::string& path, const Machine& machine) {
    if (path.starts_with('/') || path.empty()) return path;
    return machine.folder.ends_with('/') ? machine.folder + path : machine.folder + "/" + path;
}

File read(const std::string& file, std::string_view text, const Machine& machine, Notes& notes) {
    Reader reader(machine, notes);
    reader.read(file, text);
    return reader.result();
}

}  // namespace superd::ctl::stunnel

namespace superd::ctl {

Import import_stunnel(const std::string& file, std::string_view text, const Machine& machine) {
    Import import;
    const stunnel::File read = stunnel::read(file, text, machine, import.notes);
    std::set<std::string_view> said;
    for (const stunnel::Option& option : read.global.options) {
        const stunnel::Known* const known = stunnel::known(option.name);
        if (known->how == stunnel::Known::How::global && *known->why != 0 && said.insert(known->why).second)
            import.note(option.at, "", Fate::lost, fmt::format("{}: {}", option.text(), known->why));
    }
    if (read.sections.empty() && (read.global.find("exec") != nullptr || read.global.find("connect") != nullptr))
        import.note(
            {file, 0}, "", Fate::skipped,
            "is for inetd mode, and does not say where stunnel listens: import the file of the super-server that "
            "starts it; left out");
    for (const stunnel::Section& section : read.sections) stunnel::map_section(section, read, machine, import);
    return import;
}

}  // namespace superd::ctl
