from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

import msgspec
import pytest
import torch
import toyweb
from toypaper.network import Toy
from web_server import sha256, status

from bench import catalog, paper, record
from bench.fetching import manifest, pins

ROOT = Path(__file__).parent.parent

WEIGHTS = toyweb.saved({"params": toyweb.state_of(1)})


def lines(out: str, begin: str) -> list[str]:
    return [line for line in out.splitlines() if line.startswith(begin)]


def test_a_dry_run_lists_and_fetches_nothing(bench, monkeypatch, server, toy, tmp_path):
    toyweb.with_data_set(monkeypatch, server, tmp_path / "manifests")
    toyweb.with_weights(monkeypatch, toy, net={"sources": [server.root + "/net.pth"]})
    code, out, err = bench("fetch", "small", "toy/net", "--dry-run")
    assert (code, err) == (0, "")
    row = r"^small +GT frames +[\d.]+ kB +none stated +missing$"
    assert re.search(row, out, re.MULTILINE)
    assert re.search(r"^toy/net +toy net +unknown +no licence file +missing$", out, re.MULTILINE)
    assert re.search(r"^to fetch: 11 files, [\d.]+ kB and 1 of unknown size$", out, re.MULTILINE)
    assert "no licence file, so no leave to pass on: toy/net\n" in out
    assert server.asked == []
    assert not catalog.cache_folder().exists()


def test_fetch_list_and_plan_agree(bench, monkeypatch, server, toy, tmp_path):
    address = server.put("/net.pth", WEIGHTS)
    described = {"sources": [address], "sha256": sha256(WEIGHTS), "licence": "MIT"}
    toyweb.with_weights(monkeypatch, toy, net=described)
    assert "missing: bench fetch toy/net" in bench("list")[1]
    code, out, err = bench("fetch", "toy")
    assert (code, err) == (0, "")
    assert "no licence file" not in out
    assert lines(out, "came: ") == [f"came: toy/net, toy net: {pins.folder() / 'toy'}"]
    assert re.search(r"^toy +net +toy net +0 +here: .*net.pth$", bench("list")[1], re.MULTILINE)
    assert lines(bench("fetch", "toy")[1], "here: ")


def test_failures_are_told_one_by_one(bench, monkeypatch, server, toy, tmp_path):
    toyweb.with_data_set(monkeypatch, server, tmp_path / "manifests")
    net = server.put("/net.pth", WEIGHTS)
    gone = {"sources": [server.root + "/gone.pth"], "sha256": "0" * 8, "by_hand": ["Baidu 1x"]}
    toyweb.with_weights(monkeypatch, toy, gone=gone, net={"sources": [net]})
    server.scripts[f"/toy/data/{toyweb.COMMIT}/data/LR-BI/right/0001.png"] = [status(403)]
    code, out, _ = bench("fetch", "toy", "small")
    assert code == 2
    assert [line.split(",")[0] for line in lines(out, "failed: ")] == [
        "failed: toy/gone",
        "failed: small",
    ]
    assert "  by hand: Baidu 1x; then bench add FILE --as toy/gone" in out
    assert f'for paper.yaml: sha256: "{sha256(WEIGHTS)}"' in out
    assert "what came stays" in out
    assert bench("fetch", "small")[0] == 0


def test_the_examples_of_a_paper(bench, monkeypatch, server, toy):
    content = toyweb.picture(4, 6, 1)
    server.put(f"/toy/data/{toyweb.COMMIT}/out/1.png", content)
    row = ("SR", "c", "toy/data", toyweb.COMMIT, "out/1.png", len(content), sha256(content))
    reference = paper.Reference(
        title="an example",
        checkpoint="good",
        source="here",
        lr=["in"],
        frames=["out"],
        manifest="x.csv",
    )
    chosen = msgspec.structs.replace(toy, references={"r": reference}, cells=[])
    monkeypatch.setattr(paper, "load", lambda _: chosen)
    monkeypatch.setattr(paper, "published_files", lambda *_: [manifest.Row(*row)])
    monkeypatch.setattr(manifest, "HOST", server.root)
    for told in ("came", "here"):
        code, out, _ = bench("fetch", "toy")
        assert code == 0
        assert lines(out, told) == [f"{told}: toy, an example: {catalog.cache_folder() / 'out'}"]
        assert ("no leave to pass on: toy\n" in out) == (told == "came")
    assert (catalog.cache_folder() / "out/1.png").read_bytes() == content
    assert len(server.asked) == 1


