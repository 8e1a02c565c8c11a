// SPDX-License-Identifier: MIT
// [tls] for these sockets, this handler and the files of this machine.
#include "conf/tls.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "base/text.h"
#include "conf/consultations.h"
#include "conf/validate.h"
#include "sys/file.h"

namespace superd::conf {
namespace {

using toml::Value;

constexpr const char* kTlsUser = "superd-tls";
constexpr std::size_t kMostTlsNames = 100;

/// Why there can be no TLS before this handler; empty: there can.
std::string why_no_tls(const Service& service) {
    if (service.socket_type().value_or(SocketType::stream) != SocketType::stream) return "needs stream sockets";
    if (service.handoff == Handoff::listen)
        return "needs handoff = \"connection\": under handoff \"listen\" the handler accepts clients itself";
    return "";
}

bool is_host_name(std::string_view name) {
    if (name.starts_with("*.")) name.remove_prefix(2);
    if (name.empty() || name.size() > 253) return false;
    return std::ranges::all_of(split(name, '.'), [](std::string_view label) {
        return !label.empty() && label.size() <= 63 && std::ranges::all_of(label, [](char c) {
            return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
        });
    });
}

class TlsResolver {
  public:
    TlsResolver(Draft& draft, const Context& context, const toml::Spot& section, Diagnostics& errors)
        : draft_(draft), tls_(*draft.service.tls), context_(context), section_(section), errors_(errors) {}

    void resolve() {
        const std::size_t before = errors_.size();
        tls_.certificate = file("tls.certificate", draft_.get("tls.certificate"), true);
        tls_.key = file("tls.key", draft_.get("tls.key"), true);
        resolve_names();
        tls_.client_ca = file("tls.client_ca", draft_.get("tls.client_ca"), false);
        tls_.client_crl = file("tls.client_crl", draft_.get("tls.client_crl"), false);
        resolve_clients();
        resolve_words();
        resolve_user();
        if (errors_.size() == before) consult();
        if (draft_.service.prefork->warm == Warm::off) return;
        warn(section_,
             "[tls]: warm handlers do not get its variables (TLS_PROTOCOL and the others), since they have "
             "read their environment before the client came");
    }

  private:
    void warn(const toml::Spot& at, std::string message, bool local = false) {
        draft_.warnings.push_back({at.place(), std::move(message), local});
    }
    void reject_section(const char* name, std::string message) {
        draft_.reject(name, section_, std::move(message), errors_);
    }

    /// `value`: nullptr if it was not given.
    PemFile file(const char* name, const Value* value, bool is_needed) {
        if (value == nullptr) {
            if (is_needed && !draft_.is_broken(name) && context_.complete)
                reject_section(name, fmt::format("{} is missing", name));
            return {};
        }
        const std::string& path = value->text;
        if (!path.starts_with('/')) {
            draft_.reject(name, value->spot, fmt::format("{} \"{}\" is not an absolute path", name, path), errors_);
            return {};
        }
        const auto look = [path](Lookups& lookups) -> std::pair<std::string, std::string> {
            lookups.rely_on(path);
            const auto stamp = sys::stamp_of(path, sys::Links::follow);
            if (!stamp) return {"", stamp.error().text};
            return {fmt::format("{}:{}:{}:{}:{}", stamp->device, stamp->inode, stamp->size, stamp->modified.count(),
                                stamp->changed.count()),
                    ""};
        };
        const auto& [stamp, wrong] =
            context_.lookups.ask<std::pair<std::string, std::string>>(Lookups::question({"pem", path}), look);
        if (!wrong.empty())
            draft_.reject_here(name, value, fmt::format("{} \"{}\" cannot be read: {}", name, path, wrong), errors_);
        return {path, stamp};
    }

    void resolve_names() {
        const Value* value = draft_.get("tls.name");
        if (value == nullptr) return;
        if (value->items.size() > kMostTlsNames)
            return draft_.reject("tls.name", value->spot,
                                 fmt::format("tls.name: {} are more than {}", value->items.size(), kMostTlsNames),
                                 errors_);
        std::set<std::string> given;
        for (const Value& item : value->items) {
            TlsName one;
            for (const Value* word : words_of(*item.find("names"))) {
                std::string name = word->text;
                std::ranges::transform(name, name.begin(), [](char c) {
                    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
                });
                if (!is_host_name(name))
                    draft_.reject(
                        "tls.name", word->spot,
                        fmt::format("tls.name.names \"{}\" is not a host's name, such as \"www.example.com\" or "
                                    "\"*.example.com\"; write others as they go over the wire (\"xn--…\")",
                                    word->text),
                        errors_);
                else if (!given.insert(name).second)
                    draft_.reject("tls.name", word->spot, fmt::format("tls.name.names \"{}\" is given twice", name),
                                  errors_);
                one.names.push_back(std::move(name));
            }
            one.certificate = file("tls.name.certificate", item.find("certificate"), true);
            one.key = file("tls.name.key", item.find("key"), true);
            tls_.names.push_back(std::move(one));
        }
    }

