// SPDX-License-Identifier: MIT
#include "core/usage.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace superd::core {
namespace {

Duration duration_of(const timeval& time) {
    return std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec);
}

}  // namespace

HandlerUsage::HandlerUsage(const rusage& used, const rusage& own, bool copied, std::optional<net::TcpUsage> connection)
    : user(duration_of(used.ru_utime)),
      system(duration_of(used.ru_stime)),
      memory(static_cast<std::uint64_t>(used.ru_maxrss) * 1024),
      memory_at_most(!copied && used.ru_maxrss <= own.ru_maxrss),
      tcp(connection) {}

void HandlerUsage::add_to(Usage& usage) const {
    usage.user += user;
    usage.system += system;
    if (!memory_at_most) usage.memory = std::max(usage.memory, memory);
    if (!tcp) return;
    usage.in += tcp->in;
    usage.out += tcp->out;
    usage.retransmits += tcp->retransmits;
}

std::string HandlerUsage::text() const {
    std::string out = fmt::format("; CPU {} user, {} system, memory {}{}K", format_roughly(user),
                                  format_roughly(system), memory_at_most ? "at most " : "", memory / 1024);
    if (tcp)
        out += fmt::format(", {} in, {} out, {}, RTT {}", counted(tcp->in, "byte"), counted(tcp->out, "byte"),
                           counted(tcp->retransmits, "retransmit"), format_roughly(tcp->rtt));
    return out;
}

void HandlerUsage::add_to(std::vector<Field>& fields) const {
    fields.emplace_back("CPU_USER_USEC", user.count());
    fields.emplace_back("CPU_SYSTEM_USEC", system.count());
    fields.emplace_back(memory_at_most ? "MEMORY_PEAK_AT_MOST" : "MEMORY_PEAK", memory);
    if (!tcp) return;
    fields.emplace_back("BYTES_IN", tcp->in);
    fields.emplace_back("BYTES_OUT", tcp->out);
    fields.emplace_back("RETRANSMITS", tcp->retransmits);
    fields.emplace_back("RTT_USEC", tcp->rtt.count());
}

}  // namespace superd::core
