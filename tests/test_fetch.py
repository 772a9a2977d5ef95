from __future__ import annotations

import hashlib
import io
import shutil
import socket
import threading
import time
import zipfile
from pathlib import Path

import pytest
import toyweb
from web_server import Server, page, sha256, status

from bench import catalog, checkpoint, fetch, locate
from bench.errors import BenchError
from bench.fetching import pins, wanted
from bench.fetching.wanted import Selection

WEIGHTS = toyweb.saved({"params": toyweb.state_of(1)})
WIDE = toyweb.saved({"params": toyweb.state_of(2, channels=5)})


def get(*names: str, root: Path, **options) -> list[fetch.Outcome]:
    selection = options.pop("selection", None)
    return fetch.fetch(wanted.wanted(names, root, selection), root, **options)


def test_a_checkpoint_comes_whole_checked_and_usable(monkeypatch, server, toy, tmp_path):
    address = server.put("/weights/net.pth", WEIGHTS)
    described = {"sources": [address], "sha256": sha256(WEIGHTS)[:8]}
    chosen = toyweb.with_weights(monkeypatch, toy, net=described)
    (outcome,) = get("toy/net", root=tmp_path)
    assert outcome.problem is None
    assert f'sha256: "{sha256(WEIGHTS)}"' in outcome.notes[0]
    path = checkpoint.find(chosen, "net")
    state = checkpoint.read(path, chosen.checkpoint("net"))
    assert not checkpoint.network(chosen, "net", state).training
    (again,) = get("toy", root=tmp_path)
    assert (again.item.state, again.problem, again.notes) == ("here", None, [])
    assert server.count("/weights/net.pth") == 1


def test_a_mirror_stands_for_the_published_address(monkeypatch, server, toy, tmp_path):
    server.put("/m/net.pth", WEIGHTS)
    published = "https://weights.example.org/v1/net.pth"
    monkeypatch.setenv("BENCH_MIRRORS", f"https://weights.example.org/v1/={server.root}/m/")
    toyweb.with_weights(monkeypatch, toy, net={"sources": [published], "sha256": sha256(WEIGHTS)})
    (outcome,) = get("toy/net", root=tmp_path)
    assert (outcome.problem, outcome.notes) == (None, [])


def test_what_has_no_known_digest_is_pinned_when_it_fits(monkeypatch, server, toy, tmp_path):
    good, bad = server.put("/good.pth", WEIGHTS), server.put("/bad.pth", WIDE)
    chosen = toyweb.with_weights(monkeypatch, toy, a={"sources": [good]}, b={"sources": [bad]})
    first, second = get("toy", root=tmp_path)
    assert "its whole SHA-256 was not published: pinned in" in first.notes[0]
    assert set(pins.read()) == {"toy/a.pth"}
    with pytest.raises(BenchError, match=r"b.pth does not fit toy/b: .*first.weight is \[5, 3"):
        raise second.problem
    # The publisher replaces the file: what comes is refused, and nothing lies under the name.
    path = checkpoint.place_of(chosen, "a")
    path.unlink()
    server.put("/good.pth", toyweb.saved({"params": toyweb.state_of(9)}))
    (outcome,) = get("toy/a", root=tmp_path)
    assert "expected" in str(outcome.problem)
    told = f"that is what came first, by {pins.lock_path()}; where its publisher replaced it, take"
    assert outcome.notes[0].startswith(told)
    assert not path.exists()
    with pytest.raises(BenchError, match="is not on this machine"):
        checkpoint.find(chosen, "a")


def test_one_failing_item_does_not_stop_the_others(monkeypatch, server, toy, tmp_path):
    chosen = toyweb.with_weights(
        monkeypatch,
        toy,
        gone={"sources": [server.root + "/gone"], "by_hand": ["Baidu 1x"], "sha256": "0" * 8},
        net={"sources": [server.put("/net.pth", WEIGHTS)], "sha256": sha256(WEIGHTS)},
        web={
            "sources": [server.put("/web.pth", b"", page("<html>log in</html>"))],
            "sha256": "1" * 8,
        },
        other={"sources": [server.put("/other.pth", WIDE)], "sha256": "2" * 64},
    )
    gone, net, web, other = get("toy", root=tmp_path)
    assert net.problem is None
    assert "404" in str(gone.problem)
    assert gone.notes == ["by hand: Baidu 1x; then bench add FILE --as toy/gone"]
    assert "page" in str(web.problem)
    assert "2" * 64 in str(other.problem)
    assert [p.name for p in (pins.folder() / "toy").glob("[!.]*")] == ["net.pth"]
    assert chosen.checkpoint("net")