    void resolve_clients() {
        const Value* wish = draft_.get("tls.client_certificate");
        const bool has_ca = draft_.get("tls.client_ca") != nullptr || draft_.is_broken("tls.client_ca");
        if (wish == nullptr && has_ca && !draft_.is_broken("tls.client_certificate"))
            tls_.client_certificate = ClientCertificate::require;
        if (has_ca) return;
        if (tls_.client_certificate != ClientCertificate::none)
            draft_.reject(
                "tls.client_certificate", wish->spot,
                fmt::format("tls.client_certificate \"{}\" needs tls.client_ca, which says whose certificates "
                            "are taken",
                            wish->text),
                errors_);
        if (const Value* crl = draft_.get("tls.client_crl"))
            draft_.reject("tls.client_crl", crl->spot, "tls.client_crl needs tls.client_ca", errors_);
    }

    /// They become words of a program.
    void resolve_words() {
        const auto is_plain = [](char c) { return c > ' ' && c <= '~' && c != ','; };
        const Value* alpn = draft_.get("tls.alpn");
        for (const Value* word : alpn != nullptr ? words_of(*alpn) : std::vector<const Value*>()) {
            if (word->text.empty() || word->text.size() > 255 || !std::ranges::all_of(word->text, is_plain))
                draft_.reject("tls.alpn", word->spot,
                              fmt::format("tls.alpn \"{}\" is not a protocol's name, such as \"http/1.1\"", word->text),
                              errors_);
            tls_.alpn.push_back(word->text);
        }
        const Value* ciphers = draft_.get("tls.ciphers");
        if (ciphers != nullptr && !std::ranges::all_of(ciphers->text, is_plain))
            draft_.reject("tls.ciphers", ciphers->spot,
                          "tls.ciphers: names are separated by \":\", without blanks and commas", errors_);
        else if (ciphers != nullptr && tls_.min_version != TlsVersion::tls_1_3 &&
                 std::ranges::all_of(split(ciphers->text, ':'),
                                     [](std::string_view name) { return name.starts_with("TLS_"); }))
            draft_.reject("tls.ciphers", ciphers->spot,
                          "tls.ciphers names suites of TLS 1.3 alone, so that TLS 1.2 would have OpenSSL's own list: "
                          "add names for it, or min_version = \"1.3\"",
                          errors_);
    }

    void resolve_user() {
        const Value* value = draft_.get("tls.user");
        const bool root = context_.from.uid == 0;
        if (!root && value == nullptr) {
            warn(section_,
                 "[tls]: superd is not root, so the handlers are of the key's own user: one that is taken over can "
                 "have the key",
                 true);
            return;
        }
        const std::string name = value != nullptr ? value->text : kTlsUser;
        const auto reject = [&](std::string message) {
            if (value != nullptr)
                draft_.reject_here("tls.user", value, std::move(message), errors_);
            else
                draft_.reject("tls.user", section_, std::move(message), errors_);
            errors_.back().local = true;
        };
        const auto found = context_.from.names.find_user(name);
        if (!found) return reject(found.error().text);
        if (!*found)
            return reject(value != nullptr ? fmt::format("tls.user \"{}\": no such user", name)
                                           : fmt::format("tls.user is missing, and there is no \"{}\" to use instead: "
                                                         "it must be a user that no handler has",
                                                         name));
        const sys::User& user = **found;
        if (!root && user.uid != context_.from.uid)
            return reject(fmt::format("tls.user \"{}\": only root may run superd-tls as another user", name));
        if (!root) return;
        if (user.uid == 0) return reject(fmt::format("tls.user \"{}\" is root, who may do everything", name));
        tls_.identity = sys::Identity{user.uid, user.gid, {}, user.name};
        const auto& handler = draft_.service.handler.identity;
        if (handler && handler->uid == user.uid)
            reject(fmt::format("tls.user \"{}\" is the handler's user too, which could take the key", name));
    }

