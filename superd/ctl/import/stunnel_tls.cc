// SPDX-License-Identifier: MIT
// What a section of stunnel.conf says of TLS, as [tls].
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "base/text.h"
#include "ctl/import/stunnel.h"

namespace superd::ctl::stunnel {

namespace {

/// What stunnel asks of its clients' certificates; each option changes it in the order of the file.
struct Clients {
    bool asked = false, needed = false, chain = false, peer = false;
    const Option* by = nullptr;  ///< the last that has a say
};

Clients clients_of(const Section& section) {
    Clients clients;
    for (const Option& option : section.options) {
        const bool on = lower(option.value) == "yes";
        if (option.name == "verify") {
            // 0: asked and ignored; 1: sound if there is one; 2: needed; 3: and known; 4: known, whoever made it.
            const int level = level_of(option.value);
            clients = {level >= 0 && level <= 4, level >= 2, level >= 1 && level <= 3, level >= 3, nullptr};
        } else if (option.name == "verifychain" || option.name == "verifypeer") {
            (option.name == "verifychain" ? clients.chain : clients.peer) = on;
            clients.asked = clients.asked || on;
            clients.needed = clients.needed || on;
        } else if (option.name == "requirecert") {
            clients.needed = on;
            clients.asked = clients.asked || on;
        } else {
            continue;
        }
        clients.by = &option;
    }
    return clients;
}

/// Versions by their age; -1: it is not one.
int version_of(const std::string& name) {
    static constexpr std::array<std::string_view, 5> names{"sslv3", "tlsv1", "tlsv1.1", "tlsv1.2", "tlsv1.3"};
    const auto found = std::ranges::find(names, lower(name));
    return found != names.end() ? static_cast<int>(found - names.begin()) : -1;
}
constexpr int kTls12 = 3, kTls13 = 4;

class TlsMapper {
  public:
    TlsMapper(const Section& section, const Machine& machine, Imported& out, Import& import)
        : section_(section), machine_(machine), out_(out), import_(import) {}

    void run(const std::vector<const Section*>& others) {
        const Option& certificate = *section_.find("cert");
        const Option* const key = section_.find("key");
        set_file("tls.certificate", certificate);
        set_file("tls.key", key != nullptr ? *key : certificate);
        set_names(others);
        set_clients();
        set_versions();
        set_ciphers();
        set_options();
        if (const Option* again = section_.find("renegotiation"); again != nullptr && section_.yes("renegotiation"))
            lost(*again, "superd-tls does not let clients begin anew");
        const Option* const resume = section_.find("sessionresume");
        if (resume != nullptr && !section_.yes("sessionresume")) lost(*resume, "superd-tls gives out session tickets");
    }

  private:
    void lost(const Option& option, std::string_view why) {
        import_.note(option.at, out_.name, Fate::lost, fmt::format("{}: {}", option.text(), why));
    }
    void disable(const Option& option, std::string_view why) {
        import_.disable(out_, option.at, fmt::format("{}: {}", option.text(), why));
    }

    void set_file(const char* key, const Option& option) {
        if (option.value.starts_with("pkcs11:")) return disable(option, "superd-tls uses keys from files alone");
        const std::string path = absolute(option.value, machine_);
        out_.set(key, std::string_view(path), option.at);
        if (path == option.value) return;
        import_.note(option.at, out_.name, Fate::changed,
                     fmt::format("{}: {}, if stunnel starts in the folder where superctl did", option.text(), path));
    }

    void set_names(const std::vector<const Section*>& others) {
        std::string tables;
        for (const Section* other : others) {
            const Option& sni = *other->find("sni");
            const std::string name = sni.value.substr(std::min(sni.value.find(':') + 1, sni.value.size()));
            const Option* const certificate = other->find("cert");
            const Option* const key = other->find("key");
            if (certificate == nullptr) {
                lost(sni, "has no cert, and stunnel does not start without");
                continue;
            }
            if (name.empty() || (name.find('*') != std::string::npos && !name.starts_with("*."))) {
                lost(sni, "is not a name such as \"www.example.com\" or \"*.example.com\"");
                continue;
            }
            tables += fmt::format("{}{{ names = {}, certificate = {}, key = {} }}", tables.empty() ? "" : ", ",
                                  toml_text(std::vector{name}), toml_text(absolute(certificate->value, machine_)),
                                  toml_text(absolute((key != nullptr ? key : certificate)->value, machine_)));
            const Clients own = clients_of(*other), main = clients_of(section_);
            if (own.needed != main.needed || own.chain != main.chain || own.peer != main.peer)
                disable(sni, "has other rules for its clients' certificates, and a service has but one");
        }
        if (!tables.empty()) out_.set_toml("tls.name", "[" + tables + "]", others[0]->find("sni")->at);
    }

