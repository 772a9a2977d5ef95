from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench import factory, laws
from bench.commands import console

ROOT = Path(__file__).parent.parent


def tried(name):
    """Law -> state and what was seen."""
    named = factory.find(f"ownmethods:{name}", Path.cwd())
    return {one.law: (one.state, one.seen) for one in laws.examine(named)}


@pytest.mark.parametrize(
    "name", ["Window", "Wide", "clip", "clip255", "window255", "small", "same_size", "between"]
)
def test_methods_that_keep_every_law(name):
    verdicts = tried(name)
    assert len(verdicts) == 14
    assert {state for state, _ in verdicts.values()} == {"kept"}, verdicts


LAST = "gives the right shape"


@pytest.mark.parametrize(
    ("name", "law", "words"),
    [
        ("nothing", "can be imported", "cannot import ownmethods:nothing"),
        ("bare", "is made by a call, with its attributes", "missing required field `scale`"),
        ("random_weights", "is the same each time it is made", "two calls give other weights"),
        ("raises", "answers without gradients", r"^LookupError: layer 7 \(ownmethods.py:\d+\)$"),
        ("learns", "answers without gradients", "it fails without gradients: found RuntimeError"),
        ("pair", "gives float32 on its device", "found tuple"),
        ("elsewhere", "gives float32 on its device", "found torch.float32 on meta"),
        ("double", "gives float32 on its device", "expected float32, .* found torch.float64"),
        ("smaller", LAST, "gives another shape than it should"),
    ],
)
def test_laws_that_others_rest_upon(name, law, words):
    verdicts = tried(name)
    state, seen = verdicts.pop(law)
    assert state == "broken"
    assert re.search(words, seen)
    assert {state for state, _ in verdicts.values()} <= {"kept"}
    assert "gives finite values" not in verdicts


@pytest.mark.parametrize(
    ("name", "law", "words"),
    [
        ("not_finite", "gives finite values", "NaN or infinite: found 414720 of 414720 values"),
        ("whiter", "gives values in range", "expected 0 to 1 as in its frames, found"),
        ("darker", "gives values in range", "expected 0 to 255 as in its frames, found"),
        ("writes", "leaves its frames as they are", "it writes over its frames; let it work"),
        ("noisy", "gives the same frames twice", r"8-bit frames differ: .* up to \d+; seed it"),
        ("undeclared_minimum", "takes the smallest frames", "1x1 is too small: .*16 pixels"),
        ("undeclared_multiple", "takes frames of any size, padded", "gives another shape"),
        ("five_frames", "takes short clips, or says why not", "IndexError: no frame 4"),
        ("negative", "resembles bicubic enlargement", "dB: are its range and its weights right"),
        ("bgr", "resembles bicubic enlargement", "red and blue exchanged: does it take BGR"),
        ("first_frame", "resembles bicubic enlargement", "more to frame 0 than to frame 2"),
    ],
)
def test_laws_by_themselves(name, law, words):
    verdicts = tried(name)
    state, seen = verdicts[law]
    assert state == ("doubtful" if "bicubic" in law else "broken")
    assert re.search(words, seen), seen
    assert len(verdicts) == 14
    if name not in {"not_finite", "noisy", "whiter", "darker", "undeclared_multiple"}:
        others = {state for other, (state, _) in verdicts.items() if other != law}
        assert others == {"kept"}, verdicts


def test_what_is_declared_is_respected():
    verdicts = tried("declared_minimum")
    assert {state for state, _ in verdicts.values()} == {"kept"}
    assert verdicts["takes the smallest frames"][1] == "16x16"
    assert tried("Window")["takes the smallest frames"][1] == "8x8"
    assert tried("Window")["takes frames of any size, padded"][1].startswith(
        "47x35, 1 columns and 5"
    )
    assert "refused" not in tried("clip")["takes short clips, or says why not"][1]
    seen = tried("between")["takes short clips, or says why not"][1]
    assert seen.startswith("refused: a clip of 3 frames is too short for 4 inputs")


def test_the_command(bench):
    code, out, err = bench("test-method", "ownmethods:Window")
    assert (code, err) == (0, "")
    assert out.count("\n") == 14
    assert all(re.match(r"(\N{CHECK MARK}|ok  ) \w", line) for line in out.splitlines())
    code, out, _ = bench("test-method", "ownmethods:writes")
    assert code == 1
    code, out, _ = bench("test-method", "ownmethods:bgr")
    assert code == 0
    assert re.search(r"^(!|warn) resembles bicubic", out, re.MULTILINE)
    code, _, err = bench("test-method", "ownmethods:clip", "--device", "gpu")
    assert code == 1
    assert err == ""


def test_the_help_shows_examples_that_parse(bench):
    from bench.commands.arguments import parser

    code, out, _ = bench("test-method", "--help")
    assert code == 0
    examples = re.findall(r"^ +bench (test-method .*)$", out, re.MULTILINE)
    assert len(examples) == 2
    for example in examples:
        parser().parse_args(example.split())


@pytest.mark.parametrize(("encoding", "mark"), [("ascii", "FAIL"), ("utf-8", "\N{BALLOT X}")])
def test_marks_where_there_are_no_ticks(encoding, mark):
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    command = [sys.executable, "-m", "bench", "test-method", "no.such.module:make"]
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert done.returncode == 1
    line = done.stdout.decode(encoding)
    assert line.startswith(f"{mark} can be imported: cannot import no.such.module:make")
    assert "\033" not in line


class Terminal:
    encoding = "utf-8"

    def isatty(self):
        return True


def test_colours_are_for_terminals(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert console.mark("kept") == "\033[32m\N{CHECK MARK}\033[0m"
    assert len({console.mark(state) for state in ("kept", "broken", "doubtful")}) == 3
    monkeypatch.setenv("NO_COLOR", "1")
    assert console.mark("broken") == "\N{BALLOT X}"
