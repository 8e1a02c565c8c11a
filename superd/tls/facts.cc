// SPDX-License-Identifier: MIT
#include "tls/facts.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <algorithm>

#include "proc/tls_message.h"
#include "tls/openssl.h"
#include "tls/settings.h"

namespace superd::tls {
namespace {

void add(std::string& to, const std::string& fact) {
    const bool plain = std::ranges::all_of(fact, [](char c) { return c >= ' ' && c <= '~'; });
    if (plain && fact.size() <= proc::kTlsMostFact) to += fact;
    to += '\0';
}

/// RFC 2253: everything that is not printable ASCII is escaped.
std::string subject_of(X509* certificate) {
    const Bio bio(BIO_new(BIO_s_mem()));
    if (!bio || X509_NAME_print_ex(bio.get(), X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253) < 0) return "";
    char* text = nullptr;
    const long size = BIO_get_mem_data(bio.get(), &text);
    return size > 0 ? std::string(text, static_cast<std::size_t>(size)) : "";
}

/// As s6 and LibreSSL's tls_peer_cert_hash(3) write it.
std::string hash_of(X509* certificate) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    if (X509_digest(certificate, EVP_sha256(), digest, &size) != 1) return "";
    std::string text = "SHA256:";
    for (unsigned i = 0; i < size; ++i) {
        static constexpr char kDigits[] = "0123456789abcdef";
        text += kDigits[digest[i] >> 4];
        text += kDigits[digest[i] & 15];
    }
    return text;
}

}  // namespace

std::string facts_of(SSL* session) {
    std::string facts;
    add(facts, SSL_get_version(session));
    add(facts, SSL_get_cipher_name(session));
    add(facts, plain_name(SSL_get_servername(session, TLSEXT_NAMETYPE_host_name)));
    const unsigned char* protocol = nullptr;
    unsigned length = 0;
    SSL_get0_alpn_selected(session, &protocol, &length);
    add(facts, std::string(reinterpret_cast<const char*>(protocol), length));
    X509* const certificate = SSL_get0_peer_certificate(session);
    add(facts, certificate != nullptr ? subject_of(certificate) : "");
    add(facts, certificate != nullptr ? hash_of(certificate) : "");
    ERR_clear_error();
    return facts;
}

}  // namespace superd::tls
