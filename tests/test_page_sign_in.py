"""Signing in on the page and on /docs, in a real browser."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.base import AXE_SCRIPT, AxeResults

from api.callers import users
from tests.browser import NARROW, WIDE, Visit, find_browser, launch, visit
from tests.guarded import CHIEF, PASSWORD, READER, Guarded, guard
from tests.server import serve

pytestmark = pytest.mark.skipif(
    not find_browser(), reason="no Chromium here: apt-get install chromium"
)
REFUSED = "error: Failed to load resource: the server responded with a status of"


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with launch() as browser:
        yield browser


@pytest.fixture
def own(sample_dir: Path, tmp_path: Path) -> Iterator[Guarded]:
    with guard(sample_dir, tmp_path) as guarded:
        yield guarded


@pytest.fixture
def seen(browser, own: Guarded) -> Iterator[Visit]:
    """A visit in whose console nothing stands but what the service refused."""
    with visit(browser, own.client.base_url, accept_downloads=True) as seen:
        yield seen
    assert [fault for fault in seen.faults if not fault.startswith(REFUSED)] == []


def sign_in(seen: Visit, name: str = READER, password: str = PASSWORD) -> None:
    seen.page.get_by_label("Name", exact=True).fill(name)
    seen.page.get_by_label("Password").fill(password)
    seen.page.keyboard.press("Enter")


def open_signed_in(seen: Visit, address: str = "/", name: str = READER) -> None:
    seen.page.goto(seen.base + address)
    sign_in(seen, name)
    seen.settle()


def test_the_page_asks_for_a_name_and_then_shows_what_it_always_does(seen: Visit) -> None:
    seen.page.goto(f"{seen.base}/?symbol=MSFT")
    seen.page.wait_for_selector("#sign-in[open]")
    assert seen.page.evaluate("document.activeElement.name") == "username"
    seen.page.keyboard.press("Escape")
    sign_in(seen, password="wrong")
    seen.page.wait_for_selector("#sign-in-fault:not(:empty)")
    assert seen.read("#sign-in-fault") == "The name or the password is wrong."
    sign_in(seen)
    seen.settle()
    assert not seen.page.locator("#sign-in").is_visible()
    assert seen.count_pixels("--up") > 100
    assert "generation" in seen.page.locator("#store").text_content()
    kept = seen.page.evaluate("JSON.stringify([localStorage, sessionStorage, document.cookie])")
    assert "eyJ" not in kept, "the access token is in memory alone"
    assert not any(PASSWORD.replace(" ", "+") in url or "mdr_" in url for url in seen.requests)


def test_a_reload_needs_no_password_and_signing_out_ends_it(seen: Visit, own: Guarded) -> None:
    open_signed_in(seen)
    seen.page.reload()
    seen.settle()
    token = seen.page.evaluate("sessionStorage.getItem('refresh-token')")
    seen.page.get_by_role("button", name="Sign out").click()
    seen.page.wait_for_selector("#sign-in[open]")
    assert own.renew(token).status_code == 400
    assert seen.page.evaluate("sessionStorage.length") == 0


@pytest.mark.long
def test_a_token_that_is_over_is_renewed_without_a_word(seen: Visit, own: Guarded) -> None:
    open_signed_in(seen)
    token = seen.page.evaluate("sessionStorage.getItem('refresh-token')")
    with users.change(own.path) as file:  # the access token is not valid any more
        for table in ("users", "refresh_tokens"):
            file.execute(f"UPDATE {table} SET stamp = 'another'")
        users.renew_revision(file)
    own.look()
    with seen.page.expect_response(lambda answer: answer.url.endswith("/token")):
        seen.page.get_by_role("tab", name="Data health").click()
    seen.settle()
    assert seen.page.locator("#coverage-part table").is_visible()
    assert not seen.page.locator("#sign-in").is_visible()
    assert token != seen.page.evaluate("sessionStorage.getItem('refresh-token')")


@pytest.mark.long
def test_who_is_gone_is_asked_for_a_name_again(seen: Visit, own: Guarded) -> None:
    open_signed_in(seen)
    users.remove(own.path, READER)
    own.look()
    seen.page.get_by_role("tab", name="Data health").click()
    seen.page.wait_for_selector("#sign-in[open]")
    sign_in(seen, CHIEF)
    seen.settle()
    assert seen.page.locator("#runs-part table").is_visible()


@pytest.mark.long
def test_what_a_reader_may_not_see_says_so_and_the_rest_is_there(seen: Visit) -> None:
    open_signed_in(seen, "/?tab=health")
    assert "needs the scope admin" in seen.read("#runs-part")
    assert seen.page.locator("#coverage-part table").is_visible()


@pytest.mark.long
def test_files_are_saved_and_commands_work_with_a_key(
    seen: Visit, own: Guarded, tmp_path: Path
) -> None:
    open_signed_in(seen, "/?symbol=MSFT&indicators=sma:20&against=IBM")
    with seen.page.expect_download() as download:
        seen.page.get_by_role("link", name="CSV").click()
    assert download.value.suggested_filename.endswith(".csv")
    assert download.value.path().read_text().count("\n") > 100
    env = {**os.environ, "MDS_KEY": own.make_key(), "NO_PROXY": "*"}
    own.look()
    seen.page.locator("#take summary").click()
    run = {"env": env, "capture_output": True, "text": True, "check": True, "timeout": 120}
    told = subprocess.run(["bash", "-c", seen.read("#as-curl")], **run)  # type: ignore[call-overload]
    assert "MSFT" in told.stdout
    assert '"sma_20"' in told.stdout
    code = f"{seen.read('#as-pandas')}\nprint(len(bars), len(indicators))"
    told = subprocess.run([sys.executable, "-c", code], **run)  # type: ignore[call-overload]
    assert min(map(int, told.stdout.split())) > 100


@pytest.mark.long
@pytest.mark.parametrize("size", [WIDE, pytest.param(NARROW, marks=pytest.mark.long)])
def test_axe_finds_nothing_in_the_form_and_behind_it(
    browser, own: Guarded, size: tuple[int, int]
) -> None:
    with visit(browser, own.client.base_url, size) as seen:
        seen.page.goto(seen.base)
        seen.page.wait_for_selector("#sign-in[open]")
        sign_in(seen, password="wrong")
        seen.page.wait_for_selector("#sign-in-fault:not(:empty)")
        seen.page.evaluate(AXE_SCRIPT)
        check_axe(seen)
        sign_in(seen)
        seen.settle()
        check_axe(seen)
        assert seen.find_overflow() == 0


def check_axe(seen: Visit) -> None:
    for scheme in ("light", "dark"):
        seen.page.emulate_media(color_scheme=scheme)
        found = AxeResults(seen.page.evaluate("axe.run({ resultTypes: ['violations'] })"))
        assert found.violations_count == 0, found.generate_report()


def test_without_auth_the_page_has_no_sign_in(browser, sample_dir: Path) -> None:
    with serve(sample_dir) as client, visit(browser, client.base_url) as seen:
        seen.open("/")
        assert not seen.page.locator("#sign-in").is_visible()
        assert not seen.page.locator("#sign-out").is_visible()
        assert seen.page.get_by_role("link", name="CSV").is_visible()
        assert not any(url.endswith("/token") for url in seen.requests)
        assert seen.faults == []
