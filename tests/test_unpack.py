from __future__ import annotations

import io
import random
import signal
import stat
import subprocess
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import archives
import pytest
from archives import BENIGN, FORMATS, TARGET, Member, folder, make
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import BenchError
from bench.fetching import unpack as module
from bench.fetching.unpack import unpack


@pytest.fixture(autouse=True)
def _stand_in(tmp_path, monkeypatch):
    archives.install_7z(tmp_path / "bin", monkeypatch)


def names(inside: Path) -> list[str]:
    return sorted(path.name for path in inside.iterdir())


def snapshot(root: Path) -> dict[str, tuple[int, bytes]]:
    """Every path below a folder with its mode and its content."""
    found = {}
    for path in sorted(root.rglob("*")):
        mode = path.lstat().st_mode
        data = bytes(path.readlink()) if stat.S_ISLNK(mode) else b""
        found[str(path)] = (mode, path.read_bytes() if stat.S_ISREG(mode) else data)
    return found


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("exists", [False, True])
def test_an_archive_becomes_its_files(form, exists):
    archive = make(form, BENIGN)
    if exists:
        (TARGET / "set/a").mkdir(parents=True)
        (TARGET / "set/a/1.png").write_bytes(b"older")
        (TARGET / "mine").write_bytes(b"mine")
    told: list[tuple[int, int]] = []
    files = unpack(archive, TARGET, progress=lambda done, total: told.append((done, total)))
    wanted = [member for member in BENIGN if member.kind == tarfile.REGTYPE]
    assert files == [(TARGET / member.name).resolve() for member in wanted]
    assert [file.read_bytes() for file in files] == [member.data for member in wanted]
    assert (TARGET / "set/hollow").is_dir()
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert stat.S_IMODE((TARGET / "set").stat().st_mode) == 0o755
    assert exists == (TARGET / "mine").exists()
    assert names(TARGET.parent) == ["set"]
    done = [one for one, _ in told]
    size = sum(len(member.data) for member in wanted)
    assert done == sorted(done)
    assert done[-1] == size
    assert len(done) > len(wanted)
    totals = {"zip": size, "7z": size, "tar": archive.stat().st_size}
    assert {total for _, total in told} == {totals.get(form, 0)}


@pytest.mark.parametrize("form", FORMATS)
def test_the_name_of_an_archive_says_nothing(form):
    archive = make(form, BENIGN[:2])
    if form != "7z":  # whose stand-in knows its files by name
        archive = archive.rename("download")
    assert unpack(archive, TARGET)[0].read_bytes() == b"one"


@pytest.mark.parametrize("form", FORMATS)
def test_leading_parts_are_stripped(form):
    archive = make(form, BENIGN)
    files = unpack(archive, TARGET, strip=1)
    assert files[0] == (TARGET / "a/1.png").resolve()
    assert names(TARGET)[:2] == ["a", "b"]
    with pytest.raises(BenchError, match=r"in 'set/run.sh' nothing left of it without its first 2"):
        unpack(make("zip", [BENIGN[-1]]), TARGET, strip=2)
    same = make("zip", [Member("a/x"), Member("b/x")])
    with pytest.raises(BenchError, match="in 'b/x' a file that it holds twice"):
        unpack(same, TARGET, strip=1)


