// SPDX-License-Identifier: MIT
#pragma once
// superd-tls's words, and what they ask for, made from the files behind its descriptors.

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tls/openssl.h"
#include "tls/tickets.h"

namespace superd::tls {

/// A certificate with its key, and the names that it is shown for.
struct Pair {
    int certificate = -1, key = -1;  ///< descriptors
    std::vector<std::string> names;  ///< "www.example.com", "*.example.com"; empty: for all others
};

struct Settings {
    std::vector<Pair> pairs;  ///< the first has no names
    int client_ca = -1, client_crl = -1;
    int verify = SSL_VERIFY_NONE;
    int min_version = TLS1_2_VERSION;
    std::string ciphers, suites;  ///< up to TLS 1.2, and from TLS 1.3 on
    std::string alpn;             ///< as it goes over the wire
};

/// Why it cannot be, and the descriptor of the file that is at fault, or 0.
struct Fault {
    std::string why;
    int file = 0;
};

/// Reads one word. False: it is not one.
bool read_word(const char* word, Settings& settings);

/// The contexts of all names. It answers OpenSSL's questions, and so stays in place.
class Contexts {
  public:
    explicit Contexts(Settings settings) : settings_(std::move(settings)) {}
    Contexts(const Contexts&) = delete;

    /// Reads and closes the files. nullopt: all is in order.
    std::optional<Fault> make();
    /// What is to be told of the files although they will do.
    const std::vector<Fault>& warnings() const { return warnings_; }
    void forget_old_tickets() { tickets_.forget_old(Tickets::now()); }
    SSL_CTX* first() const { return contexts_.front().get(); }

  private:
    std::optional<Fault> make_one(const Pair& pair);
    std::optional<Fault> use_pair(SSL_CTX* context, const Pair& pair);
    std::optional<Fault> use_client_ca(SSL_CTX* context);
    std::optional<Fault> use_ciphers(SSL_CTX* context) const;
    void look_at_dates(X509* certificate, int file);
    static int choose_name(SSL* session, int* alert, void* self);
    static int choose_protocol(SSL*, const unsigned char** out, unsigned char* length, const unsigned char* in,
                               unsigned int in_length, void* self);
    SSL_CTX* context_for(std::string name) const;

    Settings settings_;
    Tickets tickets_;
    std::vector<Context> contexts_;
    std::vector<std::pair<std::string, SSL_CTX*>> names_;  ///< in order, in lower case
    std::vector<Fault> warnings_;
};

/// A name as a client may send it: letters, digits, "-", "_" and ".", in lower case. Empty: it is something else.
std::string plain_name(const char* name);

}  // namespace superd::tls
