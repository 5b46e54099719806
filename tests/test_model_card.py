"""Model cards: nothing that is unknown is left out of sight, and nothing in them is run."""

import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import pm_lab as pm
from pm_lab.errors import DataError
from pm_lab.model_card import ITEMS, NOT_PROVIDED, model_card


@pytest.fixture
def card():
    table = pd.DataFrame({"c_index": [0.6512], "low": [0.58]}, index=pd.Index(["A|B"], name="model"))
    return model_card(
        "Panel <b>x</b>",
        purpose="Research & <script>alert(1)</script>",
        discrimination=table,
        n={"patients": 198},
    )


def test_every_item_is_there_and_unknown_ones_say_so(card):
    text = card.to_markdown()
    for title in ITEMS.values():
        assert f"**{title}**" in text
    provided = {"purpose", "discrimination", "n", "versions"}
    assert set(card.missing) == set(ITEMS) - provided
    assert text.count(f"*{NOT_PROVIDED}*") == len(ITEMS) - len(provided)
    assert card.to_html().count(f"<em>{NOT_PROVIDED}</em>") == len(ITEMS) - len(provided)
    assert "not a medical device" in text and "not a medical device" in card.to_html()


def test_tables_numbers_and_versions(card):
    text = card.to_markdown()
    assert "| model | c_index | low |" in text and "| A\\|B | 0.651 | 0.58 |" in text
    assert "- patients: 198" in text and "- pm_lab: " in text


def test_text_is_escaped_in_html(card):
    page = card._repr_html_()
    assert "<script>" not in page and "&lt;script&gt;" in page and "<h2>Panel &lt;b&gt;" in page


def test_zero_and_false_are_values():
    assert not {"seed", "n"} & set(model_card("x", seed=0, n=False).missing)


def test_text_forges_nothing_in_markdown():
    """Rendered with tables on, hostile text gives the same headings, lists and tables as harmless text."""
    import mistune  # of nbconvert

    hostile = [
        "# H1",
        "===",
        "---",
        "- item",
        "1. item",
        "> quote",
        "<script>alert(1)</script>",
        "| a | b |\n|---|---|\n| 1 | 2 |",
        "![seen](http://example.org/x.png)",
        "`code` *em* __strong__ ~~gone~~ $x$",
        "    indented",
    ]
    pages = []
    for text in ("harmless", "\n\n".join(hostile), "line\n" + "\n".join(hostile)):
        cell = pd.DataFrame({text: [text]}, index=pd.Index([text], name=text))
        card = model_card(text, purpose=text, limitations=[text], n={text: text}, baseline=cell)
        page = mistune.create_markdown(escape=False, plugins=["table", "strikethrough"])(card.to_markdown())
        tags = (
            "h1",
            "h2",
            "hr",
            "li",
            "ol",
            "table",
            "tr",
            "td",
            "img",
            "script",
            "code",
            "pre",
            "em",
            "del",
        )
        pages.append({tag: page.count(f"<{tag}>") + page.count(f"<{tag} ") for tag in tags})
        assert text == "harmless" or "&lt;script&gt;alert(1)" in page
    assert pages[0] == pages[1] == pages[2] and pages[0]["h1"] == 1 and pages[0]["table"] == 1


def test_markdown_keeps_paragraphs_and_plain_words():
    text = model_card("x", purpose="First\nline.\n\nSecond: a_b, p > .05 & so on.").to_markdown()
    assert "First line.\n\nSecond: a_b, p > .05 & so on.\n" in text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (np.int64(5), "5"),
        (np.float32(0.12345), "0.123"),
        (12345.0, "12345"),
        (np.bool_(True), "True"),
        (np.array(2.5), "2.5"),
        (pd.Timestamp("2020-01-02"), "2020-01-02"),
        (pd.Timestamp("2020-01-02 13:30"), "2020-01-02 13:30:00"),
        (datetime.date(2020, 1, 2), "2020-01-02"),
        (Path("folder/file.csv"), "folder/file.csv"),
        (np.array([1, 2]), "- 1\n- 2"),
        ({"sites": ["a", "b"], "closed": None}, "- sites: a, b\n- closed: not provided"),
    ],
)
def test_values_of_every_kind(value, shown):
    card = model_card("x", n=value)
    assert f"**Patients and events**\n\n{shown}\n" in card.to_markdown() and "n" not in card.missing
    assert all(line.removeprefix("- ") in card.to_html() for line in shown.split("\n"))


@pytest.mark.parametrize(
    "value",
    [
        *(None, "", "  \n", float("nan"), np.float32("nan"), pd.NaT, pd.NA),
        *([], [None], ["", float("nan")], {}, {"patients": None}, np.array([]), np.array([np.nan])),
        *(pd.DataFrame(), pd.Series(dtype=float), pd.DataFrame({"c_index": [np.nan]})),
    ],
    ids=repr,
)
def test_what_says_nothing_is_not_provided(value):
    card = model_card("x", purpose=value)
    title = ITEMS["purpose"]
    assert "purpose" in card.missing and f"**{title}**\n\n*{NOT_PROVIDED}*" in card.to_markdown()
    assert f">{title}</th><td" in card.to_html() and card.to_html().count(f"<em>{NOT_PROVIDED}</em>") == len(
        card.missing
    )


def test_names_of_rows_are_kept_whatever_they_are():
    table = pd.DataFrame({"gene": ["A"], "weight": [np.nan]}, index=pd.Index(["x"], name="gene"))
    text = model_card("x", weights=table, calibration=pd.Series({"slope": 0.9}, name="value")).to_markdown()
    assert "| gene | gene | weight |\n| --- | --- | --- |\n| x | A | – |" in text
    assert "|  | value |\n| --- | --- |\n| slope | 0.9 |" in text
    several = pd.concat({"nki": table}, names=["cohort"])
    assert "| cohort | gene | gene | weight |" in model_card("x", weights=several).to_markdown()
    long = "long text" * 20
    assert long in model_card("x", baseline=pd.DataFrame({"note": [long]})).to_html()


def test_saved_as_markdown_and_html(card, tmp_path):
    card.save(tmp_path / "card.md")
    assert (tmp_path / "card.md").read_text() == card.to_markdown()
    card.save(tmp_path / "card.html")
    assert (tmp_path / "card.html").read_text().startswith("<!doctype html>")
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(DataError, match=r"saved as \.md or \.html"):
        card.save(tmp_path / "card.pkl")


def test_unknown_items_are_refused():
    with pytest.raises(DataError, match="no item auc; there are purpose"):
        pm.model_card.model_card("x", auc=0.9)


def test_long_tables_are_folded_in_html_and_whole():
    table = pd.DataFrame({"gene": [f"G{i:02d}" for i in range(20)], "weight": 0.5})
    page = model_card("x", weights=table, baseline=table.head(3)).to_html()
    assert page.count("<details>") == 1 and "20 rows" in page
    assert all(gene in page for gene in table["gene"])
