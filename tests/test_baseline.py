"""What `bench check` compares with, and the command itself, in repositories of the tests' own."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from measured import clip, made, scores, timed, write

from bench import baseline

RESULTS = Path("results")
FILE = RESULTS / "records/toy/good/sample-bi.json"


def git(*words):
    config = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *config, *words], check=True, capture_output=True)


def record(fall=0.0):
    return made([clip(name, scores([20.0 - fall, 25.0 - fall])) for name in ("pan", "zoom")])


def squeezed(text):
    """The text without the padding of its columns."""
    return re.sub(" +", " ", text)


@pytest.fixture
def committed(monkeypatch):
    """A repository whose last commit holds a record and a latency."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)  # a hook of another repository has set them
    git("init", "-q")
    write(RESULTS, record(), timed([10.0] * 6))
    git("add", ".")
    git("commit", "-qm", "first")


def test_results_of_a_commit(committed):
    write(RESULTS, record(1.0))
    there, here = baseline.find(RESULTS, "HEAD"), baseline.read(RESULTS)
    assert there.records[str(FILE.relative_to(RESULTS))] == record()
    assert here.records[str(FILE.relative_to(RESULTS))] == record(1.0)
    assert there.latencies == here.latencies
    assert len(there.latencies) == 1
    assert there.title.startswith("results at HEAD (")


def test_a_results_folder_anywhere_in_the_repository(committed, monkeypatch):
    git("mv", "results", "kept")
    Path("deep").mkdir()
    git("mv", "kept", "deep/kept")
    git("commit", "-qm", "moved")
    monkeypatch.chdir("deep")
    assert baseline.find(Path("kept"), "HEAD").records
    assert baseline.find(Path("../deep/kept"), "HEAD").records


def test_the_gate(bench, committed):
    code, out, err = bench("check")
    assert (code, err) == (0, "")
    assert "Gate passed: results against results at HEAD (" in out
    write(RESULTS, record(0.0005))
    assert bench("check")[0] == 0
    write(RESULTS, record(0.002))
    code, out, err = bench("check")
    assert (code, err) == (1, "")
    assert "| worse | toy/good on sample, bi | fixed, pan: PSNR (dB) | 22.500000 |" in squeezed(out)
    write(RESULTS, record(-1.0))
    code, out, _ = bench("check")
    assert (code, "| better " in out) == (0, True)
    FILE.unlink()
    code, out, _ = bench("check")
    assert code == 1
    assert "| missing | toy/good on sample, bi | record | 2 of 2 clips |" in squeezed(out)


def test_a_deleted_clip_and_a_changed_protocol_close_the_gate(bench, committed):
    data = json.loads(FILE.read_text())
    FILE.write_text(json.dumps(data | {"clips": data["clips"][:1]}))
    code, out, _ = bench("check")
    assert (code, "| clip zoom | 2 frames |" in squeezed(out)) == (1, True)
    data["protocols"]["fixed"]["border"] = 4
    FILE.write_text(json.dumps(data))
    code, out, _ = bench("check")
    assert code == 1
    assert "| changed | toy/good on sample, bi | protocol fixed |" in squeezed(out)


def test_another_commit_or_folder(bench, committed):
    write(RESULTS, record(0.5))
    git("commit", "-qam", "worse")
    assert bench("check")[0] == 0
    assert bench("check", "--against", "HEAD^1")[0] == 1
    git("tag", "other", "HEAD^1")
    write(Path("other"), record(0.5), timed([10.0] * 6))
    assert bench("check", "--against", "other")[0] == 1  # the commit
    code, out, _ = bench("check", "--against", "./other")
    assert (code, "results against other: " in out) == (0, True)


def test_the_summary_is_appended(bench, committed):
    file = Path("summary.md")
    file.write_text("before\n")
    code, out, _ = bench("check", "--summary", file)
    assert (code, out.startswith("gate passed: ")) == (0, True)
    bench("check", "--summary", file)
    text = file.read_text()
    assert text.startswith("before\n## Regression gate\n")
    assert text.count("Gate passed") == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--against nope", "unknown commit: expected a commit, branch or tag .* found 'nope'"),
        ("--against=--help", "unknown commit: .* found '--help'"),
        ("--against ./empty", "no results in empty: expected files below records or latency"),
        ("--results empty", "no results in empty"),
        ("--results nowhere", "no results in nowhere"),
        ("--results fresh", r"no results in fresh at HEAD \("),
        ("--against broken", r"results at broken \(.*cannot be read: found .* is not JSON"),
        ("--summary empty", "cannot write empty: found Is a directory"),
        ("--summary nowhere/s.md", "cannot write nowhere/s.md: found No such file"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(bench, committed, words, message):
    whole = FILE.read_text()
    FILE.write_text("{")
    git("commit", "-qam", "broken")
    git("tag", "broken")
    FILE.write_text(whole)
    git("commit", "-qam", "mended")
    Path("empty").mkdir()
    write(Path("fresh"), record())
    code, out, err = bench("check", *words.split())
    assert (code, out) == (2, "")
    assert re.search(message, err)
    assert err.count("\n") == 1


def test_no_repository(bench, monkeypatch, tmp_path):
    write(RESULTS, record())
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    code, _, err = bench("check")
    assert code == 2
    assert "git knows nothing of results: expected a folder inside a git repository" in err
    assert "found fatal: not a git repository" in err
    write(Path("other"), record())
    assert bench("check", "--against", "other")[0] == 0
    monkeypatch.setenv("PATH", "")
    code, _, err = bench("check")
    assert (code, err.count("\n"), "No such file or directory: 'git'" in err) == (2, 1, True)