    /// Asks superd-tls whether it could serve with these files, which superd does not read.
    void consult() {
        std::vector<sys::Fd> opened;
        const std::vector<TlsFile> files = files_of(tls_);
        for (const TlsFile& one : files) {
            auto fd = open_pem(*one.file);
            if (!fd) return reject_file(one, fmt::format("cannot be read: {}", errno_text(fd.error().code)));
            opened.push_back(std::move(*fd));
        }
        for (std::size_t i = 0; i < files.size(); ++i) {
            struct stat status {};
            if (!std::string_view(files[i].key).ends_with(".key") || fstat(opened[i].get(), &status) != 0 ||
                (status.st_mode & S_IROTH) == 0)
                continue;
            warn(spot_of(files[i]),
                 fmt::format("{} \"{}\" can be read by everybody", files[i].key, files[i].file->path), true);
        }
        const std::string program = context_.from.handler_path + "/superd-tls";
        std::vector<std::string> words{"superd-tls", draft_.service.name, "check"};
        std::ranges::move(tls_words(tls_), std::back_inserter(words));
        const auto begin = [&] {
            return sys::Consultation::begin(program, words, tls_.identity, opened, kTlsFirstFile);
        };
        Consultations own;
        Consultations& all = context_.consultations != nullptr ? *context_.consultations : own;
        std::string question = fmt::format("{}\n{}", fmt::join(words, "\n"), tls_.identity ? tls_.identity->uid : 0);
        for (const TlsFile& one : files) question += fmt::format("\n{} {}", one.file->path, one.file->stamp);
        const Result<std::string>* said = all.ask(question, begin);
        if (said == nullptr && &all == &own) {
            own.settle();
            said = own.ask(question, begin);
        }
        if (said == nullptr) {
            draft_.asks = true;
            return;
        }
        if (!*said) {
            reject_section("tls", fmt::format("[tls]: {}", said->error().text));
            errors_.back().local = true;
            return;
        }
        hear(**said, files);
    }

    /// "failed FILE TEXT", "warning FILE TEXT", "ready"
    void hear(const std::string& said, const std::vector<TlsFile>& files) {
        bool settled = false;
        for (const std::string_view line : split(said, '\n')) {
            const auto words = split(line, ' ');
            settled = settled || words[0] == "ready" || words[0] == "failed";
            if (words.size() < 3) continue;
            int number = 0;
            std::from_chars(words[1].data(), words[1].data() + words[1].size(), number);
            const std::string text = escape(line.substr(words[0].size() + words[1].size() + 2));
            const int index = number - kTlsFirstFile;
            const bool is_file = index >= 0 && static_cast<std::size_t>(index) < files.size();
            if (!is_file) {
                const Value* ciphers = draft_.get("tls.ciphers");
                if (ciphers != nullptr && text.starts_with("ciphers"))
                    draft_.reject("tls.ciphers", ciphers->spot,
                                  fmt::format("tls.ciphers \"{}\": {}", ciphers->text, text.substr(9)), errors_);
                else
                    reject_section("tls", fmt::format("[tls]: {}", text));
                continue;
            }
            const TlsFile& file = files[static_cast<std::size_t>(index)];
            if (words[0] == "failed")
                reject_file(file, text);
            else
                warn(spot_of(file), fmt::format("{} \"{}\" {}", file.key, file.file->path, text), true);
        }
        if (settled) return;
        reject_section("tls", "[tls]: superd-tls ended before it had looked at its files");
        errors_.back().local = true;
    }

    toml::Spot spot_of(const TlsFile& file) const {
        if (const Value* value = draft_.get(file.key)) return value->spot;
        if (const Value* names = draft_.get("tls.name"))
            for (std::size_t i = 0; i < tls_.names.size() && i < names->items.size(); ++i) {
                if (file.file == &tls_.names[i].certificate) return names->items[i].find("certificate")->spot;
                if (file.file == &tls_.names[i].key) return names->items[i].find("key")->spot;
            }
        return section_;
    }
    void reject_file(const TlsFile& file, const std::string& why) {
        draft_.reject(file.key, spot_of(file), fmt::format("{} \"{}\" {}", file.key, file.file->path, why), errors_);
        errors_.back().local = true;
    }

    Draft& draft_;
    Tls& tls_;
    const Context& context_;
    const toml::Spot& section_;
    Diagnostics& errors_;
};

}  // namespace

void resolve_tls(Draft& draft, const Context& context, Diagnostics& errors) {
    const auto section = draft.sections.find("tls");
    if (section == draft.sections.end()) return;
    Service& service = draft.service;
    const bool settled = !service.listen.empty() && !draft.is_broken("listen") && !draft.is_broken("model") &&
                         !draft.is_broken("handoff") && draft.get("model") != nullptr;
    if (const std::string why = settled ? why_no_tls(service) : ""; !why.empty()) {
        if (section->second.source != context.defaults)
            errors.push_back({section->second.place(), fmt::format("[tls] {}", why)});
        *service.tls = Tls();
        return;
    }
    service.tls->on = true;
    TlsResolver(draft, context, section->second, errors).resolve();
}

}  // namespace superd::conf
