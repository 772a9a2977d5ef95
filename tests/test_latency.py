from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
import toynetworks

from bench import latency
from bench.cost import timing
from bench.cost.hardware import Device, Reading
from bench.errors import BenchError
from bench.latency import Options, Spread


@pytest.fixture(scope="module")
def measured():
    settings = timing.Settings(device="cpu", threads=1, repeats=1)
    made = timing.measure(
        toynetworks.paper(), "window", timing.Shape(10, 20, 7), Options(), settings
    )
    return changed(made, median=50.0, device=device())


def device(name="AMD EPYC", kind="cpu"):
    gpu = kind == "cuda"
    return Device(
        kind=kind,
        name=name,
        cpu="AMD EPYC",
        threads=1,
        driver="570.1" if gpu else None,
        cuda="13.0" if gpu else None,
        memory_bytes=2**34,
    )


def changed(made, median=None, **fields):
    if median is not None:
        fields["restoring_ms"] = Spread(median=median, p5=median, p95=median, samples=5)
    return msgspec.structs.replace(made, **fields)


def test_round_trip(tmp_path, measured):
    file = latency.write(tmp_path, measured)
    assert file == tmp_path / "latency/amd-epyc-1-thread/nets-window-10x20-float32.json"
    assert latency.read(file) == measured
    assert latency.read_all(tmp_path) == latency.read_all(tmp_path, "amd-epyc-1-thread")
    assert latency.read_all(tmp_path) == [measured]
    assert latency.read_all(tmp_path, "nvidia-h200") == []
    text = file.read_text()
    assert text.endswith("}\n")
    assert list(json.loads(text)) == sorted(json.loads(text))
    latency.write(tmp_path, measured)
    assert file.read_text() == text
    assert [one.name for one in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"whole_clips": True}, "nets-window-10x20x7-float32.json"),
        ({"options": Options(dtype="float16")}, "nets-window-10x20-float16.json"),
        (
            {"options": Options(tf32=True, batch=4, compiled=True, channels_last=True)},
            "nets-window-10x20-float32-tf32-batch4-compiled-channels-last.json",
        ),
    ],
)
def test_what_moves_the_figures_is_in_the_path(tmp_path, measured, fields, name):
    assert latency.path(tmp_path, changed(measured, **fields)).name == name


def test_files_from_elsewhere(tmp_path, measured):
    file = latency.write(tmp_path, measured)
    data = json.loads(file.read_text())
    file.write_text(json.dumps(data | {"schema": 3, "new": "field"}))
    with pytest.raises(BenchError, match="newer version of bench: expected schema 2 or earlier"):
        latency.read(file)
    file.write_text(json.dumps(data | {"new": "field"}))
    with pytest.raises(BenchError, match="unknown field `new`"):
        latency.read_all(tmp_path)
    file.write_text(json.dumps(data))
    copy = file.with_name("copy.json")
    copy.write_text(file.read_text())
    with pytest.raises(BenchError, match=r"copy.json is misplaced: expected .*10x20-float32.json"):
        latency.read_all(tmp_path)


def test_results_of_the_first_schema_are_still_read():
    file = Path(__file__).parent / "fixtures/latency-schema-1.json"
    assert json.loads(file.read_text())["schema"] == 1
    read = latency.read(file)
    assert read.schema == latency.SCHEMA
    assert read.pass_medians_ms is None
    assert read.latency_ms.samples == 10


def test_estimates_come_from_the_nearest_size_and_length(tmp_path, measured):
    for fields in (
        {"median": 50.0},
        {"height": 40, "width": 40, "median": 100.0},
        {"checkpoint": "clip", "whole_clips": True, "median": 10.0},
        {"checkpoint": "clip", "whole_clips": True, "median": 20.0, "frames": 100},
        {"checkpoint": "other", "options": Options(dtype="float16"), "median": 1.0},
        {"checkpoint": "batch", "restoring_ms": None},
        {"median": 2.0, "device": device("NVIDIA H200", "cuda")},
    ):
        latency.write(tmp_path, changed(measured, **fields))

    def estimate(checkpoint, *shape, on="amd-epyc-1-thread"):
        return latency.estimate(tmp_path, on, "nets", checkpoint, *shape)

    assert estimate("window", 10, 20, 8) == pytest.approx(8 * 0.05)
    assert estimate("window", 20, 15, 8) == pytest.approx(8 * 0.05 * 300 / 200)
    assert estimate("window", 40, 80, 8) == pytest.approx(8 * 0.1 * 2)
    assert estimate("clip", 10, 20, 10) == pytest.approx(10 * 0.01)
    assert estimate("clip", 10, 20, 90) == pytest.approx(90 * 0.02)
    assert estimate("window", 10, 20, 8, on="nvidia-h200") == pytest.approx(8 * 0.002)
    for unknown in (("other", 10, 20, 8), ("batch", 10, 20, 8), ("none", 10, 20, 8)):
        assert estimate(*unknown) is None
    assert estimate("window", 10, 20, 8, on="a100") is None


def test_tables_never_mix_devices(measured):
    other = changed(measured, device=device("NVIDIA H200", "cuda"))
    frames = latency.data_frames([other, measured, changed(measured, height=5)])
    assert list(frames) == ["amd-epyc-1-thread", "nvidia-h200"]
    assert list(frames["amd-epyc-1-thread"]["LR size"]) == ["5x20", "10x20"]
    assert len(frames["nvidia-h200"]) == 1
    assert latency.data_frames([]) == {}
    text = latency.document("nvidia-h200", [measured, other])
    assert text.count("| nets ") == 1


def test_the_document_says_what_a_reader_needs(tmp_path, measured):
    gpu = device("NVIDIA H200", "cuda")
    shown = changed(
        measured,
        device=gpu,
        checkpoint="same",
        latency_ms=Spread(median=12.3456, p5=1.2345, p95=123.456, samples=9),
        restoring_ms=None,
        flops_per_frame=1_234_567_890_123,
        peak_memory_bytes=3 * 2**30,
        memory_before_bytes=2**30,
        uncounted_calls={"aten.cat": 3},
        warm_up_stable=False,
        clocks_fell=True,
        readings=[Reading(power_cap_w=700.0)],
    )
    text = latency.document("nvidia-h200", [shown])
    for words in (
        "# Latency on NVIDIA H200\n",
        "| 12.35 ",
        "| 1.234 - 123.5 ",
        "| 1234.6 ",
        "| 3072 ",
        "| 2048 ",
        "clocks fell; unstable after warm-up; measured as window",
        "One multiply-add is 2 FLOPs",
        "no\nformula counts: aten.cat.",
        "CUDA 13.0, driver 570.1, power cap 700 W",
        "torch's allocator",
        "1 thread of AMD EPYC",
    ):
        assert words in text or words.replace("\n", " ") in text, words
    assert "resident set" in latency.document("amd-epyc-1-thread", [measured])
    assert latency.document_path(tmp_path, "x") == tmp_path / "latency/x/README.md"
    assert latency.document("nvidia-h200", [shown]) == text
    with pytest.raises(BenchError, match="nothing was measured on a100; run bench latency there"):
        latency.document("a100", [shown])


def test_unknown_memory_is_left_blank(measured):
    unknown = changed(measured, peak_memory_bytes=None, memory_before_bytes=None)
    (frame,) = latency.data_frames([unknown]).values()
    assert list(frame["peak memory (MiB)"]) == [""]
