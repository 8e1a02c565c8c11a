// SPDX-License-Identifier: MIT
#include "tls/settings.h"

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <ctime>
#include <limits>
#include <string_view>

namespace superd::tls {
namespace {

/// Chains and lists of authorities of some size; a revocation list may be large.
constexpr std::size_t kMostOfFile = std::size_t{16} << 20;
/// A certificate that ends sooner is told of at each load.
constexpr int kEndsSoonDays = 14;

bool number(std::string_view text, int& out) {
    const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), out);
    return status == std::errc{} && end == text.data() + text.size() && out >= 0;
}

std::vector<std::string_view> parts(std::string_view text, char separator) {
    std::vector<std::string_view> all;
    for (;;) {
        const auto at = text.find(separator);
        all.push_back(text.substr(0, at));
        if (at == std::string_view::npos) return all;
        text.remove_prefix(at + 1);
    }
}

/// CERTIFICATE:KEY[:NAME,…]
bool read_pair(std::string_view text, Settings& settings) {
    const auto fields = parts(text, ':');
    Pair pair;
    if (fields.size() < 2 || fields.size() > 3 || !number(fields[0], pair.certificate) || !number(fields[1], pair.key))
        return false;
    if (fields.size() == 3)
        for (const std::string_view name : parts(fields[2], ',')) pair.names.emplace_back(name);
    if (settings.pairs.empty() != pair.names.empty()) return false;
    settings.pairs.push_back(std::move(pair));
    return true;
}

/// Suites of TLS 1.3 have names of their own, and a list of their own.
void read_ciphers(std::string_view text, Settings& settings) {
    for (const std::string_view one : parts(text, ':')) {
        std::string& list = one.starts_with("TLS_") ? settings.suites : settings.ciphers;
        if (!list.empty()) list += ':';
        list += one;
    }
}

bool read_alpn(std::string_view text, Settings& settings) {
    for (const std::string_view one : parts(text, ',')) {
        if (one.empty() || one.size() > 255) return false;
        settings.alpn += static_cast<char>(one.size());
        settings.alpn += one;
    }
    return true;
}

/// What a file holds; it may be a key. Wiped when it goes.
class Text {
  public:
    Text() = default;
    Text(const Text&) = delete;
    ~Text() { OPENSSL_clear_free(data_, capacity_); }

    /// An error as text; empty: done. Closes it.
    std::string read(int file) {
        struct stat status {};
        const bool known = fstat(file, &status) == 0;
        std::string why;
        if (!known || !S_ISREG(status.st_mode)) {
            why = "is not a file";
        } else if (static_cast<std::size_t>(status.st_size) > kMostOfFile) {
            why = "is too large";
        } else {
            why = fill(file, static_cast<std::size_t>(status.st_size));
        }
        close(file);
        return why;
    }
    bool has_pem() const {
        return size_ > 0 && std::string_view(data_, size_).find("-----BEGIN ") != std::string_view::npos;
    }
    Bio bio() const { return Bio(BIO_new_mem_buf(data_, static_cast<int>(size_))); }

  private:
    std::string fill(int file, std::size_t size) {
        capacity_ = size + 1;
        data_ = static_cast<char*>(OPENSSL_malloc(capacity_));
        if (data_ == nullptr) return "there is no memory for it";
        while (size_ < size) {
            const ssize_t n = pread(file, data_ + size_, size - size_, static_cast<off_t>(size_));
            if (n < 0 && errno == EINTR) continue;
            if (n < 0) return std::string("cannot be read: ") + std::strerror(errno);
            if (n == 0) break;
            size_ += static_cast<std::size_t>(n);
        }
        return "";
    }

    char* data_ = nullptr;
    std::size_t size_ = 0, capacity_ = 0;
};

/// Nobody is there to be asked for a password.
int no_password(char*, int, int, void* asked) {
    *static_cast<bool*>(asked) = true;
    return -1;
}

