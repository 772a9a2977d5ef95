from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import archives
import pytest
from archives import BENIGN, FORMATS, TARGET, Member, make, make_7z

from bench.errors import BenchError
from bench.fetching import archive
from bench.fetching.archive import FILE, FOLDER
from bench.fetching.unpack import unpack

REAL = next(filter(None, map(shutil.which, ("7zz", "7z", "7za"))), None)
needs_7z = pytest.mark.skipif(REAL is None, reason="the program 7z is not installed")


@pytest.fixture(autouse=True)
def _stand_in(tmp_path, monkeypatch):
    archives.install_7z(tmp_path / "bin", monkeypatch)


@pytest.mark.parametrize("form", FORMATS)
def test_entries_come_in_order_with_their_content(form):
    with archive.opened(make(form, BENIGN)) as source:
        found = [
            (entry.name.rstrip("/"), entry.kind, entry.size, b"".join(entry.chunks()))
            for entry in source.entries
            if entry.kind == FILE
        ]
        listed = [entry.kind for entry in source.listing]
    files = [member for member in BENIGN if member.kind == tarfile.REGTYPE]
    assert found == [(m.name, FILE, len(m.data), m.data) for m in files]
    kinds = [FOLDER if member.kind == tarfile.DIRTYPE else FILE for member in BENIGN]
    assert listed == ([] if form.startswith("tar") else kinds)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "found an empty file"),
        (b" \n<!DOCTYPE html><html>quota</html>", "found a web page"),
        (b"Rar!\x1a\x07\x01\x00", r"found bytes that begin with b'Rar!\\x1a\\x07\\x01\\x00'"),
        (b"\0" * 2048, "found bytes that begin"),
        (b"PK\x03\x04 and no more", "expected a whole archive, found File is not a zip file"),
        (b"PK\x05\x06" + bytes(18), "expected files in it, found none; fetch it again"),
        (gzip.compress(b"no tar"), "expected a whole archive, found "),
        (gzip.compress(b""), "expected a whole archive, found empty file"),
        (b"BZh9 no", "expected a whole archive, found Invalid data stream"),
        (b"\xfd7zXZ\0 no", "expected a whole archive, found "),
    ],
)
def test_what_is_no_archive(content, found):
    Path("download.zip").write_bytes(content)
    with pytest.raises(BenchError, match=f"^cannot unpack download.zip: .*{found}") as caught:
        unpack(Path("download.zip"), TARGET)
    assert "\n" not in str(caught.value)
    assert not TARGET.exists()
    with pytest.raises(
        BenchError, match=r"^cannot read none.zip: found No such file or directory; check the path"
    ):
        unpack(Path("none.zip"), TARGET)


def test_encrypted_and_unknown_zip_members():
    path = make("zip", [Member("a")])
    content = path.read_bytes()
    for value, place, found in ((1, 8, "an encrypted one"), (9, 10, "compression method")):
        changed = bytearray(content)
        changed[content.index(b"PK\x01\x02") + place] = value
        path.write_bytes(changed)
        with pytest.raises(BenchError, match=f"cannot unpack archive.zip: .*found .*{found}"):
            unpack(path, TARGET)


def test_a_zip_whose_two_names_differ():
    path = make("zip", [Member("good")])
    path.write_bytes(path.read_bytes().replace(b"good", b"evil", 1))
    with pytest.raises(BenchError, match=r"found File name in directory 'good' and header b'evil'"):
        unpack(path, TARGET)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_tar_header_cannot_fill_the_memory(kind):
    """A few kilobytes that say they describe a member with 2**33 bytes of zeros."""
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, 2**33
    header = info.tobuf(tarfile.GNU_FORMAT)
    Path("a.tar.gz").write_bytes(gzip.compress(header + bytes(2**20)))
    with pytest.raises(BenchError, match="found a header of more than 4194304 bytes"):
        unpack(Path("a.tar.gz"), TARGET)


def test_a_tar_that_goes_on_after_its_end(monkeypatch):
    path = make("tar", [Member("a")])
    monkeypatch.setattr(archive, "_MOST_AFTER_END", 2**20)
    content = path.read_bytes()
    Path("a.tar.gz").write_bytes(gzip.compress(content + bytes(2**20 - 20_000)))
    assert unpack(Path("a.tar.gz"), TARGET)
    Path("a.tar.gz").write_bytes(gzip.compress(content + bytes(2**21)))
    with pytest.raises(BenchError, match="more than 1048576 bytes after its end"):
        unpack(Path("a.tar.gz"), TARGET)


