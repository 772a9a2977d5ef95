from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from bench import frames, paper, sample
from bench.commands.arguments import parser

ROOT = Path(__file__).parent.parent
COMMANDS = ["list", "plan", "reproduce", "run", "verify", "score", "latency", "report", "check"]
COMMANDS += ["doctor", "fetch", "add", "inspect", "convert", "cache", "test-method"]
COMMANDS += ["match", "diagnose", "temporal", "open"]


def spawn(*words: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


@pytest.fixture
def clips(tmp_path):
    """The sample set as GT folders, and a copy with a shifted frame as SR."""
    for name in sample.names():
        for i, frame in enumerate(sample.clip(name)):
            frames.write(tmp_path / "gt" / name / f"{i:03d}.png", frame)
            moved = frame if i else sample.clip(name)[1]
            frames.write(tmp_path / "sr" / name / f"Frame {i + 1}.png", moved)
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example_that_parses(bench, command):
    code, out, _ = bench(command, "--help")
    assert code == 0
    examples = re.findall(rf"^(?:example:)?\s*bench ({command}\b.*)$", out, re.MULTILINE)
    assert examples
    for example in examples:
        parser().parse_args(shlex.split(example))


def test_help_names_every_command(bench):
    code, out, _ = bench("--help")
    assert code == 0
    assert all(re.search(rf"^    {command}( |$)", out, re.MULTILINE) for command in COMMANDS)


@pytest.mark.parametrize("words", [["--help"], ["list"], ["plan", "bicubic"]])
def test_light_commands_import_nothing_heavy(words):
    code = (
        "import sys; from bench.cli import main\n"
        f"try: main({words!r})\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'pandas', 'matplotlib', 'scipy', 'skimage'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_python_m_bench_and_a_closed_pipe():
    done = spawn("list")
    assert done.returncode == 0
    assert "bicubic" in done.stdout
    piped = f"{shlex.quote(sys.executable)} -m bench list | head -n 1"
    done = subprocess.run(["bash", "-c", piped], capture_output=True, text=True, check=True)
    assert "Traceback" not in done.stderr


def test_list_plan_doctor(bench):
    code, out, _ = bench("list")
    assert code == 0
    assert re.search(r"^vid4 +4 +all .* missing: Vid4 not found$", out, re.MULTILINE)
    assert re.search(r"^sample +4 .* built in$", out, re.MULTILINE)
    code, out, _ = bench("plan", "bicubic")
    assert code == 0
    row = r"^bicubic +vid4 +bi +0 of 4 +2 +fixed, y-crop0 +missing: Vid4 not found$"
    assert re.search(row, out, re.MULTILINE)
    assert re.search(r"^- Vid4 not found: expected one of .*found none of", out, re.MULTILINE)
    code, out, _ = bench("doctor")
    assert code == 0
    for word in ("python ", "torch", "device ", "sample: built in", "duf/52l"):
        assert word in out


def test_run_writes_records_and_shows_the_table(bench, toy, tmp_path):
    code, out, _ = bench("run", "toy", "--dataset", "sample", "--degradation", "bi")
    assert code == 1  # `short` and others fail; the rest are finished all the same
    code, out, err = bench("run", "toy", "--checkpoint", "good", "--checkpoint", "absent")
    assert (code, err) == (0, "")
    assert (Path("results") / "records/toy/good/sample-bi.json").exists()
    assert "28.2037 / 0.8278" in out
    assert "not run: toy/absent on sample, bi: its address is dead" in out
    code, _, _ = bench("run", "toy", "--checkpoint", "good", "--dataset", "sample", "--strict")
    assert code == 1
    code, out, _ = bench("plan", "toy")
    assert re.search(r"^good +sample +bi +4 of 4 +5 +fixed, rgb-crop0 +ready$", out, re.MULTILINE)
    code, out, _ = bench("plan", "toy", "--items", "--checkpoint", "good", "--dataset", "sample")
    assert re.search(r"^good +sample +bi +pan +measured$", out, re.MULTILINE)
    assert re.search(r"^good +sample +bd +zoom +measured$", out, re.MULTILINE)


def test_a_failing_run_does_not_stop_the_others(bench, toy):
    words = ("--checkpoint", "failing", "--checkpoint", "good", "--dataset", "sample")
    code, out, err = bench("run", "toy", *words, "--degradation", "bi")
    assert code == 1
    assert "bench: toy/failing on sample, bi, clip pan: the network gave NaN" in err
    assert "toy/failing on sample, bi: 0 of 4 clips (4 failed)" in out
    assert "toy/good on sample, bi: 4 of 4 clips (4 measured)" in out
    code, out, _ = bench("run", "toy", *words, "--degradation", "bi")
    assert code == 1
    assert "toy/good on sample, bi: 4 of 4 clips (4 as they were)" in out


def test_a_torn_record_stops_its_own_run_only(bench, toy):
    words = ("--dataset", "sample", "--degradation", "bi")
    bench("run", "toy", "--checkpoint", "good", *words)
    Path("results/records/toy/good/sample-bi.json").write_text("{")
    code, out, err = bench("run", "toy", "--checkpoint", "swapped", *words)
    assert (code, err) == (0, "")
    assert "4 of 4 clips (4 measured)" in out
    code, _, err = bench("run", "toy", "--checkpoint", "good", *words)
    assert code == 2
    assert err.endswith("restore the file, or remove it to measure its clips again\n")


def test_a_plan_counts_what_an_interrupted_run_left_and_writes_nothing(bench, toy):
    from runs import job

    from bench.evaluate import Worker
    from bench.maker import Settings

    Worker(job(toy, Settings(Path("data")))).work("zoom")
    before = sorted(Path("results").rglob("*"))
    _, out, _ = bench("plan", "toy", "--checkpoint", "good", "--dataset", "sample")
    assert re.search(r"^good +sample +bi +1 of 4", out, re.MULTILINE)
    assert sorted(Path("results").rglob("*")) == before


def test_a_device_that_is_not_there_is_refused_before_anything_runs(bench, tmp_path):
    (tmp_path / "here/mine.py").write_text(
        "import torch\nclass Mine(torch.nn.Module):\n    scale = 4\n"
    )
    words = ("run", "--method", "mine.py:Mine", "--dataset", "sample")
    code, _, err = bench(*words, "--device", "cuda:9", "--device", "cpu")
    assert code == 2
    assert err.startswith("bench: cannot use the device 'cuda:9': expected cpu, or a CUDA device")
    assert not Path("results").exists()


def test_score_clips(bench, clips):
    code, out, err = bench(
        "score",
        clips / "sr",
        clips / "gt",
        "--protocol",
        "fixed",
        "--protocol",
        "rgb-crop0",
        "--json",
        "s.json",
        "--csv",
        "s.csv",
    )
    assert (code, err) == (0, "")
    assert re.search(r"^fixed +pan +[\d.]+ \(8 of 9 frames identical\) ", out, re.MULTILINE)
    assert re.search(r"^rgb-crop0 +clip mean +", out, re.MULTILINE)
    assert "rgb-crop0: RGB, crop 0, clip mean" in out
    data = json.loads(Path("s.json").read_text())
    assert set(data["fixed"]["clips"]) == set(sample.names())
    assert len(Path("s.csv").read_text().splitlines()) == 1 + 2 * 36
    code, out, _ = bench("score", clips / "sr/pan", clips / "gt/pan")
    assert re.search(r"^fixed +pan ", out, re.MULTILINE)
    code, out, _ = bench("score", clips / "sr", "sample", "--clip", "zoom", "--workers", 1)
    assert code == 0
    assert len(re.findall(r"^fixed +zoom ", out, re.MULTILINE)) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("score nowhere gt", "cannot read the folder"),
        ("score sr nowhere", "cannot read the folder nowhere"),
        ("score empty gt", "no frames in empty: .*found an empty folder"),
        ("score sr gt --protocol fixd", "unknown protocol: expected one of fixed, "),
        ("score sr gt --clip tilt", "GT lacks tilt: expected 1 clips: tilt, found 4: occlusion"),
        ("score sr/pan gt", "SR lacks occlusion"),
        ("score fewer gt", "SR lacks occlusion, pan, zoom"),
        ("score shorter/pan gt/pan", "differ in the number of frames: expected 9 as GT, found 8"),
        ("score smaller/pan gt/pan", "differs in size from its GT frame: expected 192x144"),
        ("score cut/pan gt/pan", "is truncated"),
        ("score text/pan gt/pan", "is not a PNG file"),
        ("score grey/pan gt/pan", "expected 8-bit RGB, found 8-bit grey"),
        ("score sr gt --json file/s.json", "cannot write file/s.json"),
        ("score sr gt --workers 0", "expected a number from 1 up, found '0'"),
        ("score sr", "the following arguments are required: GT"),
        ("run bicubc", "unknown paper: expected one of bicubic, duf"),
        ("run bicubic --dataset vid5", "unknown data set: expected one of"),
        ("run bicubic --dataset vid4", "Vid4 not found"),
        ("run bicubic --dataset sample --degradation bx", "no degradation 'bx'"),
        ("run bicubic --dataset sample --clip tilt", "Sample has no clip 'tilt'"),
        ("run bicubic --dataset sample --results file", "cannot write file/records/bicubic"),
        ("run bicubic --checkpoint best", "bicubic has no checkpoint 'best': expected one of bic"),
        ("run duf --degradation bx", "duf has no such run"),
        ("plan bicubic --data-root file --dataset vid5", "unknown data set"),
        ("report bicubc", "unknown paper"),
        ("report --results file", "no folder file: expected the records that bench run writes"),
        ("report --results resluts", "no folder resluts"),
        ("report --page --results resluts", "no folder resluts"),
        ("report --check --results resluts", "no folder resluts"),
        ("check", "no results in results: expected files below records or latency"),
        ("check --summary", "argument --summary: expected one argument"),
        ("report --format xml", "invalid choice: 'xml'"),
        ("report --format latex", "--format latex needs --stdout"),
        ("report --check --stdout", "not allowed with argument --check"),
        ("run bicubic --dataset sample --frames sr", "bicubic makes its own frames"),
        ("plan duf --degradation bx", "duf has no such run: expected .*52l vid4 bd-duf"),
        ("score sr sample --protocol border=4,border=8", "a field given twice"),
        ("frobnicate", "invalid choice: 'frobnicate'"),
        ("", "the following arguments are required: COMMAND"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(bench, clips, monkeypatch, words, message):
    monkeypatch.chdir(clips)
    (clips / "empty").mkdir()
    (clips / "file").write_text("")
    for name, frame in (("fewer/rotation", None), ("smaller/pan", 3), ("shorter/pan", 0)):
        for i, whole in enumerate(sample.clip("pan")[: -1 if frame == 0 else None]):
            frames.write(clips / name / f"{i}.png", whole[frame or 0 :] if frame else whole)
    for name in ("cut", "text", "grey"):
        for i, whole in enumerate(sample.clip("pan")):
            frames.write(clips / name / "pan" / f"{i}.png", whole)
    path = clips / "cut/pan/4.png"
    path.write_bytes(path.read_bytes()[:-30])
    (clips / "text/pan/4.png").write_text("text")
    frames_grey(clips / "grey/pan/4.png")
    before = sorted(clips.rglob("*"))
    code, _, err = bench(*words.split())
    assert code == 2
    assert re.search(message, err)
    assert len(err.splitlines()) == 1
    assert "Traceback" not in err
    assert sorted(clips.rglob("*")) == before


def frames_grey(path: Path) -> None:
    from PIL import Image

    Image.open(path).convert("L").save(path)


def test_a_full_disk_leaves_the_old_record(bench, toy, monkeypatch):
    words = ("run", "toy", "--checkpoint", "good", "--dataset", "sample", "--degradation", "bi")
    assert bench(*words)[0] == 0
    file = Path("results/records/toy/good/sample-bi.json")
    before = file.read_bytes()

    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        code, _, err = bench(*words, "--overwrite", "always")
    assert code == 2
    assert "cannot write results/records/toy/good/.sample-bi/pan.json: found No space left" in err
    assert file.read_bytes() == before
    assert [p for p in file.parent.rglob("*") if p.is_file()] == [file]


def test_a_bad_record_stops_only_its_own_run(bench, toy):
    file = Path("results/records/toy/good/sample-bi.json")
    file.parent.mkdir(parents=True)
    file.write_text('{"schema": 3}')
    words = ("--dataset", "sample", "--degradation", "bi", "--degradation", "bd")
    code, _, err = bench("run", "toy", "--checkpoint", "good", *words)
    assert code == 2
    assert "was written by a newer version of bench" in err
    assert Path("results/records/toy/good/sample-bd.json").exists()


def test_a_broken_entry_point_does_not_stop_a_list(bench, toy, monkeypatch):
    found = {"toy": "toypaper", "gone": "no.such.package"}
    monkeypatch.setattr(paper, "_entry_points", lambda: found)
    for command in ("list", "doctor"):
        code, out, _ = bench(command)
        assert code == 0
        assert "paper gone cannot be loaded: expected a package no.such.package" in out
        assert "bicubic with channels swapped" in out or "toy/swapped" in out


def test_a_data_set_wins_over_a_folder_of_its_name(bench, clips, monkeypatch):
    monkeypatch.chdir(clips)
    (clips / "sample").mkdir()
    assert bench("score", "sr", "sample")[0] == 0
    code, _, err = bench("score", "sr", "./sample")
    assert (code, "no frames in" in err) == (2, True)


def test_progress_shows_the_time_left(clips):
    """On a terminal; tqdm hides its bar elsewhere."""
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    words = ("score", clips / "sr", clips / "gt", "--workers", 1)
    command = [sys.executable, "-m", "bench", *map(str, words)]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=theirs, check=True)
    shown = os.read(ours, 100_000).decode()
    os.close(theirs)
    os.close(ours)
    assert re.search(r"scoring: +\d+%\|.*\d+/36 \[\d\d:\d\d<", shown)


def test_a_full_disk_behind_the_output():
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "bench", "list"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "No space left" in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_results_folder(bench, toy, tmp_path):
    (tmp_path / "ro").mkdir(mode=0o500)
    code, _, err = bench(
        "run", "toy", "--checkpoint", "good", "--dataset", "sample", "--results", tmp_path / "ro"
    )
    assert code == 2
    assert "Permission denied" in err


@pytest.mark.data
def test_vid4_gives_the_published_bicubic_row(bench, data):
    code, out, _ = bench(
        "run",
        "bicubic",
        "--dataset",
        "vid4",
        "--degradation",
        "bi",
        "--data-root",
        data,
        "--strict",
    )
    assert code == 0
    assert "23.7836 / 0.6347  reproduced" in out
    assert re.search(r"fixed +mean +23.7845  0.6332", out)


@pytest.mark.data
def test_duf_frames_give_the_published_rows(bench, data):
    code, out, _ = bench("run", "duf", "--frames", data / "vid4/DUF-52L", "--data-root", data)
    assert code == 0
    assert "27.33 / 0.8318  27.3296 / 0.8318  reproduced" in out
    assert "25.79 / 0.8136  25.7950 / 0.8136  reproduced" in out
