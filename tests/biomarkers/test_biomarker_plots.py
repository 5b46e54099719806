"""Figures of biomarkers: what they show, say, and refuse."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

import pm_lab as pm
from pm_lab.errors import DataError

biomarkers = pm.biomarkers


def rows_of(ax) -> list[str]:
    return [label.get_text() for label in ax.get_yticklabels()]


def beside(ax) -> list[str]:
    return [text.get_text() for text in ax.texts]


def markers(ax) -> np.ndarray:
    """All points that are drawn, x and y."""
    from matplotlib.collections import PathCollection

    points = [part.get_offsets() for part in ax.collections if isinstance(part, PathCollection)]
    found = np.vstack([np.ma.filled(part, np.nan) for part in points])
    return found[np.isfinite(found).all(axis=1)]


def assert_nothing_is_cut(figure) -> None:
    """Every text lies within the figure, and no name of a row over another."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    page, renderer = figure.bbox.padded(1), canvas.get_renderer()
    for ax in figure.axes:
        names = [label.get_window_extent(renderer) for label in ax.get_yticklabels() if label.get_text()]
        texts = [text.get_window_extent(renderer) for text in (*ax.texts, ax.title, ax._left_title)]
        for box in (*names, *texts, ax.xaxis.label.get_window_extent(renderer)):
            if box.width:
                assert page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1
        assert all(a.y0 >= b.y1 or b.y0 >= a.y1 for a, b in pairwise(names))


@pytest.fixture(scope="module")
def external(shared):
    """Two scores in two parts of the cohort."""
    panel = biomarkers.fit_panel(shared[:60].copy(), "os", name="ours")
    tables = {}
    for name, part in (("first", shared[60:95].copy()), ("second", shared[85:].copy())):
        clinical = part.obs["age"].rename("clinical only")
        results = [
            biomarkers.external_validation(score, part, "os", n_boot=50) for score in (panel, clinical)
        ]
        tables[name] = pd.concat([result.table for result in results])
    return pd.concat(tables, names=["cohort"])


def test_scores_show_folds_and_intervals(nested):
    summary = nested.summary(n_boot=50)
    figure = biomarkers.plot_scores(nested, summary)
    (ax,) = figure.axes
    assert rows_of(ax) == ["elastic_net", "elastic_net+clinical", "clinical"]
    assert len(markers(ax)) == 3 * (10 + 1)
    row = summary.loc["clinical"]
    assert beside(ax)[2] == f"{row['c_index']:.2f} ({row['low']:.2f} to {row['high']:.2f})"
    assert "C-index" in ax.get_xlabel() and "10 folds" in ax.get_title("left")
    pooled = markers(ax)[markers(ax)[:, 1] % 1 > 0.5]  # below the row, where the folds are above it
    assert np.allclose(np.sort(pooled[:, 0]), np.sort(summary["c_index"]))
    assert_nothing_is_cut(figure)


def test_long_names_are_not_cut(nested):
    name = "signature of the immune response in the stroma (Somebody and others 2019)"
    result = type(nested)(
        nested.scores.replace({"model": {"elastic_net": name}}), nested.predictions, nested.selected,
        nested.outcome, nested.record,
    )  # fmt: skip
    figure = biomarkers.plot_scores(result, nested.summary(n_boot=20).rename({"elastic_net": name}))
    assert rows_of(figure.axes[0])[0] == name and len(markers(figure.axes[0])) == 33
    assert_nothing_is_cut(figure)


def test_optimism_marks_the_honest_way():
    table = pd.DataFrame({"auc": [0.99, 0.8, 0.6]}, index=["apparent", "search not nested", "nested"])
    table["optimism"] = table["auc"] - 0.6
    figure = biomarkers.plot_optimism(table)
    (ax,) = figure.axes
    assert rows_of(ax) == ["apparent", "search not nested", "nested (honest)"]
    assert beside(ax) == ["0.99 (+0.39)", "0.80 (+0.20)", "0.60"]
    assert "search not nested 0.80 (+0.20)" in figure.get_label()
    assert_nothing_is_cut(figure)
    with pytest.raises(DataError, match="no row 'nested'"):
        biomarkers.plot_optimism(table.iloc[:2])


