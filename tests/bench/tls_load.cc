// SPDX-License-Identifier: MIT
// tls_load PORT full|resumed SECONDS CLIENTS: handshakes per second; each connection is answered one line.
// tls_load PORT stream SECONDS STREAMS: bytes per second that come back through an echo.
// tls_load PORT updates SECONDS CLIENTS: records without data per second, key updates, from each as fast as it can.
// tls_load PORT idle COUNT: opens so many connections, has a line answered on each, says so, and holds them until its
//   stdin ends.
// Prints one line: rate R failures F

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

struct Figures {
    std::atomic<long> done{0}, failures{0};
};

class Client {
  public:
    Client(SSL_CTX* context, int port, int number) : context_(context) {
        server_.sin_family = AF_INET;
        server_.sin_port = htons(static_cast<in_port_t>(port));
        server_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        source_.sin_family = AF_INET;
        source_.sin_addr.s_addr = htonl(0x7f000101U + static_cast<unsigned>(number % 32));
    }
    ~Client() {
        if (session_ != nullptr) SSL_SESSION_free(session_);
    }
    Client(const Client&) = delete;

    /// nullptr: it failed.
    SSL* open(bool resume) {
        fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const int on = 1;
        setsockopt(fd_, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
        setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        SSL* const ssl = SSL_new(context_);
        SSL_set_fd(ssl, fd_);
        SSL_set_tlsext_host_name(ssl, "localhost");
        if (resume && session_ != nullptr) SSL_set_session(ssl, session_);
        if (bind(fd_, reinterpret_cast<sockaddr*>(&source_), sizeof source_) == 0 &&
            connect(fd_, reinterpret_cast<sockaddr*>(&server_), sizeof server_) == 0 && SSL_connect(ssl) == 1 &&
            (!resume || session_ == nullptr || SSL_session_reused(ssl) == 1))
            return ssl;
        close(ssl);
        return nullptr;
    }
    static bool answered(SSL* ssl) {
        char line[8];
        return SSL_write(ssl, "hello\n", 6) == 6 && SSL_read(ssl, line, sizeof line) > 0;
    }
    void close(SSL* ssl) {
        SSL_shutdown(ssl);
        SSL_free(ssl);
        ::close(fd_);
        ERR_clear_error();
    }
    void keep_session(SSL* ssl) {
        if (session_ != nullptr) SSL_SESSION_free(session_);
        session_ = SSL_get1_session(ssl);
    }

  private:
    SSL_CTX* context_;
    sockaddr_in server_{}, source_{};
    SSL_SESSION* session_ = nullptr;
    int fd_ = -1;
};

void handshakes(SSL_CTX* context, int port, int number, bool resume, Clock::time_point end, Figures& figures) {
    Client client(context, port, number);
    do {
        SSL* const ssl = client.open(resume);
        if (ssl == nullptr || !Client::answered(ssl)) {
            ++figures.failures;
            if (ssl != nullptr) client.close(ssl);
            continue;
        }
        if (resume) client.keep_session(ssl);  // a ticket of TLS 1.3 is for one use
        client.close(ssl);
        ++figures.done;
    } while (Clock::now() < end);
}

void stream(SSL_CTX* context, int port, int number, Clock::time_point end, Figures& figures) {
    Client client(context, port, number);
    SSL* const ssl = client.open(false);
    if (ssl == nullptr) {
        ++figures.failures;
        return;
    }
    std::vector<char> block(65536, 'x');
    do {
        int got = 0;
        if (SSL_write(ssl, block.data(), static_cast<int>(block.size())) <= 0) break;
        while (got < static_cast<int>(block.size())) {
            const int n = SSL_read(ssl, block.data(), static_cast<int>(block.size()) - got);
            if (n <= 0) {
                ++figures.failures;
                return client.close(ssl);
            }
            got += n;
        }
        figures.done += got;
    } while (Clock::now() < end);
    client.close(ssl);
}

void update_keys(SSL_CTX* context, int port, int number, Clock::time_point end, Figures& figures) {
    Client client(context, port, number);
    SSL* const ssl = client.open(false);
    if (ssl == nullptr || !Client::answered(ssl)) {
        ++figures.failures;
        return;
    }
    while (Clock::now() < end && SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1 && SSL_do_handshake(ssl) == 1)
        ++figures.done;
    client.close(ssl);
}

int hold(SSL_CTX* context, int port, int count) {
    for (int i = 0; i < count; ++i) {
        Client client(context, port, i);
        SSL* const ssl = client.open(false);
        if (ssl == nullptr || !Client::answered(ssl)) return std::printf("failed\n"), 1;
    }
    std::printf("ready\n");
    std::fflush(stdout);
    char nothing;
    while (read(STDIN_FILENO, &nothing, 1) > 0) {
    }
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 4) return 2;
    std::signal(SIGPIPE, SIG_IGN);
    rlimit own{};
    getrlimit(RLIMIT_NOFILE, &own);
    own.rlim_cur = own.rlim_max;
    setrlimit(RLIMIT_NOFILE, &own);
    SSL_CTX* const context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_mode(context, SSL_MODE_AUTO_RETRY);
    const int port = std::atoi(argv[1]);
    const std::string mode = argv[2];
    if (mode == "idle") return hold(context, port, std::atoi(argv[3]));
    if (argc < 5) return 2;
    const double seconds = std::atof(argv[3]);
    Figures figures;
    const auto begin = Clock::now();
    const auto end = begin + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
    std::vector<std::thread> threads;
    for (int i = 0; i < std::atoi(argv[4]); ++i)
        threads.emplace_back([&, i] {
            if (mode == "stream") return stream(context, port, i, end, figures);
            if (mode == "updates") return update_keys(context, port, i, end, figures);
            handshakes(context, port, i, mode == "resumed", end, figures);
        });
    for (std::thread& thread : threads) thread.join();
    const double took = std::chrono::duration<double>(Clock::now() - begin).count();
    std::printf("rate %.1f failures %ld\n", static_cast<double>(figures.done) / took, figures.failures.load());
    return 0;
}
