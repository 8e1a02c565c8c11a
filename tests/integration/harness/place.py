# SPDX-License-Identifier: MIT
"""Where tests put their folders. superd trusts definitions only where nobody else may write on the way to them. That
rules out /tmp, and a build folder that others may write to."""

import functools
import os
import pwd
import stat
import tempfile

LONGEST = 48  # the path of a unix socket in one of these folders must fit into 107 bytes

# A folder has the mode that the test sets, even if this user's umask makes files group-writable.
os.umask(0o022)


def unfit(folder):
    """Why definitions cannot be put there, or handlers not be started from there; "" if they can."""
    at = os.path.realpath(folder)
    if len(at) > LONGEST:
        return f"longer than {LONGEST} characters"
    try:
        if not os.access(at, os.W_OK | os.X_OK):
            return "may not be written to"
        if os.statvfs(at).f_flag & os.ST_NOEXEC:
            return "mounted noexec"
        while True:
            status = os.stat(at)
            if status.st_uid not in (0, os.geteuid()):
                return f"{at} belongs to uid {status.st_uid}"
            if status.st_mode & 0o022:
                return f"others may write to {at} (mode {stat.S_IMODE(status.st_mode):04o})"
            if os.geteuid() == 0 and not status.st_mode & 0o001:
                return f"users may not enter {at}, as handlers have to"
            if at == "/":
                return ""
            at = os.path.dirname(at)
    except OSError as error:
        return error.strerror


@functools.cache
def base():
    """The first folder that will do."""
    if asked := os.environ.get("SUPERD_TEST_FOLDER"):
        candidates = [asked]
    else:
        build = os.path.dirname(os.path.dirname(os.environ.get("SUPERD_BINARY", "/nonexistent/sbin/superd")))
        own = ["/run", "/var/lib"] if os.geteuid() == 0 else [os.environ.get("XDG_RUNTIME_DIR"),
                                                             pwd.getpwuid(os.geteuid()).pw_dir]
        candidates = [build, *filter(None, own)]
    wrong = {}
    for folder in candidates:
        wrong[folder] = unfit(folder)
        if not wrong[folder]:
            return os.path.realpath(folder)
    raise RuntimeError("tests need a folder for definitions that only root and this user may change; name one by "
                       "SUPERD_TEST_FOLDER, since these are unsuitable: " +
                       "; ".join(f"{folder}: {why}" for folder, why in wrong.items()))


def new_folder(prefix):
    """A folder that every user may enter."""
    folder = tempfile.mkdtemp(prefix=prefix, dir=base())
    os.chmod(folder, 0o755)
    return folder
