from __future__ import annotations

import threading

import msgspec
import pytest
from test_record import make

from bench import journal, provenance, record
from bench.errors import BenchError

RUN = ("p", "c", "vid4", "bi")


def single(noise, name):
    return make(noise, [name], count=4)


def test_what_is_gathered_is_the_record_of_all(tmp_path, noise):
    ones = [single(noise, name) for name in ("walk", "city", "00001/0266")]
    files = [journal.write(tmp_path, one) for one in ones]
    assert [file.name for file in files] == ["walk.json", "city.json", "00001%2F0266.json"]
    assert files[0].parent == tmp_path / "records/p/c/.vid4-bi"
    assert record.read_all(tmp_path) == []
    whole = journal.gather(tmp_path, RUN)
    assert [clip.clip for clip in whole.clips] == ["00001/0266", "city", "walk"]
    assert record.read_all(tmp_path) == [whole]
    assert list(files[0].parent.iterdir()) == []
    assert journal.gather(tmp_path, RUN) == whole


def test_later_measurements_join_earlier_ones(tmp_path, noise):
    journal.write(tmp_path, single(noise, "walk"))
    first = journal.gather(tmp_path, RUN)
    journal.write(tmp_path, single(noise, "city"))
    second = journal.gather(tmp_path, RUN)
    assert second.clip("walk") == first.clip("walk")
    assert [clip.clip for clip in second.clips] == ["city", "walk"]


def test_nothing_was_ever_measured(tmp_path):
    assert journal.gather(tmp_path, RUN) is None
    assert not (tmp_path / "records").exists()


def test_a_file_of_two_clips_is_no_item(tmp_path, noise):
    with pytest.raises(ValueError, match="too many values"):
        journal.write(tmp_path, make(noise, ["city", "walk"]))


def test_a_torn_file_counts_as_not_measured(tmp_path, noise):
    torn = journal.write(tmp_path, single(noise, "walk"))
    torn.write_text(torn.read_text()[:100])
    assert journal.known(tmp_path, RUN) is None
    journal.write(tmp_path, single(noise, "city"))
    assert [clip.clip for clip in journal.gather(tmp_path, RUN).clips] == ["city"]
    assert not torn.exists()


def test_a_file_of_a_newer_version_is_told_and_kept(tmp_path, noise):
    file = journal.write(tmp_path, single(noise, "walk"))
    file.write_text(file.read_text().replace('"schema":2', '"schema":3'))
    with pytest.raises(BenchError, match="written by a newer version of bench"):
        journal.gather(tmp_path, RUN)
    assert file.exists()


def test_what_is_known_is_what_would_be_gathered(tmp_path, noise):
    journal.write(tmp_path, single(noise, "walk"))
    journal.gather(tmp_path, RUN)
    file = journal.write(tmp_path, single(noise, "city"))
    known = journal.known(tmp_path, RUN)
    assert file.exists()
    assert record.read_all(tmp_path) != [known]
    assert journal.gather(tmp_path, RUN) == known


def test_two_ways_of_measuring_never_stand_in_one_record(tmp_path, noise):
    """As when two commands with different options ran at once."""
    for name, hour, dtype in (("walk", 3, "float16"), ("city", 2, "float32"), ("foliage", 1, "")):
        source = msgspec.structs.replace(provenance.now(), measured_at=f"2026-01-01T0{hour}:00:00Z")
        made = make(noise, [name], source=source)
        clips = [msgspec.structs.replace(made.clips[0], restoring={"dtype": dtype})]
        journal.write(tmp_path, msgspec.structs.replace(made, clips=clips))
    whole = journal.gather(tmp_path, RUN)
    assert [(clip.clip, clip.restoring) for clip in whole.clips] == [("walk", {"dtype": "float16"})]


def test_two_gather_at_once(tmp_path, noise):
    """Every clip ends up in the record, whoever gathers it."""
    ones = [msgspec.structs.replace(single(noise, f"clip{i}"), clip_count=24) for i in range(24)]

    def write_and_gather(part):
        for one in part:
            journal.write(tmp_path, one)
            journal.gather(tmp_path, RUN)

    threads = [threading.Thread(target=write_and_gather, args=(ones[i::3],)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole = journal.gather(tmp_path, RUN)
    assert sorted(clip.clip for clip in whole.clips) == sorted(one.clips[0].clip for one in ones)


def test_a_folder_that_cannot_be_locked(tmp_path, noise, no_flock):
    file = journal.write(tmp_path, single(noise, "walk"))
    with pytest.raises(
        BenchError,
        match=r"cannot lock .*\.lock: expected a file system with flock, .* found Function not",
    ):
        journal.gather(tmp_path, RUN)
    assert file.exists()
