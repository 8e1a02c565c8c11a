// SPDX-License-Identifier: MIT
#pragma once
// The keys of session tickets (RFC 5077): they are this process's own, and are renewed, so that who learns one can read
// no more than what was said within a few hours.

#include <openssl/ssl.h>

#include <array>
#include <cstdint>
#include <optional>

namespace superd::tls {

class Tickets {
  public:
    Tickets() = default;
    Tickets(const Tickets&) = delete;
    ~Tickets();

    /// A key's time to make tickets, after which it still opens them as long as a ticket lasts.
    static constexpr std::int64_t kRenewal = 3600;
    static constexpr std::int64_t kLifetime = 7200;

    /// False: there is no randomness for keys.
    bool use_for(SSL_CTX* context);
    /// A client that has shown a certificate resumes its session only while that is valid, not after `until` (of
    /// time(2)), and for kLifetime after it was checked, however often it has resumed since. Then it shows it anew.
    void check_clients(SSL_CTX* context, std::optional<std::int64_t> until);
    /// Wipes keys that open no ticket any more at this time. Without handshakes nothing else would.
    void forget_old(std::int64_t now);
    /// Of the clock that all this goes by, which goes on while the machine sleeps. Seconds; never 0.
    static std::int64_t now();

  private:
    struct Key {
        unsigned char name[16];
        unsigned char cipher[32];
        unsigned char mac[32];
        std::int64_t made = 0;  ///< seconds of CLOCK_BOOTTIME; 0: none
    };
    static int answer(SSL* session, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac,
                      int encrypt);
    /// The key for new tickets; nullptr: none can be made.
    const Key* current();
    const Key* find(const unsigned char* name) const;
    static int note_check(SSL* session, void* self);
    static SSL_TICKET_RETURN may_resume(SSL* session, SSL_SESSION* opened, const unsigned char* name,
                                        std::size_t name_size, SSL_TICKET_STATUS status, void* self);
    static bool set_mac(EVP_MAC_CTX* mac, const Key& key);

    static constexpr std::size_t kKept = 1 + (kLifetime + kRenewal - 1) / kRenewal;
    std::array<Key, kKept> keys_{};      ///< the newest first
    std::optional<std::int64_t> until_;  ///< nobody resumes after that
};

}  // namespace superd::tls
