# SPDX-License-Identifier: MIT
"""[sandbox]: each key by its effect on a handler that tries what it forbids."""

import json
import os
import pwd
import shutil
import socket
import stat

from harness import Reader, handler
from sandboxing import PYTHON, TRY, SandboxCase, needs_root

# ctypes finds no library where there is no shell to ask; the raw calls are enough.
CALLS = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *words):
    result = libc.syscall(number, *[ctypes.c_long(word) if isinstance(word, int) else word for word in words])
    return result if result >= 0 else os.strerror(ctypes.get_errno())
"""


class Keys(SandboxCase):
    def facts(self, daemon, *names):
        text = self.attempt(daemon, "print(open('/proc/self/status').read())")
        found = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
        return [found[name] for name in names]

    def tries(self, sandbox, program, **keys):
        """What the program prints with nothing of the sandbox, and with this key."""
        without = self.sandboxed({"preset": "none"}, **keys)
        free = self.attempt(without, program)
        without.stop()
        return free, self.attempt(self.sandboxed({"preset": "none", **sandbox}, **keys), program)

    def test_no_new_privileges(self):
        """A set-id program gives a handler no other user."""
        free, confined = self.tries({"no_new_privileges": True},
                                    "print(open('/proc/self/status').read().split('NoNewPrivs:')[1].split()[0])")
        self.assertEqual((free, confined), ("0", "1"))

    @needs_root
    def test_capabilities(self):
        """What is not in the bounding set, a root handler does not have either."""
        program = "import os; os.chown('/proc/self/cwd/none', 1, 1)"
        daemon = self.sandboxed({"preset": "none", "capabilities": ["NET_BIND_SERVICE"]}, user="root")
        self.assertEqual(self.facts(daemon, "CapBnd", "CapPrm"), ["0000000000000400"] * 2)
        self.assertIn("FileNotFoundError", self.attempt(daemon, program))

    @needs_root
    def test_a_filter_without_no_new_privileges(self):
        """A root handler may gain privileges under a filter, and nobody without SYS_ADMIN tries to install that."""
        daemon = self.sandboxed({"preset": "none", "restrict_realtime": True, "capabilities": [],
                                 "no_new_privileges": False}, user="root")
        for _ in range(3):
            self.assertEqual(self.facts(daemon, "CapBnd", "NoNewPrivs", "Seccomp"), ["0" * 16, "0", "2"])
        self.assertEqual(daemon.find(lambda record: record["message"].startswith("superd-launch")), [])

    @needs_root
    def test_ambient_capabilities(self):
        """A handler of an ordinary user binds to a port below 1024 with NET_BIND_SERVICE, and not without."""
        program = """
            import socket
            s = socket.socket()
            s.bind(('127.0.0.1', 0))
            s = socket.socket()
            s.bind(('127.0.0.2', 79))
            print('bound')
            """
        free, confined = self.tries({"ambient_capabilities": ["NET_BIND_SERVICE"]}, program)
        with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii") as limit:
            if int(limit.read()) > 79:
                self.assertEqual(free, "PermissionError 13")
        self.assertEqual(confined, "bound")

    def test_private_network(self):
        """A handler sees no interface but its own loopback, which is up, and reaches nothing on the host's."""
        program = """
            import socket
            print([name for _, name in socket.if_nameindex()])
            s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()
            socket.create_connection(s.getsockname()); print('own')
            socket.create_connection(('127.0.0.1', %d), 5)
            """
        daemon = self.sandboxed({"preset": "none", "private_network": True})
        port = int(daemon.address("box").rsplit(":", 1)[1])
        self.assertEqual(self.attempt(daemon, program % port).splitlines(),
                         ["['lo']", "own", "ConnectionRefusedError 111"])

    def test_private_tmp(self):
        """/tmp and /var/tmp are empty and a handler's own; another handler of the service sees the same."""
        daemon = self.sandboxed({"preset": "none", "private_tmp": True})
        self.assertEqual(self.attempt(daemon, "import os; print(os.listdir('/tmp'), os.listdir('/var/tmp'))"), "[] []")
        self.attempt(daemon, "open('/tmp/superd-test-shared', 'w').write('here')")
        self.assertEqual(self.attempt(daemon, "print(open('/tmp/superd-test-shared').read())"), "here")
        self.assertFalse(os.path.exists("/tmp/superd-test-shared"))

    def test_private_tmp_is_bounded(self):
        """A handler that fills its /tmp gets ENOSPC before the machine's memory is gone."""
        daemon = self.sandboxed({"preset": "none", "private_tmp": True})
        free, all_ = map(int, self.attempt(daemon, """
            import os
            s = os.statvfs('/tmp')
            print(s.f_bavail * s.f_frsize, os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE'))
            """).split())
        self.assertLess(free, all_ / 8)
        self.assertEqual(self.attempt(daemon, """
            import os
            for number in range(200000): os.close(os.open(f'/tmp/{number}', os.O_CREAT))
            """), "OSError 28")

    def test_private_devices(self):
        """/dev has the pseudo devices, which work, and no disk or memory; nothing can be added."""
        daemon = self.sandboxed({"preset": "none", "private_devices": True})
        text = self.attempt(daemon, """
            import os
            print(sorted(os.listdir('/dev')))
            open('/dev/null', 'w').write('x'); print(len(open('/dev/urandom', 'rb').read(8)))
            open('/dev/shm/x', 'w').write('x'); print(os.listdir('/dev/shm'))
            master, slave = os.openpty(); print(os.ttyname(slave))
            open('/dev/x', 'w')
            """).splitlines()
        devices = set(eval(text[0]))  # pylint: disable=eval-used
        self.assertLessEqual({"null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm", "fd"}, devices)
        self.assertLessEqual(devices, {"null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm", "fd",
                                       "stdin", "stdout", "stderr", "mqueue", "log"})
        self.assertEqual(text[1:], ["8", "['x']", "/dev/pts/0", "OSError 30"])

    def test_private_pids(self):
        """A handler sees the processes of its own service alone, whose process 1 is superd's; it is superd's child all
        the same, and strangers that it leaves are reaped."""
        daemon = self.sandboxed({"preset": "none", "private_pids": True})
        text = self.attempt(daemon, """
            import os
            print(open('/proc/1/comm').read().strip(), os.getpid() > 1, os.getppid())
            print(len([name for name in os.listdir('/proc') if name.isdigit()]) < 6)
            if os.fork() == 0:
                if os.fork() == 0: os._exit(0)
                os._exit(0)
            """)
        self.assertEqual(text.splitlines(), ["superd-hold True 0", "True"])
        holder = self.holder(daemon)
        self.eventually(lambda: not self.threads_below(holder), "nothing is left of it")

    def threads_below(self, pid):
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as children:
            return children.read().split()

    def test_signals_stay_inside(self):
        """private_pids: a handler cannot signal process 1, nor superd, nor whoever is not in its service."""
        daemon = self.sandboxed({"preset": "none", "private_pids": True})
        holder = self.holder(daemon)
        self.attempt(daemon, """
            import os, signal
            for number in signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM:
                try: os.kill(1, number)
                except PermissionError: pass
            try: os.kill(-1, signal.SIGKILL)
            except (PermissionError, ProcessLookupError): pass
            """)
        self.assertEqual(self.attempt(daemon, "print('well')"), "well")
        self.assertEqual(self.holder(daemon), holder)

    def test_private_ipc(self):
        """A handler has System V objects and message queues of its own."""
        program = CALLS + "print(call(%d, 0x5eed, 4096, 0o1600) != 'File exists')"
        number = {"x86_64": 29, "aarch64": 194}[os.uname().machine]  # shmget
        daemon = self.sandboxed({"preset": "none", "private_ipc": True})
        self.attempt(daemon, program % number)
        with open("/proc/sysvipc/shm", encoding="ascii") as objects:
            self.assertNotIn(str(0x5eed), objects.read().split())
        self.assertIn(str(0x5eed), self.attempt(daemon, "print(open('/proc/sysvipc/shm').read())").split())

    WRITES = """
        import os
        for path in '/usr', '/boot', '/etc', '/var', '/dev/shm', '/tmp', '/run':
            if not os.path.isdir(path): continue
            try: os.close(os.open(path + '/superd-test-x', os.O_CREAT)); os.unlink(path + '/superd-test-x'); print(path, end=' ')
            except OSError as error: assert error.errno == 30, (path, error)
        """

    @needs_root
    def test_protect_system(self):
        """Even root's handlers cannot write: true to /usr and /boot, "full" to /etc as well, "strict" to anything but
        /dev, /proc and /sys and what else has a key."""
        for value, left in ((True, "/etc /var /dev/shm /tmp /run"), ("full", "/var /dev/shm /tmp /run"),
                            ("strict", "/dev/shm")):
            daemon = self.sandboxed({"preset": "none", "protect_system": value}, user="root")
            self.assertEqual(self.attempt(daemon, self.WRITES), left, value)
            daemon.stop()
        daemon = self.sandboxed({"preset": "none", "protect_system": "strict", "private_tmp": True,
                                 "read_write_paths": ["/run", "-/nonexistent"], "read_only_paths": ["/dev/shm"]},
                                user="root")
        self.assertEqual(self.attempt(daemon, self.WRITES), "/tmp /run")

    @needs_root
    def test_protect_home(self):
        """true hides /home and /root from root's handlers, "read-only" and "tmpfs" do what they say."""
        program = """
            import os
            for path in '/home', '/root':
                print(sorted(os.listdir(path)))
                try: os.mkdir(path + '/superd-test-x'); print('made')
                except OSError as error: print(error.errno)
            """
        seen = {}
        for value in "read-only", "tmpfs":
            daemon = self.sandboxed({"preset": "none", "protect_home": value}, user="root")
            seen[value] = self.attempt(daemon, program).splitlines()
            daemon.stop()
        self.assertEqual(seen["read-only"], [str(sorted(os.listdir("/home"))), "30",
                                             str(sorted(os.listdir("/root"))), "30"])
        self.assertEqual(seen["tmpfs"], ["[]", "30", "[]", "30"])
        daemon = self.sandboxed({"preset": "none", "protect_home": True, "capabilities": []}, user="root")
        self.assertEqual(self.attempt(daemon, program), "PermissionError 13")

    def test_protect_kernel(self):
        """A handler cannot write to kernel variables, or read symbols, the kernel's memory or its log."""
        free, confined = self.tries({"protect_kernel": True}, """
            import os
            for path, how in (('/proc/sys/kernel/hostname', os.O_WRONLY), ('/proc/kallsyms', os.O_RDONLY),
                              ('/proc/kmsg', os.O_RDONLY), ('/sys/kernel', os.O_RDONLY)):
                try: os.close(os.open(path, how)); print('opened', end=' ')
                except FileNotFoundError: print('absent', end=' ')
                except OSError as error: print(error.errno, end=' ')
            """, **({"user": "root"} if self.root else {}))
        if self.root:
            self.assertEqual(free.split()[:2], ["opened"] * 2)
        self.assertEqual(confined.split()[0], "30" if self.root else "13")
        self.assertIn(confined.split()[1], ("13", "1", "absent", "opened"))
        self.assertEqual(confined.split()[3], "opened")

    @needs_root
    def test_protect_proc(self):
        """Under "invisible" a handler sees no process of another user."""
        free, confined = self.tries({"protect_proc": "invisible"}, """
            import os
            print(any(os.stat('/proc/' + name).st_uid != os.getuid() for name in os.listdir('/proc') if name.isdigit()))
            """)
        self.assertEqual((free, confined), ("True", "False"))

    def test_paths(self):
        """read_only_paths, read_write_paths and inaccessible_paths nest: the innermost counts."""
        daemon = self.prepare()
        outer = daemon.shared("outer")
        for name in "inner", "hidden":
            os.mkdir(os.path.join(outer, name))
            os.chmod(os.path.join(outer, name), 0o777)
        with open(os.path.join(outer, "secret"), "w", encoding="ascii") as secret:
            secret.write("told")
        self.box(daemon, {"preset": "none", "read_only_paths": [outer], "read_write_paths": [f"{outer}/inner"],
                          "inaccessible_paths": [f"{outer}/hidden", f"{outer}/secret", "-/nonexistent"]})
        daemon.start()
        self.assertEqual(self.attempt(daemon, f"""
            import os
            for path in '{outer}/x', '{outer}/inner/x', '{outer}/hidden/x', '{outer}/secret':
                try: os.close(os.open(path, os.O_RDWR | os.O_CREAT)); print('opened')
                except OSError as error: print(error.errno)
            """).splitlines(), ["30", "opened", "13", "13"])
        self.assertTrue(os.path.exists(os.path.join(outer, "inner", "x")))

    @needs_root
    def test_below_a_root_directory(self):
        """strict with root_directory: what is protected, private and writable lies below it."""
        daemon = self.prepare()
        root = daemon.path("root")
        for name in "", "tmp", "proc", "home", "etc", "data":
            os.mkdir(os.path.join(root, name))
        shutil.copy(handler("probe"), os.path.join(root, "probe"))
        with open(os.path.join(root, "home", "secret"), "w", encoding="ascii") as secret:
            secret.write("secret")
        self.box(daemon, {"preset": "strict", "read_write_paths": ["/data"]}, exec_=["/probe", "--hold"],
                 root_directory=root)
        daemon.start()
        client = self.client(daemon.address("box"))
        reader = Reader(client)
        while reader.line() != b"end":
            pass
        pid = self.pids(daemon, "handler")[0]
        with open(f"/proc/{pid}/mountinfo", encoding="ascii") as lines:
            mounts = {line.split()[4]: (line.split()[5], line.split(" - ")[1].split()[0]) for line in lines}
        self.assertIn("ro", mounts["/"][0].split(","))
        self.assertIn("rw", mounts["/data"][0].split(","))
        self.assertEqual((mounts["/tmp"][1], mounts["/proc"][1]), ("tmpfs", "proc"))
        self.assertEqual(os.listdir(f"/proc/{pid}/root/home"), [])
        self.assertIn("1", os.listdir(f"/proc/{self.holder(daemon)}/root/proc"))

    @needs_root
    def test_state_directory(self):
        """The service's folder below /var/lib is made for its user, and writable where nothing else is."""
        name = f"superd-test-{os.getpid()}"
        self.addCleanup(lambda: os.path.isdir(f"/var/lib/{name}/queue") and os.removedirs(f"/var/lib/{name}/queue"))
        daemon = self.sandboxed({"preset": "strict", "state_directory": f"{name}/queue"})
        self.assertEqual(self.attempt(daemon, f"open('/var/lib/{name}/queue/x', 'w').write('x'); print('written')"),
                         "written")
        status = os.stat(f"/var/lib/{name}/queue")
        self.assertEqual((status.st_uid, status.st_mode & 0o777), (pwd.getpwnam("nobody").pw_uid, 0o755))
        self.assertEqual(os.stat(f"/var/lib/{name}").st_uid, 0)
        os.unlink(f"/var/lib/{name}/queue/x")

    def test_syscalls(self):
        """A call that is not permitted fails by syscall_error, or kills the handler."""
        program = CALLS + "print(call(%d, 0, 0))" % {"x86_64": 165, "aarch64": 40}[os.uname().machine]  # mount
        daemon = self.sandboxed({"preset": "none", "syscalls": ["@system-service"], "syscall_error": "EXDEV"})
        self.assertEqual(self.attempt(daemon, program), os.strerror(18))
        daemon.stop()
        daemon = self.sandboxed({"preset": "none", "syscalls": ["@system-service"]})
        self.assertEqual(self.attempt(daemon, program), "")
        daemon.wait_for(lambda r: "killed by SIGSYS" in r["message"])

    def test_memory_deny_write_execute(self):
        """No memory is both writable and executable."""
        free, confined = self.tries({"memory_deny_write_execute": True}, """
            import mmap
            mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC); print('mapped')
            """)
        self.assertEqual((free, confined), ("mapped", "PermissionError 1"))

    def test_restrict_address_families(self):
        """Only sockets of the listed families are made; the connection that was given works."""
        program = """
            import socket
            for family in socket.AF_UNIX, socket.AF_INET, socket.AF_NETLINK:
                try: socket.socket(family, socket.SOCK_DGRAM if family != socket.AF_NETLINK else socket.SOCK_RAW); print('made')
                except OSError as error: print(error.errno)
            """
        _, confined = self.tries({"restrict_address_families": ["AF_UNIX"]}, program)
        self.assertEqual(confined.splitlines(), ["made", "97", "97"])

    def test_restrict_namespaces(self):
        """No namespace can be made."""
        program = CALLS + "print(call(%d, 0x10000000))" % {"x86_64": 272, "aarch64": 97}[os.uname().machine]  # unshare
        _, confined = self.tries({"restrict_namespaces": True}, program)
        self.assertEqual(confined, os.strerror(1))

    def test_restrict_realtime_suid_sgid_personality(self):
        """No realtime scheduling, no file with set-id bits, no other execution domain."""
        program = """
            import os
            try: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)); print('scheduled')
            except OSError as error: print(error.errno)
            path = '/tmp/superd-test-%d' % os.getpid()
            open(path, 'w').close()
            try: os.chmod(path, 0o4755); print('set')
            except OSError as error: print(error.errno)
            os.unlink(path)
            """
        _, confined = self.tries({"restrict_realtime": True, "restrict_suid_sgid": True}, program)
        self.assertEqual(confined.splitlines(), ["1", "1"])
        number = {"x86_64": 135, "aarch64": 92}[os.uname().machine]  # personality
        free, confined = self.tries({"lock_personality": True}, CALLS + f"print(call({number}, 0x0040000))")
        self.assertEqual((free, confined), ("0", os.strerror(1)))


