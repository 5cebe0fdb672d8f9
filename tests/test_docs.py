"""What README, DESIGN and .env.example say is true."""

import re
from pathlib import Path

import pytest
from fastapi.routing import APIRoute

from api import settings as api_settings
from api.main import create_app
from api.protocols.openbb import routes as openbb
from api.protocols.udf import routes as udf
from api.settings import ApiSettings, read_settings
from etl.contracts.tables import OHLCV_TABLE
from etl.settings import PROJECT_ROOT, VERSION, Settings
from tests.make_examples import REQUEST_ID
from tests.server import serve

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
DESIGN = (ROOT / "DESIGN.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
ENV_EXAMPLE = (ROOT / ".env.example").read_text()

DECLARED = {
    item["name"]: item["default"]
    for kind in (Settings, ApiSettings)
    for item in api_settings.list_settings(kind)
}
SENT = {"/generations/current", "/generations/current/manifest"}  # to programs, not in the schema
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))


def test_readme_lists_every_setting_with_its_default_and_no_other() -> None:
    rows = re.findall(r"^\| (`[A-Z_`, ]+`) \| *(.*?) *\|", README, re.MULTILINE)
    listed = {name: default for names, default in rows for name in re.findall(r"[A-Z_]+", names)}
    assert listed == DECLARED


def test_env_example_holds_every_setting_with_its_default_and_no_other() -> None:
    assert dict(re.findall(r"^([A-Z_]+)=(.*)$", ENV_EXAMPLE, re.MULTILINE)) == DECLARED


def test_a_copied_env_example_means_the_defaults() -> None:
    path = ROOT / ".env.example"
    for kind in (Settings, ApiSettings):
        assert read_settings(kind, {}, {}, path) == read_settings(kind, {}, {}, ROOT / "none")


def test_readme_lists_every_route_and_no_other() -> None:
    app = create_app(read_settings(ApiSettings, {}, {}, ROOT / "none"))
    foreign = {
        route.path
        for each in (udf, openbb)
        for route in each.router.routes
        if isinstance(route, APIRoute)
    }
    served = set(app.openapi()["paths"]) | {"/", "/docs", "/metrics"} | foreign | SENT
    assert set(re.findall(r"^\| `GET (\S+)` \|", README, re.MULTILINE)) == served


@pytest.mark.parametrize("text", [README, DESIGN], ids=["README", "DESIGN"])
def test_make_words_are_targets(text: str) -> None:
    named = set(re.findall(r"`?make ([a-z-]+)", "\n".join(find_code(text))))
    assert named
    assert named <= TARGETS


def test_readme_names_every_target() -> None:
    assert set(re.findall(r"`make ([a-z-]+)`", README)) == TARGETS


def test_the_ddl_in_design_is_the_ddl_of_the_schema() -> None:
    blocks = [block.strip() for block in re.findall(r"```sql\n(.*?)```", DESIGN, re.DOTALL)]
    assert OHLCV_TABLE.strip() in blocks


def test_the_seams_in_design_are_where_it_says() -> None:
    rows = [row for row in re.findall(r"^\| .*$", DESIGN, re.MULTILINE) if "__init__.py`" in row]
    assert len(rows) > 3
    for row in rows:
        named, path = re.search(r"((?:`\w+`,? ?)+)in `([\w/.]+)`", row).groups()  # type: ignore[union-attr]
        for name in re.findall(r"\w+", named):
            assert f"class {name}(" in (ROOT / path).read_text(), (name, path)
    section = DESIGN.partition("A seam is a place")[2].partition("### The table")[0]
    paths = re.findall(r"`((?:api|etl)/[\w/.]+)`", section)
    assert len(paths) > 10
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_changelog_begins_with_this_version() -> None:
    changelog = (PROJECT_ROOT / "CHANGELOG.md").read_text()
    assert re.findall(r"^## (\S+?)[,\s]", changelog, re.M)[0] == VERSION


@pytest.mark.parametrize("name", ["README.md", "DESIGN.md", "CONTRIBUTING.md"])
def test_every_file_and_folder_that_is_named_is_there(name: str) -> None:
    words = re.findall(r"`([^`\n]+)`", (PROJECT_ROOT / name).read_text())
    paths = {
        part for word in words for part in word.split() if re.match(r"(api|etl|tests)/\w", part)
    }
    assert paths
    assert [path for path in sorted(paths) if not (PROJECT_ROOT / path).exists()] == []


def test_readme_answers_are_real_answers(sample_dir: Path) -> None:
    shown = re.findall(r"^curl \"?(http\S+?)\"?\n```\n\n```json\n(.*?)\n```", README, re.M | re.S)
    assert len(shown) == 2
    with serve(sample_dir) as client:
        for url, answer in shown:
            headers = {"X-Request-ID": REQUEST_ID}
            given = client.get(url.removeprefix("http://127.0.0.1:8000"), headers=headers)
            assert given.text == answer


def find_code(text: str) -> list[str]:
    """Inline code and blocks, where `make` is the command and not a word."""
    return re.findall(r"```\n.*?```|`make [^`]*`", text, re.DOTALL)
