from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from bench import frames, pictures, record, sample
from bench.errors import BenchError
from bench.pictures import Pictures
from bench.record import Record

CLIP = ("sample", "bi", "pan")


@dataclasses.dataclass
class Ran:
    """What `bench run bicubic --save-frames` left."""

    frames: Path
    results: Path

    @property
    def records(self) -> list[Record]:
        return record.read_all(self.results)

    @property
    def files(self) -> list[Path]:
        return frames.frame_files(self.frames / "bicubic" / "bicubic" / "sample-bi" / "pan")

    def take(self) -> Pictures:
        (one,) = pictures.take(pictures.saved(self.frames, self.records), self.frames, self.results)
        return one


@pytest.fixture
def ran(bench, tmp_path) -> Ran:
    run = Ran(tmp_path / "saved", tmp_path / "results")
    words = ("run", "bicubic", "--dataset", "sample", "--degradation", "bi", "--clip", "pan")
    code, _, error = bench(*words, "--save-frames", run.frames, "--results", run.results)
    assert code == 0, error
    return run


def second_method(run: Ran, change: Callable[[np.ndarray, int], np.ndarray]) -> list[np.ndarray]:
    """A record, and saved frames, of a method that changes those of bicubic; its frames."""
    from bench import score

    (one,) = run.records
    made = [change(frames.read(file).copy(), t) for t, file in enumerate(run.files)]
    for t, frame in enumerate(made):
        frames.write(run.frames / "other" / "one" / "sample-bi" / "pan" / f"{t:08d}.png", frame)
    (clip,) = one.clips
    clip = msgspec.structs.replace(clip, sr_sha256=score.digest(made))
    other = msgspec.structs.replace(one, paper="other", checkpoint="one", clips=[clip])
    record.write(run.results, other)
    return made


def test_pictures_are_the_frames_themselves(ran):
    one = ran.take()
    gt, sr = sample.clip("pan"), [frames.read(file) for file in ran.files]
    assert (one.height, one.width, one.frames) == (144, 192, 9)
    shown = {"gt": gt, "bicubic-bicubic": sr}
    for name, sequence in shown.items():
        picture = frames.read(pictures.frame_file(ran.results, one, name))
        profile = frames.read(pictures.profile_file(ran.results, one, name))
        np.testing.assert_array_equal(picture, sequence[one.frame])
        np.testing.assert_array_equal(profile, np.stack([f[one.row] for f in sequence]))
    assert frames.size(pictures.frame_file(ran.results, one, "lr")) == (36, 48)


def test_one_method_is_shown_where_it_errs_most(ran):
    one = ran.take()
    sr = np.stack([frames.read(file) for file in ran.files]).astype(float)
    error = ((sr - sample.clip("pan")) ** 2).sum(axis=(2, 3))[:, 8:-8]
    assert one.frame == error.sum(axis=1).argmax()
    assert one.row == 8 + error.sum(axis=0).argmax()


def test_several_methods_are_shown_where_they_differ_most(ran):
    def change(frame: np.ndarray, t: int) -> np.ndarray:
        if t == 5:
            frame[60] = 255 - frame[60]
            frame[2] = 255 - frame[2]  # in the border, which is not scored
        return frame

    second_method(ran, change)
    one = ran.take()
    assert (one.frame, one.row) == (5, 60)
    assert [method.name for method in one.methods] == ["bicubic-bicubic", "other-one"]


def test_taking_again_removes_what_is_shown_no_longer(ran):
    second_method(ran, lambda frame, _: 255 - frame)
    folder = pictures.folder(ran.results, ran.take())
    assert (folder / "other-one.png").exists()
    (folder / "mine.png").write_text("kept")
    record.path(ran.results, "other", "one", "sample", "bi").unlink()
    ran.take()
    assert sorted(file.name for file in folder.iterdir()) == [
        "bicubic-bicubic-profile.png",
        "bicubic-bicubic.png",
        "clip.json",
        "gt-profile.png",
        "gt.png",
        "lr.png",
        "mine.png",
    ]


