// SPDX-License-Identifier: MIT
#include "net/unix_diag.h"

#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "sys/fd.h"

namespace superd::net {
namespace {

/// One attribute of a unix socket from the kernel; empty if it has none.
Result<std::string> attribute_of(ino_t inode, std::uint32_t show, int attribute_type) {
    const sys::Fd netlink(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
    if (!netlink) return fail_errno("sock_diag", errno);
    struct {
        nlmsghdr header;
        unix_diag_req request;
    } question{};
    question.header.nlmsg_len = sizeof question;
    question.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
    question.header.nlmsg_flags = NLM_F_REQUEST;
    question.request.sdiag_family = AF_UNIX;
    question.request.udiag_ino = static_cast<std::uint32_t>(inode);
    question.request.udiag_show = show;
    question.request.udiag_cookie[0] = question.request.udiag_cookie[1] = ~0U;  // INET_DIAG_NOCOOKIE
    if (::send(netlink.get(), &question, sizeof question, 0) != sizeof question) return fail_errno("sock_diag", errno);
    alignas(nlmsghdr) char answer[1024];
    // The kernel answers from within send(2): this does not wait.
    const ssize_t size = recv(netlink.get(), answer, sizeof answer, MSG_DONTWAIT);
    const auto* header = reinterpret_cast<const nlmsghdr*>(answer);
    if (size >= static_cast<ssize_t>(NLMSG_LENGTH(sizeof(nlmsgerr))) && header->nlmsg_type == NLMSG_ERROR)
        return fail_errno("sock_diag", -static_cast<const nlmsgerr*>(NLMSG_DATA(header))->error);
    if (size < static_cast<ssize_t>(NLMSG_LENGTH(sizeof(unix_diag_msg))) || header->nlmsg_type != SOCK_DIAG_BY_FAMILY)
        return fail_errno("sock_diag", EIO);
    std::size_t at = NLMSG_LENGTH(sizeof(unix_diag_msg));
    while (at + sizeof(nlattr) <= static_cast<std::size_t>(size)) {
        nlattr attribute;
        std::memcpy(&attribute, answer + at, sizeof attribute);
        if (attribute.nla_len < NLA_HDRLEN || at + attribute.nla_len > static_cast<std::size_t>(size)) break;
        if (attribute.nla_type == attribute_type)
            return std::string(answer + at + NLA_HDRLEN, attribute.nla_len - static_cast<std::size_t>(NLA_HDRLEN));
        at += NLA_ALIGN(attribute.nla_len);
    }
    return std::string();
}

template <class Answer>
std::optional<Answer> ask(int fd, std::uint32_t show, int attribute_type) {
    struct stat status {};
    if (fstat(fd, &status) != 0) return std::nullopt;
    const auto bytes = attribute_of(status.st_ino, show, attribute_type);
    Answer value;
    if (!bytes || bytes->size() < sizeof value) return std::nullopt;
    std::memcpy(&value, bytes->data(), sizeof value);
    return value;
}

}  // namespace

std::optional<unix_diag_rqlen> queue_of_unix(int fd) {
    return ask<unix_diag_rqlen>(fd, UDIAG_SHOW_RQLEN, UNIX_DIAG_RQLEN);
}

std::optional<unix_diag_vfs> file_of_unix(int fd) {
    return ask<unix_diag_vfs>(fd, UDIAG_SHOW_VFS, UNIX_DIAG_VFS);
}

Result<std::string> name_of_unix(ino_t inode) {
    return attribute_of(inode, UDIAG_SHOW_NAME, UNIX_DIAG_NAME);
}

}  // namespace superd::net
