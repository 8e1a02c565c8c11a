// SPDX-License-Identifier: MIT
#include "net/unix_diag.h"

#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cstdint>
#include <cstring>

#include "sys/fd.h"

namespace superd::net {
namespace {

template <class Answer>
std::optional<Answer> ask(int fd, std::uint32_t show, int attribute_type) {
    struct stat status {};
    const sys::Fd netlink(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
    if (!netlink || fstat(fd, &status) != 0) return std::nullopt;
    struct {
        nlmsghdr header;
        unix_diag_req request;
    } question{};
    question.header.nlmsg_len = sizeof question;
    question.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
    question.header.nlmsg_flags = NLM_F_REQUEST;
    question.request.sdiag_family = AF_UNIX;
    question.request.udiag_ino = static_cast<std::uint32_t>(status.st_ino);
    question.request.udiag_show = show;
    question.request.udiag_cookie[0] = question.request.udiag_cookie[1] = ~0U;  // INET_DIAG_NOCOOKIE
    if (send(netlink.get(), &question, sizeof question, 0) != sizeof question) return std::nullopt;
    alignas(nlmsghdr) char answer[1024];
    // The kernel answers from within send(2): nothing is waited for.
    const ssize_t size = recv(netlink.get(), answer, sizeof answer, MSG_DONTWAIT);
    const auto* header = reinterpret_cast<const nlmsghdr*>(answer);
    if (size < static_cast<ssize_t>(NLMSG_LENGTH(sizeof(unix_diag_msg))) || header->nlmsg_type != SOCK_DIAG_BY_FAMILY)
        return std::nullopt;
    std::size_t at = NLMSG_LENGTH(sizeof(unix_diag_msg));
    while (at + sizeof(nlattr) <= static_cast<std::size_t>(size)) {
        nlattr attribute;
        std::memcpy(&attribute, answer + at, sizeof attribute);
        if (attribute.nla_type == attribute_type && attribute.nla_len >= NLA_HDRLEN + sizeof(Answer) &&
            at + attribute.nla_len <= static_cast<std::size_t>(size)) {
            Answer value;
            std::memcpy(&value, answer + at + NLA_HDRLEN, sizeof value);
            return value;
        }
        if (attribute.nla_len < sizeof attribute) break;
        at += NLA_ALIGN(attribute.nla_len);
    }
    return std::nullopt;
}

}  // namespace

std::optional<unix_diag_rqlen> queue_of_unix(int fd) {
    return ask<unix_diag_rqlen>(fd, UDIAG_SHOW_RQLEN, UNIX_DIAG_RQLEN);
}

std::optional<unix_diag_vfs> file_of_unix(int fd) {
    return ask<unix_diag_vfs>(fd, UDIAG_SHOW_VFS, UNIX_DIAG_VFS);
}

}  // namespace superd::net