LINK, HARD = tarfile.SYMTYPE, tarfile.LNKTYPE
HOSTILE: dict[str, tuple[str, list[Member]]] = {
    "upward": ("a path that leads upward", [Member("../evil")]),
    "upward later": ("a path that leads upward", [Member("a/../../../evil")]),
    "upward folder": ("a path that leads upward", [folder("../evil")]),
    "upward but inside": ("a path that leads upward", [Member("a/../evil")]),
    "absolute": ("an absolute path", [Member("/evil-of-a-test")]),
    "absolute twice": ("an absolute path", [Member("//evil-of-a-test")]),
    "drive": ("an absolute path", [Member("C:/evil")]),
    "drive without root": ("an absolute path", [Member("c:evil")]),
    "backslashes": ("a backslash", [Member("..\\..\\evil")]),
    "share": ("a backslash", [Member("\\\\host\\evil")]),
    "link": ("a symbolic link", [Member("a", b"", LINK, "/etc/passwd")]),
    "link inside": ("a symbolic link", [Member("b"), Member("a", b"", LINK, "b")]),
    "through a link": ("a symbolic link", [Member("a", b"", LINK, ".."), Member("a/evil")]),
    "hard link": ("a hard link", [Member("a", b"", HARD, "/etc/passwd")]),
    "device": ("a device", [Member("a", b"", tarfile.CHRTYPE)]),
    "block device": ("a device", [Member("a", b"", tarfile.BLKTYPE)]),
    "pipe": ("a named pipe", [Member("a", b"", tarfile.FIFOTYPE)]),
    "unknown kind": ("a special file", [Member("a", b"", b"Z")]),
    "case": ("differs from 'a/Evil' by case or", [Member("a/Evil"), Member("a/evil")]),
    "case of a folder": ("differs from 'A' by case or", [Member("A/x"), Member("a/y")]),
    "sharp s": ("differs from 'stra\u00dfe' by case", [Member("stra\u00dfe"), Member("STRASSE")]),
    "accents": ("by case or accents only", [Member("caf\u00e9"), Member("cafe\u0301")]),
    "file then folder": ("a file where a folder is wanted", [Member("a"), Member("a/b")]),
    "folder then file": ("a file where a folder is wanted", [Member("a/b"), Member("a")]),
    "file then empty folder": ("a file where a folder is wanted", [Member("a"), folder("a")]),
    "twice": ("a file that it holds twice", [Member("a", b"1"), Member("a", b"2")]),
    "twice, written apart": ("a file that it holds twice", [Member("a/b"), Member("./a//b")]),
    "NUL": ("control characters", [Member("evil\0.png")]),
    "bell": ("control characters", [Member("a\x07")]),
    "escape": ("control characters", [Member("\x1b[2J")]),
    "long name": ("too long a name", [Member("x" * 256)]),
    "long in UTF-8": ("too long a name", [Member("\u4e2d" * 86)]),
    "long path": ("too long a name", [Member("/".join(["x" * 200] * 20))]),
    "only dots": ("nothing left of it", [Member("./.")]),
}
CANNOT = {
    "zip": {"hard link", "unknown kind"},
    "tar": {"NUL"},
    "7z": {"NUL", "hard link", "device", "block device", "unknown kind", "pipe"},
}


def told_apart(form: str, name: str) -> bool:
    return name not in CANNOT.get(form.partition(".")[0], ())


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize(
    ("form", "name"),
    [(f, name) for f in ("zip", "tar", "tar.gz", "7z") for name in HOSTILE if told_apart(f, name)],
)
def test_hostile_archives_change_nothing_anywhere(form, name, exists, tmp_path):
    words, members = HOSTILE[name]
    if form != "zip" or name != "twice":  # zipfile warns of writing that, and only of that
        archive = make(form, [Member("good"), *members, Member("also good")])
    else:
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive = make(form, [Member("good"), *members])
    TARGET.parent.mkdir()
    if exists:
        TARGET.mkdir()
        (TARGET / "good").write_text("mine")
    before = snapshot(tmp_path)
    with pytest.raises(BenchError) as caught:
        unpack(archive, TARGET)
    assert str(caught.value).startswith(
        f"cannot unpack {archive}: expected files and folders with names of their own below the "
        "folder, found in '"
    )
    assert words in str(caught.value)
    assert str(caught.value).endswith("nothing was written; get the archive from its publisher")
    assert str(caught.value).isprintable()
    assert snapshot(tmp_path) == before
    assert not Path("/evil-of-a-test").exists()


@pytest.mark.parametrize("form", ["zip", "7z"])
def test_what_is_listed_is_refused_before_anything_is_unpacked(form):
    archive = make(form, [Member("good"), Member("../evil")])
    told: list[int] = []
    with pytest.raises(BenchError, match="a path that leads upward"):
        unpack(archive, TARGET, progress=lambda done, _: told.append(done))
    assert not told
    tar = make("tar", [Member("good"), Member("../evil")])
    with pytest.raises(BenchError, match="a path that leads upward"):
        unpack(tar, TARGET, progress=lambda done, _: told.append(done))
    assert told == [1]  # into the temporary folder, which is gone
    assert not names(TARGET.parent)


