# SPDX-License-Identifier: MIT
"""Certificates for tests, made by openssl(1)."""

import os
import subprocess
import time


def openssl(*words, cwd=None, input=None):
    done = subprocess.run(["openssl", *words], cwd=cwd, input=input, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          check=False)
    if done.returncode != 0:
        raise AssertionError(f"openssl {' '.join(words)}: {done.stderr.decode()}")
    return done.stdout


class Authority:
    """A CA in a folder of its own. Files are named NAME.pem and NAME.key."""

    def __init__(self, folder, name="ca"):
        self.folder, self.name = folder, name
        os.makedirs(folder, exist_ok=True)
        self._new_key(name)
        openssl("req", "-x509", "-new", "-key", f"{name}.key", "-subj", f"/O=superd tests/CN={name}", "-days", "30",
                "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
                "-out", f"{name}.pem", cwd=folder)
        with open(self.path("index.txt"), "w", encoding="ascii"):
            pass
        for number in ("serial", "crlnumber"):
            with open(self.path(number), "w", encoding="ascii") as file:
                file.write("1000\n")
        with open(self.path("ca.cnf"), "w", encoding="ascii") as file:
            file.write(f"""[ca]
default_ca = own
[own]
dir = .
database = index.txt
new_certs_dir = .
serial = serial
crlnumber = crlnumber
certificate = {name}.pem
private_key = {name}.key
default_md = sha256
default_crl_days = 30
policy = any
copy_extensions = copy
unique_subject = no
[any]
organizationName = optional
commonName = supplied
""")

    def path(self, file):
        return os.path.join(self.folder, file)

    @property
    def certificate(self):
        return self.path(f"{self.name}.pem")

    def _new_key(self, name, rsa=False):
        kind = ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"] if rsa else [
            "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
        openssl("genpkey", *kind, "-out", f"{name}.key", cwd=self.folder)

    def issue(self, name, names=(), subject=None, rsa=False, expired=False, ends=None):
        """(certificate, key) for these DNS names or, without one, a client."""
        self._new_key(name, rsa)
        extensions = ["-addext", "subjectAltName=" + ",".join(f"DNS:{one}" for one in names)] if names else []
        openssl("req", "-new", "-key", f"{name}.key", "-subj", subject or f"/CN={names[0] if names else name}",
                *extensions, "-out", f"{name}.csr", cwd=self.folder)
        dates = ["-days", "20"]
        if expired:
            dates = ["-startdate", "20200101000000Z", "-enddate", "20200201000000Z"]
        if ends is not None:
            dates = ["-enddate", time.strftime("%Y%m%d%H%M%SZ", time.gmtime(ends))]
        openssl("ca", "-batch", "-notext", "-config", "ca.cnf", *dates, "-in", f"{name}.csr", "-out", f"{name}.pem",
                cwd=self.folder)
        return self.path(f"{name}.pem"), self.path(f"{name}.key")

    def revoke(self, name):
        openssl("ca", "-config", "ca.cnf", "-revoke", f"{name}.pem", cwd=self.folder)

    def revocation_list(self, file="crl.pem"):
        openssl("ca", "-config", "ca.cnf", "-gencrl", "-out", file, cwd=self.folder)
        return self.path(file)