def test_frames_come_file_by_file_into_a_known_layout(monkeypatch, server, toy, tmp_path):
    small = toyweb.with_data_set(monkeypatch, server, tmp_path / "manifests")
    came = grown = 0

    def on_bytes(count: int, more: int) -> None:
        nonlocal came, grown
        came, grown = came + count, grown + more

    root = tmp_path / "data"
    outcomes = get("small", root=root, progress=on_bytes)
    assert [outcome.problem for outcome in outcomes] == [None, None]
    assert (came, grown) == (sum(outcome.item.bytes for outcome in outcomes), 0)
    found = locate.find(small, root)
    assert (found.layout.name, set(found.lr)) == ("plain", {"bi"})
    frame = root / "small/GT/right/Frame 2.png"
    assert frame.read_bytes() == toyweb.picture(16, 24, 4)
    asked = len(server.asked)
    assert [o.item.state for o in get("small", root=root)] == ["here", "here"]
    assert len(server.asked) == asked
    frame.unlink()
    get("small", root=root)
    assert len(server.asked) == asked + 1
    assert frame.exists()


def test_released_frames_come_for_the_paper_that_scores_them(monkeypatch, server, toy, tmp_path):
    import msgspec

    from bench import paper

    toyweb.with_data_set(monkeypatch, server, tmp_path / "manifests")
    described = paper.Checkpoint(title="frames", frames={"small": ["SR/{clip}"]})
    cell = msgspec.structs.replace(toy.cells[0], dataset="small", checkpoint="sr", clip=None)
    chosen = msgspec.structs.replace(toy, checkpoints={"sr": described}, cells=[cell])
    monkeypatch.setattr(paper, "load", lambda _: chosen)
    outcomes = get("toy", root=tmp_path)
    assert [(o.item.name, o.item.what, o.problem) for o in outcomes] == [
        ("toy/sr", "SR frames", None),
        ("small", "GT frames", None),
    ]
    assert not (tmp_path / "small/LR-BI").exists()
    assert (tmp_path / "small/SR/left/1.png").is_file()
    assert [o.item.state for o in get("toy", root=tmp_path)] == ["here", "here"]


def test_a_failure_in_the_middle_keeps_what_came(monkeypatch, server, toy, tmp_path):
    toyweb.with_data_set(monkeypatch, server, tmp_path / "manifests")
    broken = f"/toy/data/{toyweb.COMMIT}/data/GT/right/Frame%201.png"
    server.scripts[broken] = [status(404)]
    gt, lr = get("small", root=tmp_path)
    assert "Frame 1.png" in str(gt.problem)
    assert lr.problem is None
    assert not (tmp_path / "small/GT/right/Frame 1.png").exists()
    before = server.count(broken.replace("Frame%201", "Frame%200"))
    gt, lr = get("small", root=tmp_path)
    assert (gt.problem, lr.problem) == (None, None)
    assert server.count(broken.replace("Frame%201", "Frame%200")) in {before, 1}
    assert len(list((tmp_path / "small/GT").rglob("[!.]*.png"))) == 5


def test_a_frame_that_is_damaged_is_told_and_not_replaced(monkeypatch, server, toy, tmp_path):
    toyweb.with_data_set(monkeypatch, server, tmp_path / "manifests")
    get("small", root=tmp_path)
    frame = tmp_path / "small/GT/left/Frame 0.png"
    damaged = bytes(reversed(frame.read_bytes()))
    frame.write_bytes(damaged)
    gt, _ = get("small", root=tmp_path)
    with pytest.raises(
        BenchError, match=r"Frame 0.png is not the published file: expected SHA-256"
    ):
        raise gt.problem
    assert frame.read_bytes() == damaged


def test_several_files_come_at_once(monkeypatch, server, toy, tmp_path):
    toyweb.with_data_set(monkeypatch, server, tmp_path / "manifests")
    together = threading.Barrier(3, timeout=20)

    def wait(handler) -> None:
        together.wait()
        handler.serve(server.files[handler.path])

    for index in range(3):
        path = f"/toy/data/{toyweb.COMMIT}/data/GT/right/Frame%20{index}.png"
        server.scripts[path] = [wait]
    assert [outcome.problem for outcome in get("small", root=tmp_path)] == [None, None]


