# SPDX-License-Identifier: MIT
"""The real daemon in a temporary folder, and the outside world that tests see it from."""

from .case import SuperdCase, TestCase
from .daemon import Superd, definition
from .installation import handler, installation
from .wire import Reader, connect, exchange, uri_parts

__all__ = ["Reader", "Superd", "SuperdCase", "TestCase", "connect", "definition", "exchange", "handler",
           "installation", "uri_parts"]
