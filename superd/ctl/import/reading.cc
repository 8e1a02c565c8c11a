// SPDX-License-Identifier: MIT
// What superctl import reads (files, folders, units and related files), and what it asks this machine.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <set>

#include "base/text.h"
#include "ctl/import/request.h"
#include "sys/file.h"

namespace superd::ctl {

namespace {

constexpr std::size_t largest_file = std::size_t{1} << 22;

Result<std::string> read_text(const std::string& path) {
    auto file = sys::read_file(path, largest_file);
    if (!file) return std::unexpected(file.error());
    return std::move(file->text);
}

bool is_folder(const std::string& path) {
    const auto status = sys::status_of(path);
    return status && S_ISDIR(status->mode);
}

/// Names of the files in a folder, without hidden ones and editors' backups.
Result<std::vector<std::string>> files_in(const std::string& folder) {
    auto names = sys::list_directory(folder);
    if (!names) return names;
    std::erase_if(*names, [&](const std::string& name) {
        const auto status = sys::status_of(folder + "/" + name);
        return name.starts_with('.') || name.ends_with('~') || !status || !S_ISREG(status->mode);
    });
    return names;
}

class Reading {
  public:
    Import run(const Request& request) {
        dialect_ = dialect_of(request.dialect);
        if (request.format == "command") {
            add(import_command(request.paths, this_machine()));
            return std::move(all_);
        }
        for (std::string path : request.paths) {
            while (path.size() > 1 && path.ends_with('/')) path.pop_back();
            if (request.format == "inetd") {
                read_inetd(path);
            } else if (request.format == "xinetd") {
                read_xinetd(path);
            } else if (request.format == "stunnel") {
                read_stunnel(path);
            } else {
                read_units(path);
            }
        }
        if (request.format == "systemd") add(import_systemd(units_));
        return std::move(all_);
    }

  private:
    void cannot_read(const std::string& path, const Error& error) {
        all_.note({path, 0}, "", Fate::error, "cannot be read: " + error.text);
    }

    /// Services from different files may have the same name.
    void add(Import import) {
        for (Imported& service : import.services) {
            const std::string name = free_name(all_.services, service.name, "2");
            if (name != service.name) {
                for (Note& note : import.notes) {
                    if (note.service == service.name) note.service = name;
                }
                service.name = name;
            }
            all_.services.push_back(std::move(service));
        }
        for (Note& note : import.notes) {
            // Report once what applies to all services.
            const bool said = note.at.line == 0 && note.service.empty() &&
                              std::ranges::find(all_.notes, note.text, &Note::text) != all_.notes.end();
            if (!said || note.fate != Fate::changed) all_.notes.push_back(std::move(note));
        }
    }

    void read_inetd(const std::string& path) {
        if (!is_folder(path)) {
            const auto text = read_text(path);
            return text ? add(import_inetd(path, *text, this_machine(), dialect_)) : cannot_read(path, text.error());
        }
        const auto names = files_in(path);
        if (!names) return cannot_read(path, names.error());
        for (const std::string& name : *names) read_inetd(fmt::format("{}/{}", path, name));
    }

    void read_xinetd(const std::string& path) {
        const auto text = is_folder(path) ? Result<std::string>("includedir " + path) : read_text(path);
        if (!text) return cannot_read(path, text.error());
        add(import_xinetd(path, *text, this_machine()));
    }

    /// Of a folder each file that Debian starts a stunnel for.
    void read_stunnel(const std::string& path) {
        if (!is_folder(path)) {
            const auto text = read_text(path);
            return text ? add(import_stunnel(path, *text, this_machine())) : cannot_read(path, text.error());
        }
        const auto names = files_in(path);
        if (!names) return cannot_read(path, names.error());
        for (const std::string& name : *names)
            if (name.ends_with(".conf")) read_stunnel(fmt::format("{}/{}", path, name));
    }

    /// Of several units with the same name the first counts, as /etc comes before /usr/lib.
    void read_unit(const std::string& path, const std::string& name) {
        if (units_.files.contains(name)) return;
        const auto status = sys::status_of(path);
        // A link to /dev/null masks a unit: the unit exists and is empty.
        auto text = status && S_ISCHR(status->mode) ? Result<std::string>("") : read_text(path);
        if (!text) return cannot_read(path, text.error());
        units_.files[name] = {path, std::move(*text)};
    }