def test_large_ones_are_left_out_and_are_no_failure(bench, monkeypatch, server, tmp_path):
    address = server.put("/set.zip", b"")
    listed = {"what": "list", "kind": "list", "manifest": "small.csv", "role": "list"}
    large = {"what": "all", "kind": "archive", "addresses": [address], "about_bytes": 2 * 10**9}
    toyweb.with_data_set(monkeypatch, server, tmp_path / "manifests", listed, large)
    code, out, _ = bench("fetch", "small")
    assert code == 0
    (told,) = lines(out, "left out: ")
    assert "small, all: 2 GB, fetched with --large only; run bench fetch small --large; it " in told
    assert address in told
    assert server.count("/set.zip") == 0
    assert (catalog.cache_folder() / "small/list.txt").is_file()


def test_offline_says_what_to_do(bench, monkeypatch, server, toy):
    toyweb.with_weights(monkeypatch, toy, net={"sources": [server.put("/net.pth", WEIGHTS)]})
    for words, variable in ((["--offline"], "0"), ([], "1")):
        monkeypatch.setenv("BENCH_OFFLINE", variable)
        code, out, _ = bench("fetch", "toy", *words)
        assert code == 2
        assert "failed: toy/net, toy net: net.pth is not on this machine: expected" in out
    assert server.asked == []


def test_what_needs_no_files(bench):
    code, out, _ = bench("fetch", "sample")
    assert (code, out) == (0, "nothing to fetch: sample needs no files\n")


class Terminal(io.StringIO):
    """What tqdm takes for a terminal."""

    def isatty(self) -> bool:
        return True


def test_progress_shows_bytes_rate_and_time_left(bench, monkeypatch, server, tmp_path):
    toyweb.with_data_set(monkeypatch, server, tmp_path / "manifests")

    def late(seconds: float):
        def act(handler) -> None:
            time.sleep(seconds)
            handler.serve(server.files[handler.path])

        return act

    for index, seconds in ((0, 0.3), (1, 0.8)):
        path = f"/toy/data/{toyweb.COMMIT}/data/GT/right/Frame%20{index}.png"
        server.scripts[path] = [late(seconds)]
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert bench("fetch", "small")[0] == 0
    line = r"fetching: +\d\d%\|.*\| [\d.]+k/[\d.]+k \[\d\d:\d\d<\d\d:\d\d, +[\d.]+k?B/s\]"
    assert re.search(line, terminal.getvalue())


def test_add_and_inspect(bench, monkeypatch, toy, tmp_path):
    toyweb.with_weights(monkeypatch, toy, net={"sha256": sha256(WEIGHTS)[:8]}, wide={})
    file = tmp_path / "weights.pth"
    file.write_bytes(WEIGHTS)
    code, out, _ = bench("inspect", file)
    assert code == 0
    assert f"SHA-256   {sha256(WEIGHTS)}" in out
    assert "tensors   5, 1,431 values, float32" in out
    assert "wrapper   params" in out
    assert "published toy/net" in out
    assert "fits      toy/net: toy net, 1,428 parameters" in out
    code, out, _ = bench("add", file)
    assert code == 0
    assert out.startswith(f"toy/net: {pins.folder() / 'toy/net.pth'}\n")
    assert f'sha256: "{sha256(WEIGHTS)}"' in out
    other = tmp_path / "other.pth"
    other.write_bytes(toyweb.saved({"params": toyweb.state_of(2)}))
    assert bench("add", other, "--as", "toy/wide")[0] == 0


def test_inspect_names_the_nearest_checkpoint(bench, monkeypatch, toy, tmp_path):
    toyweb.with_weights(monkeypatch, toy, net={})
    state = toyweb.state_of()
    state["extra"] = state.pop("last.bias")
    file = tmp_path / "x.pth"
    file.write_bytes(toyweb.saved(state))
    _, out, _ = bench("inspect", file)
    assert "nearest   toy/net, but 2 do not fit: missing last.bias; unexpected extra" in out
    assert "published no known checkpoint has these digests" in out


def test_convert_and_inspect_a_pickled_network(bench, monkeypatch, toy, tmp_path):
    file = io.BytesIO()
    torch.save(Toy(), file)
    (tmp_path / "model.pt").write_bytes(file.getvalue())
    toyweb.with_weights(monkeypatch, toy, net={"wrapper": "state_dict"})
    code, out, _ = bench("inspect", tmp_path / "model.pt")
    assert code == 0
    assert "kind      a whole pickled network; bench convert makes a state dict of it" in out
    assert "fits      toy/net" in out
    for words, made in (([], "model.state.pth"), (["--output", tmp_path / "x.pth"], "x.pth")):
        code, out, _ = bench("convert", tmp_path / "model.pt", *words)
        assert code == 0
        first, second = out.splitlines()[:2]
        assert f"model.pt: SHA-256 {sha256(file.getvalue())}, git blob " in first
        assert f"{made}: SHA-256 {sha256((tmp_path / made).read_bytes())}" in second
        _, out, _ = bench("inspect", tmp_path / made)
        assert "kind      tensors in plain containers" in out