def test_offline_opens_no_socket(monkeypatch, toy, tmp_path):
    with Server() as server:
        toyweb.with_weights(monkeypatch, toy, net={"sources": [server.root + "/net.pth"]})
        toyweb.with_data_set(monkeypatch, server, tmp_path / "manifests")

        def refuse(*_: object, **__: object) -> None:
            raise AssertionError("a socket was opened")

        with monkeypatch.context() as patch:
            patch.setattr(socket, "socket", refuse)
            outcomes = get("toy/net", "small", root=tmp_path / "data", offline=True)
            patch.setenv("BENCH_OFFLINE", "1")
            outcomes += get("toy/net", "small", root=tmp_path / "data")
        assert server.asked == []
    assert len(outcomes) == 6
    for outcome in outcomes:
        with pytest.raises(BenchError, match=r"is not on this machine: expected .* put it there"):
            raise outcome.problem


def test_a_small_disk_is_noticed_before_anything_comes(monkeypatch, server, toy, tmp_path):
    toyweb.with_data_set(monkeypatch, server, tmp_path / "manifests")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2**20))
    words = "the disk of .* is too small: expected 0.07 GB, found 0.00 GB free; free some space"
    with pytest.raises(BenchError, match=words):
        get("small", root=tmp_path)
    assert server.asked == []
    assert not (tmp_path / "small").exists()


def test_an_interruption_ends_every_download(monkeypatch, server, toy, tmp_path):
    toyweb.with_data_set(monkeypatch, server, tmp_path / "manifests")
    calls = 0

    def interrupt(*_: int) -> None:
        nonlocal calls
        calls += 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get("small", root=tmp_path, progress=interrupt)
    assert calls <= 8
    assert [o.problem for o in get("small", root=tmp_path)] == [None, None]


def test_an_interruption_ends_a_long_pause(monkeypatch, server, toy, tmp_path):
    """The server asks one file to come back in a minute; the user presses Ctrl-C meanwhile."""
    toyweb.with_data_set(monkeypatch, server, tmp_path / "manifests")
    path = f"/toy/data/{toyweb.COMMIT}/data/GT/left/Frame%200.png"
    server.scripts[path] = [status(429, {"Retry-After": "60"})]

    def interrupt(*_: int) -> None:
        while not server.count(path):
            time.sleep(0.01)
        time.sleep(0.2)
        raise KeyboardInterrupt

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        get("small", root=tmp_path, progress=interrupt)
    assert time.monotonic() - begun < 30


def test_an_archive_needs_room_twice(archived, monkeypatch, tmp_path):
    small = archived(b"", about_bytes=5 * 10**9)
    usage = shutil.disk_usage(tmp_path)
    assert small.downloads[0].about_bytes
    for free, enough in ((9 * 10**9, False), (11 * 10**9, True)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: usage._replace(free=free))
        items = wanted.wanted(["small"], tmp_path, LARGE)
        if enough:
            fetch.check_space(items)
        else:
            with pytest.raises(
                BenchError, match=r"too small: expected 10.07 GB, found 9.00 GB free"
            ):
                fetch.check_space(items)