bool ends_of_itself() {
    const unsigned long code = ERR_peek_last_error();
    const bool end = ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
    if (end) ERR_clear_error();
    return end;
}

/// Certificates of a file, from the first to the last.
template <class Use>
std::string each_certificate(const Text& text, Use use) {
    const Bio bio = text.bio();
    int count = 0;
    for (;; ++count) {
        const Certificate one(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
        if (!one) break;
        if (!use(one.get(), count)) return take_error();
    }
    if (!ends_of_itself()) return "has a certificate that cannot be read: " + take_error();
    return count == 0 ? "has no certificate in PEM form" : "";
}

}  // namespace

std::string plain_name(const char* name) {
    std::string plain;
    for (; name != nullptr && *name != '\0'; ++name) {
        const char c = *name >= 'A' && *name <= 'Z' ? static_cast<char>(*name + ('a' - 'A')) : *name;
        const bool fits = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
        if (!fits || plain.size() == 255) return "";
        plain += c;
    }
    if (plain.ends_with('.')) plain.pop_back();
    return plain;
}

bool read_word(const char* word, Settings& settings) {
    const std::string_view text = word;
    const auto equals = text.find('=');
    if (equals == std::string_view::npos) return false;
    const std::string_view name = text.substr(0, equals), value = text.substr(equals + 1);
    if (name == "pair") return read_pair(value, settings);
    if (name == "client_ca") return number(value, settings.client_ca);
    if (name == "client_crl") return number(value, settings.client_crl);
    if (name == "ciphers") return read_ciphers(value, settings), true;
    if (name == "alpn") return read_alpn(value, settings);
    if (name == "client_certificate") {
        settings.verify = value == "require"   ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT
                          : value == "request" ? SSL_VERIFY_PEER
                                               : SSL_VERIFY_NONE;
        return value == "require" || value == "request" || value == "none";
    }
    if (name == "min_version") {
        settings.min_version = value == "1.3" ? TLS1_3_VERSION : TLS1_2_VERSION;
        return value == "1.2" || value == "1.3";
    }
    return false;
}

std::optional<Fault> Contexts::make() {
    if (settings_.pairs.empty()) return Fault{"no certificate was given"};
    for (const Pair& pair : settings_.pairs)
        if (auto fault = make_one(pair)) return fault;
    std::ranges::sort(names_);
    return std::nullopt;
}

