"""Two saved runs of benchmarks, with made-up times."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parent / "benchmarks"


@pytest.fixture
def compare(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import compare

    return compare


def saved(folder, name, times, brand="One CPU", cores=8):
    """A file like those of pytest-benchmark, with what the comparison reads."""
    machine = {"machine": "x86_64", "node": name, "cpu": {"brand_raw": brand, "count": cores}}
    found = [{"fullname": key, "stats": {"data": list(data)}} for key, data in times.items()]
    file = folder / f"{name}.json"
    file.write_text(json.dumps({"machine_info": machine, "benchmarks": found}))
    return str(file)


@pytest.fixture
def times(rng):
    """Twelve rounds about a hundredth of a second, with noise of 2 %."""

    def draw(factor=1.0, rounds=12):
        return (factor * 0.01 * (1 + 0.02 * rng.standard_normal(rounds))).tolist()

    return draw


@pytest.fixture
def run(compare, capsys, tmp_path):
    """Compares made-up runs: exit code, output, errors."""

    def call(before, after, **machine):
        files = saved(tmp_path, "before", before), saved(tmp_path, "after", after, **machine)
        code = compare.main(files)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_a_run_with_itself(run, times):
    given = {"a": times(), "b": times()}
    code, out, _ = run(given, given)
    assert code == 0
    assert "1.00" in out
    assert "slower" not in out.lower()


def test_noise_alone_is_no_regression(run, times):
    names = [f"b{i}" for i in range(20)]
    code, out, _ = run({n: times() for n in names}, {n: times() for n in names})
    assert code == 0
    assert "slower" not in out.lower()


def test_a_fifth_slower_is_named(run, times):
    code, out, _ = run({"a": times(), "b": times()}, {"a": times(1.2), "b": times()})
    assert code == 1
    assert "slower than in the saved run: a\n" in out
    assert "slower than in the saved run: b" not in out
    assert out.index("a  ") < out.index("b  ")


def test_a_twentieth_slower_is_let_pass(run, times):
    """However sure it is."""
    code, out, _ = run({"a": times(rounds=200)}, {"a": times(1.05, rounds=200)})
    assert code == 0
    assert "1.05" in out


def test_faster_is_told_and_no_failure(run, times):
    code, out, _ = run({"a": times()}, {"a": times(0.8)})
    assert code == 0
    assert "faster" in out


def test_two_rounds_cannot_tell(run, times):
    code, out, _ = run({"a": times(rounds=2)}, {"a": times(3.0, rounds=2)})
    assert code == 0
    assert "too few rounds to tell" in out


@pytest.mark.parametrize("machine", [{"brand": "Another CPU"}, {"cores": 4}])
def test_another_machine_is_not_compared(run, times, machine):
    code, out, _ = run({"a": times()}, {"a": times(9.0)}, **machine)
    assert code == 0
    assert out.startswith("not comparable: saved on One CPU, 8 cores, x86_64; this run on ")
    assert "slower" not in out


def test_benchmarks_of_one_run_only_are_listed(run, times):
    code, out, _ = run({"a": times(), "old": times()}, {"a": times(), "new": times()})
    assert code == 0
    assert "not in this run: old\n" in out
    assert "not in the saved run: new\n" in out


def test_runs_without_a_common_benchmark(run, times):
    code, out, _ = run({"old": times()}, {"new": times()})
    assert (code, len(out.splitlines())) == (0, 2)


def test_holm(compare):
    """The example of the docstring, and one test alone, which needs no correction."""
    assert compare.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert compare.holm([0.2]) == [0.2]
    assert compare.holm([]) == []


def test_holm_lets_a_chance_pass(run, rng):
    """One p of 0.002 is nothing among 20 benchmarks, and something alone."""
    low = list(rng.permutation(np.linspace(1.0, 1.1, 7)))
    high = [*np.linspace(1.2, 1.3, 6), 1.04]
    same = {f"same{i}": list(low) for i in range(19)}
    assert run({"a": low}, {"a": high})[0] == 1
    assert run({"a": low, **same}, {"a": high, **same})[0] == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot read the benchmarks"),
        ("{", "cannot read the benchmarks"),
        ("[]", "expected a file of pytest-benchmark"),
        ('{"machine_info": {}, "benchmarks": []}', "KeyError: 'cpu'"),
    ],
)
def test_a_file_that_is_no_run(compare, capsys, tmp_path, text, words):
    file = tmp_path / "run.json"
    if text is not None:
        file.write_text(text)
    assert compare.main([str(file), str(file)]) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert len(captured.err.splitlines()) == 1


def test_a_run_without_the_time_of_rounds(run):
    code, _, err = run({"a": []}, {"a": [1.0]})
    assert code == 2
    assert "lacks the time of each round" in err
    assert "--benchmark-save-data" in err


def test_wrong_number_of_files(compare, capsys):
    assert compare.main([]) == 2
    assert "found 0; give two files" in capsys.readouterr().err


def test_a_file_of_pytest_benchmark(tmp_path):
    """What the plugin writes now is what the comparison reads."""
    (tmp_path / "test_it.py").write_text(
        "def test_it(benchmark):\n    benchmark.pedantic(sum, ((1, 2),), rounds=5)\n"
    )
    file = tmp_path / "run.json"
    options = ["-q", "-c", os.devnull, "--rootdir=.", f"--benchmark-json={file}"]
    command = [sys.executable, "-m", "pytest", *options]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    done = subprocess.run(
        [sys.executable, str(FOLDER / "compare.py"), str(file), str(file)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "test_it.py::test_it" in done.stdout