def test_bytes_that_are_no_text_are_refused():
    with tarfile.open("a.tar", "w", format=tarfile.GNU_FORMAT, encoding="latin-1") as archive:
        archive.addfile(tarfile.TarInfo("caf\u00e9"))
    with pytest.raises(BenchError, match=r"in 'caf\\udce9' control characters or bytes that are"):
        unpack(Path("a.tar"), TARGET)


def test_a_link_in_the_folder_is_not_followed(tmp_path):
    """The user's own link, to a place that the archive was not meant for."""
    TARGET.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (TARGET / "a").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(
        BenchError, match=r"cannot unpack to .*/a: expected a folder or.*found a li"
    ):
        unpack(make("zip", [Member("b"), Member("a/evil")]), TARGET)
    assert names(TARGET) == ["a"]
    assert not names(tmp_path / "elsewhere")
    # The folder itself may be a link: that is the user's choice.
    Path("link").symlink_to(TARGET)
    assert unpack(make("zip", [Member("b")]), Path("link")) == [(TARGET / "b").resolve()]
    assert Path("link").is_symlink()


@pytest.mark.parametrize(
    ("there", "members", "found"),
    [
        ("a/b", [Member("a")], "expected a file or nothing there, found a folder"),
        ("a", [Member("a/b")], "expected a folder or nothing there, found a file"),
        ("a", [Member("c"), folder("a")], "expected a folder or nothing there, found a file"),
    ],
)
def test_what_stands_in_the_way_stays(there, members, found):
    (TARGET / there).parent.mkdir(parents=True)
    (TARGET / there).write_text("mine")
    before = snapshot(TARGET)
    with pytest.raises(BenchError, match=found):
        unpack(make("zip", members), TARGET)
    assert snapshot(TARGET) == before


def test_a_target_that_is_a_file_stays():
    Path("target").write_text("mine")
    with pytest.raises(BenchError, match=r"cannot unpack to .*target: expected a folder or"):
        unpack(make("zip", [Member("a")]), Path("target"))
    with pytest.raises(BenchError, match=r"cannot write .*target/deep: found (Not a dir|File exi)"):
        unpack(make("zip", [Member("a")]), Path("target/deep"))
    assert Path("target").read_text() == "mine"


@pytest.mark.parametrize("form", FORMATS)
def test_limits(form, monkeypatch):
    archive = make(form, BENIGN)
    with pytest.raises(BenchError, match="expected at most 1000000 bytes, found more; nothing was"):
        unpack(archive, TARGET, max_bytes=1_000_000)
    with pytest.raises(BenchError, match="expected at most 5 files and folders, found more; nothi"):
        unpack(archive, TARGET, max_files=5)
    size = sum(len(member.data) for member in BENIGN)
    with monkeypatch.context() as patch:
        patch.setattr(module.shutil, "disk_usage", lambda _: SimpleNamespace(free=size - 1))
        with pytest.raises(
            BenchError, match=r"expected room for its \d+ bytes or more, found \d+ "
        ):
            unpack(archive, TARGET)
    assert not names(TARGET.parent)
    assert len(unpack(archive, TARGET, max_bytes=size, max_files=9)) == 5


def test_a_bomb_is_refused_by_what_it_says():
    bomb = make("zip", [Member(f"{i}", bytes(2**22)) for i in range(4)])
    assert bomb.stat().st_size < 20_000
    with pytest.raises(BenchError, match="expected at most 10000000 bytes"):
        unpack(bomb, TARGET, max_bytes=10**7)


@pytest.mark.parametrize("says", [10, 2**22 + 1, 2**30])
def test_a_bomb_that_lies_about_its_size(says):
    bomb = make("zip", [Member("a", bytes(2**22))])
    lying = bytearray(bomb.read_bytes())
    for header, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = lying.index(header) + place
        lying[at : at + 4] = says.to_bytes(4, "little")
    bomb.write_bytes(lying)
    with pytest.raises(BenchError, match=r"cannot unpack archive.zip: expected .*; fetch it again"):
        unpack(bomb, TARGET)
    assert not names(TARGET.parent)