class Evil:
    def __reduce__(self):
        return os.system, ("touch pwned",)


@pytest.mark.parametrize("command", ["inspect", "add", "convert"])
def test_nothing_in_a_file_is_run(bench, tmp_path, command):
    file = tmp_path / "evil.pth"
    torch.save({"state_dict": Evil()}, file)
    code, _, err = bench(command, file)
    assert code == 2
    assert len(err.splitlines()) == 1
    assert not Path("pwned").exists()


def test_cache_lists_and_clears(bench, monkeypatch, server, toy):
    toyweb.with_weights(monkeypatch, toy, net={"sources": [server.put("/net.pth", WEIGHTS)]})
    bench("fetch", "toy")
    code, out, _ = bench("cache")
    assert code == 0
    row = r"^checkpoints/toy/net.pth +checkpoint +[\d.]+ kB +toy/net$"
    assert re.search(row, out, re.MULTILINE)
    assert re.search(r"^checkpoints.lock +pins +\d+ B +-$", out, re.MULTILINE)
    code, out, _ = bench("cache", "--clear", "toy/net")
    assert code == 0
    assert out.startswith("removed: checkpoints/toy/net.pth, ")
    bench("fetch", "toy")
    code, out, _ = bench("cache", "--clear", "--yes")
    assert "removed: checkpoints/toy/net.pth" in out
    assert pins.lock_path().exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("fetch", "the following arguments are required: NAME"),
        ("fetch vid5", "nothing is called 'vid5': expected paper, paper/checkpoint or data set"),
        ("fetch edvr/xl", "edvr has no checkpoint 'xl': expected one of "),
        ("fetch edvr --checkpoint xl", "edvr has no checkpoint 'xl': expected one of "),
        ("fetch psrt/sliding", "psrt/sliding cannot be fetched: found its weights were not"),
        ("add gone.pth", "cannot read gone.pth: found No such file"),
        ("add gone.pth --as edvr", "cannot read gone.pth"),
        ("add text", "cannot read text: expected a PyTorch weight file"),
        ("inspect page", "page is a web page"),
        ("inspect .", "cannot read .: found Is a directory"),
        ("convert gone.pt", "cannot read gone.pt"),
        ("cache --clear", "--clear without names removes everything: expected names, or --yes"),
        ("cache --yes", "--yes belongs to --clear; add --clear, or leave --yes out"),
        ("cache --clear vid4", "the cache folder holds no 'vid4'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(bench, words, message):
    Path("text").write_text("hello")
    Path("page").write_text("<html></html>")
    before = sorted(Path().rglob("*"))
    code, _, err = bench(*words.split())
    assert code == 2
    assert re.search(message, err)
    assert len(err.splitlines()) == 1
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize("words", [["fetch", "tdan", "--dry-run"], ["cache"]])
def test_light_commands_import_nothing_heavy(words):
    code = (
        "import sys; from bench.cli import main\n"
        f"main({words!r})\n"
        "heavy = {'torch', 'pandas', 'matplotlib', 'scipy', 'skimage', 'requests', 'gdown'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.data
def test_from_nothing_to_the_committed_row(bench, monkeypatch, server, data, tmp_path):
    """One clip, fetched and run: the scores are those of the committed record."""
    rows = []
    for role in ("GT", "DUF-52L"):
        for file in sorted((data / "vid4" / role / "city").glob("*.png")):
            path, content = f"{role}/city/{file.name}", file.read_bytes()
            server.put(f"/a/b/{toyweb.COMMIT}/{quote(path)}", content)
            rows.append((role, "city", "a/b", toyweb.COMMIT, path, len(content), sha256(content)))
    toyweb.with_manifest(monkeypatch, server, tmp_path / "vid4.csv", rows)
    assert bench("fetch", "duf")[0] == 0
    assert bench("run", "duf", "--dataset", "vid4", "--clip", "city")[0] == 0
    (made,) = record.read_all(Path("results"))
    (kept,) = record.read_all(ROOT / "results", "duf")
    wanted = next(clip for clip in kept.clips if clip.clip == "city")
    assert made.clips[0].scores == wanted.scores