def zipped(**files: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def clips(gt: str, lr: str) -> dict[str, bytes]:
    return {
        f"{folder}/{clip}/{index}.png": toyweb.picture(height, height, index)
        for clip, count in toyweb.CLIPS.items()
        for index in range(count)
        for folder, height in ((gt, 16), (lr, 4))
    }


@pytest.fixture
def archived(monkeypatch, server, tmp_path):
    def put(content: bytes, **about: int) -> catalog.Dataset:
        address = server.put("/set.zip", content)
        download = {"what": "all", "kind": "archive", "addresses": [address], **about}
        return toyweb.with_data_set(monkeypatch, server, tmp_path / "manifests", download)

    return put


LARGE = Selection(large=True)


@pytest.mark.parametrize("wrapped", ["", "Small/", "testset/Small/"])
def test_an_archive_is_unpacked_to_where_it_is_looked_for(archived, tmp_path, wrapped):
    extra = {f"{wrapped}README.txt": b"hello"}
    small = archived(zipped(**clips(f"{wrapped}hr", f"{wrapped}lr"), **extra))
    assert get("small", root=tmp_path)[0].item.state == "left out"
    (outcome,) = get("small", root=tmp_path, selection=LARGE)
    assert outcome.problem is None
    assert outcome.notes == [f"unpacked into {tmp_path / 'small'} (other layout)"]
    found = locate.find(small, tmp_path)
    assert (found.root, set(found.lr)) == (tmp_path / "small", {"bi"})
    assert (tmp_path / "small/README.txt").read_bytes() == b"hello"
    assert not list((catalog.cache_folder() / "archives").glob("[!.]*"))
    assert not list(tmp_path.glob(".*unpacked*"))
    (again,) = get("small", root=tmp_path)
    assert again.item.state == "here"


def test_two_processes_unpack_an_archive_once(archived, monkeypatch, tmp_path):
    from bench.fetching import unpack

    archived(zipped(**clips("hr", "lr")))
    real, began, outcomes = unpack.unpack, [], []

    def late(*words: Path, **limits: int) -> list[Path]:
        began.append(words)
        if len(began) == 1:  # the other one has its archive, and finishes while this one waits
            other = threading.Thread(target=another)
            other.start()
            time.sleep(0.5)
            threads.append(other)
        return real(*words, **limits)

    def another() -> None:
        outcomes.extend(fetch.fetch(items, tmp_path))

    threads: list[threading.Thread] = []
    monkeypatch.setattr(unpack, "unpack", late)
    items = wanted.wanted(["small"], tmp_path, LARGE)
    outcomes.extend(fetch.fetch(items, tmp_path))
    threads[0].join()
    assert [outcome.problem for outcome in outcomes] == [None, None]
    assert outcomes[0].notes == outcomes[1].notes
    assert len(began) == 1


def test_an_archive_in_no_known_layout_says_what_it_holds(archived, tmp_path):
    archived(zipped(**clips("sharp/x4", "blurred/x4")))
    (outcome,) = get("small", root=tmp_path, selection=LARGE)
    with pytest.raises(BenchError, match=r"was unpacked into .*small, but not found") as caught:
        raise outcome.problem
    assert "expected one of GT/{clip}, hr/{clip}" in str(caught.value)
    assert "found folders blurred/x4, sharp/x4" in str(caught.value)
    assert (catalog.cache_folder() / "archives/set.zip").exists()
    assert (tmp_path / "small/sharp/x4/left/0.png").is_file()


def test_an_archive_never_replaces_what_is_there(archived, tmp_path):
    archived(zipped(**clips("hr", "lr"), **{"list.txt": b"theirs"}))
    (tmp_path / "small").mkdir()
    (tmp_path / "small/list.txt").write_bytes(b"mine")
    (outcome,) = get("small", root=tmp_path, selection=LARGE)
    assert "list.txt is there already: found another one in" in str(outcome.problem)
    assert (tmp_path / "small/list.txt").read_bytes() == b"mine"


def test_a_damaged_archive_leaves_no_data_set(archived, tmp_path):
    archived(zipped(**clips("hr", "lr"))[:-200])
    (outcome,) = get("small", root=tmp_path, selection=LARGE)
    assert outcome.problem
    assert not (tmp_path / "small").exists()


def test_a_pickled_network_is_converted(monkeypatch, server, toy, tmp_path):
    """Its state dict is read; the provenance is that of the published file."""
    import torch
    from toypaper.network import Toy

    torch.manual_seed(4)
    whole = Toy()
    file = io.BytesIO()
    torch.save(whole, file)
    content = file.getvalue()
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    address = server.put("/model.pt", content)
    described = {"file": "model.pt", "git_blob": blob, "whole_module": True, "wrapper": None}
    chosen = toyweb.with_weights(monkeypatch, toy, net={"sources": [address], **described})
    (outcome,) = get("toy/net", root=tmp_path)
    assert outcome.problem is None
    assert "pinned in" in outcome.notes[0]
    made = checkpoint.place_of(chosen, "net").with_name("model.state.pth")
    assert outcome.notes[1] == f"its tensors were read without running its code: {made}"
    for path in (checkpoint.find(chosen, "net"), made):
        state = checkpoint.read(path, chosen.checkpoint("net"))
        assert torch.equal(state["first.weight"], whole.first.weight)
        assert checkpoint.sha256(path) == sha256(content)
    checkpoint.place_of(chosen, "net").unlink()
    assert checkpoint.find(chosen, "net") == made
    assert get("toy/net", root=tmp_path)[0].item.state == "here"
