// SPDX-License-Identifier: MIT
#include "conf/sandbox.h"

#include <fmt/format.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cerrno>

#include "conf/plan.h"
#include "conf/sandbox_machine.h"
#include "conf/sandbox_words.h"
#include "tests/catch.h"
#include "unit/conf/folder.h"

namespace superd::conf::sandbox_tests {

using namespace test;
using sys::Confinement;

namespace {

const Confinement everything{true, true, false, true, true, true, true, 7};
/// Of an ordinary user on a machine with user namespaces.
const Confinement unprivileged{true, false, true, true, true, true, true, 7};
const Confinement nothing{};

/// Of the machine's /usr, which a sandbox shows.
const std::string plain = "listen = \"tcp://127.0.0.1:7007\"\nmodel = \"fork\"\nexec = [\"/bin/cat\"]\n";

/// A definition of its own, [sandbox] from line 5 on.
struct Case {
    Folder folder;
    Surroundings from = folder.surroundings();

    explicit Case(const std::string& sandbox, const std::string& top = "", const Confinement& here = everything) {
        folder.define("a", plain + top + "\n[sandbox]\n" + sandbox + "\n");
        from.confinement = here;
    }
    Sandbox value() const { return folder.services(from).at("a").sandbox; }
    std::string errors() const {
        std::string all = folder.errors(from);
        const std::string prefix = "conf.d/a.toml:";
        return all.starts_with(prefix) ? all.substr(prefix.size()) : all;
    }
    std::vector<std::string> warnings() const {
        Diagnostics found;
        (void)load(from, &found);
        std::vector<std::string> out;
        for (const Diagnostic& one : found) out.push_back(one.message);
        return out;
    }
    bool warns_of(const std::string& text) const {
        for (const std::string& one : warnings())
            if (one.find(text) != std::string::npos) return true;
        return false;
    }
};

Sandbox of(const std::string& sandbox, const std::string& top = "") {
    return Case(sandbox, top).value();
}

constexpr std::uint64_t bit(int number) {
    return std::uint64_t{1} << number;
}

Words words_of(const NumberSet& set) {
    return syscall_words(set);
}

}  // namespace

TEST_CASE("without [sandbox] a service has the preset base, which takes no memory") {
    const Service service = service_of("");
    CHECK(service.sandbox == Sandbox{});
    CHECK(service.sandbox->preset == Preset::base);
    CHECK(!service.sandbox.is_kept());
    CHECK(!service.sandbox->needs_filter());
    CHECK(!service.sandbox->changes_mounts());
}

TEST_CASE("base takes from handlers that are not root what no inetd handler needs, and leaves root all") {
    const Sandbox base = sandbox_of(Preset::base);
    CHECK(bounding_set(base, true) == kAllCapabilities);
    const std::uint64_t kept = bounding_set(base, false);
    for (const int gone : {CAP_SYS_MODULE, CAP_SYS_RAWIO, CAP_SYS_TIME, CAP_SYS_BOOT, CAP_SYS_PTRACE, CAP_MAC_ADMIN,
                           CAP_MAC_OVERRIDE, CAP_BPF, CAP_PERFMON})
        CHECK((kept & bit(gone)) == 0);
    for (const int there : {CAP_SETUID, CAP_CHOWN, CAP_NET_BIND_SERVICE, CAP_SYS_CHROOT})
        CHECK((kept & bit(there)) != 0);
    CHECK(bounding_set(sandbox_of(Preset::none), false) == kAllCapabilities);
}

TEST_CASE("strict leaves nothing of its keys out") {
    const Sandbox strict = of("preset = \"strict\"");
    CHECK(strict == sandbox_of(Preset::strict));
    CHECK(strict.left_out.empty());
    CHECK(strict.needs_filter());
    CHECK(strict.changes_mounts());
    CHECK(bounding_set(strict, true) == 0);
    CHECK(strict.syscalls.permits(SYS_read));
    CHECK(strict.syscalls.permits(SYS_execve));
    CHECK(!strict.syscalls.permits(SYS_mount));
    CHECK(!strict.syscalls.permits(SYS_reboot));
    CHECK(strict.address_families.permits(AF_UNIX));
    CHECK(!strict.address_families.permits(AF_INET));
    CHECK(strict.forbidden_namespaces == all_namespaces());
}

TEST_CASE("a key overrides its preset, and no other key") {
    Sandbox expected = sandbox_of(Preset::strict);
    expected.private_network = false;
    expected.protect_home = ProtectHome::read_only;
    expected.address_families = NumberSet{};
    CHECK(of("preset = \"strict\"\nprivate_network = false\nprotect_home = \"read-only\"\n"
             "restrict_address_families = \"~\"") == expected);
    CHECK(of("private_tmp = true").preset == Preset::base);
    CHECK(of("private_tmp = true").private_tmp);
    CHECK(of("preset = \"none\"\ncapabilities = []").capabilities == 0);
}

TEST_CASE("protect_* takes true, false and its words, and says which") {
    CHECK(of("protect_system = true").protect_system == ProtectSystem::yes);
    CHECK(of("protect_system = false").protect_system == ProtectSystem::no);
    CHECK(of("protect_system = \"full\"").protect_system == ProtectSystem::full);
    CHECK(of("protect_home = \"tmpfs\"").protect_home == ProtectHome::tmpfs);
    CHECK(of("protect_proc = \"ptraceable\"").protect_proc == ProtectProc::ptraceable);
    CHECK(Case("protect_system = \"yes\"").errors() ==
          "6:18: sandbox.protect_system \"yes\" is not one of false, true, full, strict\n");
    CHECK(Case("protect_home = \"true\"").errors() ==
          "6:16: sandbox.protect_home \"true\": write true without quotes\n");
    CHECK(Case("protect_home = 1").errors() ==
          "6:16: sandbox.protect_home: expected true, false or a word, found an integer\n");
}

TEST_CASE("capabilities are those listed, or with ~ first all others") {
    CHECK(of("capabilities = [\"CHOWN\", \"SETUID\"]").capabilities == (bit(CAP_CHOWN) | bit(CAP_SETUID)));
    CHECK(of("capabilities = [\"~SYS_ADMIN\", \"BPF\"]").capabilities == ~(bit(CAP_SYS_ADMIN) | bit(CAP_BPF)));
    CHECK(of("capabilities = [\"~\"]").capabilities == kAllCapabilities);
    CHECK(Case("capabilities = [\"CAP_CHOWN\"]").errors() ==
          "6:17: sandbox.capabilities \"CAP_CHOWN\" is not a capability: write \"CHOWN\"\n");
    CHECK(Case("capabilities = [\"CHOWN\", \"SYS_ADMN\"]").errors() ==
          "6:26: sandbox.capabilities \"SYS_ADMN\" is not a capability (did you mean \"SYS_ADMIN\"?)\n");
}

TEST_CASE("syscalls are names and groups; @default is always among those permitted") {
    const NumberSet files = of("syscalls = [\"@file-system\", \"read\"]").syscalls;
    for (const long there : {SYS_openat, SYS_read, SYS_execve, SYS_exit_group, SYS_brk})
        CHECK(files.permits(static_cast<int>(there)));
    CHECK(!files.permits(SYS_socket));
    const NumberSet denied = of("syscalls = [\"~@mount\", \"ptrace\"]").syscalls;
    CHECK(denied.all_but);
    CHECK(!denied.permits(SYS_mount));
    CHECK(!denied.permits(SYS_ptrace));
    CHECK(denied.permits(SYS_read));
    const NumberSet without = of("syscalls = [\"@system-service\", \"~@resources\", \"~socket\"]").syscalls;
    CHECK(!without.permits(SYS_sched_setscheduler));
    CHECK(!without.permits(SYS_socket));
    CHECK(without.permits(SYS_bind));
    CHECK(of("preset = \"strict\"\nsyscalls = [\"~\"]").syscalls.permits_all());
}

TEST_CASE("a call of another processor is a name all the same, so one list does for all") {
    CHECK(of("syscalls = [\"read\", \"s390_pci_mmio_read\"]").syscalls == of("syscalls = [\"read\"]").syscalls);
}

TEST_CASE("what is no call, no group, or has an error of its own, is told") {
    CHECK(Case("syscalls = [\"@file-sistem\"]").errors() ==
          "6:13: sandbox.syscalls \"@file-sistem\" is not a group of system calls (did you mean \"@file-system\"?)\n");
    CHECK(Case("syscalls = [\"raed\"]").errors() ==
          "6:13: sandbox.syscalls \"raed\" is not a system call (did you mean \"read\"?)\n");
    CHECK(Case("syscalls = [\"~mount:EPERM\"]").errors() ==
          "6:13: sandbox.syscalls \"mount:EPERM\": superd has one error for all calls, sandbox.syscall_error\n");
    CHECK(Case("syscalls = [\"~execve\"]").errors() ==
          "6:12: sandbox.syscalls refuses execve, without which no handler could be started\n");
}

TEST_CASE("a refused call kills, or fails with the error that was named") {
    CHECK(of("syscalls = [\"~mount\"]").syscall_error == 0);
    CHECK(of("syscalls = [\"~mount\"]\nsyscall_error = \"ENOSYS\"").syscall_error == ENOSYS);
    CHECK(of("preset = \"strict\"\nsyscall_error = \"kill\"").syscall_error == 0);
    CHECK(Case("syscalls = [\"~mount\"]\nsyscall_error = \"EPREM\"").errors() ==
          "7:17: sandbox.syscall_error \"EPREM\" is neither an error's name, such as \"EPERM\", nor \"kill\"\n");
    CHECK(Case("syscall_error = \"EPERM\"").errors() == "6:17: sandbox.syscall_error needs sandbox.syscalls\n");
}

TEST_CASE("address families are listed, inverted, or none") {
    CHECK(of("restrict_address_families = [\"AF_UNIX\", \"AF_INET6\"]").address_families ==
          NumberSet{false, {AF_UNIX, AF_INET6}});
    CHECK(of("restrict_address_families = [\"~AF_PACKET\"]").address_families == NumberSet{true, {AF_PACKET}});
    CHECK(of("restrict_address_families = \"none\"").address_families == NumberSet{false, {}});
    CHECK(Case("restrict_address_families = \"AF_INTE\"").errors() ==
          "6:29: sandbox.restrict_address_families \"AF_INTE\" is not an address family (did you mean \"AF_INET\"?)\n");
}

TEST_CASE("a warm handler is given its client over a unix socket") {
    const auto warm = [](const std::string& sandbox) {
        const Folder folder;
        folder.define("a",
                      "listen = \"tcp://*:1\"\nmodel = \"prefork\"\nexec = [\"/bin/cat\"]\nprefork.warm = \"clone\"\n"
                      "[sandbox]\n" +
                          sandbox + "\n");
        Surroundings from = folder.surroundings();
        from.confinement = everything;
        return folder.errors(from);
    };
    CHECK(warm("restrict_address_families = \"none\"").find("needs AF_UNIX with prefork.warm") != std::string::npos);
    CHECK(warm("preset = \"strict\"").empty());
}

TEST_CASE("namespaces are all forbidden, none, or all but some") {
    CHECK(of("restrict_namespaces = true").forbidden_namespaces == all_namespaces());
    CHECK(of("restrict_namespaces = false").forbidden_namespaces == 0);
    CHECK(of("restrict_namespaces = [\"mnt\", \"uts\"]").forbidden_namespaces ==
          (all_namespaces() & ~std::uint64_t{CLONE_NEWNS | CLONE_NEWUTS}));
    CHECK(of("restrict_namespaces = [\"~user\"]").forbidden_namespaces == CLONE_NEWUSER);
    CHECK(Case("restrict_namespaces = [\"mount\"]").errors().find("is not a namespace") != std::string::npos);
    CHECK(Case("restrict_namespaces = \"user\"").errors() ==
          "6:23: sandbox.restrict_namespaces: expected true, false or an array of strings, found a string\n");
}

TEST_CASE("sets are written as they are read") {
    std::vector<BadWord> bad;
    for (const Words& words : {Words{"@system-service"}, Words{"~@mount", "ptrace"}, Words{"~"}, Words{"read"},
                               Words{"@system-service", "~execve"}}) {
        const NumberSet set = read_syscalls(words, bad);
        CHECK(read_syscalls(words_of(set), bad) == set);
    }
    CHECK(words_of(read_syscalls({"@system-service"}, bad)) == Words{"@system-service"});
    for (const std::uint64_t set : {kAllCapabilities, std::uint64_t{0}, bit(CAP_CHOWN), ~bit(CAP_CHOWN)})
        CHECK(read_capabilities(capability_words(set), bad) == set);
    CHECK(read_namespaces(namespace_words(CLONE_NEWUSER), bad) == CLONE_NEWUSER);
    CHECK(read_address_families(address_family_words({true, {AF_PACKET}}), bad) == NumberSet{true, {AF_PACKET}});
    CHECK(bad.empty());
}

TEST_CASE("paths are absolute, exist unless they begin with -, and are in one list") {
    const Sandbox box = of("read_only_paths = [\"/usr/\", \"-/no/such\"]\ninaccessible_paths = [\"/boot\"]");
    CHECK(box.read_only_paths == std::vector<SandboxPath>{{"/usr", false}, {"/no/such", true}});
    CHECK(Case("read_only_paths = [\"usr\"]").errors() ==
          "6:20: sandbox.read_only_paths \"usr\" is not an absolute path\n");
    CHECK(Case("read_write_paths = [\"/a/../b\"]").errors() ==
          "6:21: sandbox.read_write_paths \"/a/../b\" has a \"..\" or \".\" in it\n");
    CHECK(Case("inaccessible_paths = [\"/no/such\"]").errors().find("write \"-/no/such\" if it need not exist") !=
          std::string::npos);
    CHECK(Case("read_only_paths = [\"/usr\"]\nread_write_paths = [\"/usr\"]").errors() ==
          "7:20: sandbox.read_write_paths \"/usr\" is in sandbox.read_only_paths as well\n");
}

TEST_CASE("a filter or Landlock needs no_new_privileges for all but root") {
    CHECK(of("restrict_realtime = true").no_new_privileges);
    CHECK(!of("restrict_realtime = true", "user = \"root\"").no_new_privileges);
    CHECK(Case("restrict_realtime = true\nno_new_privileges = false").errors() ==
          "7:21: sandbox.no_new_privileges cannot be false with sandbox.restrict_realtime: the kernel confines in "
          "this way only root, or who cannot gain privileges\n");
    CHECK(Case("restrict_realtime = true\nno_new_privileges = false", "user = \"root\"").errors().empty());
    Confinement landlock = nothing;
    landlock.landlock = 1;
    CHECK(Case("protect_system = true", "", landlock).value().no_new_privileges);
    CHECK(Case("protect_system = true", "", landlock).value().path_means == PathMeans::landlock);
    CHECK(!Case("protect_system = true").value().no_new_privileges);
}

TEST_CASE("what waits under prefork installs the filter itself, for which it needs SYS_ADMIN or no_new_privileges") {
    struct Prefork : Case {
        explicit Prefork(const std::string& keys, const std::string& handoff = "connection") : Case("") {
            folder.define("a", "listen = \"tcp://127.0.0.1:7007\"\nmodel = \"prefork\"\nhandoff = \"" + handoff +
                                   "\"\nexec = [\"/bin/cat\"]\nuser = \"root\"\n[sandbox]\n"
                                   "restrict_realtime = true\n" +
                                   keys + "\n");
        }
    };
    CHECK(Prefork("capabilities = []").value().no_new_privileges);
    CHECK(!Prefork("capabilities = [\"SYS_ADMIN\"]").value().no_new_privileges);
    CHECK(!Prefork("capabilities = []", "listen").value().no_new_privileges);
    CHECK(Prefork("capabilities = []\nno_new_privileges = false").errors() ==
          "9:21: sandbox.no_new_privileges cannot be false with sandbox.restrict_realtime under model \"prefork\": a "
          "process that waits for its client confines itself, for which it would need SYS_ADMIN in "
          "sandbox.capabilities\n");
}

TEST_CASE("ambient capabilities are part of the bounding set, and not for root") {
    CHECK(of("ambient_capabilities = [\"NET_BIND_SERVICE\"]").ambient_capabilities == bit(CAP_NET_BIND_SERVICE));
    CHECK(Case("ambient_capabilities = [\"CHOWN\"]", "user = \"root\"")
              .errors()
              .find("is for a handler that is not root") != std::string::npos);
    CHECK(Case("ambient_capabilities = [\"CHOWN\"]\ncapabilities = []").errors() ==
          "6:24: sandbox.ambient_capabilities has CHOWN, which sandbox.capabilities takes away\n");
    CHECK(Case("ambient_capabilities = [\"CHOWN\"]", "", unprivileged).errors().find("none to give") !=
          std::string::npos);
}

TEST_CASE("private_ipc needs mounts: its queues are in /dev/mqueue") {
    Confinement here = everything;
    here.mounts = false;
    CHECK(Case("private_ipc = true", "", here).errors().find("it may not mount") != std::string::npos);
}

TEST_CASE("a key that the service writes and this machine lacks is an error of this machine") {
    for (const char* key : {"private_network = true", "private_tmp = true", "private_pids = true", "private_ipc = true",
                            "protect_system = true", "restrict_realtime = true", "syscalls = [\"read\"]",
                            "protect_kernel = true", "capabilities = []"}) {
        INFO(key);
        const Case one(key, "", nothing);
        CHECK(one.errors().find("is not to be had on this machine") != std::string::npos);
        const auto loaded = load(one.from);
        REQUIRE(!loaded);
        CHECK(loaded.error().front().local);
        CHECK(Case(key, "", everything).errors().empty());
    }
}

TEST_CASE("what a preset says and this machine lacks is left out, and told") {
    const Case strict("preset = \"strict\"", "", nothing);
    const Sandbox box = strict.value();
    CHECK(box.no_new_privileges);
    CHECK(!box.private_tmp);
    CHECK(!box.needs_filter());
    CHECK(box.syscall_error == 0);
    CHECK(box.capabilities == 0);  // whoever gains nothing needs no bounding set
    CHECK(box.left_out.size() > 10);
    CHECK(strict.warns_of("sandbox.private_network is left out: superd has no CAP_SYS_ADMIN"));
    Sandbox expected = sandbox_of(Preset::strict);
    CHECK(Case("preset = \"strict\"", "", unprivileged).value() == expected);
}

TEST_CASE("without mounts, of a key that is also a filter the filter holds, and the reason says so") {
    Confinement filters = nothing;
    filters.filter = filters.privileged = true;
    const Sandbox box = Case("preset = \"strict\"", "", filters).value();
    for (const char* key : {"sandbox.private_devices", "sandbox.protect_kernel"}) {
        INFO(key);
        const auto at = std::ranges::find(box.left_out, key, &LeftOut::key);
        REQUIRE(at != box.left_out.end());
        CHECK(at->why == "it may not mount; the system calls and capabilities that it takes away are taken away");
    }
    CHECK(box.private_devices);
    CHECK(box.protect_kernel);
    CHECK_FALSE(box.changes_mounts());
    CHECK_FALSE(uses_landlock(box));
    CHECK((bounding_set(box, false) >> CAP_MKNOD & 1) == 0);
    CHECK_FALSE(Case("preset = \"strict\"", "", nothing).value().private_devices);
    // What is written must be had whole.
    CHECK_FALSE(Case("private_devices = true", "", filters).errors().empty());
}

TEST_CASE("[defaults] may ask for more than a machine has") {
    Case some("private_tmp = false", "", nothing);
    some.folder.write("superd.toml", "[defaults.sandbox]\nprivate_network = true\n");
    CHECK(some.errors().empty());
    CHECK(some.value().left_out.size() == 1);
    CHECK(some.warns_of("sandbox.private_network is left out"));
    some.from.confinement = everything;
    CHECK(some.value().private_network);
    CHECK(some.warnings().empty());
}

TEST_CASE("a handler that its sandbox hides is an error that names the key") {
    const Folder hidden;  // in /tmp
    const auto errors = [&](const std::string& sandbox, const std::string& exec, const std::string& more = "") {
        hidden.define("a", "listen = \"tcp://*:1\"\nmodel = \"fork\"\nexec = [\"" + exec + "\"]\n" + more +
                               "\n[sandbox]\n" + sandbox + "\n");
        Surroundings from = hidden.surroundings();
        from.confinement = everything;
        return hidden.errors(from);
    };
    CHECK(errors("private_tmp = true", hidden.path("bin/handler")) ==
          "conf.d/a.toml:3:9: exec \"bin/handler\": it is hidden by sandbox.private_tmp = true\n");
    CHECK(errors("", hidden.path("bin/handler")).empty());
    CHECK(errors("private_tmp = true", "handler").find("is hidden by sandbox.private_tmp") != std::string::npos);
    CHECK(errors("inaccessible_paths = [\"/usr\"]", "/usr/bin/cat") ==
          "conf.d/a.toml:3:9: exec \"/usr/bin/cat\": it is hidden by sandbox.inaccessible_paths, \"/usr\"\n");
    CHECK(errors("private_tmp = true", "/bin/cat", "working_directory = \"" + hidden.path("bin") + "\"")
              .find("working_directory") != std::string::npos);
    CHECK(errors("private_tmp = true", "/bin/cat", "working_directory = \"/tmp\"").empty());
    hidden.write("bin/script", "#!" + hidden.path("bin/handler") + "\n", 0755);
    CHECK(errors("inaccessible_paths = [\"" + hidden.path("bin/handler") + "\"]", hidden.path("bin/script")) ==
          "conf.d/a.toml:3:9: exec \"bin/script\": its interpreter bin/handler is hidden by "
          "sandbox.inaccessible_paths, \"bin/handler\"\n");
    // By the way of a link as well.
    REQUIRE(symlink("/bin/cat", hidden.path("bin/link").c_str()) == 0);
    CHECK(errors("private_tmp = true", hidden.path("bin/link")).find("is hidden") != std::string::npos);
}

TEST_CASE("a program of another processor cannot be run under a filter") {
    const Folder folder;
    // The beginning of a 32-bit program for a SPARC.
    std::string program(
        "\x7f"
        "ELF\x01\x02\x01",
        7);
    program.resize(64);
    program[16] = 2, program[18] = 2;
    folder.write("bin/foreign", program, 0755);
    const auto errors = [&](const std::string& sandbox) {
        folder.define("a",
                      "listen = \"tcp://*:1\"\nmodel = \"fork\"\nexec = [\"foreign\"]\n[sandbox]\n" + sandbox + "\n");
        Surroundings from = folder.surroundings();
        from.confinement = everything;
        return folder.errors(from);
    };
    CHECK(errors("private_ipc = true").empty());
    CHECK(errors("lock_personality = true") ==
          "conf.d/a.toml:3:9: exec \"foreign\" is for another processor or form of it than superd: "
          "sandbox.lock_personality refuses all its calls\n");
}

TEST_CASE("a handler whose set-id bit has no effect is warned of") {
    const auto warns = [](const std::string& sandbox) {
        const Folder folder;
        folder.write("bin/handler", "#!/bin/sh\n", 04755);
        folder.define("a", sound + "[sandbox]\n" + sandbox + "\n");
        Surroundings from = folder.surroundings();
        from.confinement = everything;
        Diagnostics warnings;
        REQUIRE(load(from, &warnings));
        return warnings.size() == 1 && warnings[0].message ==
                                           "exec \"handler\" has a set-id bit, which sandbox.no_new_privileges leaves "
                                           "without effect";
    };
    CHECK(warns("no_new_privileges = true"));
    CHECK(warns("lock_personality = true"));
    CHECK_FALSE(warns("private_ipc = true"));
}

TEST_CASE("a state directory is a name, and superd's own where superd cannot make it") {
    CHECK(of("state_directory = \"mail/queue\"").state_directory == "mail/queue");
    const Case mail("state_directory = \"mail\"");
    const auto environment = mail.folder.services(mail.from).at("a").handler.environment;
    CHECK(std::ranges::find(environment, "STATE_DIRECTORY=/var/lib/mail") != environment.end());
    for (const char* bad : {"/mail", "../x", "a//b", "a/.."})
        CHECK(Case(fmt::format("state_directory = \"{}\"", bad)).errors().find("is not a name below /var/lib") !=
              std::string::npos);
    Case other("state_directory = \"no-such-folder\"", "", unprivileged);
    other.from.uid = 4242;
    CHECK(other.errors().find("only root could make it so") != std::string::npos);
}

TEST_CASE("a plan names the keys of [sandbox] that change") {
    const auto catalog = [](const std::string& sandbox) {
        const Case one(sandbox);
        auto loaded = load(one.from);
        REQUIRE(loaded);
        return std::move(*loaded);
    };
    const auto items = plan(catalog("private_tmp = true"), catalog("private_tmp = true\nprivate_ipc = true"));
    REQUIRE(items.size() == 1);
    CHECK(items[0].change == Change::renew);
    CHECK(items[0].keys == std::vector<std::string>{"sandbox.private_ipc"});
}

}  // namespace superd::conf::sandbox_tests
