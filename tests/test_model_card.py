"""Model cards: nothing that is unknown is left out of sight, and nothing in them is run."""

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


def test_empty_values_are_not_provided():
    card = model_card("x", purpose="", limitations=[], weights=pd.DataFrame(), seed=0)
    assert {"purpose", "limitations", "weights"} <= set(card.missing) and "seed" not in card.missing


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