def test_a_tar_bomb_stops_at_the_limit():
    bomb = make("tar.gz", [Member(f"{i}", bytes(2**22)) for i in range(4)])
    with pytest.raises(BenchError, match="expected at most 10000000 bytes"):
        unpack(bomb, TARGET, max_bytes=10**7)


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "7z"])
def test_a_truncated_archive(form):
    members = [Member(f"{i}", random.Random(i).randbytes(700)) for i in range(4)]  # noqa: S311 - data
    archive = make(form, members)
    content = archive.read_bytes()
    step = 97 if form == "tar" else 41
    whole = len(content) - 9000 if form == "tar" else len(content)  # its end is padding
    for end in [*range(1, whole, step), whole - 1]:
        archive.write_bytes(content[:end])
        with pytest.raises(BenchError, match=f"^cannot unpack {archive}: expected "):
            unpack(archive, TARGET)
    assert not TARGET.exists()


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "7z"])
def test_damaged_content_is_noticed(form):
    archive = make(form, [Member("a", random.Random(0).randbytes(5000))])  # noqa: S311 - data
    content = bytearray(archive.read_bytes())
    place = 2000 if form != "tar" else 130  # a tar has checksums of its headers only
    content[place] ^= 0xFF
    archive.write_bytes(content)
    with pytest.raises(BenchError, match=f"^cannot unpack {archive}: expected "):
        unpack(archive, TARGET)
    assert not TARGET.exists()


def test_a_damaged_header_is_not_taken_for_the_end():
    archive = make("tar", [Member("a"), Member("b"), Member("c")])
    content = bytearray(archive.read_bytes())
    content[1024 + 130] ^= 0xFF  # in the header of b
    archive.write_bytes(content)
    with pytest.raises(BenchError, match="expected a whole archive, found no end of the archive"):
        unpack(archive, TARGET)


@settings(max_examples=150, deadline=None)
@given(
    form=st.sampled_from(["zip", "tar", "tar.gz"]),
    changes=st.lists(st.tuples(st.integers(0), st.integers(0, 255)), min_size=1, max_size=4),
    number=st.integers(0, 10**9),
)
def test_damaged_archives_give_files_below_the_folder_or_one_line(form, changes, number):
    archive = make(form, [folder("f"), Member("f/a", b"abc" * 50), Member("b")])
    content = bytearray(archive.read_bytes())
    for place, value in changes:
        content[place % min(len(content), 2500)] = value
    archive.write_bytes(content)
    target = Path(f"fuzz/{number}")
    try:
        files = unpack(archive, target)
    except BenchError as error:
        files, told = [], str(error)
    else:
        told = ""
    assert "\n" not in told
    assert all(file.is_relative_to(target.resolve()) and file.is_file() for file in files)


def test_a_kill_leaves_nothing_under_the_final_names_and_the_next_run_cleans_up():
    archive = make("tar.gz", [Member("a", bytes(3 * 2**20)), Member("b")])
    program = (
        "import os, signal; from pathlib import Path; from bench.fetching.unpack import unpack\n"
        f"unpack(Path({str(archive)!r}), Path({str(TARGET)!r}),"
        " progress=lambda done, total: done > 2**20 and os.kill(os.getpid(), signal.SIGKILL))"
    )
    killed = subprocess.run([sys.executable, "-c", program], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not TARGET.exists()
    (left,) = TARGET.parent.iterdir()
    assert left.name.startswith(".set.")
    unpack(archive, TARGET)
    assert names(TARGET.parent) == ["set"]


def test_a_running_neighbour_is_left_alone():
    archive = make("zip", [Member("a", bytes(2**20)), Member("b")])
    seen: list[list[str]] = []

    def meanwhile(done: int, total: int) -> None:
        if not seen:
            seen.append([])  # the inner run reports as well
            unpack(make("tar", [Member("c")]), TARGET)
            seen.append(names(TARGET.parent))

    unpack(archive, TARGET, progress=meanwhile)
    assert len(seen[1]) == 2  # the outer run's temporary folder and what the inner one made
    assert names(TARGET) == ["a", "b", "c"]
    assert names(TARGET.parent) == ["set"]


def test_an_interruption_cleans_up():
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack(make("zip", [Member("a")]), TARGET, progress=stop)
    assert not names(TARGET.parent)


def test_a_full_disk(monkeypatch):
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fdopen", lambda *_: FullDisk())
    with pytest.raises(
        BenchError, match=r"cannot write .*/a: found No space left on device; free s"
    ):
        unpack(make("zip", [Member("a")]), TARGET)
    assert not names(TARGET.parent)


class FullDisk(io.BytesIO):
    def write(self, _):
        raise OSError(28, "No space left on device")
