"""Debian's packages for tests that need a program which is no Python package."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence


def install(packages: Sequence[str], lacking: Callable[[], str | None]) -> str | None:
    """Installs the packages if a program is lacking: None, or in one line why that failed.

    `lacking` names a program that is not there; None where all are.
    """
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for words in (("update",), ("install", "--yes", "--no-install-recommends", *packages)):
        if not lacking():
            return None
        done = subprocess.run(
            ["apt-get", "-qq", *words], env=quiet, check=False, capture_output=True, text=True
        )
        if done.returncode:
            said = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
            return f"apt-get {words[0]} failed: {said}"
    if missing := lacking():
        return f"no {missing}, though {' and '.join(packages)} were installed"
    return None
