// SPDX-License-Identifier: MIT
// A [tls] as superd-tls is told of it.
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "conf/tls.h"

namespace superd::conf {

std::vector<TlsFile> files_of(const Tls& tls) {
    std::vector<TlsFile> all{{&tls.certificate, "tls.certificate"}, {&tls.key, "tls.key"}};
    for (const TlsName& name : tls.names) {
        all.push_back({&name.certificate, "tls.name.certificate"});
        all.push_back({&name.key, "tls.name.key"});
    }
    if (!tls.client_ca.path.empty()) all.push_back({&tls.client_ca, "tls.client_ca"});
    if (!tls.client_crl.path.empty()) all.push_back({&tls.client_crl, "tls.client_crl"});
    return all;
}

std::vector<std::string> tls_words(const Tls& tls) {
    int file = kTlsFirstFile;
    std::vector<std::string> words{fmt::format("pair={}:{}", file, file + 1)};
    file += 2;
    for (const TlsName& name : tls.names) {
        words.push_back(fmt::format("pair={}:{}:{}", file, file + 1, fmt::join(name.names, ",")));
        file += 2;
    }
    if (!tls.client_ca.path.empty()) words.push_back(fmt::format("client_ca={}", file++));
    if (!tls.client_crl.path.empty()) words.push_back(fmt::format("client_crl={}", file++));
    words.push_back(fmt::format("client_certificate={}", name_of(tls.client_certificate)));
    words.push_back(fmt::format("min_version={}", name_of(tls.min_version)));
    if (!tls.ciphers.empty()) words.push_back("ciphers=" + tls.ciphers);
    if (!tls.alpn.empty()) words.push_back(fmt::format("alpn={}", fmt::join(tls.alpn, ",")));
    return words;
}

Result<sys::Fd> open_pem(const PemFile& file) {
    sys::Fd opened(open(file.path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
    struct stat status {};
    if (!opened || fstat(opened.get(), &status) != 0) return fail_errno(file.path, errno);
    if (!S_ISREG(status.st_mode)) return fail(fmt::format("{}: not a regular file", file.path));
    return opened;
}

}  // namespace superd::conf
