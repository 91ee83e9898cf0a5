"""The docs in a real Chromium: they work, load nothing from other hosts, and obey their Content-Security-Policy."""

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from app.api.docs.tags import TAGS
from tests.conftest import Services
from tests.helper import PASSWORD, Account, Rows
from tests.support.browser import Browser, eventually, find_chromium, open_browser
from tests.support.processes import web_server
from tests.support.readme import ROOT

IMAGES = ROOT / "docs" / "images"
STAGING = {
    "ENVIRONMENT": "staging",
    "ADMIN_PASSWORD": "a password that nobody published",
    "PASSWORD_HASH_ROUNDS": "10",
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = find_chromium()
    if found is None:
        pytest.skip("needs Chromium and its driver: apt-get install chromium chromium-driver")
    with open_browser(*found) as browser:
        yield browser


@pytest.fixture(scope="module")
def local(services: Services) -> Iterator[str]:
    with web_server(services.environment()) as address:
        yield address


@pytest.fixture
async def root(rows: Rows) -> Account:
    return await rows.superuser()


def picture(browser: Browser, name: str) -> None:
    """Renews a picture of the README when `UPDATE_IMAGES` is set."""
    if os.environ.get("UPDATE_IMAGES"):
        Path(IMAGES).mkdir(parents=True, exist_ok=True)
        browser.screenshot(IMAGES / name)


def assert_no_foreign_host_and_no_error(browser: Browser, address: str) -> None:
    assert {urlsplit(url).port for url in browser.loaded()} == {urlsplit(address).port}
    assert browser.complaints() == []


def assert_caller_is(browser: Browser, username: str) -> None:
    """Executes `GET /user/me/` in Swagger UI."""
    operation = "[id$='read_users_me']"
    browser.click(f"{operation} button.opblock-summary-control")
    browser.click(f"{operation} .try-out button")
    browser.click(f"{operation} button.execute")
    response = f"{operation} .live-responses-table tbody .response-col_description"
    eventually(lambda: f'"username": "{username}"' in browser.text(response))


def test_swagger_ui_keeps_the_token_but_not_the_password_across_a_reload(
    browser: Browser, local: str, root: Account
) -> None:
    browser.open(f"{local}/docs")
    browser.find(".opblock")
    picture(browser, "docs.png")
    browser.click("button.authorize")
    browser.type("#oauth_username", root.username)
    browser.type("#oauth_password", PASSWORD)
    browser.click(".auth-btn-wrapper button.authorize")
    eventually(lambda: "Authorized" in browser.text(".modal-ux"))
    browser.click(".close-modal")
    assert_caller_is(browser, root.username)

    browser.open(f"{local}/docs")
    assert_caller_is(browser, root.username)
    stored = str(browser.run("return JSON.stringify(localStorage)"))
    assert "access_token" in stored
    assert PASSWORD not in stored
    assert_no_foreign_host_and_no_error(browser, local)
    browser.run("localStorage.clear()")


def test_swagger_ui_shows_the_tags_in_order(browser: Browser, local: str, rows: Rows) -> None:
    browser.open(f"{local}/docs")
    browser.find(".opblock")
    shown = browser.run("return [...document.querySelectorAll('h3[data-tag]')].map((title) => title.dataset.tag)")

    described = [tag["name"] for tag in TAGS]
    assert [name for name in shown if name in described] == described


def test_redoc_shows_the_operations_and_finds_them(browser: Browser, local: str, rows: Rows) -> None:
    browser.open(f"{local}/redoc")
    browser.find("[id*='login_for_access_token']")
    picture(browser, "redoc.png")
    assert "rate limits" in browser.text("[role=menu]").lower()

    browser.type("input[aria-label='Search']", "permanently")
    eventually(lambda: "Delete a user permanently" in browser.text("[data-role='search:results']"))
    assert_no_foreign_host_and_no_error(browser, local)


def test_the_root_redirects_to_the_docs(browser: Browser, local: str, rows: Rows) -> None:
    browser.open(local)
    browser.find(".opblock")

    assert browser.run("return location.pathname") == "/docs"
    assert_no_foreign_host_and_no_error(browser, local)


def test_in_staging_the_browsers_own_prompt_opens_the_docs_to_a_superuser(
    browser: Browser, services: Services, root: Account
) -> None:
    with web_server(services.environment(**STAGING)) as address:
        browser.open(f"{address}/docs")
        assert browser.run("return performance.getEntriesByType('navigation')[0].responseStatus") == 401
        assert browser.complaints() != []

        prompted = address.replace("://", f"://{root.username}:{PASSWORD.replace(' ', '%20')}@")
        browser.open(f"{prompted}/docs")
        browser.find(".opblock")
        assert_no_foreign_host_and_no_error(browser, address)

        browser.open(f"{address}/redoc")
        browser.find("[id*='login_for_access_token']")
        assert_no_foreign_host_and_no_error(browser, address)