@pytest.mark.parametrize(
    ("observed", "words"),
    [
        (0.7, "none of 19 permuted outcomes scores as high,\np = 0.05 (the least that so many can show)"),
        (0.585, "1 of 19 permuted outcomes scores as high,\np = 0.1"),
        (0.41, "18 of 19 permuted outcomes score as high,\np = 0.95"),
    ],
)
def test_the_null_in_words(observed, words):
    scores = np.linspace(0.4, 0.59, 19)
    p_value = (1 + (scores >= observed).sum()) / 20
    null = biomarkers.PermutationNull(observed, scores, p_value, "c_index", "elastic_net")
    figure = biomarkers.plot_permutation_null(null)
    (ax,) = figure.axes
    assert ax.get_title("left") == f"elastic_net: {words}"
    assert sum(bar.get_height() for bar in ax.patches) == 19
    assert observed in [line.get_xdata()[0] for line in ax.lines]
    assert_nothing_is_cut(figure)


def test_stability_shows_direction_threshold_and_bound(larger):
    table = biomarkers.stability_selection(larger, "os", n_pairs=10, adjust=["age"])
    figure = biomarkers.plot_stability(table, n=12)
    (ax,) = figure.axes
    assert rows_of(ax) == list(table.index[:12])
    points = markers(ax)
    drawn = points[np.argsort(-points[:, 1])]
    assert np.allclose(drawn[:, 0], table["frequency"].iloc[:12])
    title = ax.get_title("left")
    assert f"{int(table['selected'].sum())} of 30 genes selected" in title
    assert f"at most {table.attrs['bound']:.2g} false ones expected" in title
    assert ax.lines[0].get_xdata()[0] == table.attrs["threshold"]
    legend = {text.get_text() for text in figure.legends[0].get_texts()}
    assert {"higher with the outcome, selected", "lower with the outcome, selected", "threshold"} <= legend
    assert_nothing_is_cut(figure)
    one = biomarkers.plot_stability(table, n=1).axes[0].get_title("left")
    assert "of 30 genes selected (1 shown): taken in" in one and "of 20 halves" in one.replace(
        "all 20", "of 20"
    )
    none = table.assign(selected=False)
    none.attrs = table.attrs | {"threshold": np.nan}
    title = biomarkers.plot_stability(none).axes[0].get_title("left")
    assert title == "0 of 30 genes selected\nno threshold keeps the bound that was asked for"
    table.attrs = {}
    with pytest.raises(DataError, match="lost its attrs"):
        biomarkers.plot_stability(table)


def test_panel_sizes_mark_the_chosen():
    table = pd.DataFrame(
        {"r2": [0.1, 0.3, 0.35], "standard_error": [0.05, 0.04, 0.06], "chosen": [False, True, False]},
        index=pd.Index([1, 4, 20], name="n_genes"),
    )
    figure = biomarkers.plot_panel_sizes(table)
    (ax,) = figure.axes
    assert markers(ax).tolist() == [[4, 0.3]]
    assert [text.get_text() for text in ax.get_legend().get_texts()][:2] == [
        "chosen: 4 genes, 0.30",
        "best size less one standard error",
    ]
    limits = [line.get_ydata() for line in ax.lines if line.get_linestyle() == "--"]
    assert limits[0] == pytest.approx([0.29, 0.29])
    assert ax.get_ylabel().startswith("R²") and "best 20 (0.35), chosen 4 (0.30)" in figure.get_label()
    assert_nothing_is_cut(figure)


def test_external_validation_is_a_row_per_model_and_cohort(external):
    figure = biomarkers.plot_external(external)
    score, effect = figure.axes
    first, second = (external.loc[name, "n_events"].iloc[0] for name in ("first", "second"))
    assert rows_of(score) == [
        f"first, 35 patients, {first} events", "ours", "clinical only",
        f"second, 35 patients, {second} events", "ours", "clinical only",
    ]  # fmt: skip
    assert np.allclose(markers(score)[:, 0], external["c_index"])
    assert np.allclose(markers(effect)[:, 0], external["hazard_ratio_per_sd"])
    assert markers(score)[:, 1].tolist() == [4, 3, 1, 0] and effect.get_xscale() == "log"
    row = external.iloc[0]
    assert beside(effect)[0].startswith(f"{row['hazard_ratio_per_sd']:.2f} ({row['effect_low']:.2f} to")
    assert_nothing_is_cut(figure)
    alone = biomarkers.plot_external(external.loc["first"])
    assert rows_of(alone.axes[0])[0] == f"35 patients, {first} events"
    with pytest.raises(DataError, match="mixes kinds of outcome"):
        biomarkers.plot_external(external.assign(auc=0.5))


