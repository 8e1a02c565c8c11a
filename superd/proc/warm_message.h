// SPDX-License-Identifier: MIT
#pragma once
// What passes between superd and a warm process, over a SOCK_SEQPACKET pair: first its tracer has the other end, then,
// once it is parked, its stub. All numbers are the kernel's own; both sides are built together.

#include <cstdint>

namespace superd::proc::warm {

/// What keeps a handler from being parked, or, once it is, from being copied. The order is part of the meaning.
enum class Obstacle : std::uint32_t {
    none,
    cannot_trace,
    set_id,
    other_calls,
    not_executed,
    ended,
    forked,
    untouched,
    asynchronous,
    no_proc,
    no_room,
    too_many_threads,
    tracer_ended,
    // From here on it is parked and can serve one client.
    threads,
    timer,
    descriptor,
    locked_file,
    shared_memory,
    too_many_files,
    last = too_many_files,
};

/// Its name in counts, and what ends a sentence that begins with the handler: "it " and this.
struct ObstacleText {
    const char* name;
    const char* text;
};
constexpr ObstacleText kObstacles[] = {
    {"none", "can be copied"},
    {"cannot_trace", "cannot be traced"},
    {"set_id", "has a program with set-id bits or capabilities, which it would lose"},
    {"other_calls", "makes system calls of another processor or kind"},
    {"not_executed", "cannot be executed"},
    {"ended", "ended before it touched its client"},
    {"forked", "started another process before it touched its client"},
    {"untouched", "did not touch its client in time"},
    {"asynchronous", "uses io_uring or asynchronous I/O"},
    {"no_proc", "has no /proc in which its files could be seen"},
    {"no_room", "refused the memory that parking takes"},
    {"too_many_threads", "has too many threads"},
    {"tracer_ended", "lost its tracer"},
    {"threads", "has threads"},
    {"timer", "has a timer"},
    {"descriptor", "has an open file that copies cannot share"},
    {"locked_file", "has a lock on a file"},
    {"shared_memory", "has memory that copies would share"},
    {"too_many_files", "has too many open files"},
};
static_assert(sizeof kObstacles / sizeof *kObstacles == static_cast<unsigned>(Obstacle::last) + 1);

constexpr const char* text_of(Obstacle obstacle) {
    return obstacle <= Obstacle::last ? kObstacles[static_cast<unsigned>(obstacle)].text : "told something unknown";
}
/// Is it parked, so that it can serve one client?
constexpr bool is_parked(Obstacle obstacle) {
    return obstacle == Obstacle::none || obstacle >= Obstacle::threads;
}

/// To the tracer, before it is started.
struct Order {
    std::uint32_t within_ms;         ///< to be parked in
    std::uint32_t errors_to_client;  ///< descriptor 2 is the client's as well
};

enum class Word : std::uint32_t {
    // from the tracer
    file = 1,  ///< File
    report,    ///< Report; one, before `parked` or as the last word
    // from the stub: Answer
    parked,  ///< it waits for a command; its pid is the sender's
    going,   ///< a copy that was sent with its connection has it; its pid is the sender's
    failed,  ///< to copy, to open files anew, or to take the connection; superd still has its own copy of that
    // to the stub: Command
    go,         ///< with the connection: serve it. The channel closes
    copy,       ///< with a fresh channel: a copy parks there
    copy_goes,  ///< with a connection: a copy serves it
};

/// A regular file as it was when the handler opened or mapped it; its path follows, as the handler would name it.
struct File {
    Word word;
    std::uint32_t spare;
    std::uint64_t device, inode, size;
    std::int64_t modified, changed;  ///< nanoseconds since 1970
};

/// What it has done of its own accord, which copies share.
enum Fact : std::uint32_t { kAskedPid = 1, kDrewRandom = 2, kMoreFiles = 4 };

struct Report {
    Word word;
    Obstacle obstacle;
    std::int32_t code;  ///< errno; of `ended` what wait(2) tells
    std::uint32_t facts;
    std::uint32_t threads;
    char detail[128];  ///< which file or program; may be empty, ends with NUL
};

struct Command {
    Word word;
    std::uint32_t serial;            ///< comes back in the answer
    std::uint32_t errors_to_client;  ///< descriptor 2 becomes the connection as well
};

struct Answer {
    Word word;
    std::uint32_t serial;
    std::int32_t code;  ///< errno
};

constexpr unsigned kMostFiles = 4096;   ///< that a tracer tells of
constexpr unsigned kMostReopened = 48;  ///< that a copy opens anew
constexpr unsigned kMostThreads = 256;  ///< that a tracer holds
constexpr int kChannel = 3;             ///< its number when superd-warm starts; 0 and 1 are the placeholder
constexpr int kFilter = 4;              ///< of the handler's filter, if it has one (proc/parked/filter.h)

}  // namespace superd::proc::warm