    void set_clients() {
        const Clients clients = clients_of(section_);
        const Option* const authority = section_.find("cafile");
        if (!clients.asked) return;
        if (!clients.chain && !clients.peer) {
            if (clients.needed)
                return disable(*clients.by, "any certificate would do: superd asks for one of client_ca");
            return;  // asked and ignored
        }
        if (clients.peer)
            return disable(*clients.by,
                           "superd-tls goes by who has certified a client, not by the certificate; the handler "
                           "finds its hash in TLS_CLIENT_HASH");
        for (const char* name : {"checkhost", "checkemail", "checkip"})
            if (const Option* check = section_.find(name))
                return disable(*check,
                               "superd-tls does not look at the name; the handler finds it in TLS_CLIENT_SUBJECT");
        for (const char* name : {"ocsp", "ocspaia"})
            if (const Option* ocsp = section_.find(name); ocsp != nullptr && lower(ocsp->value) != "no")
                return disable(*ocsp,
                               "superd-tls asks no OCSP responder; tls.client_crl names a list of those revoked");
        if (const Option* folder = section_.find("capath"))
            return disable(*folder, "superd-tls takes a file: tls.client_ca, with all certificates of the folder");
        if (const Option* folder = section_.find("crlpath"))
            return disable(*folder, "superd-tls takes a file: tls.client_crl, with all lists of the folder");
        if (authority == nullptr) return disable(*clients.by, "there is no CAfile, and stunnel does not start without");
        set_file("tls.client_ca", *authority);
        if (const Option* list = section_.find("crlfile")) set_file("tls.client_crl", *list);
        out_.set("tls.client_certificate", clients.needed ? "require" : "request", clients.by->at);
        if (!clients.needed)
            import_.note(clients.by->at, out_.name, Fate::changed,
                         fmt::format("{}: TLS_CLIENT_SUBJECT tells the handler whether the client has shown one",
                                     clients.by->text()));
    }

    void set_versions() {
        const Option* least = nullptr;
        const Option* most = nullptr;
        for (const Option& option : section_.options) {
            const bool both = option.name == "sslversion";
            if (both || option.name == "sslversionmin") least = &option;
            if (both || option.name == "sslversionmax") most = &option;
            const bool known = lower(option.value) == "all" || version_of(option.value) >= 0;
            if (option.name.starts_with("sslversion") && !known)
                disable(option, "is no version: stunnel does not start");
        }
        const int lowest = least != nullptr ? version_of(least->value) : -1;
        const int highest = most != nullptr ? version_of(most->value) : -1;
        if (highest >= 0 && highest < kTls12) disable(*most, "superd-tls has TLS 1.2 and 1.3");
        if (highest == kTls12) lost(*most, "superd-tls offers TLS 1.3 too");
        if (lowest == kTls13) out_.set("tls.min_version", "1.3", least->at);
        if (lowest >= 0 && lowest < kTls12) lost(*least, "superd-tls offers nothing below TLS 1.2");
    }

    void set_ciphers() {
        std::vector<std::string> parts;
        const Option* last = nullptr;
        for (const char* name : {"ciphersuites", "ciphers"}) {
            const Option* const option = section_.find(name);
            if (option == nullptr) continue;
            last = option;
            std::string list = option->value;
            std::ranges::replace_if(
                list, [](char c) { return c == ' ' || c == ','; }, ':');
            parts.push_back(std::move(list));
        }
        // stunnel's own, for what it is not told.
        if (parts.size() == 1 && section_.find("ciphers") == nullptr) parts.push_back("HIGH:!aNULL:!DH:!kDHEPSK");
        // The list's own level counts for stunnel too.
        const Option* const level = section_.find("securitylevel");
        if (level != nullptr && (parts.empty() || parts.back().find("@SECLEVEL=") == std::string::npos)) {
            last = level;
            if (parts.empty()) parts.push_back("DEFAULT");
            parts.push_back(fmt::format("@SECLEVEL={}", level_of(level->value)));
        }
        if (last != nullptr) out_.set("tls.ciphers", fmt::format("{}", fmt::join(parts, ":")), last->at);
    }

    /// OpenSSL's SSL_OP_, with "-" before those that are taken back.
    void set_options() {
        static constexpr std::array<std::string_view, 14> done{"NO_SSLv2",
                                                               "NO_SSLv3",
                                                               "NO_TLSv1",
                                                               "NO_TLSv1_1",
                                                               "NO_COMPRESSION",
                                                               "NO_RENEGOTIATION",
                                                               "SINGLE_ECDH_USE",
                                                               "SINGLE_DH_USE",
                                                               "CIPHER_SERVER_PREFERENCE",
                                                               "PRIORITIZE_CHACHA",
                                                               "DONT_INSERT_EMPTY_FRAGMENTS",
                                                               "-ENABLE_KTLS",
                                                               "-NO_TLSv1_2",
                                                               "-NO_TLSv1_3"};
        for (const Option& option : section_.options) {
            if (option.name != "options" || std::ranges::find(done, option.value) != done.end()) continue;
            if (option.value == "NO_TLSv1_2") {
                out_.set("tls.min_version", "1.3", option.at);
            } else if (option.value == "NO_TLSv1_3") {
                lost(option, "superd-tls offers TLS 1.3 too");
            } else {
                lost(option, "superd-tls does not take it");
            }
        }
    }

    const Section& section_;
    const Machine& machine_;
    Imported& out_;
    Import& import_;
};

}  // namespace

bool checks_clients(const Section& section) {
    const Clients clients = clients_of(section);
    return clients.chain || clients.peer;
}

void map_tls(const Section& section, const std::vector<const Section*>& others, const Machine& machine, Imported& out,
             Import& import) {
    TlsMapper(section, machine, out, import).run(others);
}

}  // namespace superd::ctl::stunnel
