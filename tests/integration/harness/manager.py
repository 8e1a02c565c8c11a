# SPDX-License-Identifier: MIT
"""The part of a service manager that hears its services and keeps descriptors for them."""

import os
import socket
import threading


class Manager(threading.Thread):
    """`said`: all messages, as dictionaries; `store`: name to socket."""

    def __init__(self):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("")
        self.environment = {"NOTIFY_SOCKET": "@" + self.socket.getsockname()[1:].decode(), "FDSTORE": "100"}
        self.said, self.store, self.removed = [], {}, []
        self._reads, self._paused = threading.Event(), threading.Event()
        self._reads.set()
        self.start()

    def run(self):
        while True:
            data, descriptors, _, _ = socket.recv_fds(self.socket, 65536, 16)
            pairs = dict(line.split("=", 1) for line in data.decode().splitlines())
            name = pairs.get("FDNAME")
            if "FDSTORE" in pairs:
                self.store[name] = socket.socket(fileno=descriptors.pop())
            elif "FDSTOREREMOVE" in pairs:
                self.removed.append(name)
                self.store.pop(name).close()
            for descriptor in descriptors:
                os.close(descriptor)  # BARRIER=1 waits for this
            if "PAUSE" in pairs:
                self._paused.set()
                self._reads.wait()
            elif "STOP" in pairs:
                self.socket.close()
                return
            elif "FILL" not in pairs:
                self.said.append(pairs)

    def _tell(self, word, blocking=True):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.setblocking(blocking)
            end.sendto(word, self.socket.getsockname())

    def pause(self):
        """Reads no more, and has no room left."""
        self._reads.clear()
        self._paused.clear()
        self._tell(b"PAUSE=1")
        self._paused.wait()
        try:
            while True:
                self._tell(b"FILL=1", blocking=False)
        except BlockingIOError:
            pass

    def is_full(self):
        """Has it no room for one more message?"""
        try:
            self._tell(b"FILL=1", blocking=False)
        except BlockingIOError:
            return True
        return False

    def go_on(self):
        self._reads.set()

    def stop(self):
        if not self.is_alive():
            return
        self.go_on()
        self._tell(b"STOP=1")
        self.join()
        for kept in self.store.values():
            kept.close()