def test_sparse_files_are_refused():
    info = tarfile.TarInfo("hole")
    info.type = tarfile.GNUTYPE_SPARSE
    Path("a.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(10240))
    with pytest.raises(BenchError, match="in 'hole' a sparse file"):
        unpack(Path("a.tar"), TARGET)


def test_7z_without_the_program(monkeypatch):
    path = make("7z", [Member("a")])
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(BenchError) as caught:
        unpack(path, TARGET)
    assert str(caught.value) == (
        "cannot unpack archive.7z: expected the program 7zz or 7z or 7za, "
        "found none of them on this machine; install 7-Zip or unpack it by hand"
    )


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda listing, content: (listing, content[:-1]), "its end too early"),
        (lambda listing, content: (listing, content + b"x"), "more or less content than listed"),
        (lambda listing, content: (listing, b"z" + content[1:]), "not agree with its checksum"),
        (lambda _, content: ("", content), "its end too early"),
        (lambda _, content: ("nonsense", content), "in '' nothing left"),
        (lambda listing, content: (listing.replace("-\n", "+\n"), content), "an encrypted one"),
        (
            lambda listing, content: (listing.replace("Size = 3", "Size = x"), content),
            "invalid lit",
        ),
        (lambda listing, _: (listing.replace("Size = 3", "Size = 99"), b"x" * 9), "too early"),
        (lambda listing, content: (listing.replace("A -rw", "A lrw"), content), "a symbolic link"),
        (lambda listing, content: (listing.replace("A -rw", "AL -rw"), content), "a symbolic link"),
        (lambda listing, content: (listing.replace("A -rw", "A prw"), content), "a special file"),
    ],
)
def test_7z_programs_are_not_trusted(change, found):
    path = make("7z", [Member("a", b"one"), Member("b", b"two")])
    listing, content = path.with_suffix(".listing"), path.with_suffix(".content")
    changed = change(listing.read_text(), content.read_bytes())
    listing.write_text(changed[0])
    content.write_bytes(changed[1])
    with pytest.raises(BenchError, match=f"cannot unpack archive.7z: .*{found}"):
        unpack(path, TARGET)
    assert not TARGET.exists()


def test_7z_programs_that_fail():
    path = Path("archive.7z")
    make_7z(path, [Member("a", b"one")], code=2)
    with pytest.raises(BenchError, match="expected a whole archive, found Path = a"):
        unpack(path, TARGET)
    path.with_suffix(".listing").write_text("\nEnter password (will not be echoed):\n")
    with pytest.raises(BenchError, match="expected an archive without a password"):
        unpack(path, TARGET)


@pytest.fixture
def real_7z(monkeypatch):
    """Runs the real program in a folder `made`."""
    monkeypatch.setenv("PATH", f"{Path(str(REAL)).parent}:/usr/bin:/bin")
    Path("made/sub/hollow").mkdir(parents=True)
    for name, data in (("a", b"one"), ("sub/b", os.urandom(2**21)), ("sub/empty", b"")):
        (Path("made") / name).write_bytes(data)

    def run(*words: str) -> Path:
        command = [str(REAL), *words, "../real.7z", "."]
        subprocess.run(command, cwd="made", check=True, capture_output=True)
        return Path("real.7z")

    return run


@needs_7z
@pytest.mark.parametrize("options", [[], ["-ms=off"], ["-m0=copy"], ["-mhc=off"]])
def test_a_real_7z_round_trip(real_7z, options):
    files = unpack(real_7z("a", *options), TARGET)
    for file in files:
        assert file.read_bytes() == (Path("made") / file.relative_to(TARGET.resolve())).read_bytes()
    assert len(files) == 3
    assert (TARGET / "sub/hollow").is_dir()


@needs_7z
def test_real_7z_archives_that_are_refused(real_7z):
    whole = real_7z("a").read_bytes()
    damaged = bytearray(whole)
    damaged[5000] ^= 0xFF
    for content in (whole[:-10], whole[: len(whole) // 2], damaged):
        Path("real.7z").write_bytes(content)
        with pytest.raises(BenchError, match=r"cannot unpack real.7z: expected a whole archive"):
            unpack(Path("real.7z"), TARGET)
    for options in (["-psecret"], ["-psecret", "-mhe=on"]):
        Path("real.7z").unlink()
        with pytest.raises(
            BenchError, match="expected an archive without a password, found an enc"
        ):
            unpack(real_7z("a", *options), TARGET)
    Path("real.7z").unlink()
    Path("made/link").symlink_to("/etc/passwd")
    with pytest.raises(BenchError, match="in 'link' a symbolic link"):
        unpack(real_7z("a", "-snl"), TARGET)
    assert not TARGET.exists()
