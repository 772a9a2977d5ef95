from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench import factory, provenance
from bench.errors import BenchError


@pytest.fixture(autouse=True)
def _imports(monkeypatch, tmp_path):
    """What a test imports from its own folder is forgotten after it."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


def write(name: str, text: str = "def make():\n    return print\n") -> Path:
    file = Path(name)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def test_the_forms_of_a_name(tmp_path):
    here = Path.cwd()
    write("alpha.py")
    write("beta/gamma.py")
    assert factory.find("alpha:make", here) == ("alpha:make", str(here), "alpha-make")
    assert factory.find("beta.gamma:make", here) == (
        "beta.gamma:make",
        str(here),
        "beta.gamma-make",
    )
    assert factory.find("alpha.py:make", here) == ("alpha:make", str(here), "alpha-make")
    found = factory.find("beta/gamma.py:make", here)
    assert found == ("gamma:make", str(here / "beta"), "beta.gamma-make")
    assert factory.made(*found[:2]) is print
    elsewhere = write(str(tmp_path / "delta/epsilon.py"))
    found = factory.find(f"{elsewhere}:make", here)
    assert found == ("epsilon:make", str(tmp_path / "delta"), "delta.epsilon-make")
    assert factory.find("../delta/epsilon.py:make", here) == found


@pytest.mark.parametrize(
    "name", ["a.b:c", "a:b.c", "../odd name/m.py:f", "ä.b:c", ".hidden/m.py:f"]
)
def test_a_slug_is_a_file_name(name, tmp_path):
    place = name.partition(":")[0]
    if place.endswith(".py"):
        write(place)
    slug = factory.find(name, Path.cwd()).slug
    (tmp_path / slug).mkdir()
    assert slug.isascii()
    assert not set(slug) & set(' /\\:*?"<>|')
    assert slug[0] not in "._-"


def test_methods_are_found_by_entry_point(monkeypatch, tmp_path):
    folder = tmp_path / "installed"
    write(str(folder / "zeta.py"))
    write(str(folder / "zeta-1.dist-info/METADATA"), "Metadata-Version: 2.1\nName: zeta\n")
    write(str(folder / "zeta-1.dist-info/entry_points.txt"), "[bench.methods]\nz = zeta:make [x]\n")
    monkeypatch.syspath_prepend(folder)
    found = factory.find("z", Path.cwd())
    assert found == ("zeta:make", "", "zeta-make")
    assert factory.made(*found[:2]) is print
    with pytest.raises(
        BenchError, match=r"unknown method: expected .* or one of z, found 'y'; name"
    ):
        factory.find("y", Path.cwd())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothing", "unknown method: expected package.module:function, path/to/file.py:function"),
        ("gone.py:make", "there is no file gone.py: found nothing at .*gone.py; mend"),
        ("json.py:make", "json.py cannot be imported by its name: .* found .*json.* rename"),
        ("my-net.py:make", "my-net.py cannot be imported by its name: .* found 'my-net'"),
        ("__main__.py:make", "__main__.py cannot be imported by its name"),
    ],
)
def test_names_that_mean_nothing(name, words):
    for file in ("json.py", "my-net.py", "__main__.py"):
        write(file)
    with pytest.raises(BenchError, match=words):
        factory.find(name, Path.cwd())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("eta:make", "cannot import eta:make: .* found ModuleNotFoundError: No module named 'eta'"),
        ("theta:other", "cannot import theta:other: .*has no attribute 'other'; check both names"),
        ("iota:make", r"found SyntaxError: .*; check"),
        ("kappa:make", r"found ZeroDivisionError: division by zero \(kappa.py:1\); check"),
        ("la.py:make", r"found SystemExit: 2 \(la.py:2\)"),
        ("theta:number", "theta:number is no factory: .* found int; name what"),
        ("theta:needs", r"theta:needs fails: .* found TypeError: needs\(\) missing 1 required"),
        ("theta:fails", r"theta:fails fails: .* found OSError: no weights \(theta.py:9\); call it"),
        ("theta:gives", "theta:gives gives nothing that can be called: .* found NoneType"),
        ("../theta:make", r"cannot import ../theta:make"),
        (":make", "cannot import :make"),
        ("theta:", "cannot import theta:"),
    ],
)
def test_factories_that_give_nothing(name, words):
    write("iota.py", "def make(:\n")
    write("kappa.py", "1 / 0\n")
    write("la.py", "import sys\nsys.exit(2)\n")
    write(
        "theta.py",
        "number = 3\n\n\ndef needs(x):\n    return x\n\n\ndef fails():\n"
        "    raise OSError('no weights')\n\n\ndef gives():\n    return None\n",
    )
    with pytest.raises(BenchError, match=words) as caught:
        factory.made(*factory.find(name, Path.cwd())[:2])
    assert "\n" not in str(caught.value)


def test_the_code_of_a_file_is_that_of_its_folder():
    """A module in no package, its neighbours, packages beside it; nothing that is installed."""
    write("mu.py", "import nu\nimport torch\nfrom xi import omicron\nimport absent\n")
    for name in ("nu.py", "rho.py", "xi/__init__.py", "xi/omicron.py", "xi/pi.py"):
        write(name, "")
    write("xi/omicron.py", "from .pi import x\nfrom ..... import y\n")
    factory.search(str(Path.cwd()))
    names = ["mu.py", "nu.py", "__init__.py", "omicron.py", "pi.py"]
    assert [file.name for file in provenance._closure("mu")] == names  # noqa: SLF001
    first = provenance.code_sha256("mu")
    provenance.code_sha256.cache_clear()
    write("rho.py", "1\n")
    assert provenance.code_sha256("mu") == first
    provenance.code_sha256.cache_clear()
    write("xi/pi.py", "x = 1\n")
    assert provenance.code_sha256("mu") != first
    provenance.code_sha256.cache_clear()


def test_the_code_of_an_installed_module_is_its_own():
    (file,) = provenance._closure("msgspec._utils")  # noqa: SLF001
    assert file.name == "_utils.py"
    assert [f.name for f in provenance._closure("typing_extensions")] == ["typing_extensions.py"]  # noqa: SLF001
    assert provenance._closure("no_such_module") == []  # noqa: SLF001
