# SPDX-License-Identifier: MIT
"""The real daemon in a temporary folder, and the outside world that tests see it from."""

import os
import sys

if folder := os.environ.get("SUPERD_TEST_COMPILED"):  # in the build folder: once for all tests, and nothing in the sources
    sys.pycache_prefix, sys.dont_write_bytecode = folder, False

# pylint: disable=wrong-import-position
from .case import SuperdCase, TestCase
from .daemon import Superd, definition
from .installation import handler, installation
from .wire import Reader, connect, exchange, uri_parts

__all__ = ["Reader", "Superd", "SuperdCase", "TestCase", "connect", "definition", "exchange", "handler",
           "installation", "uri_parts"]
