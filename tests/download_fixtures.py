"""A server, a target, and calls that download and hold what every failure promises."""

from __future__ import annotations

import pytest
from downloads import RIGHT
from web_server import Server

from bench.errors import BenchError
from bench.fetching import download


@pytest.fixture(scope="module")
def running():
    with Server() as running:
        yield running


@pytest.fixture
def server(running, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    running.files.clear()
    running.scripts.clear()
    running.asked.clear()
    return running


@pytest.fixture
def target(tmp_path):
    return tmp_path / "cache" / "weights.pth"


@pytest.fixture
def pauses():
    return []


@pytest.fixture
def get(target, pauses):
    """Downloads to the target without pausing; the pauses are noted."""

    def run(*addresses, expected=RIGHT, **options):
        options.setdefault("pause", pauses.append)
        return download.download(addresses, target, expected, **options)

    return run


@pytest.fixture
def fails(get, target):
    """Downloads in vain: the message, once nothing is seen under the final name."""

    def run(*addresses, **options):
        with pytest.raises(BenchError) as caught:
            get(*addresses, **options)
        assert not target.exists()
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return run
