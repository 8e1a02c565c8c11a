// SPDX-License-Identifier: MIT
// superd-tls SERVICE [check] pair=CERTIFICATE:KEY[:NAME,…]… [client_ca=FILE] [client_crl=FILE]
//            [client_certificate=none|request|require] [min_version=1.2|1.3] [ciphers=LIST] [alpn=NAME,…]
//
// Holds the keys of one service and serves TLS for it. Files are numbers of descriptors: superd has opened them with
// its own rights and not read them. Clients come over the channel (proc/tls_message.h).

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <memory>

#include "proc/tls_message.h"
#include "tls/channel.h"
#include "tls/confine.h"
#include "tls/server.h"

#if defined(__SANITIZE_ADDRESS__)
/// Its stderr is nobody's, and it may not trace itself for leaks: its exit status tells of a fault, or a signal does.
extern "C" const char* __asan_default_options() {
    return "detect_leaks=0:exitcode=86:handle_segv=0:handle_sigbus=0:handle_abort=0:handle_sigfpe=0:handle_sigill=0";
}
#endif

namespace {

using superd::proc::kTlsChannel;
using superd::proc::TlsAnswer;

/// `check`: whether they would do, on stdout; a line for each thing to be said.
int look_at_files(superd::tls::Contexts& contexts) {
    const auto fault = contexts.make();
    for (const superd::tls::Fault& one : contexts.warnings()) std::printf("warning %d %s\n", one.file, one.why.c_str());
    if (fault)
        std::printf("failed %d %s\n", fault->file, fault->why.c_str());
    else
        std::printf("ready\n");
    return std::fflush(stdout) == 0 && !fault ? 0 : 1;
}

int give_up(superd::tls::Channel& channel, const std::string& why, int file = 0) {
    channel.say(TlsAnswer::Word::failed, static_cast<std::uint32_t>(file), why);
    return 1;
}

/// Two descriptors for each client.
void raise_descriptor_limit() {
    rlimit own{};
    if (getrlimit(RLIMIT_NOFILE, &own) != 0) return;
    own.rlim_cur = own.rlim_max;
    setrlimit(RLIMIT_NOFILE, &own);
}

/// Memory for keys that is not swapped out; malloc's is used where it is not to be had.
void keep_keys_apart(std::size_t keys) {
    // Handshakes under way have keys of their own there, and superd lets 1,024 clients be in theirs.
    constexpr std::size_t handshakes = 1 << 20;
    std::size_t size = handshakes;
    while (size < handshakes + keys * (32 << 10) && size < 8 << 20) size *= 2;
    CRYPTO_secure_malloc_init(size, 16);
}

}  // namespace

int main(int argc, char** argv) {
    using namespace superd::tls;
    prctl(PR_SET_NAME, "superd-tls");
    const bool check = argc > 2 && std::strcmp(argv[2], "check") == 0;
    if (argc < 2 || (!check && fcntl(kTlsChannel, F_GETFD) < 0)) {
        static const char usage[] = "superd-tls: only superd starts this program\n";
        (void)!write(STDERR_FILENO, usage, sizeof usage - 1);
        return 2;
    }
    hide();
    signal(SIGPIPE, SIG_IGN);
    fcntl(kTlsChannel, F_SETFD, FD_CLOEXEC);
    Channel channel(kTlsChannel);
    Settings settings;
    for (int i = check ? 3 : 2; i < argc; ++i)
        if (!read_word(argv[i], settings)) return give_up(channel, std::string("unknown word ") + argv[i]);
    raise_descriptor_limit();
    keep_keys_apart(settings.pairs.size());
    if (OPENSSL_init_ssl(OPENSSL_INIT_LOAD_SSL_STRINGS | OPENSSL_INIT_LOAD_CRYPTO_STRINGS, nullptr) != 1)
        return give_up(channel, "OpenSSL: " + take_error());
    const int ca = settings.client_ca, crl = settings.client_crl;
    const auto contexts = std::make_unique<Contexts>(std::move(settings));
    if (check) return look_at_files(*contexts);
    if (const auto fault = contexts->make()) return give_up(channel, fault->why, fault->file);
    for (const int file : {ca, crl})
        if (file >= 0) close(file);
    const auto server = std::make_unique<Server>(channel, *contexts);
    if (auto why = server->set_up(); !why.empty()) return give_up(channel, why);
    if (auto why = confine(); !why.empty()) return give_up(channel, why);
    server->run();
    return 0;
}