std::optional<Fault> Contexts::make_one(const Pair& pair) {
    Context made(SSL_CTX_new(TLS_server_method()));
    SSL_CTX* const context = made.get();
    if (context == nullptr) return Fault{take_error()};
    if (SSL_CTX_set_min_proto_version(context, settings_.min_version) != 1) return Fault{take_error()};
    // Tickets alone resume: what the server would keep for each session costs more than the ticket.
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                     SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_clear_options(context, SSL_OP_ENABLE_KTLS);
    SSL_CTX_set_mode(context,
                     SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    // Records without data, such as key updates, without an end would keep one read for ever, and others from their
    // turn. Nothing is read ahead, so what OpenSSL has not seen is in the socket, where a look finds it.
    SSL_CTX_clear_mode(context, SSL_MODE_AUTO_RETRY);
    static constexpr unsigned char kId[] = "superd-tls";
    if (SSL_CTX_set_session_id_context(context, kId, sizeof kId - 1) != 1 || !tickets_.use_for(context))
        return Fault{take_error()};
    if (auto fault = use_ciphers(context)) return fault;
    if (auto fault = use_pair(context, pair)) return fault;
    if (settings_.client_ca >= 0)
        if (auto fault = use_client_ca(context)) return fault;
    SSL_CTX_set_verify(context, settings_.verify, nullptr);
    SSL_CTX_set_tlsext_servername_callback(context, choose_name);
    SSL_CTX_set_tlsext_servername_arg(context, this);
    if (!settings_.alpn.empty()) SSL_CTX_set_alpn_select_cb(context, choose_protocol, this);
    for (const std::string& name : pair.names) names_.emplace_back(name, context);
    contexts_.push_back(std::move(made));
    return std::nullopt;
}

/// OpenSSL passes over names that it does not know, if it knows one.
std::optional<Fault> Contexts::use_ciphers(SSL_CTX* context) const {
    const auto known = [](std::string_view name, bool is_suite) {
        const Context trial(SSL_CTX_new(TLS_server_method()));
        const std::string text(name);
        if (!is_suite) return trial && SSL_CTX_set_cipher_list(trial.get(), text.c_str()) == 1;
        if (!trial || SSL_CTX_set_ciphersuites(trial.get(), text.c_str()) != 1) return false;
        const STACK_OF(SSL_CIPHER)* const all = SSL_CTX_get_ciphers(trial.get());
        for (int i = 0; i < sk_SSL_CIPHER_num(all); ++i)
            if (text == SSL_CIPHER_get_name(sk_SSL_CIPHER_value(all, i))) return true;
        return false;
    };
    for (const std::string* const list : {&settings_.ciphers, &settings_.suites})
        for (const std::string_view name : list->empty() ? std::vector<std::string_view>() : parts(*list, ':')) {
            const bool changes_others =
                name.empty() || std::string_view("!-+@").find(name[0]) != std::string_view::npos;
            if (changes_others || known(name, list == &settings_.suites)) continue;
            ERR_clear_error();
            return Fault{"ciphers: there is no \"" + std::string(name) + "\""};
        }
    if (!settings_.ciphers.empty() && SSL_CTX_set_cipher_list(context, settings_.ciphers.c_str()) != 1)
        return Fault{"ciphers: " + take_error()};
    if (!settings_.suites.empty() && SSL_CTX_set_ciphersuites(context, settings_.suites.c_str()) != 1)
        return Fault{"ciphers: " + take_error()};
    return std::nullopt;
}

std::optional<Fault> Contexts::use_pair(SSL_CTX* context, const Pair& pair) {
    Text chain, secret;
    if (auto why = chain.read(pair.certificate); !why.empty()) return Fault{why, pair.certificate};
    if (auto why = secret.read(pair.key); !why.empty()) return Fault{why, pair.key};
    const auto use = [&](X509* one, int count) {
        if (count > 0) return SSL_CTX_add1_chain_cert(context, one) == 1;
        look_at_dates(one, pair.certificate);
        return SSL_CTX_use_certificate(context, one) == 1;
    };
    if (auto why = each_certificate(chain, use); !why.empty()) return Fault{why, pair.certificate};
    bool asked = false;
    const Bio bio = secret.bio();
    const Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, &asked));
    if (!key) {
        if (asked)
            return ERR_clear_error(), Fault{"is encrypted: there is nobody to be asked for its password", pair.key};
        return Fault{!secret.has_pem() ? "has no key in PEM form" : "has a key that cannot be read: " + take_error(),
                     pair.key};
    }
    if (SSL_CTX_use_PrivateKey(context, key.get()) != 1 || SSL_CTX_check_private_key(context) != 1) {
        const std::string why = take_error();
        if (why == "key values mismatch" || why == "key type mismatch")
            return Fault{"is not the key of the certificate", pair.key};
        return Fault{"cannot be used: " + why, pair.key};
    }
    return std::nullopt;
}