    static std::string folder_of(const std::string& path) {
        const std::size_t slash = path.rfind('/');
        return slash == std::string::npos ? "." : path.substr(0, std::max<std::size_t>(slash, 1));
    }

    void read_units(const std::string& path) {
        if (!is_folder(path) && !path.ends_with(".socket"))
            return all_.note({path, 0}, "", Fate::skipped,
                             "is not a .socket unit: a service is imported with its socket");
        if (!is_folder(path)) return read_socket(path);
        const auto names = sys::list_directory(path);
        if (!names) return cannot_read(path, names.error());
        for (const std::string& name : *names) {
            if (name.ends_with(".socket")) read_socket(fmt::format("{}/{}", path, name));
        }
    }

    /// A socket with related files: it may be a link, as in sockets.target.wants.
    void read_socket(const std::string& path) {
        read_unit(path, path.substr(path.rfind('/') + 1));
        std::error_code error;
        const std::string real = std::filesystem::canonical(path, error).string();
        for (const std::string& folder : {folder_of(path), error ? "" : folder_of(real)}) {
            if (!folder.empty() && folders_.insert(folder).second) read_neighbours(folder);
        }
    }

    void read_neighbours(const std::string& folder) {
        const auto names = sys::list_directory(folder);
        if (!names) return cannot_read(folder, names.error());
        for (const std::string& name : *names) {
            const std::string file = fmt::format("{}/{}", folder, name);
            // Broken service links do not matter until a socket needs them.
            if ((name.ends_with(".service") || name.ends_with(".slice")) && sys::status_of(file)) read_unit(file, name);
            if (name.ends_with(".service.d") || name.ends_with(".socket.d") || name.ends_with(".slice.d"))
                read_drop_ins(file, name.substr(0, name.size() - 2));
        }
    }

    void read_drop_ins(const std::string& folder, const std::string& unit) {
        const auto names = files_in(folder);
        if (!names) return cannot_read(folder, names.error());
        auto& drop_ins = units_.drop_ins[unit];
        for (const std::string& name : *names) {
            if (!name.ends_with(".conf")) continue;
            const std::string path = fmt::format("{}/{}", folder, name);
            auto text = read_text(path);
            if (!text) {
                cannot_read(path, text.error());
                continue;
            }
            drop_ins.push_back({path, std::move(*text)});
        }
        std::ranges::stable_sort(drop_ins, {},
                                 [](const Units::File& file) { return file.path.substr(file.path.rfind('/')); });
    }

    Import all_;
    std::optional<Dialect> dialect_;
    Units units_;
    std::set<std::string> folders_;  ///< folders whose services and drop-ins have been read
};

std::optional<int> port_of(const std::string& service, const std::string& protocol) {
    servent entry{};
    servent* found = nullptr;
    std::vector<char> buffer(4096);
    int status = 0;
    while ((status = getservbyname_r(service.c_str(), protocol.c_str(), &entry, buffer.data(), buffer.size(),
                                     &found)) == ERANGE &&
           buffer.size() < (std::size_t{1} << 20))
        buffer.resize(buffer.size() * 2);
    return status == 0 && found != nullptr ? std::optional<int>(ntohs(static_cast<std::uint16_t>(entry.s_port)))
                                           : std::nullopt;
}

std::vector<std::string> host_addresses(const std::string& host) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* list = nullptr;
    if (getaddrinfo(host.c_str(), nullptr, &hints, &list) != 0) return {};
    const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(list, freeaddrinfo);
    std::vector<std::string> out;
    for (const addrinfo* one = list; one != nullptr; one = one->ai_next) {
        std::array<char, NI_MAXHOST> text{};
        if (getnameinfo(one->ai_addr, one->ai_addrlen, text.data(), text.size(), nullptr, 0, NI_NUMERICHOST) == 0)
            out.emplace_back(text.data());
    }
    return out;
}

}  // namespace

Machine this_machine() {
    std::error_code error;
    const std::string folder = std::filesystem::current_path(error).string();
    const auto mode = [](const std::string& path) {
        const auto status = sys::status_of(path);
        return status ? std::optional<unsigned>(status->mode & 07777) : std::nullopt;
    };
    return {read_text, files_in, port_of, host_addresses, mode, error ? "/" : folder};
}

Import read_all(const Request& request) {
    return Reading().run(request);
}

}  // namespace superd::ctl
