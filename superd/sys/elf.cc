// SPDX-License-Identifier: MIT
#include "sys/elf.h"

#include <elf.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstring>
#include <optional>

#include "sys/fd.h"

namespace superd::sys {
namespace {

/// Class and machine are at the same place in both classes.
std::optional<Elf32_Ehdr> header_of(const char* path) {
    const Fd file(open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    Elf32_Ehdr header{};
    if (!file || read(file.get(), &header, sizeof header) != static_cast<ssize_t>(sizeof header)) return std::nullopt;
    return std::memcmp(header.e_ident, ELFMAG, SELFMAG) == 0 ? std::optional(header) : std::nullopt;
}

}  // namespace

bool is_foreign_program(const std::string& path) {
    const auto own = header_of("/proc/self/exe"), other = header_of(path.c_str());
    return own && other && (own->e_machine != other->e_machine || own->e_ident[EI_CLASS] != other->e_ident[EI_CLASS]);
}

}  // namespace superd::sys
