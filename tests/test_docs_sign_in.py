"""/docs where callers say who they are: Authorize, then Try it out, in a real browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator

from tests.browser import Visit, find_browser, launch, visit
from tests.guarded import PASSWORD, READER, guard

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not find_browser(), reason="no Chromium here: apt-get install chromium"),
]


@pytest.fixture(params=["", "/market"], ids=["at the root", "below a path"])
def seen(
    sample_dir: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[tuple[Visit, str]]:
    with (
        guard(sample_dir, tmp_path, ROOT_PATH=request.param) as own,
        launch() as browser,
        visit(browser, f"{own.client.base_url}".rstrip("/") + request.param) as seen,
    ):
        yield seen, own.make_key()


def open_dialog(seen: Visit) -> None:
    seen.page.goto(f"{seen.base}/docs")
    seen.page.locator(".auth-wrapper .authorize").first.click()
    seen.page.wait_for_selector(".dialog-ux .modal-ux")


def apply(form: Locator) -> None:
    form.locator("button.authorize").click()
    form.get_by_text("Logout").wait_for()


def try_out(seen: Visit) -> str:
    """The status that /instruments gives."""
    seen.page.locator(".dialog-ux .btn-done").first.click()
    seen.page.locator("#operations-instruments-list_instruments").click()
    block = seen.page.locator("#operations-instruments-list_instruments")
    block.get_by_role("button", name="Try it out").click()
    block.get_by_role("button", name="Execute").click()
    return block.locator(".live-responses-table .response-col_status").nth(1).inner_text()


def test_a_password_authorizes_and_what_is_tried_out_works(seen: tuple[Visit, str]) -> None:
    visited, _ = seen
    open_dialog(visited)
    form = visited.page.locator(".auth-container", has_text="OAuth2")
    form.locator("#oauth_username").fill(READER)
    form.locator("#oauth_password").fill(PASSWORD)
    apply(form)
    assert try_out(visited).startswith("200")


def test_a_key_authorizes_and_what_is_tried_out_works(seen: tuple[Visit, str]) -> None:
    visited, key = seen
    open_dialog(visited)
    form = visited.page.locator(".auth-container", has_text="X-API-Key")
    form.locator("input").fill(key)
    apply(form)
    assert try_out(visited).startswith("200")


def test_without_a_name_what_is_tried_out_says_how_to_give_one(seen: tuple[Visit, str]) -> None:
    visited, _ = seen
    open_dialog(visited)
    assert try_out(visited).startswith("401")