class KeysAsUser(Keys):
    """The same where superd is not root."""

    as_user = "nobody"


class PathsByLandlock(SandboxCase):
    """Where superd may not mount."""

    def setUp(self):
        super().setUp()
        if not self.root:
            self.skipTest("needs root to forbid namespaces to superd")

    def confined(self):
        helper = os.path.join(os.path.dirname(os.path.abspath(__file__)), "without_namespaces.py")
        daemon = self.prepare(user="nobody")
        # The harness gives the user up itself; the helper needs root to begin with.
        daemon.prefix = [PYTHON, helper, "nobody"]
        daemon._identity = lambda: {}  # pylint: disable=protected-access
        return daemon

    def test_paths(self):
        """read_only_paths, read_write_paths and inaccessible_paths hold without a mount, and so does protect_system."""
        daemon = self.confined()
        outer = daemon.shared("outer")
        for name in "inner", "hidden":
            os.mkdir(os.path.join(outer, name))
            os.chmod(os.path.join(outer, name), 0o777)
        os.symlink("hidden", os.path.join(outer, "way"))  # a rule holds for where a path leads
        with open(os.path.join(outer, "other"), "w", encoding="ascii") as file:
            file.write("text")
        os.chmod(os.path.join(outer, "other"), 0o666)
        self.box(daemon, {"preset": "none", "protect_system": "strict", "read_write_paths": [f"{outer}/inner"],
                          "inaccessible_paths": [f"{outer}/way"]})
        daemon.start()
        text = self.attempt(daemon, f"""
            import os
            print(open('{outer}/other').read())
            for path in '{outer}/x', '{outer}/inner/x', '{outer}/other', '/tmp/superd-test-x':
                try: os.close(os.open(path, os.O_RDWR | os.O_CREAT)); print('opened')
                except OSError as error: print(error.errno)
            try: print(os.listdir('{outer}/hidden'))
            except OSError as error: print(error.errno)
            """)
        self.assertEqual(text.splitlines(), ["text", "13", "opened", "13", "13", "13"])

    def test_what_needs_mounts_is_an_error_or_left_out(self):
        """private_tmp that is written is an error; that of strict is left out, and the rest of strict holds."""
        daemon = self.confined()
        self.box(daemon, {"preset": "strict"})
        daemon.start()
        daemon.wait_for(lambda r: "sandbox.private_tmp is left out" in r["message"])
        found = self.attempt(daemon, "print(open('/proc/self/status').read())")
        self.assertIn("NoNewPrivs:\t1\n", found)
        self.assertIn("Seccomp:\t2\n", found)


