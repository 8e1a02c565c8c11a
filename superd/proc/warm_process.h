// SPDX-License-Identifier: MIT
#pragma once
// superd's side of a warm process: a handler that superd-warm has brought to its first touch of a client, or a copy of
// one. It waits on a channel of its own, and is a child of superd's.
//
// Started: as any handler, by superd-warm (ExecPlan::start_by), with an unconnected socket of the clients' family as
// descriptors 0 and 1 (and 2 where errors go to the client), and `theirs` of the pair as descriptor kChannel.
//
// What comes over the channel is from a process of the handler's user, and is believed as far as that one could do it
// anyway: it names no process but the sender, which the kernel tells, and which has to be a child of superd's.

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "proc/parking.h"
#include "proc/warm_message.h"
#include "sys/descriptors.h"
#include "sys/passed_rights.h"

namespace superd::proc {

/// A regular file that a warm process opened or mapped before it parked, as it was then.
struct WarmFile {
    std::string path;  ///< as the handler names it: below its root_directory
    std::uint64_t device = 0, inode = 0, size = 0;
    std::int64_t modified = 0, changed = 0;  ///< nanoseconds since 1970

    bool operator==(const WarmFile&) const = default;
    /// Looks again. `root`: the handler's root_directory, or "".
    bool is_as_it_was(const std::string& root) const;
};

/// The pair of a process that is to be warm; the order is in it. Channels of copies carry none.
Result<Pair> make_channel(const std::optional<warm::Order>& order);

/// An unconnected stream socket for descriptors 0 and 1.
Result<sys::Fd> make_placeholder(int family);

class WarmProcess {
  public:
    /// `pid`: of the process that superd started; 0 for a copy, which tells it when it has parked.
    WarmProcess(pid_t pid, sys::Fd channel) : channel_(std::move(channel)) { told_.pid = pid; }

    enum class State {
        starting,
        parked,   ///< it has a stub that takes commands
        refused,  ///< obstacle() says why; it is being killed or has ended
        gone,     ///< it serves its client, or has ended
    };
    struct Event {
        enum class Kind {
            parked,
            refused,
            going,   ///< a copy that was sent with a connection has it: superd may close its own
            failed,  ///< a command; its connection has not been taken
            gone,
        } kind;
        pid_t pid = 0;             ///< of `going`
        std::uint32_t serial = 0;  ///< of the command that it answers
        int code = 0;              ///< errno of `failed`
    };
    /// What it has told next, without waiting; nullopt: nothing. To be asked until then before children are reaped, or
    /// a copy that is as short as its client's question is not known as superd's any more.
    std::optional<Event> next();

    /// It takes the connection, which stays the caller's, and goes; then `gone` follows.
    Result<void> go(int connection, bool errors_to_client);
    /// A copy that parks on a channel of its own. What keeps it from that is told there (`gone`) or here (`failed`).
    Result<WarmProcess> copy(std::uint32_t serial);
    /// A copy that goes at once. `going` or `failed` follows, by which time superd still has the connection; a process
    /// that is stopped, or dies, may leave both out: then who waits is served otherwise, once the process has been
    /// killed and the channel read to its end, since a copy may have begun.
    Result<void> copy_for(int connection, bool errors_to_client, std::uint32_t serial);

    /// All that is known of it.
    struct Told {
        State state = State::starting;
        pid_t pid = 0;
        warm::Obstacle obstacle = warm::Obstacle::tracer_ended;  ///< until it says something better
        bool reported = false;
        int code = 0;
        std::string detail;
        std::uint32_t facts = 0;
        unsigned threads = 0;
        std::vector<WarmFile> files;
    };
    /// For another superd to go on with; the channel is kept open by `channel`.
    struct Kept {
        Told told;
        int channel = -1;
    };
    Kept keep(sys::Descriptors& descriptors) const;
    static WarmProcess go_on(const Kept& kept, sys::Descriptors& descriptors);

    State state() const { return told_.state; }
    pid_t pid() const { return told_.pid; }
    int channel() const { return channel_.get(); }
    /// `none`: it can be copied.
    warm::Obstacle obstacle() const { return told_.obstacle; }
    int code() const { return told_.code; }  ///< errno; of `ended` what wait(2) tells
    /// Which file or program; from the handler, so to be escaped.
    const std::string& detail() const { return told_.detail; }
    std::uint32_t facts() const { return told_.facts; }  ///< warm::Fact
    unsigned threads() const { return told_.threads; }
    const std::vector<WarmFile>& files() const { return told_.files; }
    /// Nobody asks for them again.
    void forget_files() { std::vector<WarmFile>().swap(told_.files); }
    /// False: the other end has been closed, or has told what it cannot have told. The channel is then to be closed,
    /// once nothing watches it any more.
    bool is_open() const { return channel_ && (told_.state == State::starting || told_.state == State::parked); }
    void close() {
        if (is_open()) told_.state = State::gone;
        channel_.reset();
    }

  private:
    Result<void> send(warm::Word word, int descriptor, bool errors_to_client, std::uint32_t serial);
    std::optional<Event> take(const char* message, std::size_t size, pid_t sender);
    std::optional<Event> answered(const warm::Answer& answer, pid_t sender);
    Event reported(const warm::Report& report);
    Event refuse(warm::Obstacle obstacle);
    Event end();

    Told told_;
    sys::GuardedFd channel_;
};

/// "it did not touch its client in time", with errno or status and detail where there are some; escaped.
std::string describe(const WarmProcess& process);

}  // namespace superd::proc
