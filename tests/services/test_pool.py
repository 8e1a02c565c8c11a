# SPDX-License-Identifier: MIT
"""Workers that take clients from a shared socket: no client is lost, whenever and however a worker leaves."""

import collections
import os
import random
import resource
import select
import socket
import threading
import time
import unittest

from harness import HandlerTest, blocking, read_all, read_exactly, main, until

THREADS = ("--threads", "4")
ROUNDS = 200


class Accepting(HandlerTest):
    def test_serves_connection_after_connection(self):
        for arguments in ((), THREADS):
            listener = self.listener()
            worker = self.start("echo", *arguments, stdin=listener)
            for _ in range(50):
                client = self.connect(listener)
                self.echo(client)
                client.shutdown(socket.SHUT_WR)
                self.assertEqual(read_all(client), b"")
            worker.term()
            self.expect_exit(worker)

    def test_each_service_accepts_for_itself(self):
        for name, size in (("echo", 0), ("discard", 0), ("daytime", 26), ("time", 4)):
            with self.subTest(name):
                listener = self.listener()
                worker = self.start(name, stdin=listener)
                for _ in range(3):
                    client = self.connect(listener)
                    client.shutdown(socket.SHUT_WR)
                    self.assertEqual(len(read_all(client)), size)
                worker.term()
                self.expect_exit(worker)

    def test_chargen_goes_on_to_the_next_client(self):
        listener = self.listener()
        worker = self.start("chargen", stdin=listener)
        for _ in range(3):
            client = self.connect(listener)
            self.assertEqual(len(read_exactly(client, 10000)), 10000)
            client.close()
        worker.term()
        self.expect_exit(worker)

    def test_unix_listeners(self):
        for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
            listener = self.open(socket.AF_UNIX, kind)
            listener.bind("")
            listener.listen()
            self.start("echo", stdin=blocking(listener))
            for _ in range(3):
                client = self.open(socket.AF_UNIX, kind)
                client.connect(listener.getsockname())
                self.echo(client)
                client.close()

    def test_threads_serve_side_by_side(self):
        listener = self.listener()
        worker = self.start("echo", *THREADS, stdin=listener)
        clients = [self.connect(listener) for _ in range(4)]
        for client in reversed(clients):
            self.echo(client)
        tasks = os.listdir(f"/proc/{worker.process.pid}/task")
        self.assertGreaterEqual(len(tasks), 4)

    def test_many_clients_at_once_on_threads(self):
        listener = self.listener()
        worker = self.start("echo", *THREADS, stdin=listener)
        failures = []

        def client_loop():
            try:
                for _ in range(25):
                    with socket.create_connection(listener.getsockname(), 20) as client:
                        self.echo(client, os.urandom(500))
            except Exception as failure:
                failures.append(failure)

        clients = [threading.Thread(target=client_loop) for _ in range(8)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        self.assertEqual(failures, [])
        worker.term()
        self.expect_exit(worker)

    def test_default_has_one_thread(self):
        listener = self.listener()
        worker = self.start("echo", stdin=listener)
        self.echo(self.connect(listener))
        if not worker.sanitizer:
            self.assertEqual(len(os.listdir(f"/proc/{worker.process.pid}/task")), 1)

    def test_non_blocking_socket_is_waited_for(self):
        """superd and the worker share the flag: either way a client is served, also when it changes in between."""
        for arguments in ((), THREADS):
            listener = self.listener()
            listener.setblocking(False)
            worker = self.start("echo", *arguments, stdin=listener)
            for blocks in (False, True, False, True):
                listener.setblocking(blocks)
                for _ in range(5):
                    client = self.connect(listener)
                    self.echo(client)
                    client.close()
            listener.setblocking(False)
            worker.term()
            self.expect_exit(worker)

    def test_out_of_descriptors_it_waits_and_goes_on(self):
        listener = self.listener()
        worker = self.start("echo", stdin=listener)
        first = self.connect(listener)
        self.echo(first)
        pid = worker.process.pid
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (4, hard))
        first.close()
        client = self.connect(listener)
        client.sendall(b"hello")
        before = cpu_ticks(pid)
        self.assertEqual(select.select([client], [], [], 0.3)[0], [])
        self.assertLess(cpu_ticks(pid) - before, 0.15 * os.sysconf("SC_CLK_TCK"))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
        self.assertEqual(read_exactly(client, 5), b"hello")
        client.close()
        worker.term()
        self.expect_exit(worker)

    def test_silent_client_does_not_hold_a_worker(self):
        listener = self.listener()
        self.start("echo", "--timeout", "1", stdin=listener)
        silent, next_one = self.connect(listener), self.connect(listener)
        self.echo(next_one)
        self.assertEqual(silent.recv(1), b"")

    def test_failed_requests_end_alone(self):
        for arguments in ((), THREADS):
            listener = self.listener()
            worker = self.start("faulty", *arguments, stdin=listener)
            bystander = self.connect(listener) if arguments else None
            for request in (b"throw", b"throw 1") * 4:
                client = self.connect(listener)
                client.sendall(request)
                self.assertEqual(client.recv(100), b"")
                if bystander:
                    self.echo(bystander)
            if bystander:
                bystander.close()
            self.echo(self.connect(listener))
            until(lambda: worker.errors().count("request failed") == 8)
            self.assertIn("request failed: as told", worker.errors())