class Chroot(SandboxCase):
    """Where superd's root directory is not that of its mount namespace."""

    # All that is outside, and one file more.
    ENTER = """
        place=$0 kind=$1
        shift
        mount -t tmpfs -o mode=755 none "$place"
        mkdir "$place/root"
        [ "$kind" = folder ] || mount --bind "$place/root" "$place/root"
        for entry in /*; do
            if [ -L "$entry" ]; then
                cp -P "$entry" "$place/root"
            elif [ -d "$entry" ]; then
                mkdir "$place/root$entry"
                mount --rbind "$entry" "$place/root$entry"
            fi
        done
        touch "$place/root/inside"
        exec chroot "$place/root" "$@"
        """

    def test_a_handler_stays_in_superd_s_root(self):
        """Who enters other mounts comes out at the root of them: what needs mounts is left out, and the rest holds."""
        if not self.root:
            self.skipTest("needs root to be in another root directory")
        for kind in "folder", "mount":
            with self.subTest(kind):
                daemon = self.prepare()
                daemon.prefix = ["unshare", "--mount", "sh", "-ec", self.ENTER, daemon.shared("place"), kind]
                self.box(daemon, {"preset": "strict"})
                daemon.start()
                for key in "private_tmp", "private_ipc":
                    daemon.wait_for(lambda r, key=key: f"sandbox.{key} is left out" in r["message"])
                found = self.attempt(daemon, "import os; print(os.path.exists('/inside'), *open('/proc/self/status'))")
                self.assertTrue(found.startswith("True "), found)
                self.assertIn("Seccomp:\t2\n", found)
                daemon.stop()


