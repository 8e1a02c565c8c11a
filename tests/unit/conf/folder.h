// SPDX-License-Identifier: MIT
#pragma once
// A configuration in a temporary folder, and what load() makes of it.

#include <fmt/format.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>

#include "conf/catalog.h"

namespace superd::conf::test {

/// conf.d/, bin/handler and superd.toml in a folder that is removed with the object.
class Folder {
  public:
    /// Not in TMPDIR: "nobody" must be able to reach it.
    explicit Folder(const std::string& place = "/tmp") {
        std::string name = place + "/superd-conf-XXXXXX";
        path_ = mkdtemp(name.data());
        chmod(path_.c_str(), 0755);
        std::filesystem::create_directory(path_ + "/conf.d");
        write("bin/handler", "#!/bin/sh\n", 0755);
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    ~Folder() { std::filesystem::remove_all(path_); }

    std::string path(const std::string& name) const { return path_ + "/" + name; }

    void write(const std::string& name, std::string_view text, mode_t mode = 0644) const {
        std::filesystem::create_directories(std::filesystem::path(path(name)).parent_path());
        std::ofstream(path(name), std::ios::binary) << text;
        chmod(path(name).c_str(), mode);
    }
    /// A definition, conf.d/NAME.toml.
    void define(const std::string& name, std::string_view text) const { write("conf.d/" + name + ".toml", text); }

    Surroundings surroundings() const {
        Surroundings from;
        from.config = path("superd.toml");
        from.conf_dir = path("conf.d");
        from.handler_path = path("bin");
        from.environment = {"PATH=/usr/bin:/bin", "LANG=C.UTF-8", "SECRET=x"};
        from.uid = 0;
        from.trust_files = true;
        return from;
    }

    /// The services, which must be valid.
    std::map<std::string, Service> services() const { return services(surroundings()); }
    std::map<std::string, Service> services(const Surroundings& from) const {
        auto catalog = load(from);
        if (!catalog) throw std::runtime_error(without_path(format(catalog.error())));
        return catalog->services;
    }

    /// All errors as a person sees them, with files relative to the folder; empty if there are none.
    std::string shown() const { return shown(surroundings()); }
    std::string shown(const Surroundings& from) const {
        const auto catalog = load(from);
        return catalog ? "" : without_path(format(catalog.error()));
    }

    /// The same, one line for each: "FILE:LINE:COL: MESSAGE", or "FILE: MESSAGE".
    std::string errors() const { return errors(surroundings()); }
    std::string errors(const Surroundings& from) const {
        const auto catalog = load(from);
        std::string out;
        for (const Diagnostic& d : catalog ? Diagnostics() : catalog.error()) {
            out += d.place.file;
            if (d.place.line > 0) out += fmt::format(":{}:{}", d.place.line, d.place.column);
            out += fmt::format(": {}\n", d.message);
        }
        return without_path(std::move(out));
    }

  private:
    std::string without_path(std::string text) const {
        for (std::size_t at; (at = text.find(path_ + "/")) != std::string::npos;) text.erase(at, path_.size() + 1);
        return text;
    }

    std::string path_;
};

/// Three lines of a sound definition.
inline const std::string sound = "listen = \"tcp://127.0.0.1:7007\"\nmodel = \"fork\"\nexec = [\"handler\"]\n";

/// The errors in `text`, as "LINE:COL: MESSAGE" lines.
inline std::string errors_in(const std::string& text) {
    const Folder folder;
    folder.define("a", text);
    std::string all = folder.errors(), out;
    for (std::size_t start = 0; start < all.size();) {
        const std::size_t end = all.find('\n', start);
        std::string line = all.substr(start, end - start);
        for (const std::string_view prefix : {"conf.d/a.toml:", "conf.d/a.toml"}) {
            if (line.starts_with(prefix)) {
                line.erase(0, prefix.size());
                break;
            }
        }
        out += line + "\n";
        start = end + 1;
    }
    return out;
}

/// The errors in a sound definition with `text` added from line 4 on.
inline std::string errors_of(const std::string& text) {
    return errors_in(sound + text + "\n");
}

/// The service from a sound definition with `text` added.
inline Service service_of(const std::string& text) {
    const Folder folder;
    folder.define("a", sound + text + "\n");
    return folder.services().at("a");
}

/// The service from a whole definition.
inline Service service_in(const std::string& text) {
    const Folder folder;
    folder.define("a", text);
    return folder.services().at("a");
}

}  // namespace superd::conf::test
