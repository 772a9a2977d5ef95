from __future__ import annotations

from pathlib import Path

import pytest
import toyweb

from bench import catalog
from bench.errors import BenchError
from bench.fetching import cache


def put(name: str, size: int) -> Path:
    path = catalog.cache_folder() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    return path


@pytest.fixture
def filled(monkeypatch, toy):
    toyweb.with_weights(monkeypatch, toy, a={}, b={"file": "a.pth"}, whole={"whole_module": True})
    put("checkpoints/toy/a.pth", 100)
    put("checkpoints/toy/.a.pth.digest", 7)
    put("checkpoints/toy/whole.state.pth", 50)
    put("checkpoints/toy/.whole.pth.part", 30)
    put("checkpoints/toy/.whole.pth.part.json", 3)
    put("checkpoints/toy/.whole.pth.lock", 0)
    put("checkpoints/toy/.failed.pth.lock", 0)
    put("checkpoints/toy/notes.txt", 5)
    put("checkpoints.lock", 20)
    put("archives/testset_REDS4.tar.gz", 60)
    put("vid4/GT/city/1.png", 40)
    put("vid4/GT/city/.1.png.digest", 2)
    put(".udm10.unpacked/x", 9)
    put("..spmcs.unpacked.k1.unpacking/tree/x", 8)
    put("holiday.jpg", 11)
    return catalog.cache_folder()


def listed() -> dict[str, tuple[str, int, tuple[str, ...]]]:
    return {entry.name: (entry.kind, entry.bytes, entry.used_by) for entry in cache.entries()}


def test_everything_is_listed_with_its_use(filled):
    assert listed() == {
        "..spmcs.unpacked.k1.unpacking": ("half-unpacked archive", 8, ()),
        ".udm10.unpacked": ("half-unpacked archive", 9, ()),
        "archives/testset_REDS4.tar.gz": ("archive", 60, ("reds4",)),
        "checkpoints.lock": ("pins", 20, ()),
        "checkpoints/toy/.whole.pth.part": ("part of a download", 33, ("toy/whole",)),
        "checkpoints/toy/a.pth": ("checkpoint", 107, ("toy/a", "toy/b")),
        "checkpoints/toy/notes.txt": ("unknown", 5, ()),
        "checkpoints/toy/whole.state.pth": ("converted", 50, ("toy/whole",)),
        "holiday.jpg": ("unknown", 11, ()),
        "vid4": ("data set", 42, ("vid4", "vid4-155")),
    }
    assert sum(size for _, size, _ in listed().values()) == sum(
        path.stat().st_size for path in filled.rglob("*") if path.is_file()
    )


def test_an_empty_cache():
    assert cache.entries() == []
    assert cache.clear() == []
    with pytest.raises(BenchError, match=r"the cache folder holds no 'vid4': .*nothing is there"):
        cache.clear(["vid4"])


@pytest.mark.parametrize(
    ("names", "gone"),
    [
        (["toy/b"], {"checkpoints/toy/a.pth"}),
        (["vid4-155"], {"vid4"}),
        (["holiday.jpg", "checkpoints.lock"], {"holiday.jpg", "checkpoints.lock"}),
        (
            ["toy"],
            {
                "checkpoints/toy/.whole.pth.part",
                "checkpoints/toy/a.pth",
                "checkpoints/toy/whole.state.pth",
            },
        ),
    ],
)
def test_what_is_named_goes(filled, names, gone):
    before = set(listed())
    assert {entry.name for entry in cache.clear(names)} == gone
    assert set(listed()) == before - gone
    assert not [path for path in filled.rglob(".*digest") if path.name[1:-7] in gone]


def test_all_goes_but_what_is_unknown_and_the_pins(filled):
    cache.clear()
    assert set(listed()) == {"checkpoints.lock", "checkpoints/toy/notes.txt", "holiday.jpg"}


def test_a_part_goes_with_its_lock(filled):
    cache.clear(["checkpoints/toy/.whole.pth.part"])
    assert not list((filled / "checkpoints/toy").glob(".whole*"))


def test_files_that_a_running_download_takes_away(filled, monkeypatch):
    def renamed(_: object) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(Path, "lstat", renamed)
    assert {size for _, size, _ in listed().values()} == {0}


def test_the_examples_of_papers(monkeypatch, tmp_path):
    put("test_example/0625/im1.png", 3)
    put("results/Custom/0625/00000001.png", 4)
    put("results/records/mine.json", 5)
    put("results/vid4/mine.png", 6)
    assert listed() == {
        "results/Custom/0625": ("released frames", 4, ("stdan",)),
        "results/records": ("unknown", 5, ()),
        "results/vid4": ("unknown", 6, ()),
        "test_example/0625": ("released frames", 3, ("stdan",)),
    }
    cache.clear()
    assert set(listed()) == {"results/records", "results/vid4"}


def test_an_unknown_name_removes_nothing(filled):
    before = listed()
    for names in (["vid4", "../here"], ["vid4", "/etc"], ["vid4", "."], ["vid4", ""]):
        with pytest.raises(BenchError, match="the cache folder holds no "):
            cache.clear(names)
    assert listed() == before


def test_links_are_never_followed(filled, tmp_path):
    outside = tmp_path / "outside"
    (outside / "checkpoints").mkdir(parents=True)
    (outside / "precious").write_bytes(bytes(1000))
    (filled / "reds4").symlink_to(outside)
    (filled / "vid4/GT/linked").symlink_to(outside)
    (filled / "checkpoints/tdan").symlink_to(outside)
    (filled / "checkpoints/toy/b.pth").symlink_to(outside / "precious")
    assert sum(size for _, size, _ in listed().values()) < 1000
    cache.clear(["reds4", "vid4", "checkpoints/tdan", "checkpoints/toy/b.pth"])
    assert not (filled / "reds4").is_symlink()
    assert (outside / "precious").stat().st_size == 1000
    assert (outside / "checkpoints").is_dir()
    assert not (filled / "vid4").exists()


def test_a_cache_folder_that_is_a_link(filled, monkeypatch, tmp_path):
    (tmp_path / "link").symlink_to(filled)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "link"))
    assert "vid4" in listed()
    cache.clear(["vid4"])
    assert not (filled / "vid4").exists()
    assert (tmp_path / "link").is_symlink()


def test_a_file_that_cannot_be_removed(filled, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(BenchError, match=r"cannot remove .*a.pth: found Permission denied"):
        cache.clear(["toy/a"])
