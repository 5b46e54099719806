"""A page of the explorer that was left for two minutes. Last of its folder by name: others run meanwhile."""

import re
import time

import pytest
from playwright.sync_api import expect

SECONDS = 120

pytestmark = pytest.mark.timeout(300)


def test_a_page_left_for_two_minutes_still_answers(left_alone):
    page = left_alone.page
    page.wait_for_timeout(max(0.0, SECONDS - (time.monotonic() - left_alone.since)) * 1000)
    bar = page.get_by_role("group", name="sex").get_by_role("button", name="female")
    (women,) = re.findall(r"^female: (\d+)", bar.get_attribute("aria-label"))
    bar.click()
    expect(page.locator(".pm-numbers")).to_contain_text(f"{women} of 120 patients", timeout=30_000)
    page.get_by_role("tab", name="Patient").click()
    expect(page.get_by_role("tab", name="Patient")).to_have_attribute("aria-selected", "true", timeout=30_000)
    assert page.locator("#pm-ended").is_hidden()
    assert (page.refused, page.broken) == ([], [])
