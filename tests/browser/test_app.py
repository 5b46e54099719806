"""The explorer as `pm-lab app` serves it: Voilà and Chromium, and nothing beyond this machine."""

import http.client
import re
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

SLOW = 90_000  # milliseconds: a kernel's start and its imports on a busy machine
SCREENSHOTS = Path(__file__).resolve().parents[2] / "build" / "screenshots"
PATIENTS = "patient,age,grade\n" + "".join(f"P{i},{40 + i},{'high' if i % 3 else 'low'}\n" for i in range(30))

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("left_alone")]


@pytest.fixture(scope="module")
def app(open_page, built_in):
    """A page of the explorer on the built-in cohort, in a browser that asks for dark pages."""
    page = open_page(color_scheme="dark")
    page.goto(built_in.address)
    page.locator(".pm-numbers").wait_for(timeout=SLOW)
    yield page
    page.context.close()


@pytest.fixture(scope="module")
def broken(serve_app):
    """`pm-lab app` on a file in which two patients have two rows."""
    rows = PATIENTS.splitlines(keepends=True)
    return serve_app("mine.csv", **{"mine.csv": "".join([*rows, *rows[1:3]])})


def said(page):
    return page.locator(".pm-numbers, .pm-problem").first


def kernels(app):
    children = psutil.Process(app.server.pid).children()
    return [child for child in children if child.status() != psutil.STATUS_ZOMBIE]


def serious(page):
    """What axe-core finds, as (rule, element)."""
    found = Axe().run(page).response["violations"]
    worst = [violation for violation in found if violation["impact"] in ("serious", "critical")]
    return [(violation["id"], node["html"]) for violation in worst for node in violation["nodes"]]


@pytest.mark.parametrize("query", ["", "?token=", "?token=wrong"])
def test_without_the_token_nothing_is_shown(page, built_in, query):
    before = len(kernels(built_in))
    page.goto(built_in.address.split("?")[0] + query)
    expect(page.locator("h1")).to_have_text("This page is opened with its token")
    assert page.locator("#rendered_cells, .pm-explorer").count() == 0
    assert len(kernels(built_in)) == before
    assert page.refused == []
    assert serious(page) == []


@pytest.mark.parametrize("path", ["/api/kernels/0-0-0-0-0", "/voila/files/explorer.ipynb"])
def test_without_the_token_no_other_route_answers_either(built_in, path):
    assert answer(built_in, path)[0] in (403, 404)


def test_a_name_of_another_machine_is_refused(built_in):
    """A page elsewhere could let its own name lead to this machine."""
    token = built_in.address.split("?")[1]
    assert answer(built_in, f"/?{token}", Host="example.org")[0] == 403


def answer(app, path, **headers):
    connection = http.client.HTTPConnection(urlsplit(app.address).netloc, timeout=30)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_server_is_bound_to_this_machine_alone(built_in):
    listening = [
        connection.laddr.ip
        for connection in psutil.Process(built_in.server.pid).net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    assert set(listening) == {"127.0.0.1"}


def test_a_page_that_starts_shows_so(open_page, built_in):
    page = open_page()
    page.goto(built_in.address, wait_until="commit")
    expect(page.get_by_role("status")).to_contain_text("Reading the cohort", timeout=SLOW)
    assert page.locator("#pm-starting svg").count() == 1
    page.context.close()


def test_page_is_the_explorer_and_no_code(app):
    expect(app).to_have_title("built-in cohort · patient explorer")
    expect(app.locator(".pm-numbers")).to_contain_text("120 of 120 patients")
    assert app.locator(".jp-InputArea, .jp-Cell-inputWrapper, .cm-editor").count() == 0
    assert "serve.show" not in app.content()
    assert "token" not in app.url
    assert app.locator("#pm-starting").count() == 0


def test_page_asks_for_nothing_elsewhere_and_logs_no_error(app):
    assert app.refused == []
    assert app.broken == []


def test_page_holds_no_path_of_the_machine(app, built_in):
    names = [str(built_in.folder), str(Path(__file__).parents[2]), str(Path.home())]
    assert not [name for name in names if len(name) > 1 and name in app.content()]


def test_the_browser_itself_refuses_what_is_elsewhere(open_page, built_in):
    page = open_page()
    page.goto(built_in.address.split("?")[0])
    page.evaluate("fetch('https://example.org/news').catch(() => null)")
    assert page.refused == [], "refused before it became a request"
    assert [text for text in page.broken if "Content Security Policy" in text]
    page.context.close()


def test_dark_theme_follows_the_browser_and_a_bright_one_can_be_asked_for(app, open_page, broken):
    def brightness(page):
        colour = page.evaluate("getComputedStyle(document.getElementById('rendered_cells')).backgroundColor")
        return sum(map(int, re.findall(r"\d+", colour)[:3])) / 3

    assert app.locator("body").get_attribute("data-jp-theme-light") == "false"
    assert brightness(app) < 64
    page = open_page(color_scheme="dark")
    page.goto(f"{broken.address}&theme=light")
    said(page).wait_for(timeout=SLOW)
    assert page.locator("body").get_attribute("data-jp-theme-light") == "true"
    assert brightness(page) > 192
    page.context.close()


def test_a_click_is_answered(app):
    bar = app.get_by_role("group", name="sex").get_by_role("button", name="female")
    (women,) = re.findall(r"^female: (\d+)", bar.get_attribute("aria-label"))
    bar.click()
    expect(app.locator(".pm-numbers")).to_contain_text(f"{women} of 120 patients", timeout=SLOW)
    curve = app.get_by_role("group", name="Survival")
    expect(curve.get_by_role("list")).to_contain_text(f"({women})", timeout=SLOW)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    app.screenshot(path=SCREENSHOTS / "voila.png")


def test_axe_finds_nothing_serious(app):
    assert serious(app) == []


def test_a_bad_file_gives_a_message_and_a_mended_one_the_explorer(open_page, broken):
    page = open_page()
    page.goto(broken.address)
    expect(page.get_by_role("alert")).to_contain_text(
        "mine.csv cannot be shown2 patients have more than one row (P0, P1)", timeout=SLOW
    )
    assert "Traceback" not in page.content()
    assert str(broken.folder) not in page.content()
    assert serious(page) == []
    (broken.folder / "mine.csv").write_text(PATIENTS)
    page.reload()
    expect(page.locator(".pm-numbers")).to_contain_text("30 of 30 patients", timeout=SLOW)
    assert (page.refused, page.broken) == ([], [])
    page.context.close()


def test_a_violation_would_be_seen(page):
    page.set_content("<html lang='en'><title>x</title><main><button></button></main></html>")
    assert [rule for rule, _ in serious(page)] == ["button-name"]


def test_kernel_ends_with_its_page_and_a_page_says_that_its_kernel_has_ended(open_page, broken):
    (broken.folder / "mine.csv").write_text(PATIENTS)
    others = set(kernels(broken))
    page = open_page()
    page.goto(broken.address)
    said(page).wait_for(timeout=SLOW)
    (first,) = set(kernels(broken)) - others
    page.reload()
    said(page).wait_for(timeout=SLOW)
    first.wait(60)
    (second,) = set(kernels(broken)) - others
    second.kill()
    look = "() => { document.dispatchEvent(new Event('visibilitychange')); return !%s.hidden }"
    page.wait_for_function(look % "document.getElementById('pm-ended')", polling=500, timeout=SLOW)
    expect(page.get_by_role("alert")).to_contain_text("session of this page has ended")
    page.context.close()
