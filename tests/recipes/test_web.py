# SPDX-License-Identifier: MIT
"""Recipes for pages and for what answers a line with a few, each used by its own client."""

import json
import os
import socket

from place import RecipeCase, folder, run, write

PAGE = b"<html>a page</html>\n"


class Web(RecipeCase):
    def curl(self, *words):
        return self.run_client("curl", "-sS", "--fail", *words)

    @staticmethod
    def prepare_micro_httpd():
        write("/var/www/html/index.html", PAGE)

    def test_micro_httpd(self):
        """curl fetches a page, many times, and not one that is missing."""
        self.assertEqual(self.curl(*["http://127.0.0.1:8080/index.html"] * 20), PAGE * 20)
        self.run_client("curl", "-sS", "--fail", "http://127.0.0.1:8080/missing", status=22)

    @staticmethod
    def prepare_busybox_httpd():
        write("/var/www/html/index.html", PAGE)
        write("/var/www/html/cgi-bin/hello", "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\nhello '\nid -un\n",
              0o755)

    def test_busybox_httpd(self):
        """curl fetches a page, and what a CGI program says."""
        self.assertEqual(self.curl("http://127.0.0.1:8081/index.html"), PAGE)
        self.assertEqual(self.curl("http://127.0.0.1:8081/cgi-bin/hello"), b"hello www-data\n")

    @staticmethod
    def prepare_weborf():
        write("/srv/www/page.html", PAGE)

    def test_weborf(self):
        """curl fetches a list and a page."""
        self.assertIn(b"page.html", self.curl("http://127.0.0.1:8082/"))
        self.assertEqual(self.curl("http://127.0.0.1:8082/page.html"), PAGE)

    @staticmethod
    def prepare_gophernicus():
        write("/srv/gopher/text.txt", "by gopher\n")

    def test_gophernicus(self):
        """curl fetches a menu and a text by gopher."""
        self.assertIn(b"text.txt", self.curl("gopher://127.0.0.1/"))
        self.assertIn(b"by gopher", self.curl("gopher://127.0.0.1/0/text.txt"))

    def nginx(self, port, location):
        """nginx as its package has it, with one server; its workers are www-data."""
        for path in ("/var/log/nginx", "/var/lib/nginx"):
            folder(path)
        config = write(f"{self.home}/nginx.conf", f"""
            user www-data; daemon off; pid {self.home}/pid; error_log {self.home}/errors; worker_processes 1;
            events {{ worker_connections 64; }}
            http {{ access_log off; server {{ listen 127.0.0.1:{port}; location / {{ {location} }} }} }}""")

        def ready():
            with socket.socket() as sock:
                return sock.connect_ex(("127.0.0.1", port)) == 0
        self.backend("nginx", "-e", f"{self.home}/errors", "-c", config, ready=ready)

    @staticmethod
    def prepare_fcgiwrap():
        write("/usr/lib/cgi-bin/hello", "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\n"
                                        "echo \"hello $QUERY_STRING from $(id -un)\"\n", 0o755)

    def test_fcgiwrap(self):
        """curl asks nginx, whose CGI programs fcgiwrap starts."""
        self.nginx(8801, "include /etc/nginx/fastcgi_params; fastcgi_param SCRIPT_FILENAME /usr/lib/cgi-bin/hello; "
                         "fastcgi_pass unix:/run/fcgiwrap.sock;")
        for number in range(5):
            self.assertEqual(self.curl(f"http://127.0.0.1:8801/?n={number}").decode(),
                             f"hello n={number} from www-data\n")

    @staticmethod
    def prepare_php_cgi():
        write("/srv/php/hello.php", "<?php echo 'hello ', $_GET['n'], ' from ', posix_geteuid() ?: 0, \"\\n\";")

    def test_php_cgi(self):
        """curl asks nginx, whose PHP php-cgi runs."""
        self.nginx(8802, "include /etc/nginx/fastcgi_params; fastcgi_param SCRIPT_FILENAME /srv/php/hello.php; "
                         "fastcgi_param REDIRECT_STATUS 200; fastcgi_pass unix:/run/php-cgi.sock;")
        for number in range(5):
            self.assertEqual(self.curl(f"http://127.0.0.1:8802/?n={number}").decode(), f"hello {number} from 33\n")

    @staticmethod
    def prepare_wsgi():
        write("/srv/wsgi/app.py", "def application(environ, start_response):\n"
                                  "    start_response('200 OK', [('Content-Type', 'text/plain')])\n"
                                  "    return [b'path ', environ['PATH_INFO'].encode()]\n")

    def test_wsgi(self):
        """curl asks nginx, which asks the application."""
        self.nginx(8803, "proxy_pass http://127.0.0.1:8000;")
        self.assertEqual(self.curl("http://127.0.0.1:8803/one"), b"path /one")

    @staticmethod
    def prepare_proxy_on_demand():
        write("/srv/www/page.html", PAGE)

    def test_proxy_on_demand(self):
        """The first client waits for the backend, and has its page."""
        self.assertEqual(self.curl("http://127.0.0.1:8090/page.html"), PAGE)
        self.assertEqual(self.curl("http://127.0.0.1:8090/page.html"), PAGE)

    @staticmethod
    def prepare_tangd():
        folder("/var/lib/tang")
        for kind in "ES512", "ECMR":  # as tangd-keygen does
            run("jose", "jwk", "gen", "-i", f'{{"alg":"{kind}"}}', "-o", f"/var/lib/tang/{kind}.jwk")
            os.chmod(f"/var/lib/tang/{kind}.jwk", 0o444)

    def test_tangd(self):
        """curl fetches the advertisement, and jose, clevis's tool, takes it for a signed one."""
        advertised = self.curl("http://127.0.0.1:7500/adv")
        keys = json.loads(self.run_client("jose", "jws", "ver", "-i-", "-k", "/var/lib/tang/ES512.jwk", "-O-",
                                          stdin=advertised))["keys"]
        self.assertEqual({key["alg"] for key in keys}, {"ES512", "ECMR"})

    @staticmethod
    def prepare_dictd():
        # One word; the index has offset and length in base 64 digits.
        write("/var/lib/dictd/small.dict", "superd\n   serves.\n")
        write("/var/lib/dictd/small.index", "superd\tA\tS\n")
        write("/var/lib/dictd/db.list", "database small { data /var/lib/dictd/small.dict index "
                                        "/var/lib/dictd/small.index }\n")
        write("/etc/dictd/dictd.conf", "access { allow inetd }\ninclude /var/lib/dictd/db.list\n")

    def test_dictd(self):
        """dict finds a word."""
        self.assertIn(b"serves.", self.run_client("dict", "-h", "127.0.0.1", "superd"))

    def test_echo(self):
        """What is sent comes back, over both protocols."""
        self.assertEqual(self.ask(7007, b"hello\n"), b"hello\n")
        self.assertEqual(self.ask(7007, b"hello\n", "::1"), b"hello\n")

    def test_shell_script(self):
        """A name is greeted, whatever is in it."""
        self.assertEqual(self.ask(7040, b"world\n"), b"hello world from 127.0.0.1\n")
        self.assertEqual(self.ask(7040, b"$(id) `id`\n"), b"hello $(id) `id` from 127.0.0.1\n")

    def test_python_script(self):
        """A copy answers in JSON."""
        for _ in range(3):
            self.assertEqual(json.loads(self.ask(7041, b'{"b": 1, "a": 2}\n')), {"keys": ["a", "b"]})
