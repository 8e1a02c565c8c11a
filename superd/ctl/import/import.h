// SPDX-License-Identifier: MIT
#pragma once
// Other super-servers' files as definitions for superd, with a report of what could not be carried over. The importers
// are pure functions of text: they ask their caller for anything else they need to read.

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace superd::ctl {

/// A line of an imported file. line 0: the file as a whole.
struct Origin {
    std::string file;
    int line = 0;
    /// "FILE:LINE"
    std::string text() const { return line > 0 ? file + ":" + std::to_string(line) : file; }
};

/// What became of something that is not carried over unchanged.
enum class Fate {
    changed,   ///< carried over in another form, which differs a little
    lost,      ///< left out of a service that is written
    disabled,  ///< the service is written, but with enabled = false
    skipped,   ///< no service is written
    missing,   ///< written, but names something that this machine lacks: `superctl check` refuses it
    error,     ///< could not be read or written
};
const char* name_of(Fate fate);

struct Note {
    Origin at;
    std::string service;  ///< empty: about no service, or about one that has no name yet
    Fate fate = Fate::changed;
    std::string text;
    std::string key = {};  ///< superd's key that this note is about; the note disappears with the key's value
};
using Notes = std::vector<Note>;

/// Values as TOML writes them.
std::string toml_text(std::string_view text);
std::string toml_text(const std::vector<std::string>& words);

/// A service while it is imported: values of superd's keys, each with the line that it comes from.
struct Imported {
    struct Setting {
        std::string toml;
        Origin at;
    };

    std::string name;
    Origin at;
    std::string comment;                      ///< written above the definition; may be empty
    std::map<std::string, Setting> settings;  ///< by full name: "exec", "limits.instances", "environment.TZ"

    void set(const std::string& key, std::string_view text, const Origin& from);
    void set(const std::string& key, const char* text, const Origin& from) { set(key, std::string_view(text), from); }
    void set(const std::string& key, const std::vector<std::string>& words, const Origin& from);
    void set(const std::string& key, std::int64_t number, const Origin& from);
    void set(const std::string& key, int number, const Origin& from) { set(key, std::int64_t{number}, from); }
    void set(const std::string& key, bool flag, const Origin& from);
    void set_environment(const std::map<std::string, std::string>& variables, const Origin& from);
    /// A value that is TOML already.
    void set_toml(const std::string& key, std::string toml, const Origin& from);
    bool has(const std::string& key) const { return settings.contains(key); }
    bool enabled() const;
};

/// What an importer hands back.
struct Import {
    std::vector<Imported> services;
    Notes notes;

    void note(const Origin& at, std::string service, Fate fate, std::string text);
    /// Switches a service off because something that limited clients or the handler cannot be carried over.
    void disable(Imported& service, const Origin& at, std::string why);
};

/// What importers ask of the machine that they run on; tests give other answers.
struct Machine {
    std::function<Result<std::string>(const std::string& path)> read;
    /// The names in a folder, in byte order.
    std::function<Result<std::vector<std::string>>(const std::string& path)> list;
    /// services(5); nullopt: not there.
    std::function<std::optional<int>(const std::string& service, const std::string& protocol)> port;
    /// A host name's addresses, in the resolver's order; empty: it has none, or not now.
    std::function<std::vector<std::string>(const std::string& host)> addresses;
    /// A file's permissions; nullopt: it is not there.
    std::function<std::optional<unsigned>(const std::string& path)> mode;
    std::string folder = "/";  ///< the current folder, to which relative paths of a command refer
};

/// xinetd.conf(5).
Import import_xinetd(const std::string& file, std::string_view text, const Machine& machine);

/// Whose inetd a file was written for.
enum class Dialect { bsd, openbsd, netbsd, freebsd, gnu };
/// By name; nullopt: unknown.
std::optional<Dialect> dialect_of(std::string_view name);
/// inetd.conf(5) in that dialect; nullopt: use what the file itself shows, or else a guess, which is reported.
Import import_inetd(const std::string& file, std::string_view text, const Machine& machine,
                    std::optional<Dialect> dialect = std::nullopt);

/// stunnel(8)'s file: each section that accepts clients.
Import import_stunnel(const std::string& file, std::string_view text, const Machine& machine);
/// Where inetd or xinetd starts stunnel for each client, [tls] and what is behind stunnel take its place. If superd
/// cannot do what its file says, stunnel stays, which is reported.
void take_stunnels_place(Import& import, Imported& service, const std::string& program,
                         const std::vector<std::string>& argv, const Machine& machine, const Origin& at);

/// A server given as a command line: tcpserver, tcpsvd, udpsvd, socat, ncat, systemd-socket-activate.
Import import_command(const std::vector<std::string>& words, const Machine& machine);

/// systemd units by file name ("ssh.socket", "ssh@.service"), and their drop-ins by the same names, lowest first.
struct Units {
    struct File {
        std::string path;
        std::string text;
    };
    std::map<std::string, File> files;
    std::map<std::string, std::vector<File>> drop_ins;
    /// The name of the file that a unit is read from: its own or its template's; empty: there is none.
    std::string find(const std::string& name) const;
};
/// systemd.socket(5) units with the services they start.
Import import_systemd(const Units& units);

// -- what the importers share --------------------------------------------------------------------

/// Whether TOML can hold it: UTF-8 without NUL.
bool is_plain_text(std::string_view text);

/// A valid service name, as close to `wanted` as possible.
std::string service_name(std::string_view wanted);

/// `wanted`, or if another service has that name, the first free one of wanted-suffix, wanted-suffix-2 …
std::string free_name(const std::vector<Imported>& others, const std::string& wanted, const std::string& suffix);

/// "tcp://ADDRESS:PORT" with brackets where needed. `protocol`: tcp or udp.
std::string inet_uri(std::string_view protocol, std::string_view address, std::string_view port);

/// Whether it is an address, with or without a zone.
bool is_address(std::string_view text);

/// superd's handler for a service that inetd and xinetd serve internally; empty: there is none.
std::string shipped_handler(std::string_view service);

/// Sets model and handoff for inetd's wait and nowait, and reports any difference.
void set_model(Import& import, Imported& service, bool stream, bool wait, bool shipped, const Origin& at);

/// Sets exec and argv0; `argv` has argv[0] first. If a handler is behind tcpd, tcpd is removed, which is reported.
/// Returns the daemon's name for hosts.allow and hosts.deny in that case, else "".
std::string set_handler(Import& import, Imported& service, std::string program, std::vector<std::string> argv,
                        const Origin& at);

/// A host's addresses to listen on, of that family ("4", "6"; "": any), each once. An address stands for itself.
std::vector<std::string> listen_addresses(const Machine& machine, const std::string& host, std::string_view family);

std::string lower(std::string_view text);

}  // namespace superd::ctl
