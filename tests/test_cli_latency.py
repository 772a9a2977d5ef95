from __future__ import annotations

import re
from pathlib import Path

import pytest
import toynetworks

from bench import latency, paper
from bench.cost import timing

QUICK = ("--size", "8x8", "--repeats", 1, "--device", "cpu", "--threads", 1)


@pytest.fixture
def nets(monkeypatch):
    """The toy networks as the only installed paper."""
    made = toynetworks.paper()
    monkeypatch.setattr(paper, "names", lambda: ["nets"])
    monkeypatch.setattr(paper, "load", lambda _: made)
    return made


def test_a_paper_means_its_first_network(bench, nets):
    code, out, err = bench("latency", "nets", *QUICK)
    assert (code, err) == (0, "")
    (one,) = latency.read_all(Path("results"))
    assert (one.checkpoint, one.height, one.width, one.frames) == ("window", 8, 8, 7)
    assert (one.device.threads, one.passes) == (1, 1)
    assert f"nets window at 8x8: {latency.path(Path('results'), one)}\n" in out
    assert re.search(r"^nets +window +8x8 .* float32 +[\d.]+ ", out, re.MULTILINE)


def test_one_architecture_is_measured_once_and_reported_for_each_name(bench, nets, monkeypatch):
    times, measure = [], timing.measure

    def counted(*words):
        times.append(words[1])
        return measure(*words)

    monkeypatch.setattr(timing, "measure", counted)
    code, _, _ = bench("latency", "nets", "--checkpoint", "same", "--checkpoint", "window", *QUICK)
    assert (code, times) == (0, ["window"])
    same, window = latency.read_all(Path("results"))
    assert (same.checkpoint, same.measured_with) == ("same", "window")
    assert window == type(window)(
        **{f: getattr(same, f) for f in same.__struct_fields__} | {"checkpoint": "window"}
    )


def test_all_goes_on_after_a_failure(bench, nets):
    code, out, err = bench("latency", "--all", *QUICK)
    assert code == 2
    found = {one.checkpoint for one in latency.read_all(Path("results"))}
    assert found == {"window", "same", "large", "clip", "between"}
    assert "nets infinite" not in out
    lines = err.splitlines()
    assert len(lines) == 2
    assert "output for frame 0 is not finite" in lines[0]
    assert lines[1].startswith("bench: nets failing cannot be measured at 8x8, float32: found CUDA")


def test_options_arrive(bench, nets):
    words = ("--dtype", "bfloat16", "--batch", 2, "--channels-last", "--tf32", "--frames", 5)
    assert bench("latency", "nets", *QUICK, *words)[0] == 0
    (one,) = latency.read_all(Path("results"))
    assert str(one.options) == "bfloat16-tf32-batch2-channels-last"
    assert one.frames == 5


def test_a_sweep_measures_sizes_and_lengths_and_draws(bench, nets):
    words = ("--sweep", "--size", "12x8", "--frames", 7, "--frames", 9, *QUICK)
    words += ("--checkpoint", "clip", "--checkpoint", "window")
    code, out, _ = bench("latency", "nets", *words)
    assert code == 0
    found = [(m.checkpoint, m.size) for m in latency.read_all(Path("results"))]
    assert sorted(found) == [
        ("clip", "12x8x7"),
        ("clip", "12x8x9"),
        ("clip", "8x8x7"),
        ("window", "12x8"),
        ("window", "8x8"),
    ]
    plots = re.findall(r"^nets (\w+): (.*growth\.(?:svg|png))$", out, re.MULTILINE)
    assert [name for name, _ in plots] == ["window", "window", "clip", "clip"]
    assert all(Path(file).stat().st_size for _, file in plots)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("tdan --size 180", "expected height x width such as 180x320, found '180'"),
        ("tdan --size 0x0", "expected height x width such as 180x320, found '0x0'"),
        ("tdan --size 8x8x8", "expected height x width such as 180x320, found '8x8x8'"),
        ("psrt --size 32x64", "frames are too small for psrt reds: expected .* 64, found 32x64"),
        ("edvr --size 2x8", "frames are too small for edvr m-reds: expected .* 4, found 2x8"),
        ("tdan --frames 0", "expected a number from 1 up, found '0'"),
        ("tdan --size 8x8 --frames 3", "a clip of 3 frames has no steady state for a window of 5"),
        ("stdan --size 8x8 --frames 6", "a clip of 6 frames is too short for 4 inputs"),
        ("tdann", "unknown paper: expected one of bicubic"),
        ("bicubic", "bicubic has no network: expected a paper whose checkpoints have one"),
        ("bicubic --all", "bicubic has no network"),
        ("psrt --checkpoint sliding", "psrt sliding has no network"),
        ("tdan --checkpoint best", "tdan has no checkpoint 'best': expected one of bdx4, bix4"),
        ("tdan --checkpoint bix4 --all", "not allowed with argument --checkpoint"),
        ("--checkpoint bix4", "no paper was named; name one, or add --all"),
        ("", "no paper was named"),
        ("tdan --dtype float8", "invalid choice: 'float8'"),
        ("tdan --size 8x8 --device cuda:99", "cannot use the device 'cuda:99'"),
        ("tdan --size 8x8 --device gpu", "cannot use the device 'gpu'"),
        ("tdan --threads 0", "expected a number from 1 up"),
        ("tdan --batch x", "expected a number from 1 up"),
        ("tdan --repeats 0", "expected a number from 1 up"),
        ("tdan --results file", "cannot write file/latency"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(bench, words, message):
    Path("file").write_text("")
    code, _, err = bench("latency", *words.split())
    assert code == 2
    assert re.search(message, err)
    assert len(err.splitlines()) == 1
    assert [one.name for one in Path().iterdir()] == ["file"]
