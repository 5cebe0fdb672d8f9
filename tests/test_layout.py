"""Where things lie, and the forms in which the scripts start."""

import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from etl.settings import PROJECT_ROOT
from tests.conftest import clean_environ, run_stage

SCRIPTS = ("extract", "transform", "load")


def list_requirements() -> set[str]:
    """The names by which what the requirements files ask for is imported."""
    lines = [
        line
        for name in ("requirements.txt", "requirements-dev.txt")
        for line in (PROJECT_ROOT / name).read_text().splitlines()
    ]
    wanted = {found[0].lower() for line in lines if (found := re.match(r"[A-Za-z][\w.-]*", line))}
    return wanted | {
        module
        for module, packages in packages_distributions().items()
        if wanted & {package.lower() for package in packages}
    }


def list_modules() -> set[str]:
    return {
        path.stem if path.suffix else path.name
        for folder in ("etl", "api", "tests")
        for path in (PROJECT_ROOT / folder).rglob("*")
        if path.suffix == ".py" or (path.is_dir() and (path / "__init__.py").exists())
    } - {"__init__", "__main__"}


def test_no_module_bears_the_name_of_a_standard_module_or_a_requirement() -> None:
    requirements = list_requirements()
    assert {"duckdb", "pytest", "dotenv", "fastapi_cache"} <= requirements
    assert not list_modules() & (set(sys.stdlib_module_names) | requirements)


FROM_ELSEWHERE = pytest.param("file from another folder", marks=pytest.mark.long)


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize(
    "form", ["module", pytest.param("file", marks=pytest.mark.long), FROM_ELSEWHERE]
)
def test_each_script_starts_as_module_and_as_file(script: str, form: str, tmp_path: Path) -> None:
    file = PROJECT_ROOT / "etl" / f"{script}.py"
    forms: dict[str, tuple[tuple[str | Path, ...], Path]] = {
        "module": (("-m", f"etl.{script}"), PROJECT_ROOT),
        "file": ((f"etl/{script}.py",), PROJECT_ROOT),
        "file from another folder": ((file,), tmp_path),
    }
    args, cwd = forms[form]
    done = run_stage(*args, "--help", env=clean_environ(tmp_path / "data"), cwd=cwd)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"usage: python -m etl.{script}" in done.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_asking_for_help_leaves_nothing_behind(script: str, tmp_path: Path) -> None:
    run_stage("-m", f"etl.{script}", "--help", env=clean_environ(tmp_path / "data"))
    assert list(tmp_path.iterdir()) == []


def test_the_three_scripts_run_as_files_from_any_folder_make_one_store(tmp_path: Path) -> None:
    env = clean_environ(tmp_path / "data", SOURCE="sample", SYMBOLS="IBM")
    for script in SCRIPTS:
        done = run_stage(PROJECT_ROOT / "etl" / f"{script}.py", env=env, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "data" / "market_data.duckdb").exists()
