"""What make does where there is no environment yet, or one that this user cannot run."""

import subprocess
from pathlib import Path

import pytest

from etl.settings import PROJECT_ROOT


def run_make(venv: Path, *args: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["make", f"VENV={venv}", *args],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("kind", ["gone", "not executable", "no program"])
def test_an_environment_whose_python_cannot_be_run_is_named_and_never_removed(
    tmp_path: Path, kind: str
) -> None:
    venv = tmp_path / "venv"
    python = venv / "bin" / "python"
    python.parent.mkdir(parents=True)
    (venv / "mine").write_text("kept")
    (venv / ".run").touch()
    if kind == "gone":
        python.symlink_to(tmp_path / "no" / "python3")
    else:
        python.write_bytes(b"\x7fELF?" if kind == "no program" else b"")
        python.chmod(0o755 if kind == "no program" else 0o644)
    done = run_make(venv, "plan")
    assert done.returncode == 2
    assert f"{python} cannot be run by this user" in done.stdout
    assert "make clean" in done.stdout
    assert (venv / "mine").read_text() == "kept"


@pytest.mark.parametrize("was_there", [True, False])
def test_an_environment_that_cannot_be_made_leaves_what_was_there(
    tmp_path: Path, was_there: bool
) -> None:
    venv = tmp_path / "venv"
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nmkdir -p {venv}/bin; touch {venv}/half; exit 1\n")
    python.chmod(0o755)
    if was_there:
        venv.mkdir()
        (venv / "mine").write_text("kept")
    done = run_make(venv, "plan", f"PYTHON={python}")
    assert done.returncode == 2
    assert "venv is missing" in done.stdout
    assert venv.exists() == was_there


def test_an_install_names_each_package_and_fails_where_pip_does(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    python = venv / "bin" / "python"
    python.parent.mkdir(parents=True)
    lines = (
        "Collecting numpy==2.4.6 (from -r requirements.txt)\n"
        "  Downloading numpy-2.4.6-cp311.whl (16.8 MB)\n"
        "Collecting duckdb\n  Using cached duckdb-2.0.0-cp311.whl.metadata (3 kB)\n"
        "  Using cached duckdb-2.0.0-cp311.whl (20.4 MB)\n"
        "Installing collected packages: numpy, duckdb\n"
    )
    script = f"#!/bin/sh\n[ \"$2\" = pip ] && printf '{lines}' && exit $PIP_ENDS\nexit 0\n"
    python.write_text(script.replace("\n", "\n").replace(lines, lines.replace("\n", "\\n")))
    python.chmod(0o755)
    for code, exit_code in (("1", 2), ("0", 0)):
        done = run_make(venv, f"{venv}/.run", f"PIP_ENDS={code}")
        assert done.returncode == exit_code, done.stderr
        # the first lines say what is installed; within another make, it says where it is too
        shown = [line for line in done.stdout.splitlines() if line.startswith("  ")]
        assert [line.split() for line in shown[:2]] == [
            ["1", "numpy==2.4.6", "(16.8", "MB)"],
            ["2", "duckdb", "(20.4", "MB)"],
        ]
        assert "unpacking 2 packages" in shown[2]
        assert (venv / ".run").exists() == (exit_code == 0)
