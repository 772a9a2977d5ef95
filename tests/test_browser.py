"""Where no browser is, its tests say why they are skipped; where one is to be installed, it is."""

from __future__ import annotations

import subprocess

import browser
import pytest


@pytest.fixture
def nowhere(monkeypatch):
    """No browser, root, apt-get, no variable."""
    programs = {"apt-get": "/usr/bin/apt-get"}
    monkeypatch.setattr("shutil.which", programs.get)
    monkeypatch.setattr("os.geteuid", lambda: 0, raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    monkeypatch.delenv(browser.INSTALL, raising=False)
    return programs


def test_what_keeps_a_browser_from_starting(nowhere, monkeypatch):
    wanted = "no chromium: set BENCH_TEST_BROWSER=install to install it"
    assert browser.hindrance() == wanted
    monkeypatch.setenv(browser.INSTALL, "install")
    assert browser.hindrance() is None
    monkeypatch.setattr("os.geteuid", lambda: 1000, raising=False)
    assert browser.hindrance() == "no chromium, and only root installs it, with apt-get"
    nowhere["google-chrome"] = "/usr/bin/google-chrome"
    assert browser.hindrance() is None
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert browser.hindrance() == "no playwright: install the dependency group `test`"


def test_installing(nowhere, monkeypatch):
    called = []

    def run(words, **_):
        called.append(words[2])
        if words[2] == "install":
            nowhere["chromium"] = "/usr/bin/chromium"
        return subprocess.CompletedProcess(words, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    assert browser.install() is None
    assert called == ["update", "install"]
    assert browser.install() is None
    assert called == ["update", "install"]  # it is here now


def test_what_keeps_a_browser_from_being_installed(nowhere, monkeypatch):
    def run(words, **_):
        return subprocess.CompletedProcess(words, 100, "", "E: first\nE: no such package\n")

    monkeypatch.setattr(subprocess, "run", run)
    assert browser.install() == "apt-get update failed: E: no such package"
    monkeypatch.setattr(subprocess, "run", lambda w, **_: subprocess.CompletedProcess(w, 0, "", ""))
    assert browser.install() == "no chromium, though chromium and fonts-dejavu-core were installed"
