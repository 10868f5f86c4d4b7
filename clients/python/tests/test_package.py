"""The package: what is in it, that it installs, and that its README is true."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from world import World

import apnsd

HERE = Path(__file__).resolve().parent.parent
PROJECT = HERE.parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the sdist."""
    directory = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", directory, HERE)
    assert [file.name for file in directory.glob("*.tar.gz")] == [f"apnsd-{apnsd.__version__}.tar.gz"]
    (wheel,) = directory.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh virtual environment that has the wheel and nothing else."""
    directory = tmp_path_factory.mktemp("venv")
    venv.create(directory)
    python = directory / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python)
    run(*pip, "install", "--quiet", "--no-index", "--no-deps", wheel)
    return python


def run(*command: str | Path, status: int = 0, **environment: str) -> str:
    """What a command prints, away from the sources."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [str(part) for part in command], cwd="/", env={**kept, **environment}, capture_output=True, text=True
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def test_the_version_is_that_of_the_daemon() -> None:
    found = re.search(r'^version = "(.*)"$', (PROJECT / "Cargo.toml").read_text(), re.MULTILINE)
    assert found
    assert found[1] == apnsd.__version__


@pytest.mark.parametrize("name", ["LICENSE-MIT", "LICENSE-APACHE"])
def test_the_licences_are_those_of_the_project(name: str) -> None:
    assert (HERE / name).read_text() == (PROJECT / name).read_text()


def test_the_wheel_has_the_package_and_its_types_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {"apnsd/__init__.py", "apnsd/aio.py", "apnsd/py.typed"} <= set(names)
    assert {name.split("/")[0] for name in names} == {"apnsd", f"apnsd-{apnsd.__version__}.dist-info"}


def test_importing_it_needs_nothing_but_python(python: Path) -> None:
    printed = run(python, "-c", "import apnsd, apnsd.aio; print(apnsd.__version__)")
    assert printed == f"{apnsd.__version__}\n"


def test_the_examples_of_the_readme_run(python: Path, world: World, tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", (HERE / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks[0].splitlines()) == 6, "five lines and a blank one"
    (tmp_path / "readme.py").write_text("\n".join(blocks))
    shutil.copy(world.certificate, tmp_path / "push.pem")
    before = len(world.arrived())
    starter = f"import os, runpy; os.chdir({str(tmp_path)!r}); runpy.run_path('readme.py')"
    printed = run(python, "-W", "error", "-c", starter, APNSD_URL=world.url)
    arrived = [entry["payload"]["aps"]["alert"] for entry in world.wait_arrived(before + 11)[before:]]
    assert sorted(arrived) == sorted(
        ["Hello"] * 5 + ["One for all"] * 2 + ["One", "for each"] + ["And what became of it?"] * 2
    )
    assert f"{'bb' * 32} accepted None\n" in printed


def test_a_type_checker_knows_the_types_of_the_installed_package(python: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import apnsd\n"
        "push = apnsd.Client()\n"
        "reveal_type(push.feedback('myapp'))\n"
        "reveal_type(push.send('myapp', (t for t in ['aa']), [{'aps': {}}], priority=[5])[0].outcome)\n"
        "push.notify('myapp', 7, {})\n"
    )
    mypy = (sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path}")
    printed = run(*mypy, f"--python-executable={python}", program, status=1)
    assert '"list[tuple[datetime.datetime, str]]"' in printed.replace("builtins.", "")
    assert 'Revealed type is "str"' in printed.replace("builtins.", "")
    assert 'program.py:5: error: Argument 2 to "notify" of "Client" has incompatible type "int"' in printed
    assert printed.endswith("Found 1 error in 1 file (checked 1 source file)\n")
