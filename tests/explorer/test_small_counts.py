"""What is shared shows no small count, nor what gives one away."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pm_lab.errors import DataError
from pm_lab.explorer import SharedSelections, shown, suppress
from pm_lab.explorer.small_counts import coarse_steps, shown_of


@pytest.mark.parametrize(
    ("n", "least", "text"),
    [
        (63, 10, "63"),
        (10, 10, "10"),
        (9, 10, "<10"),
        (0, 10, "<10"),
        (4, 5, "<5"),
        (0, 0, "0"),
        (12345, 10, "12,345"),
    ],
)
def test_a_count(n, least, text):
    assert shown(n, least) == text


@pytest.mark.parametrize(
    ("n", "total", "least", "text"),
    [
        (63, 198, 10, "63 of 198"),
        (4, 198, 10, "<10 of 198"),
        (0, 198, 10, "<10 of 198"),
        (189, 198, 10, ">188 of 198"),
        (198, 198, 10, ">188 of 198"),
        (188, 198, 10, "188 of 198"),
        (3, 7, 10, "<10"),
        (3, 7, 0, "3 of 7"),
    ],
)
def test_a_part_of_a_total(n, total, least, text):
    assert shown_of(n, total, least) == text


def test_zero_and_nine_look_the_same():
    assert suppress(pd.Series([50, 40, 0])).tolist() == suppress(pd.Series([50, 40, 9])).tolist()


def test_a_single_hidden_count_takes_another_with_it():
    assert suppress(pd.Series({"I": 40, "II": 25, "III": 3})).to_dict() == {
        "I": "40",
        "II": "hidden",
        "III": "<10",
    }
    assert suppress(pd.Series([40, 25, 7, 8])).tolist() == ["40", "25", "<10", "<10"]
    assert suppress(pd.Series([40, 25, 2, 3])).tolist() == ["40", "hidden", "<10", "<10"]
    assert suppress(pd.Series([40, 25])).tolist() == ["40", "25"]
    assert suppress(pd.Series([40, 2])).tolist() == ["hidden", "<10"]
    assert suppress(pd.Series([40, 2]), least=0).tolist() == ["40", "2"]
    assert suppress(pd.Series([], dtype=int)).tolist() == []


def test_least_is_a_whole_number():
    with pytest.raises(DataError, match="least"):
        suppress(pd.Series([1]), least=-1)


@given(
    st.lists(st.lists(st.integers(0, 40), min_size=3, max_size=3), min_size=1, max_size=5),
    st.integers(1, 15),
)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_no_row_or_column_gives_a_small_count_away(rows, least):
    counts = pd.DataFrame(rows, columns=list("abc"))
    text = suppress(counts, least)
    hidden = text.isin([f"<{least}", "hidden"]).to_numpy()
    values = counts.to_numpy()
    assert hidden[values < least].all()
    assert (text.to_numpy()[~hidden] == values[~hidden].astype(str)).all()
    for lines, masks in ((values, hidden), (values.T, hidden.T)):
        for line, mask in zip(lines, masks, strict=True):
            # What is left of the total is said to be of two counts or more, and is no small one,
            # unless all of the line is hidden and there is no other count to hide.
            assert not mask.any() or mask.all() or (mask.sum() >= 2 and line[mask].sum() >= least)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=60), st.integers(1, 12))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_each_step_of_a_shared_curve_is_of_enough_events(left, least):
    happened = np.cumsum([0, *(events for events, _ in left)])
    n = max(300, sum(map(sum, left)))
    at_risk = n - np.cumsum([0, *map(sum, left)])
    kept = coarse_steps(happened, at_risk, n, least)
    if happened[-1] < least or n - happened[-1] < least:
        assert len(kept) == 0
    else:
        assert kept[0] == 0
        assert (np.diff(happened[kept]) >= least).all()
        assert (at_risk[kept] >= least).all()


def test_a_curve_of_few_is_not_shared_and_without_least_whole():
    assert coarse_steps([0, 4, 9], [100, 90, 80], 100).tolist() == []
    assert coarse_steps([0, 50, 91], [100, 50, 9], 100).tolist() == []
    assert coarse_steps([0, 1, 2], [9, 8, 7], 9, least=0).tolist() == [0, 1, 2]
    assert coarse_steps([], [], 0).tolist() == []


def first(n, of=100):
    return np.arange(of) < n


@pytest.mark.parametrize("n", [0, 1, 9, 91, 99])
def test_few_people_and_all_but_few_are_withheld(n):
    assert "<10 people" in SharedSelections(100).why_not(first(n))


@pytest.mark.parametrize("n", [10, 50, 90, 100])
def test_enough_people_may_be_shared(n):
    shared = SharedSelections(100)
    assert shared.share(first(n)) == "" and shared.share(first(n)) == ""


def test_differences_from_what_was_shared_are_withheld():
    shared = SharedSelections(100)
    assert shared.share(first(50)) == ""
    assert "before" in shared.why_not(first(53))
    assert "before" in shared.why_not(~first(47))  # with everyone and the first, the same few people
    assert shared.share(~first(50)) == ""
    assert shared.share(first(60)) == ""
    assert "before" in shared.share(first(69))
    assert "before" in shared.share(first(69))  # what was withheld does not count as shared
    assert shared.share(first(69), least=5) == ""


def test_a_small_cohort_is_not_shared_as_a_whole():
    assert SharedSelections(7).why_not(np.ones(7, bool)) == "<10 people"
    assert SharedSelections(7).why_not(np.ones(7, bool), least=5) == ""