def test_a_constant_score_has_no_effect_to_show(shared):
    part = shared[:40].copy()
    nothing = pd.Series(1.0, index=part.obs_names, name="nothing")
    table = biomarkers.external_validation(nothing, part, "level", n_boot=20).table
    effect = biomarkers.plot_external(table).axes[1]
    assert beside(effect) == ["constant score"] and effect.get_xscale() == "linear"


def test_subgroups_name_the_worse_and_the_too_few():
    index = [("all", "all"), ("er", "negative"), ("er", "positive"), ("site", "small")]
    table = pd.DataFrame(
        {"n": [1200, 500, 700, 7], "n_events": [80, 30, 50, 1], "auc": [0.7, 0.5, 0.75, np.nan],
         "low": [0.65, 0.42, 0.7, np.nan], "high": [0.75, 0.6, 0.8, np.nan],
         "note": ["", "worse", "", "too few"]},
        index=pd.MultiIndex.from_tuples(index, names=["column", "level"]),
    )  # fmt: skip
    figure = biomarkers.plot_subgroups(table)
    (ax,) = figure.axes
    assert rows_of(ax) == [
        "all (1,200 patients, 80 events)", "er", "negative (500 patients, 30 events)",
        "positive (700 patients, 50 events)", "site", "small (7 patients, 1 event)",
    ]  # fmt: skip
    assert beside(ax) == [
        "0.70 (0.65 to 0.75)",
        "0.50 (0.42 to 0.60)  worse",
        "0.75 (0.70 to 0.80)",
        "too few",
    ]
    assert ax.lines[0].get_xdata()[0] == 0.7
    assert "worse: er negative; too few patients to say: site small" in figure.get_label()
    assert_nothing_is_cut(figure)


@pytest.fixture(scope="module")
def explanation():
    """As explain gives it, of two correlated genes and two others."""
    groups = pd.Series({"G1": "G1", "G2": "G1", "G3": "G3", "age": "age"}, name="group")
    importance = pd.DataFrame(
        {"group": ["G1", "age"], "features": ["G1, G2", "age"], "n_features": [2, 1],
         "importance": [0.2, 0.05], "sd": [0.05, 0.01]}
    )  # fmt: skip
    patient = pd.DataFrame(
        {"group": ["G1", "G1", "age", "G3"], "value": [2.0, 1.5, -1.0, 0.3],
         "contribution": [0.5, 0.2, -0.3, 0.1]},
        index=["G1", "G2", "age", "G3"],
    )  # fmt: skip
    record = {"model": "elastic_net+clinical", "outcome": "os", "metric": "c_index", "patient": "P1"}
    record |= {"scale": "log hazard ratio", "correlation": 0.7}
    return biomarkers.Explanation(importance, groups, patient, 0.1, 0.6, record)


def test_an_explanation_shows_groups_and_the_way_to_the_patient(explanation):
    figure = biomarkers.plot_explanation(explanation, n=2)
    model, patient = figure.axes
    assert rows_of(model) == ["G1 + 1 correlated", "age"]
    assert [bar.get_width() for bar in model.patches] == [0.2, 0.05]
    assert rows_of(patient) == ["G1 + 1 correlated", "age (-1.0 SD)", "1 other group"]
    ends = [bar.get_x() + bar.get_width() for bar in patient.patches]
    assert ends == pytest.approx([0.8, 0.5, 0.6]) and patient.patches[0].get_x() == pytest.approx(0.1)
    assert patient.get_xlabel() == "log hazard ratio" and beside(patient)[1].strip() == "-0.30"
    assert "(|r| of about 0.7 or more): 1 of 2" in figure.get_label()
    assert_nothing_is_cut(figure)


def test_an_explanation_without_a_patient_or_features(explanation):
    alone = biomarkers.Explanation(explanation.importance, explanation.groups, record=explanation.record)
    assert len(biomarkers.plot_explanation(alone).axes) == 1
    alone.importance = explanation.importance.iloc[:0]
    with pytest.raises(DataError, match="uses no feature"):
        biomarkers.plot_explanation(alone)


@pytest.mark.parametrize("function", ["optimism", "stability", "panel_sizes", "external", "subgroups"])
def test_tables_of_something_else_are_refused(function, nested):
    with pytest.raises(DataError, match="not a table of"):
        getattr(biomarkers, f"plot_{function}")(nested.scores)
