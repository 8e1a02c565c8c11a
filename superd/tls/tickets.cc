// SPDX-License-Identifier: MIT
#include "tls/tickets.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <time.h>

#include <algorithm>
#include <cstring>

namespace superd::tls {
namespace {

int index_of_owner() {
    static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
    return index;
}

}  // namespace

std::int64_t Tickets::now() {
    timespec time{};
    clock_gettime(CLOCK_BOOTTIME, &time);
    return time.tv_sec + 1;
}

Tickets::~Tickets() {
    OPENSSL_cleanse(keys_.data(), sizeof keys_);
}

bool Tickets::use_for(SSL_CTX* context) {
    SSL_CTX_set_timeout(context, kLifetime);
    return SSL_CTX_set_ex_data(context, index_of_owner(), this) == 1 &&
           SSL_CTX_set_tlsext_ticket_key_evp_cb(context, answer) == 1 && current() != nullptr;
}

const Tickets::Key* Tickets::current() {
    const std::int64_t time = now();
    Key& newest = keys_.front();
    if (newest.made != 0 && time - newest.made < kRenewal) return &newest;
    Key next{};
    next.made = time;
    if (RAND_bytes(next.name, sizeof next.name) != 1 || RAND_priv_bytes(next.cipher, sizeof next.cipher) != 1 ||
        RAND_priv_bytes(next.mac, sizeof next.mac) != 1)
        return newest.made != 0 ? &newest : nullptr;
    std::shift_right(keys_.begin(), keys_.end(), 1);
    newest = next;
    OPENSSL_cleanse(&next, sizeof next);
    return &newest;
}

void Tickets::forget_old(std::int64_t time) {
    for (Key& key : keys_)
        if (key.made != 0 && time - key.made >= kRenewal + kLifetime) OPENSSL_cleanse(&key, sizeof key);
}

const Tickets::Key* Tickets::find(const unsigned char* name) const {
    const std::int64_t time = now();
    for (const Key& key : keys_)
        if (key.made != 0 && time - key.made < kRenewal + kLifetime &&
            CRYPTO_memcmp(name, key.name, sizeof key.name) == 0)
            return &key;
    return nullptr;
}

void Tickets::check_clients(SSL_CTX* context, std::optional<std::int64_t> until) {
    until_ = until;
    SSL_CTX_set_session_ticket_cb(context, note_check, may_resume, this);
}

/// A session that was resumed goes on with the time at which its client was checked.
int Tickets::note_check(SSL* session, void*) {
    SSL_SESSION* const current = SSL_get_session(session);
    void* data = nullptr;
    std::size_t size = 0;
    if (SSL_SESSION_get0_ticket_appdata(current, &data, &size) == 1 && size == sizeof(std::int64_t)) return 1;
    const std::int64_t time = now();
    return SSL_SESSION_set1_ticket_appdata(current, &time, sizeof time);
}

SSL_TICKET_RETURN Tickets::may_resume(SSL*, SSL_SESSION* opened, const unsigned char*, std::size_t,
                                      SSL_TICKET_STATUS status, void* self) {
    if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW) return SSL_TICKET_RETURN_IGNORE_RENEW;
    void* data = nullptr;
    std::size_t size = 0;
    std::int64_t checked = 0;
    if (SSL_SESSION_get0_ticket_appdata(opened, &data, &size) != 1 || size != sizeof checked)
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    std::memcpy(&checked, data, sizeof checked);
    X509* const certificate = SSL_SESSION_get0_peer(opened);
    const auto& until = static_cast<const Tickets*>(self)->until_;
    const bool over = now() - checked >= kLifetime || (until && time(nullptr) > *until) ||
                      (certificate != nullptr && X509_cmp_current_time(X509_get0_notAfter(certificate)) <= 0);
    if (over) return SSL_TICKET_RETURN_IGNORE_RENEW;
    return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

bool Tickets::set_mac(EVP_MAC_CTX* mac, const Key& key) {
    char digest[] = "SHA256";
    unsigned char secret[sizeof key.mac];
    std::memcpy(secret, key.mac, sizeof secret);
    OSSL_PARAM with[] = {OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, secret, sizeof secret),
                         OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                         OSSL_PARAM_construct_end()};
    const bool done = EVP_MAC_CTX_set_params(mac, with) == 1;
    OPENSSL_cleanse(secret, sizeof secret);
    return done;
}

/// SSL_CTX_set_tlsext_ticket_key_evp_cb(3). 2: opened, and a new one is due.
int Tickets::answer(SSL* session, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac,
                    int encrypt) {
    // The context that the session began with: a name may have led to another since.
    auto* const self = static_cast<Tickets*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(session), index_of_owner()));
    if (encrypt != 0) {
        const Key* const key = self->current();
        if (key == nullptr) return 0;
        std::memcpy(name, key->name, sizeof key->name);
        if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1) return -1;
        if (EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), nullptr, key->cipher, iv) != 1) return -1;
        return set_mac(mac, *key) ? 1 : -1;
    }
    const Key* const key = self->find(name);
    if (key == nullptr) return 0;
    if (EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), nullptr, key->cipher, iv) != 1 || !set_mac(mac, *key)) return -1;
    return key == self->current() ? 1 : 2;
}

}  // namespace superd::tls