class Leaving(HandlerTest):
    def rounds(self, *arguments):
        """Clients connect while SIGTERM is on its way; the next worker serves those that the leaving one did not
        take."""
        listener = self.listener()
        worker = self.start("echo", *arguments, stdin=listener)
        self.ready(listener)
        for round_number in range(ROUNDS if not worker.sanitizer else ROUNDS // 2):
            clients = []
            term_after = random.randrange(4)
            for number in range(4):
                clients.append(self.connect(listener))
                if number == term_after:
                    worker.term()
                    leaving = worker
                clients[-1].sendall(b"%d" % number * 100)
                clients[-1].shutdown(socket.SHUT_WR)
            worker = self.start("echo", *arguments, stdin=listener)
            for number, client in enumerate(clients):
                self.assertEqual(read_all(client), b"%d" % number * 100, f"round {round_number}")
                client.close()
            self.expect_exit(leaving)
            self.ready(listener)
        worker.term()
        self.expect_exit(worker)

    def ready(self, listener):
        with socket.create_connection(listener.getsockname(), 20) as client:
            self.echo(client)

    def test_term_loses_no_connection(self):
        self.rounds()

    def test_term_loses_no_connection_with_threads(self):
        self.rounds(*THREADS)

    def test_term_finishes_the_connections_in_hand(self):
        for arguments in ((), THREADS):
            listener = self.listener()
            worker = self.start("echo", *arguments, stdin=listener)
            clients = [self.connect(listener) for _ in range(4 if arguments else 1)]
            for client in clients:
                self.echo(client)
            address = listener.getsockname()
            listener.close()
            worker.term()
            # Nobody has the socket open any more, although the worker is still serving.
            until(lambda: refused(address))
            for client in clients:
                self.echo(client, b"still here")
                client.shutdown(socket.SHUT_WR)
                self.assertEqual(read_all(client), b"")
            self.expect_exit(worker)

    def test_listen_fds_are_closed_too(self):
        listener = self.listener()
        worker = self.start("echo", stdin=listener, env={"LISTEN_FDS": "1"},
                            shell='export LISTEN_PID=$$; exec "$0" "$@" 3<&0')
        client = self.connect(listener)
        self.echo(client)
        address = listener.getsockname()
        listener.close()
        worker.term()
        until(lambda: refused(address))
        client.close()
        self.expect_exit(worker)

    def test_max_requests_are_taken_exactly(self):
        for arguments in ((), THREADS):
            listener = self.listener()
            clients = [self.connect(listener) for _ in range(10)]
            for client in clients:
                client.sendall(b"hello")
                client.shutdown(socket.SHUT_WR)
            worker = self.start("echo", *arguments, stdin=listener, env={"SUPERD_MAX_REQUESTS": "7"})
            self.expect_exit(worker)
            listener.setblocking(False)
            left = [listener.accept()[0] for _ in range(3)]
            with self.assertRaises(BlockingIOError):
                listener.accept()
            for sock in left:
                sock.close()
            listener.setblocking(True)
            served = sum(read_or_reset(client) == b"hello" for client in clients)
            self.assertEqual(served, 7)


class Datagrams(HandlerTest):
    def test_pool_stays_and_shares(self):
        sock = blocking(self.udp())
        ours, theirs = self.pair()
        workers = [self.start("echo", "--idle", "1", stdin=sock, env={"SUPERD_STATUS_FD": str(theirs.fileno())})
                   for _ in range(2)]
        client = self.udp()
        time_out = time.monotonic() + 1.5  # longer than --idle, which is not for pools
        while time.monotonic() < time_out:
            client.sendto(b"hello", sock.getsockname())
            self.assertEqual(client.recv(100), b"hello")
            select.select([], [], [], 0.05)
        for worker in workers:
            self.assertIsNone(worker.process.poll())
            worker.term()
            self.expect_exit(worker)

    def test_term_loses_no_datagram(self):
        for arguments in ((), THREADS):
            sock = blocking(self.udp())
            worker = self.start("echo", *arguments, stdin=sock)
            client = self.udp()
            for _ in range(50):
                client.sendto(b"ready", sock.getsockname())
                self.assertEqual(client.recv(100), b"ready")
                term_after = random.randrange(6)
                sent = collections.Counter()
                for number in range(6):
                    if number == term_after:
                        worker.term()
                        leaving = worker
                    client.sendto(b"%d" % number, sock.getsockname())
                    sent[b"%d" % number] += 1
                worker = self.start("echo", *arguments, stdin=sock)
                self.assertEqual(collections.Counter(client.recv(100) for _ in range(6)), sent)
                self.expect_exit(leaving)
            client.sendto(b"ready", sock.getsockname())
            self.assertEqual(client.recv(100), b"ready")
            worker.term()
            self.expect_exit(worker)

    def test_max_requests_are_taken_exactly(self):
        for arguments in ((), THREADS):
            sock = blocking(self.udp())
            client = self.udp()
            for _ in range(10):
                client.sendto(b"hello", sock.getsockname())
            worker = self.start("echo", *arguments, stdin=sock, env={"SUPERD_MAX_REQUESTS": "7"})
            self.expect_exit(worker)
            for _ in range(7):
                self.assertEqual(client.recv(100), b"hello")
            self.nothing_pending(client)
            sock.setblocking(False)
            self.assertEqual([sock.recv(100) for _ in range(3)], [b"hello"] * 3)

    def test_failed_requests_end_alone(self):
        sock = blocking(self.udp())
        worker = self.start("faulty", *THREADS, stdin=sock)
        client = self.udp()
        for request in (b"throw", b"throw 1", b"hello"):
            client.sendto(request, sock.getsockname())
        self.assertEqual(client.recv(100), b"hello")
        until(lambda: worker.errors().count("request failed") == 2)


def refused(address):
    try:
        socket.create_connection(address, 20).close()
        return False
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        return False


def read_or_reset(client):
    try:
        return read_all(client)
    except ConnectionResetError:
        return None


def cpu_ticks(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


if __name__ == "__main__":
    main()
