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

/// Goes on while the machine sleeps.
std::int64_t seconds_now() {
    timespec time{};
    clock_gettime(CLOCK_BOOTTIME, &time);
    return time.tv_sec + 1;
}

int index_of_owner() {
    static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
    return index;
}

}  // namespace

Tickets::~Tickets() {
    OPENSSL_cleanse(keys_.data(), sizeof keys_);
}

bool Tickets::use_for(SSL_CTX* context) {
    SSL_CTX_set_timeout(context, kLifetime);
    return SSL_CTX_set_ex_data(context, index_of_owner(), this) == 1 &&
           SSL_CTX_set_tlsext_ticket_key_evp_cb(context, answer) == 1 && current() != nullptr;
}

const Tickets::Key* Tickets::current() {
    const std::int64_t time = seconds_now();
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

const Tickets::Key* Tickets::find(const unsigned char* name) const {
    const std::int64_t time = seconds_now();
    for (const Key& key : keys_)
        if (key.made != 0 && time - key.made < kRenewal + kLifetime &&
            CRYPTO_memcmp(name, key.name, sizeof key.name) == 0)
            return &key;
    return nullptr;
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