std::optional<Fault> Contexts::use_client_ca(SSL_CTX* context) {
    X509_STORE* const store = SSL_CTX_get_cert_store(context);
    const auto trust = [&](X509* one, int) {
        return X509_STORE_add_cert(store, one) == 1 && SSL_CTX_add_client_CA(context, one) == 1;
    };
    // Each context needs them, but a file is read once.
    Text text;
    const int again = dup(settings_.client_ca);
    if (auto why = text.read(again); !why.empty()) return Fault{why, settings_.client_ca};
    if (auto why = each_certificate(text, trust); !why.empty()) return Fault{why, settings_.client_ca};
    if (settings_.client_crl < 0) return tickets_.check_clients(context, std::nullopt), std::nullopt;
    Text list;
    const int once_more = dup(settings_.client_crl);
    if (auto why = list.read(once_more); !why.empty()) return Fault{why, settings_.client_crl};
    const Bio bio = list.bio();
    int count = 0;
    std::optional<std::int64_t> until;
    for (;; ++count) {
        const Crl crl(PEM_read_bio_X509_CRL(bio.get(), nullptr, nullptr, nullptr));
        if (!crl) break;
        if (X509_STORE_add_crl(store, crl.get()) != 1) return Fault{take_error(), settings_.client_crl};
        const ASN1_TIME* next = X509_CRL_get0_nextUpdate(crl.get());
        std::tm end{};
        if (next != nullptr && ASN1_TIME_to_tm(next, &end) == 1)
            until = std::min(until.value_or(std::numeric_limits<std::int64_t>::max()), std::int64_t{timegm(&end)});
        if (next != nullptr && X509_cmp_current_time(next) < 0 && contexts_.empty())
            warnings_.push_back({"is out of date: no client certificate is accepted with it", settings_.client_crl});
    }
    if (!ends_of_itself()) return Fault{"has a list that cannot be read: " + take_error(), settings_.client_crl};
    if (count == 0) return Fault{"has no revocation list in PEM form", settings_.client_crl};
    tickets_.check_clients(context, until);
    X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
    return std::nullopt;
}

void Contexts::look_at_dates(X509* certificate, int file) {
    if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0) warnings_.push_back({"is not valid yet", file});
    const ASN1_TIME* const end = X509_get0_notAfter(certificate);
    int days = 0, seconds = 0;
    if (ASN1_TIME_diff(&days, &seconds, nullptr, end) != 1) return ERR_clear_error();
    if (days < 0 || seconds < 0)
        warnings_.push_back({"has expired", file});
    else if (days < kEndsSoonDays)
        warnings_.push_back({"expires in " + std::to_string(days) + (days == 1 ? " day" : " days"), file});
}

SSL_CTX* Contexts::context_for(std::string name) const {
    const auto known = [&](const std::string& wanted) -> SSL_CTX* {
        const auto found = std::ranges::lower_bound(names_, wanted, {}, &std::pair<std::string, SSL_CTX*>::first);
        return found != names_.end() && found->first == wanted ? found->second : nullptr;
    };
    if (SSL_CTX* const exact = known(name)) return exact;
    const auto dot = name.find('.');
    return dot == std::string::npos || dot == 0 ? nullptr : known("*" + name.substr(dot));
}

/// A name that is not known gets the first certificate, as with nginx: the client knows whether that will do.
int Contexts::choose_name(SSL* session, int*, void* self) {
    const std::string name = plain_name(SSL_get_servername(session, TLSEXT_NAMETYPE_host_name));
    SSL_CTX* const found = name.empty() ? nullptr : static_cast<const Contexts*>(self)->context_for(name);
    if (found != nullptr && SSL_set_SSL_CTX(session, found) == nullptr) return SSL_TLSEXT_ERR_ALERT_FATAL;
    return SSL_TLSEXT_ERR_OK;
}

int Contexts::choose_protocol(SSL*, const unsigned char** out, unsigned char* length, const unsigned char* in,
                              unsigned int in_length, void* self) {
    const std::string& ours = static_cast<const Contexts*>(self)->settings_.alpn;
    unsigned char* chosen = nullptr;
    const int how = SSL_select_next_proto(&chosen, length, reinterpret_cast<const unsigned char*>(ours.data()),
                                          static_cast<unsigned>(ours.size()), in, in_length);
    *out = chosen;
    return how == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;  // RFC 7301, 3.2
}

}  // namespace superd::tls