def test_pictures_that_were_taken_in_part_are_not_read(ran, monkeypatch):
    ran.take()
    second_method(ran, lambda frame, _: 255 - frame)
    real = frames.write

    def write(file, *rest, **options):
        if file.name.startswith("other"):
            raise OSError("no space left")
        real(file, *rest, **options)

    monkeypatch.setattr(frames, "write", write)
    with pytest.raises(OSError, match="no space left"):
        ran.take()
    assert pictures.read_all(ran.results, ran.records) == []


def test_only_pictures_of_what_the_records_measured_are_read(ran):
    one = ran.take()
    assert pictures.read_all(ran.results, ran.records) == [one]
    (found,) = ran.records
    clip = msgspec.structs.replace(found.clips[0], sr_sha256="0" * 64)
    assert pictures.read_all(ran.results, [msgspec.structs.replace(found, clips=[clip])]) == []
    assert pictures.read_all(ran.results, []) == []


def test_missing_pictures_are_named(ran):
    one = ran.take()
    lost = pictures.frame_file(ran.results, one, "lr")
    lost.unlink()
    with pytest.raises(BenchError, match=r"lr\.png is missing: expected .*bench report --frames"):
        pictures.read_all(ran.results, ran.records)


def test_torn_pictures_and_those_of_another_size_are_named(ran, noise):
    one = ran.take()
    file = pictures.profile_file(ran.results, one, "bicubic-bicubic")
    whole = file.read_bytes()
    file.write_bytes(whole[:-20])
    with pytest.raises(BenchError, match=r"bicubic-profile\.png is truncated"):
        pictures.read_all(ran.results, ran.records)
    frames.write(file, noise(one.frames + 1, one.width))
    wanted, found = f"{one.width}x{one.frames}", f"{one.width}x{one.frames + 1}"
    with pytest.raises(
        BenchError, match=rf"another size .*: expected {wanted}, found {found}; take"
    ):
        pictures.read_all(ran.results, ran.records)
    file.write_bytes(whole)
    assert pictures.read_all(ran.results, ran.records) == [one]


def test_descriptions_of_a_newer_version_say_so(ran):
    file = pictures.folder(ran.results, ran.take()) / "clip.json"
    file.write_text(file.read_text().replace('"schema": 1', '"schema": 2'))
    for reading in (lambda: pictures.read_all(ran.results, ran.records), ran.take):
        with pytest.raises(BenchError, match="written by a newer version of bench"):
            reading()


def test_frames_of_another_run_are_refused(ran, noise):
    frames.write(ran.files[3], noise(144, 192))
    with pytest.raises(BenchError, match=r"SR frames in .*pan are not those of the record"):
        ran.take()
    frames.write(ran.files[3], noise(16, 16))
    with pytest.raises(BenchError, match=r"differs in size from its GT frame: .* found 16x16"):
        ran.take()


def test_frames_beyond_the_clip_are_named(ran):
    ran.files[0].rename(ran.files[0].with_name("00000099.png"))
    with pytest.raises(BenchError, match=r"00000099\.png is beyond the end .*expected numbers be"):
        ran.take()


def test_other_gt_is_refused(ran):
    (one,) = ran.records
    clip = msgspec.structs.replace(one.clips[0], gt_sha256="0" * 64)
    record.write(ran.results, msgspec.structs.replace(one, clips=[clip]))
    with pytest.raises(BenchError, match="GT frames of sample/pan are not those of the record"):
        ran.take()


def test_methods_must_have_saved_the_same_frames(ran):
    second_method(ran, lambda frame, _: frame)
    (ran.frames / "other" / "one" / "sample-bi" / "pan" / "00000008.png").unlink()
    with pytest.raises(BenchError, match=r"different frames: expected 9 .*other: 8"):
        ran.take()


def test_folders_without_saved_frames_say_what_they_should_hold(ran, tmp_path):
    (tmp_path / "empty").mkdir()
    for wrong in (tmp_path / "empty", tmp_path / "absent"):
        with pytest.raises(BenchError, match=r"no frames of any record in .*--save-frames"):
            pictures.saved(wrong, ran.records)
    ran.files[0].rename(ran.files[0].with_name("first.png"))
    with pytest.raises(BenchError, match=r"first\.png has no frame's number for a name"):
        pictures.saved(ran.frames, ran.records)
