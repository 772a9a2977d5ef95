from __future__ import annotations

import importlib
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import ownmethods
import pytest
import torch
from runs import RESULTS, bare, measure, planned

from bench import contract, engine, evaluate, factory, paper, provenance, record, resume, sample
from bench.errors import BenchError
from bench.maker import Settings

HERE = Path(__file__).parent
README = (HERE.parent / "README.md").read_text(encoding="utf-8")
EXAMPLE = re.search(r"```python\n(# mymethod\.py\n.*?)```", README, re.DOTALL)[1]
COMMANDS = re.findall(r"^\$ (bench .*mymethod.*)$", README, re.MULTILINE)


@pytest.fixture(autouse=True)
def _imports(monkeypatch):
    """Own methods lie beside the tests; what a test finds in its own folder is forgotten."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    provenance.code_sha256.cache_clear()
    yield
    provenance.code_sha256.cache_clear()
    sys.modules.pop("mymethod", None)


@pytest.fixture
def settings(tmp_path):
    return Settings(data_root=tmp_path / "data", device="cpu")


def own(name: str) -> paper.Paper:
    return contract.own(factory.find(f"ownmethods:{name}", Path.cwd()))


def test_the_example_of_the_readme_runs_through_the_command_line():
    """Outside the checkout, with nothing but the file."""
    assert 20 <= len(EXAMPLE.splitlines()) <= 32
    Path("mymethod.py").write_text(EXAMPLE)
    assert len(COMMANDS) == 2
    for command in COMMANDS:
        words = [sys.executable, "-m", *command.split()]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert not re.search(r"^(FAIL|warn|✗|!) ", done.stdout, re.MULTILINE)
    (made,) = record.read_all(RESULTS, "own")
    assert record.path(RESULTS, "own", "mymethod-Sharper", "sample", "bi").is_file()
    assert made.complete("fixed")
    psnr, _ = made.mean("fixed")
    assert f"{psnr.value:.4f}" in done.stdout
    assert psnr.value > 28.4  # bicubic alone has 28.20


def test_nothing_is_measured_twice_and_edits_are_noticed(bench):
    def said() -> str:
        sys.modules.pop("mymethod", None)
        provenance.code_sha256.cache_clear()
        code, out, err = bench(*words)
        assert (code, err) == (0, "")
        return out

    Path("mymethod.py").write_text(EXAMPLE)
    words = ["run", "--method", "mymethod:Sharper", "--dataset", "sample", "--clip", "pan"]
    assert "1 of 4 clips (1 measured)" in said()
    assert "1 of 4 clips (1 as they were)" in said()
    Path("mymethod.py").write_text(EXAMPLE.replace("-100 *", "-1000 *"))
    importlib.invalidate_caches()
    assert "1 of 4 clips (1 measured)" in said()


def test_other_weights_of_the_same_code_are_measured_again(settings, monkeypatch):
    chosen = own("Window")
    (slug,) = chosen.checkpoints
    wanted = {"checkpoint": slug, "dataset": "sample", "clips": ["pan"]}
    one = measure(chosen, settings, **wanted)
    assert one.measured == ["pan"]
    assert measure(chosen, settings, **wanted).measured == []
    made = ownmethods.Window.__init__

    def other(self):
        made(self)
        self.share.fill_(0.4)

    monkeypatch.setattr(ownmethods.Window, "__init__", other)
    two = measure(chosen, settings, **wanted)
    assert two.measured == ["pan"]
    sums = [next(iter(d.record.provenance.values())).checkpoint_sha256 for d in (one, two)]
    assert len({*sums, None}) == 3


def test_processes_of_several_devices_find_the_module(bench, settings):
    Path("mymethod.py").write_text(EXAMPLE)
    words = ["run", "--method", "mymethod.py:Sharper", "--dataset", "sample"]
    words += ["--clip", "pan", "--clip", "zoom"]
    code, out, err = bench(*words, "--device", "cpu")
    assert (code, err) == (0, "")
    file = record.path(RESULTS, "own", "mymethod-Sharper", "sample", "bi")
    here = bare(record.read(file))
    code, out, err = bench(*words, "--device", "cpu", "--device", "cpu", "--overwrite", "always")
    assert (code, err) == (0, "")
    assert "2 of 4 clips (2 measured)" in out
    assert bare(record.read(file)) == here


def test_a_job_brings_the_folder_of_its_module(settings):
    """Another process, in another folder, with another search path."""
    Path("mymethod.py").write_text(EXAMPLE)
    chosen = contract.find("mymethod:Sharper")
    item = planned(chosen, settings, checkpoint="mymethod-Sharper")
    job = evaluate.job(item, chosen, ["pan"], settings, Path("results").resolve())
    Path("job").write_bytes(pickle.dumps(job))
    code = (
        "import pickle, sys; from pathlib import Path; from bench.evaluate import Worker\n"
        "job = pickle.loads(Path(sys.argv[1]).read_bytes()); print(Worker(job).work('pan'))"
    )
    command = [sys.executable, "-c", code, Path("job").resolve()]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd="/", env=env, capture_output=True, text=True, check=False)
    assert done.stdout == "Outcome(clip='pan', frames=9, error=[])\n", done.stderr
    assert resume.missing(job, ["pan"]) == []


@pytest.mark.parametrize(
    ("name", "restoring"),
    [
        ("Window", {"window": 3, "edge": "reflection", "padded_rows": 4, "padded_columns": 0}),
        ("Wide", {"window": 3, "edge": "replicate", "padded_rows": 4, "padded_columns": 0}),
        ("window255", {"window": 3, "edge": "reflection"}),
        ("clip", {}),
        ("clip255", {}),
        ("between", {"inputs": 4}),
    ],
)
def test_ways_of_being_shown_a_clip(settings, name, restoring):
    chosen = own(name)
    done = measure(chosen, settings, ["zoom"], checkpoint=f"ownmethods-{name}")
    assert done.failed == {}
    (clip,) = done.record.clips
    assert clip.restoring == restoring
    assert bool(clip.interpolated) == (name == "between")
    assert done.record.mean("fixed")[0].value > 25


def test_two_ranges_of_one_method_give_the_same_scores(settings):
    """But for halves of a level, which either range may round the other way."""
    means = []
    for name in ("clip", "clip255"):
        done = measure(own(name), settings, ["pan"], checkpoint=f"ownmethods-{name}")
        means.append(done.record.mean("fixed", "pan")[0].value)
    assert means[0] == pytest.approx(means[1], abs=0.01)


def test_scales(settings):
    made = measure(own("small"), settings, ["pan"], checkpoint="ownmethods-small").record
    assert made.scale == 2
    assert made.mean("fixed", "pan")[0].value > 28
    failed = measure(own("same_size"), settings, ["pan"], checkpoint="ownmethods-same_size").failed
    assert "unknown scale: expected one of 2, 3, 4, found 1" in failed["pan"][0]


def test_precision_chunks_and_tiles_are_the_harness_s(settings):
    for name, more, said in [
        ("Window", {"dtype": "bfloat16"}, {"dtype": "bfloat16"}),
        ("clip", {"chunk": 4}, {"chunk": 4, "context": 1}),
        ("window255", {"tile": 40}, {"tile": 40, "tile_context": 10}),
    ]:
        done = measure(
            own(name), settings._replace(**more), ["pan"], checkpoint=f"ownmethods-{name}"
        )
        assert done.failed == {}
        assert said.items() <= done.record.clips[0].restoring.items()


def test_a_paper_may_have_a_factory(settings, toy):
    described = paper.Checkpoint(title="mine", factory="ownmethods:Window")
    assert described.state == "made by ownmethods:Window"
    checkpoints = {
        "mine": described,
        "two": paper.Checkpoint(title="x", factory="ownmethods:small"),
    }
    chosen = msgspec.structs.replace(toy, checkpoints={**toy.checkpoints, **checkpoints})
    done = measure(chosen, settings, ["pan"], checkpoint="mine")
    assert done.failed == {}
    source = next(iter(done.record.provenance.values()))
    assert source.checkpoint_sha256 == contract.load("ownmethods:Window").weights_sha256()
    assert measure(chosen, settings, ["pan"], checkpoint="mine").measured == []
    failed = measure(chosen, settings, ["pan"], checkpoint="two").failed["pan"][0]
    words = "ownmethods:small has another scale than toy: expected 4, found 2; mend `scale`"
    assert failed.startswith(words)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"method": "a:b"}, "exactly one of method, network, factory, frames and missing"),
        ({"file": "a.pth"}, "what a factory makes brings its restorer and its weights"),
    ],
)
def test_a_factory_stands_alone(more, words):
    with pytest.raises(ValueError, match=words):
        paper.Checkpoint(title="t", factory="m:f", **more)


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        (
            {"scale": 5},
            "x: the attribute scale is not right: expected 1, 2, 3 or 4, found 5; set it",
        ),
        ({"scale": 4.0}, "attribute scale is not right: expected 1, 2, 3 or 4, found 4.0"),
        ({"scale": torch.ones(9)}, "expected 1, 2, 3 or 4, found Tensor; set it"),
        ({"window": 4}, "x: window must be odd, found 4; set it on what the factory gives"),
        ({"window": 0}, "attribute window is not right: expected an odd number of frames, found 0"),
        ({"window": "5"}, "attribute window is not right: .* found '5'"),
        ({"inputs": 1}, "attribute inputs is not right: expected a number of frames from 2 up"),
        ({"window": 3, "inputs": 4}, "window and inputs exclude each other"),
        ({"edge": "mirror"}, "attribute edge is not right: expected one of author, circle, "),
        ({"size_multiple": 0}, "attribute size_multiple is not right: expected a number from 1 up"),
        ({"minimum_size": -1}, "attribute minimum_size is not right: expected a number from 0 up"),
        ({"value_range": 2.0}, "value_range must be 1.0 or 255.0, found 2.0"),
        ({"value_range": "1"}, "attribute value_range is not right: expected 1.0 or 255.0"),
    ],
)
def test_attributes(attributes, words):
    with pytest.raises(BenchError, match=words) as caught:
        contract.Adapted(ownmethods.method(lambda frames: frames, **attributes), "x")
    assert "\n" not in str(caught.value)


def test_a_method_without_attributes():
    with pytest.raises(BenchError, match="bare: Object missing required field `scale`; set it on"):
        contract.load("ownmethods:bare")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pair", "does not answer with a tensor of floats: .* on cpu, found tuple; let"),
        ("whole_numbers", "tensor of floats: expected .*, found torch.uint8 on cpu"),
        ("elsewhere", "tensor of floats: expected .*, found torch.float32 on meta"),
        (
            "smaller",
            r"another shape .* \(1, 9, 3, 144, 192\) for .*36, 48\), found \(1, 9, 3, 72, 96\)",
        ),
        ("whiter", "gives values of another range: expected 0 to 1 as in its frames, found "),
        ("darker", "gives values of another range: expected 0 to 255 as in its frames, found "),
        ("signed", "gives values of another range: .*; set value_range, or return what"),
        ("not_finite", "(another range|the network's output for frame 0 is not finite)"),
    ],
)
def test_wrong_answers_are_one_line(settings, name, words):
    failed = measure(own(name), settings, ["pan"], checkpoint=f"ownmethods-{name}").failed
    (line,) = failed["pan"]
    assert re.search(words, line), line
    assert line.startswith((f"ownmethods:{name} ", "the network's output"))


def test_overshoots_are_no_other_range():
    method = contract.load("ownmethods:clip")
    shown = torch.rand(1, 2, 3, 20, 20)
    answer = ownmethods.enlarged(shown) * 1.2 - 0.1
    contract.check_range(method, shown, answer)
    answer.view(-1)[:100] = 9  # of 38400: a spot may be far outside
    contract.check_range(method, shown, answer)
    answer.view(-1)[:1000] = 9
    with pytest.raises(BenchError, match=r"found -0.\d* to 9; set"):
        contract.check_range(method, shown, answer)
    contract.check_range(method, torch.zeros(1, 1, 3, 4, 4), torch.zeros(1, 1, 3, 16, 16))


def test_what_a_method_raises_is_told_without_folders_of_this_machine(settings):
    chosen = msgspec.structs.replace(own("raises"), folder=str(HERE))
    failed = measure(chosen, settings, ["pan"], checkpoint="ownmethods-raises").failed["pan"]
    assert failed[-1] == "LookupError: layer 7"
    assert any('"ownmethods.py", line' in line for line in failed)
    assert str(HERE) not in "\n".join(failed)


def test_a_module_is_the_harness_s_to_place(monkeypatch):
    method = contract.load("ownmethods:Window")
    assert not method.method.training
    assert not method.method.drop.training
    method.to(torch.float16)
    assert method.method.weight.dtype == next(method.parameters()).dtype == torch.float16
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module: compiled.append(id(module)))
    method.compile()
    assert compiled == [id(method.method)]
    function = contract.load("ownmethods:clip")
    monkeypatch.setattr(torch, "compile", lambda call: ("compiled", call))
    function.compile()
    assert function.method == ("compiled", ownmethods.enlarged)
    assert function.weights_sha256() is None


def test_the_digest_of_weights():
    one, two = contract.load("ownmethods:Window"), contract.load("ownmethods:Window")
    assert one.weights_sha256() == two.weights_sha256()
    for change in (
        lambda m: m.weight.data.add_(1),
        lambda m: m.share.mul_(2),
        lambda m: m.bfloat16(),
        lambda m: setattr(m, "weight", torch.nn.Parameter(m.weight.data[None])),
        lambda m: setattr(m, "more", torch.nn.Linear(1, 1)),
    ):
        changed = contract.load("ownmethods:Window")
        change(changed.method)
        assert changed.weights_sha256() != one.weights_sha256()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("run", "one of the arguments PAPER --method is required"),
        ("run toy --method m:f --dataset sample", "--method: not allowed with argument PAPER"),
        ("run --method m:f", "a method of your own needs a data set: expected one of reds4, "),
        ("run --method m:f --dataset vid5", "cannot import m:f: .*No module named 'm'"),
        ("run --method ownmethods:clip --dataset vid5", "unknown data set"),
        ("run --method ownmethods:clip --dataset sample --checkpoint x", "own has no checkpoint"),
        ("run --method ownmethods:clip --dataset sample --degradation bx", "no degradation 'bx'"),
        ("run --method ownmethods:clip --dataset sample --frames d", "own makes its own frames"),
        ("run --method ownmethods:raises.x --dataset sample", "cannot import ownmethods:raises.x"),
        ("test-method", "the following arguments are required: METHOD"),
        ("test-method nothing", "unknown method: expected package.module:function"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(bench, toy, words, message):
    code, _, err = bench(*words.split())
    assert code == 2
    assert re.search(message, err)
    assert len(err.splitlines()) == 1


def test_options_before_the_paper(bench, toy):
    words = ("--dataset", "sample", "--degradation", "bi", "--checkpoint", "good")
    code, _, err = bench("run", *words, "toy", "--clip", "pan")
    assert (code, err) == (0, "")


def test_a_failing_method_ends_with_1(bench):
    words = ("run", "--method", "ownmethods:whiter", "--dataset", "sample", "--clip", "pan")
    code, _, err = bench(*words, "--protocol", "rgb-crop0", "--degradation", "bd")
    assert code == 1
    assert "bench: own/ownmethods-whiter on sample, bd, clip pan: ownmethods:whiter gives" in err


def test_every_clip_in_process_or_not_is_made_by_one_method(settings, monkeypatch):
    """The factory is called once a job, not once a clip."""
    calls = []
    made = ownmethods.clip
    monkeypatch.setattr(ownmethods, "clip", lambda: calls.append(1) or made())
    done = measure(own("clip"), settings, checkpoint="ownmethods-clip", how=engine.in_process)
    assert sorted(done.measured) == sorted(sample.names())
    assert len(calls) == 2  # for the scale, and for the job
