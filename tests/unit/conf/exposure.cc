// SPDX-License-Identifier: MIT
#include "conf/exposure.h"

#include <stdio.h>

#include <map>
#include <set>
#include <sstream>

#include "conf/syscall_sets.h"
#include "tests/catch.h"
#include "unit/conf/folder.h"

namespace superd::conf::exposure_tests {

using namespace test;

namespace {

Service service(const std::string& sandbox, const std::string& top = "") {
    const Folder folder;
    folder.define(
        "a", "listen = \"tcp://127.0.0.1:7007\"\nmodel = \"fork\"\nexec = [\"/bin/cat\", \"a b\", \"50%\"]\n" + top +
                 "\n[sandbox]\n" + sandbox + "\n");
    Surroundings from = folder.surroundings();
    from.confinement = superd::sys::Confinement{true, true, false, true, true, true, true, 7};
    return folder.services(from).at("a");
}

ExposureLine line(const Exposure& exposure, const std::string& setting) {
    for (const ExposureLine& one : exposure.lines)
        if (one.setting == setting) return one;
    throw std::runtime_error("no line " + setting);
}

/// What a command prints; empty if it cannot be run.
std::string printed_by(const char* command) {
    FILE* pipe = popen(command, "r");
    std::string out;
    char part[4096];
    for (std::size_t n; (n = fread(part, 1, sizeof part, pipe)) > 0;) out.append(part, n);
    return pclose(pipe) == 0 ? out : "";
}

}  // namespace

TEST_CASE("the stricter the preset, the lower the exposure, and each line says what mends it") {
    const Exposure none = exposure(service("preset = \"none\"", "user = \"root\""));
    const Exposure base = exposure(service("preset = \"base\""));
    const Exposure strict = exposure(service("preset = \"strict\""));
    CHECK(none.tenths >= 90);
    CHECK(base.tenths < none.tenths);
    CHECK(strict.tenths <= 20);
    CHECK(strict.tenths >= 1);
    CHECK(std::string(strict.rating) == "SAFE");
    for (const ExposureLine& one : none.lines) {
        INFO(one.setting);
        CHECK((one.badness > 0) == (*one.mend != '\0'));
        CHECK((one.badness > 0) == (one.tenths > 0));
        CHECK(one.badness <= one.range);
    }
}

TEST_CASE("the key that a line names mends that line") {
    const std::string before = "preset = \"none\"";
    const Exposure bad = exposure(service(before));
    std::set<std::string> tried;
    for (const ExposureLine& one : bad.lines) {
        const std::string mend = one.mend;
        if (!mend.starts_with("sandbox.") || mend.find(" = ") == std::string::npos) continue;
        INFO(one.setting << ": " << mend);
        const ExposureLine after =
            line(exposure(service(before + "\n" + mend.substr(sizeof "sandbox." - 1))), one.setting);
        CHECK(after.badness < one.badness);
        tried.insert(mend);
    }
    CHECK(tried.size() >= 15);
}

TEST_CASE("a user of its own, a mask and a list of clients count") {
    CHECK(line(exposure(service("", "user = \"root\"")), "User=").badness == 10);
    CHECK(line(exposure(service("", "user = \"nobody\"")), "User=").badness == 9);
    CHECK(line(exposure(service("", "user = \"daemon\"")), "User=").badness == 0);
    CHECK(line(exposure(service("", "umask = \"0077\"")), "UMask=").badness == 0);
    CHECK(line(exposure(service("", "access.allow = [\"127.0.0.1\"]")), "IPAddressDeny=").badness == 2);
    CHECK(line(exposure(service("", "access.allow = [\"10.0.0.0/8\"]")), "IPAddressDeny=").badness == 5);
}

TEST_CASE("a service is a unit whose words are systemd's") {
    const std::string strict = equivalent_unit(service("preset = \"strict\"\nread_only_paths = [\"-/a b\"]"));
    for (const char* text :
         {"ExecStart=\"/bin/cat\" \"a b\" \"50%%\"\n", "User=nobody\n", "CapabilityBoundingSet=\n",
          "NoNewPrivileges=yes\n", "PrivateNetwork=yes\n", "ProtectSystem=strict\n", "ProtectHome=true\n",
          "ProtectKernelModules=yes\n", "SystemCallFilter=@system-service\n", "SystemCallErrorNumber=EPERM\n",
          "RestrictAddressFamilies=AF_UNIX\n", "RestrictNamespaces=yes\n", "SystemCallArchitectures=native\n",
          "ReadOnlyPaths=\"-/a b\"\n"}) {
        INFO(text << "in\n" << strict);
        CHECK(strict.find(text) != std::string::npos);
    }
    const std::string some =
        equivalent_unit(service("preset = \"none\"\ncapabilities = [\"~SYS_ADMIN\"]\nrestrict_namespaces = [\"mnt\"]\n"
                                "syscalls = [\"@system-service\", \"~brk\"]",
                                "argv0 = \"x\""));
    CHECK(some.find("ExecStart=@\"/bin/cat\" \"x\" \"a b\"") != std::string::npos);
    CHECK(some.find("SystemCallFilter=~brk\n") != std::string::npos);
    CHECK(some.find("CapabilityBoundingSet=~CAP_SYS_ADMIN\n") != std::string::npos);
    CHECK(some.find("RestrictNamespaces=mnt\n") != std::string::npos);
    CHECK(some.find("ProtectSystem") == std::string::npos);
    CHECK(equivalent_unit(service("preset = \"none\"")).find("CapabilityBoundingSet") == std::string::npos);
}

TEST_CASE("the groups of system calls are those of the systemd that they are from") {
    const std::string version = printed_by("systemd-analyze --version 2>/dev/null");
    if (!version.starts_with("systemd 252 (252.39")) {
        WARN("skipped: systemd 252.39 is not here");
        return;
    }
    std::istringstream printed(printed_by("systemd-analyze syscall-filter 2>/dev/null"));
    std::map<std::string, std::string> groups;
    std::string group;
    for (std::string one; std::getline(printed, one);) {
        if (one.starts_with('#')) group.clear();
        if (one.starts_with('@')) group = one;
        if (!one.starts_with("    ") || one.starts_with("    #") || group.empty()) continue;
        std::string& members = groups[group];
        members += (members.empty() ? "" : " ") + one.substr(4);
    }
    groups.erase("@known");
    CHECK(groups.size() == syscall_sets().size());
    for (const SyscallSet& one : syscall_sets()) {
        INFO(one.name);
        CHECK(groups[std::string(one.name)] == one.members);
    }
}

}  // namespace superd::conf::exposure_tests
