// SPDX-License-Identifier: MIT
#pragma once
// [tls]: what clients see of a service before its handler.

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/names.h"
#include "base/time.h"
#include "sys/fd.h"
#include "sys/identity.h"

namespace superd::conf {

enum class ClientCertificate { none, request, require };
constexpr auto names_of(ClientCertificate) {
    return std::array{"none", "request", "require"};
}
enum class TlsVersion { tls_1_2, tls_1_3 };
constexpr auto names_of(TlsVersion) {
    return std::array{"1.2", "1.3"};
}

/// A file in PEM form. superd opens it and never reads it.
struct PemFile {
    std::string path;   ///< empty: none
    std::string stamp;  ///< differs once the file has changed, so that a reload takes that up
    bool operator==(const PemFile&) const = default;
};

/// [[tls.name]]
struct TlsName {
    std::vector<std::string> names;  ///< in lower case; "*.example.com"
    PemFile certificate, key;
    bool operator==(const TlsName&) const = default;
};

struct Tls {
    bool on = false;  ///< there is a [tls]
    PemFile certificate, key;
    std::vector<TlsName> names;
    PemFile client_ca, client_crl;
    ClientCertificate client_certificate = ClientCertificate::none;
    TlsVersion min_version = TlsVersion::tls_1_2;
    std::string ciphers;
    std::vector<std::string> alpn;
    Duration handshake_timeout = std::chrono::seconds(10);
    std::optional<sys::Identity> identity;  ///< of superd-tls; nullopt: superd's own
    bool operator==(const Tls&) const = default;
};

/// The number that the first file has in superd-tls; the others follow.
constexpr int kTlsFirstFile = 4;
/// All its files, in that order. The result points into `tls`.
struct TlsFile {
    const PemFile* file;
    std::string key;  ///< "tls.certificate", for messages
};
std::vector<TlsFile> files_of(const Tls& tls);
/// superd-tls's words for it, after the service's name.
std::vector<std::string> tls_words(const Tls& tls);
/// Opens one for superd-tls. Waits for nothing; whatever is not a regular file is an error.
Result<sys::Fd> open_pem(const PemFile& file);

}  // namespace superd::conf
