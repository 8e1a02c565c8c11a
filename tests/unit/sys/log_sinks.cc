// SPDX-License-Identifier: MIT
#include "sys/log_sinks.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>

#include "catch.h"
#include "sys/fd.h"

namespace superd::sys::log_sinks_tests {

namespace {

constexpr std::size_t kMost = QueuedSink::kMostPending;

/// Writes more lines than wait for a reader and than any buffer holds; returns how many.
std::size_t flood(QueuedSink& sink) {
    const std::string line(1000, 'x');
    for (int i = 0; i < 3000; ++i) sink.write(Level::info, line, {});
    return 3000;
}

/// Everything that comes while the sink has something left, plus one more read.
std::string drain(QueuedSink& sink, int fd) {
    std::string all;
    std::string piece(1 << 16, '\0');
    for (bool done = false;;) {
        done = sink.flush();
        pollfd ready{fd, POLLIN, 0};
        if (poll(&ready, 1, done ? 0 : 1000) <= 0) {
            if (done) return all;
            continue;
        }
        const auto n = read(fd, piece.data(), piece.size());
        REQUIRE(n > 0);
        all.append(piece, 0, static_cast<std::size_t>(n));
    }
}

std::size_t count(const std::string& text, const std::string& word) {
    std::size_t found = 0;
    for (auto at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++found;
    return found;
}

/// Nothing waits while nobody reads; then everything that was kept comes, with the number of lost lines.
void check_slow_reader(int write_end, int read_end) {
    auto sink = sys::line_sink(write_end, LogStyle::logfmt);
    const std::size_t written = flood(*sink);
    CHECK_FALSE(sink->flush());
    const auto lost = sink->lost();
    CHECK(lost.all > 0);
    CHECK(lost.untold == lost.all);
    std::string all = drain(*sink, read_end);
    sink->write(Level::info, "later", {});
    all += drain(*sink, read_end);
    const std::string line(1000, 'x');
    CHECK(count(all, line + "\n") + count(all, line + "\r\n") ==
          written - lost.all);
    CHECK(count(all, std::to_string(lost.all) + " log lines lost") == 1);
    CHECK(count(all, "later") == 1);
    CHECK(sink->lost().untold == 0);
    CHECK(sink->lost().all == lost.all);
}

/// A journal at its own path.
struct Journal {
    std::string folder;
    std::string path;
    Fd socket;

    Journal() {
        char name[] = "/tmp/superd-journal-XXXXXX";
        folder = mkdtemp(name);
        path = folder + "/socket";
    }
    ~Journal() {
        unlink(path.c_str());
        rmdir(folder.c_str());
    }
    void listen() {
        unlink(path.c_str());
        socket = Fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path.copy(address.sun_path, sizeof address.sun_path - 1);
        REQUIRE(bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    }
    /// The next record, also one in a file; "" if there is none.
    std::string next() const {
        std::string text(1 << 16, '\0');
        iovec part{text.data(), text.size()};
        alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
        msghdr header{};
        header.msg_iov = &part;
        header.msg_iovlen = 1;
        header.msg_control = control;
        header.msg_controllen = sizeof control;
        const ssize_t n = recvmsg(socket.get(), &header, MSG_CMSG_CLOEXEC);
        if (n < 0) return "";
        text.resize(static_cast<std::size_t>(n));
        if (const cmsghdr* message = CMSG_FIRSTHDR(&header)) {
            int number = -1;
            std::memcpy(&number, CMSG_DATA(message), sizeof number);
            const Fd file(number);
            CHECK((fcntl(number, F_GET_SEALS) & F_SEAL_WRITE) != 0);
            struct stat status {};
            REQUIRE(fstat(number, &status) == 0);
            text.resize(static_cast<std::size_t>(status.st_size));
            REQUIRE(pread(number, text.data(), text.size(), 0) == status.st_size);
        }
        return text;
    }
};

}  // namespace

TEST_CASE("a pipe that nobody reads loses lines, which are counted and reported") {
    int ends[2];
    REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
    const Fd read_end(ends[0]), write_end(ends[1]);
    check_slow_reader(write_end.get(), read_end.get());
    CHECK((fcntl(write_end.get(), F_GETFL) & O_NONBLOCK) == 0);  // others share it
}

TEST_CASE("a socket that nobody reads loses lines, which are counted and reported") {
    int ends[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    const Fd read_end(ends[0]), write_end(ends[1]);
    check_slow_reader(write_end.get(), read_end.get());
}

TEST_CASE("a terminal that nobody reads loses lines, which are counted and reported") {
    const Fd master(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    REQUIRE(master);
    REQUIRE(grantpt(master.get()) == 0);
    REQUIRE(unlockpt(master.get()) == 0);
    const Fd terminal(open(ptsname(master.get()), O_RDWR | O_NOCTTY | O_CLOEXEC));
    REQUIRE(terminal);
    check_slow_reader(terminal.get(), master.get());
}

TEST_CASE("a stopped terminal does not hold up logging") {
    const Fd master(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    REQUIRE(master);
    REQUIRE(grantpt(master.get()) == 0);
    REQUIRE(unlockpt(master.get()) == 0);
    const Fd terminal(open(ptsname(master.get()), O_RDWR | O_NOCTTY | O_CLOEXEC));
    REQUIRE(terminal);
    REQUIRE(tcflow(terminal.get(), TCOOFF) == 0);
    auto sink = sys::line_sink(terminal.get(), LogStyle::text);
    sink->write(Level::info, "stopped", {});
    CHECK_FALSE(sink->flush());
    REQUIRE(tcflow(terminal.get(), TCOON) == 0);
    CHECK(drain(*sink, master.get()).find("stopped") != std::string::npos);
}

TEST_CASE("records reach the journal in its own protocol, whatever their values contain") {
    Journal journal;
    journal.listen();
    auto sink = sys::journal_sink(journal.path);
    const std::array fields = {Field("SERVICE", "echo"), Field("CHILD_PID", 42)};
    sink->write(Level::info, "two\nlines", fields);
    CHECK(sink->flush());
    CHECK(journal.next() == "SYSLOG_IDENTIFIER=superd\nPRIORITY=6\nMESSAGE\n" + std::string("\x09\0\0\0\0\0\0\0", 8) +
                                "two\nlines\nSERVICE=echo\nCHILD_PID=42\n");
}

TEST_CASE("a record larger than any message reaches the journal as a sealed file") {
    Journal journal;
    journal.listen();
    auto sink = sys::journal_sink(journal.path);
    const std::string large(900'000, 'x');
    sink->write(Level::error, large, {});
    CHECK(sink->flush());
    CHECK(journal.next() == "SYSLOG_IDENTIFIER=superd\nPRIORITY=3\nMESSAGE=" + large + "\n");
}

TEST_CASE("a journal that nobody reads loses records, which are counted and reported") {
    Journal journal;
    journal.listen();
    auto sink = sys::journal_sink(journal.path);
    const std::size_t written = flood(*sink);
    CHECK_FALSE(sink->flush());
    const auto lost = sink->lost();
    CHECK(lost.all > 0);
    std::size_t got = 0;
    const auto read_all = [&] {
        std::string last;
        for (bool done = false; !done;) {
            done = sink->flush();
            for (std::string record; !(record = journal.next()).empty(); last = record)
                got += record.find(std::string(1000, 'x')) != std::string::npos;
        }
        return last;
    };
    read_all();
    CHECK(got == written - lost.all);
    sink->write(Level::info, "later", {});
    CHECK(sink->lost().untold == 0);
    CHECK(read_all().find("MESSAGE=later") != std::string::npos);
}

TEST_CASE("a journal that goes away and comes back, or is replaced, gets what waited") {
    Journal journal;
    auto sink = sys::journal_sink(journal.path);
    sink->write(Level::info, "nobody is there", {});
    CHECK_FALSE(sink->flush());
    journal.listen();
    CHECK(sink->flush());
    CHECK(journal.next().find("nobody is there") != std::string::npos);
    journal.socket.reset();
    sink->write(Level::info, "it has died", {});
    CHECK_FALSE(sink->flush());
    journal.listen();
    CHECK(sink->flush());
    CHECK(journal.next().find("it has died") != std::string::npos);
    CHECK(sink->lost().all == 0);
}

TEST_CASE("a successor knows what was lost, including what still waited") {
    Journal journal;
    auto sink = sys::journal_sink(journal.path);
    sink->write(Level::info, "one", {});
    sink->write(Level::info, "two", {});
    CHECK(sink->lost().all == 0);
    const auto lost = sink->lost_with_pending();
    CHECK(lost.all == 2);
    auto next = sys::journal_sink(journal.path);
    next->add_lost(lost);
    journal.listen();
    next->write(Level::info, "three", {});
    CHECK(next->flush());
    CHECK(journal.next().find("2 log lines lost") != std::string::npos);
    CHECK(journal.next().find("MESSAGE=three") != std::string::npos);
    CHECK(next->lost().all == 2);
}

TEST_CASE("at most the bound waits") {
    Journal journal;
    auto sink = sys::journal_sink(journal.path);
    const std::size_t written = flood(*sink);
    CHECK((written - sink->lost().all) * 1000 <= kMost + 2000);
}

}  // namespace superd::sys::log_sinks_tests
