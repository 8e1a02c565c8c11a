# SPDX-License-Identifier: MIT
"""Which programs the distribution has."""


def is_debian_12():
    """Its programs, and what their packages ship, are what some tables of the tests were made of."""
    with open("/etc/os-release", encoding="utf-8") as file:
        return {"ID=debian\n", 'VERSION_ID="12"\n'} <= set(file)