class Presets(SandboxCase):
    """What a handler finds and may still do: all of /proc/self/status, its mounts, the sockets that it reaches, and what
    becomes of each try, in a process of its own: "yes", an errno, or the signal that ended it."""

    PROBE = """
        import ctypes, errno, json, mmap, os, signal, socket, sys
        libc = ctypes.CDLL(None, use_errno=True)
        def check(result):
            if result < 0: raise OSError(ctypes.get_errno(), '')
        def call(*words):
            check(libc.syscall(*[ctypes.c_long(word) for word in words]))
        def touch(path):
            os.close(os.open(path + '/superd-test-x', os.O_CREAT))
            os.unlink(path + '/superd-test-x')
        def reach(family, address, kind=socket.SOCK_STREAM):
            socket.socket(family, kind).connect(address)
        def wx():
            mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        def suid():
            path = '/tmp/superd-test-' + str(os.getpid())
            os.close(os.open(path, os.O_CREAT))
            try: os.chmod(path, 0o4755)
            finally: os.unlink(path)
        tries = {
            'write to /usr': lambda: touch('/usr'), 'write to /etc': lambda: touch('/etc'),
            'write to /var/tmp': lambda: touch('/var/tmp'), 'write to /tmp': lambda: touch('/tmp'),
            'write to a shared folder': lambda: touch(%(shared)r),
            'read /home': lambda: os.listdir('/home'), 'read /root': lambda: os.listdir('/root'),
            'open a disk': lambda: os.open(%(disk)r, os.O_RDONLY),
            'set the host name': lambda: os.open('/proc/sys/kernel/hostname', os.O_WRONLY),
            'reach 127.0.0.1': lambda: reach(socket.AF_INET, ('127.0.0.1', %(port)d)),
            'reach a socket in the file system': lambda: reach(socket.AF_UNIX, %(path)r),
            'reach an abstract socket': lambda: reach(socket.AF_UNIX, %(abstract)r),
            'ask netlink': lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
            'see packets': lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
            'fork': lambda: os.fork() or os._exit(0),
            'signal another': lambda: os.kill(%(pid)d, 0),
            'be root': lambda: os.setuid(0), 'change owners': lambda: os.chown('/', 0, 0),
            'make a user namespace': lambda: call(%(unshare)d, 0x10000000),
            'mount': lambda: check(libc.mount(b'none', b'/mnt', b'tmpfs', 0, None)),
            'trace': lambda: call(%(ptrace)d, 16, 1, 0, 0),
            'load a module': lambda: call(%(init_module)d, 0, 0, 0),
            'set the time': lambda: call(%(settimeofday)d, 0, 0),
            'load a program into the kernel': lambda: call(%(bpf)d, 0, 0, 0),
            'write code': wx, 'make a set-id file': suid,
            'be scheduled in real time': lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
            'be another personality': lambda: call(%(personality)d, 0x40000),
        }
        def outcome(act):
            back, out = os.pipe()
            pid = os.fork()
            if pid == 0:
                try:
                    act()
                    said = 'yes'
                except OSError as error:
                    said = errno.errorcode.get(error.errno, str(error.errno))
                os.write(out, said.encode())
                os._exit(0)
            os.close(out)
            said = os.read(back, 64).decode()
            os.close(back)
            status = os.waitpid(pid, 0)[1]
            return said or signal.Signals(os.WTERMSIG(status)).name
        found = {'status': dict(line.split(':\\t', 1) for line in open('/proc/self/status').read().splitlines() if ':\\t' in line)}
        found['mounts'] = [line.split()[4:6] for line in open('/proc/self/mountinfo')]
        found['processes'] = [int(name) for name in os.listdir('/proc') if name.isdigit()]
        found['could'] = {name: outcome(act) for name, act in tries.items()}
        print(json.dumps(found))
        """
    CALLS = {"x86_64": dict(unshare=272, ptrace=101, init_module=175, settimeofday=164, bpf=321, personality=135),
             "aarch64": dict(unshare=97, ptrace=117, init_module=105, settimeofday=170, bpf=280, personality=92)}

    def probe(self, preset):
        daemon = self.prepare()
        path = os.path.join(daemon.shared("sockets"), "s")
        listeners = [socket.socket(), socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)]
        for listener, address in zip(listeners, (("127.0.0.1", 0), path, f"\0superd-test-{os.getpid()}-{preset}")):
            self.addCleanup(listener.close)
            listener.bind(address)
            listener.listen(64)
        os.chmod(path, 0o666)
        disk = next((f"/dev/{name}" for name in sorted(os.listdir("/dev"))
                     if stat.S_ISBLK(os.stat(f"/dev/{name}").st_mode)), "/dev/mem")
        self.box(daemon, {"preset": preset})
        daemon.start()
        if preset == "strict":
            self.holder(daemon)
        found = json.loads(self.attempt(daemon, self.PROBE % dict(
            self.CALLS[os.uname().machine], shared=daemon.shared("folder"), disk=disk, path=path,
            port=listeners[0].getsockname()[1], abstract=listeners[2].getsockname().decode(),
            pid=os.getpid())))
        return found, found["could"]

    @staticmethod
    def bits(text):
        return {number for number in range(64) if int(text, 16) >> number & 1}

    def own_status(self):
        with open("/proc/self/status", encoding="ascii") as status:
            return dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)

    def check_plain(self, found):
        """What none and base have in common: no more and no less than an ordinary process of that user."""
        own = self.own_status()
        user = str(pwd.getpwnam("nobody").pw_uid) if self.root else str(os.getuid())
        status = found["status"]
        self.assertEqual(status["Uid"].split(), [user] * 4)
        for name in "CapInh", "CapPrm", "CapEff", "CapAmb":
            self.assertEqual(self.bits(status[name]), set(), name)
        self.assertEqual([status[name] for name in ("NoNewPrivs", "Seccomp", "SigBlk", "Threads")],
                         ["0", own["Seccomp"], "0" * 16, "1"])
        self.assertIn(1, found["processes"])
        with open("/proc/self/mountinfo", encoding="ascii") as mounts:
            self.assertEqual(found["mounts"], [line.split()[4:6] for line in mounts])
        could = found["could"]
        for name in ("write to /tmp", "write to /var/tmp", "write to a shared folder", "reach 127.0.0.1",
                     "reach a socket in the file system", "reach an abstract socket", "ask netlink", "fork", "write code",
                     "make a set-id file", "be another personality"):
            self.assertEqual(could[name], "yes", name)
        for name in ("write to /usr", "write to /etc", "read /root", "open a disk", "set the host name"):
            self.assertEqual(could[name], "EACCES", name)
        for name in ("be root", "change owners", "see packets", "mount", "trace", "load a module", "be scheduled in real time"):
            self.assertIn(could[name], ("EPERM", "ENOSYS"), name)  # as for anybody who is not root

    @needs_root
    def test_none(self):
        """none: a handler has its user's rights, and nothing is taken away."""
        found, _ = self.probe("none")
        self.check_plain(found)
        self.assertEqual(found["status"]["CapBnd"], self.own_status()["CapBnd"])

    @needs_root
    def test_base(self):
        """base: as none, but what is named here is gone from the bounding set, and nothing else."""
        found, _ = self.probe("base")
        self.check_plain(found)
        gone = {"SYS_MODULE": 16, "SYS_RAWIO": 17, "SYS_PTRACE": 19, "SYS_BOOT": 22, "SYS_TIME": 25, "MAC_OVERRIDE": 32,
                "MAC_ADMIN": 33, "PERFMON": 38, "BPF": 39}
        self.assertEqual(self.bits(found["status"]["CapBnd"]),
                         self.bits(self.own_status()["CapBnd"]) - set(gone.values()))

    def test_strict(self):
        """strict: no capability, no privilege to gain, a filter; nothing writable but /tmp and shared memory; processes
        of the service alone; no network, and of the host's sockets those that lie in the file system."""
        found, could = self.probe("strict")
        status = found["status"]
        for name in "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb":
            self.assertEqual(status[name], "0" * 16, name)
        self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"))
        self.assertLess(len(found["processes"]), 6)
        visible = {}
        for point, options in found["mounts"]:
            visible[point] = options  # the last one covers the others
        writable = {point for point, options in visible.items() if "rw" in options.split(",")}
        self.assertLessEqual({point for point in writable if not point.startswith(("/dev", "/proc"))},
                             {"/tmp", "/var/tmp"})
        self.assertEqual({name: what for name, what in could.items() if what == "yes"},
                         {name: "yes" for name in ("write to /tmp", "write to /var/tmp", "fork",
                                                   "reach a socket in the file system")})
        for name in "write to /usr", "write to /etc", "write to a shared folder":
            self.assertEqual(could[name], "EROFS", name)
        for name in "read /home", "read /root":
            self.assertEqual(could[name], "EACCES", name)
        self.assertEqual(could["open a disk"], "ENOENT")
        self.assertIn(could["set the host name"], ("EROFS", "EACCES"))
        for name in "reach 127.0.0.1", "ask netlink", "see packets":
            self.assertEqual(could[name], "EAFNOSUPPORT", name)
        self.assertEqual(could["reach an abstract socket"], "ECONNREFUSED")
        self.assertEqual(could["signal another"], "ESRCH")
        for name in ("mount", "trace", "load a module", "set the time", "load a program into the kernel", "write code",
                     "make a user namespace", "make a set-id file", "be scheduled in real time",
                     "be another personality"):
            self.assertEqual(could[name], "EPERM", name)

    def test_a_handler_finds_the_same_connection_as_ever(self):
        """strict: a plain handler works, under every model that takes connections."""
        for model in "fork", "iterative", "delayed", "prefork":
            daemon = self.sandboxed({"preset": "strict"}, exec_=["superd-echo"], model=model)
            self.assertEqual(self.converse(daemon.address("box")), b"hello", model)
            for _ in range(20):
                self.assertEqual(self.converse(daemon.address("box")), b"hello", model)
            daemon.stop()

    def test_pools_and_datagrams(self):
        """strict: workers, owners and handlers of single datagrams are confined as well."""
        daemon = self.prepare()
        daemon.service("box", listen="udp://127.0.0.1:0", model="fork", sandbox={"preset": "strict"},
                       exec=["grep", "Seccomp:", "/proc/self/status"])
        daemon.start()
        with self.client(daemon.address("box")) as client:
            client.send(b"hello\n")
            self.assertEqual(client.recv(64), b"Seccomp:\t2\n")
        daemon.stop()
        for keys in (dict(listen="tcp://127.0.0.1:0", model="prefork", handoff="listen"),
                     dict(listen="udp://127.0.0.1:0", model="iterative")):
            daemon = self.prepare()
            daemon.service("box", exec=["superd-echo"], sandbox={"preset": "strict"}, **keys)
            daemon.start()
            with self.client(daemon.address("box")) as client:
                client.sendall(b"hello\n")
                self.assertEqual(client.recv(64), b"hello\n", keys)
            pids = [child.pid for child in daemon.children() if child.name == "superd-echo"]
            self.assertTrue(pids, keys)
            for pid in pids:
                with open(f"/proc/{pid}/status", encoding="ascii") as status:
                    self.assertIn("Seccomp:\t2", status.read())
            daemon.stop()


class PresetsAsUser(Presets):
    as_user = "nobody"


assert handler and PYTHON and TRY
