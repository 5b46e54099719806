"""What is let in as a screen, what is not, and what a screen says of itself."""

import warnings

import anndata
import numpy as np
import pandas as pd
import pytest

import pm_lab as pm
from pm_lab.errors import DataError, PmLabWarning

dr = pm.drug_response


def refused(screen, match, **options):
    with pytest.raises(DataError, match=match):
        dr.check_screen(screen, **options)


def test_the_built_in_screen_is_one(built_in):
    response = dr.check_screen(built_in)
    pd.testing.assert_frame_equal(response, built_in.obsm["response"])
    table = dr.drug_table(built_in)
    assert list(table.columns[:3]) == ["cid", "smiles", "pathway"] and (table["targets"] == "").all()


def test_a_cohort_stands_for_its_screen_and_nothing_else_does():
    cohort = pm.datasets.simulate_cohort(n_cells=600, n_lines=20, n_drugs=5)
    assert dr.check_screen(cohort).shape == (20, 5)
    with pytest.raises(DataError, match="is a DataFrame: give an AnnData of cell lines"):
        dr.check_screen(pd.DataFrame())


def with_modalities(screen):
    rng = np.random.default_rng(0)
    screen.obsm["mutation"] = rng.integers(0, 2, (screen.n_obs, 3)).astype("float32")
    screen.obsm["mutation"][:10] = np.nan
    screen.obsm["methylation"] = rng.random((screen.n_obs, 2), dtype="float32")
    screen.uns["features"] = {"mutation": ["KRAS", "TP53", "a/b"], "methylation": ["s1", "s2"]}
    return screen


def test_a_screen_survives_h5ad(screen, tmp_path):
    with_modalities(screen)
    screen.uns["response_only"] = {
        "obs": pd.DataFrame({"tissue": pd.Categorical(["skin"])}, index=["Z1"]),
        "response": screen.obsm["response"].iloc[:1].set_axis(["Z1"]) + 0.25,
    }
    screen.write_h5ad(tmp_path / "screen.h5ad")
    again = pm.datasets.read_anndata(tmp_path / "screen.h5ad")
    pd.testing.assert_frame_equal(dr.check_screen(again), dr.check_screen(screen))
    pd.testing.assert_frame_equal(dr.drug_table(again), dr.drug_table(screen))
    pd.testing.assert_frame_equal(dr.modality(again, "mutation"), dr.modality(screen, "mutation"))
    rest = again.uns["response_only"]["response"]
    pd.testing.assert_frame_equal(rest, screen.uns["response_only"]["response"])
    np.testing.assert_array_equal(again.X, screen.X)


def test_modalities_may_lack_lines(screen):
    with_modalities(screen)
    dr.check_screen(screen)
    assert dr.measured(screen, "mutation").sum() == 290 and not dr.measured(screen, "copy_number").any()
    assert dr.modality(screen, "mutation").loc["LINE0011":].isin([0, 1]).all(axis=None)
    with pytest.raises(DataError, match="no modality 'copy_number'; it has mutation, methylation"):
        dr.modality(screen, "copy_number")
    table = dr.screen_overview(screen)
    assert table.loc["all", "n_mutation"] == 290 and "n_copy_number" not in table


@pytest.mark.parametrize(
    ("name", "spoil", "match"),
    [
        ("mutation", lambda m: m.__setitem__((20, 1), np.nan), r"NaN in a part of 1 lines \(LINE0021\)"),
        ("mutation", lambda m: m.__setitem__((20, 1), 2.0), "0 .none. or 1 .mutated."),
        ("methylation", lambda m: m.__setitem__((20, 1), 80.0), "goes from .* to 80; .* between 0 and 1"),
        ("methylation", lambda m: m.__setitem__((20, 1), np.inf), "1 infinite"),
    ],
    ids=["gap", "count", "percent", "infinite"],
)
def test_modalities_that_do_not_fit(screen, name, spoil, match):
    with_modalities(screen)
    spoil(screen.obsm[name])
    refused(screen, match)


def test_a_modality_without_names(screen):
    with_modalities(screen)
    del screen.uns["features"]["mutation"]
    refused(screen, r"obsm\['mutation'\] has 3 columns .* no names")


# Lines, genes, drugs


def test_lines_that_occur_twice_with_other_values(screen):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # anndata says that names recur; that is the point
        twice = anndata.concat([screen, screen[:2]], uns_merge="first")
    refused(twice, r"2 line ids occur more than once, with equal values \(LINE0001, LINE0002\)")
    twice.X[-1, 0] += 1
    refused(twice, r"1 of them with different values \(LINE0002\)")
    twice.X[-1, 0] -= 1
    twice.obsm["response"].iloc[-2, 0] = 3.0
    refused(twice, r"1 of them with different values \(LINE0001\)")


def test_genes_that_occur_twice(screen):
    screen.var_names = [screen.var_names[1], *screen.var_names[1:]]
    refused(screen, "1 var names occur more than once")


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        (lambda names: [names[1], *names[1:]], r"1 drugs have more than one column: DRUG002"),
        (lambda names: ["a/b", *names[1:]], "1 drug names hold a slash.*: a/b"),
        (lambda names: ["Newdrug", *names[1:]], "1 drugs have no row in uns.*: Newdrug"),
    ],
    ids=["twice", "slash", "not in the table"],
)
def test_drug_names(screen, columns, match):
    response = screen.obsm["response"]
    screen.obsm["response"] = response.set_axis(columns(list(response.columns)), axis=1)
    refused(screen, match)


def test_drug_tables(screen):
    screen.uns["drugs"] = pd.concat([screen.uns["drugs"], screen.uns["drugs"].iloc[:1]])
    refused(screen, "1 drugs have more than one row in uns.*: DRUG001")
    del screen.uns["drugs"]
    refused(screen, r"uns\['drugs'\] must be a DataFrame")


def test_a_tissue_that_is_missing(screen):
    screen.obs["tissue"] = screen.obs["tissue"].where(screen.obs_names != "LINE0003")
    refused(screen, "tissue.*missing for 1 of 300 rows .LINE0003")


# One line under two names


def under_two_names(screen, lines, change=None):
    """The screen with some of its lines once more under other names, changed."""
    again = screen[lines].copy()
    again.obs_names = [f"{name}b" for name in lines]
    again.obsm["response"].index = again.obs_names
    if change is not None:
        change(again)
    return anndata.concat([screen, again], uns_merge="first")


def other_responses(again):
    again.obsm["response"] += 0.5


def other_expression(again):
    again.X = again.X[:, ::-1] + 0.01


def a_few_responses_more(again):
    other_expression(again)
    again.obsm["response"].iloc[:, ::20] = 0.123


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (None, "expression"),
        (other_responses, "expression"),
        (other_expression, "responses"),
        (a_few_responses_more, "responses"),
    ],
)
def test_a_line_under_two_names_is_refused(screen, change, what):
    twice = under_two_names(screen, ["LINE0007", "LINE0009"], change)
    refused(twice, rf"2 lines have the {what} of another \(LINE0007 = LINE0007b, LINE0009 = LINE0009b\)")
    if what == "expression":
        dr.check_screen(twice[~twice.to_df().round(4).duplicated().to_numpy()].copy())


def test_lines_that_are_resistant_to_everything_are_not_one_line(screen):
    response = screen.obsm["response"]
    screen.obsm["response"] = pd.concat([response.iloc[:40] * 0 + response.max(), response.iloc[40:]])
    dr.check_screen(screen)
    dr.check_screen(screen[:, :5].copy())  # nor are those of which next to nothing is known
    screen.obsm["response"] = response.round(0)
    dr.check_screen(screen)


def without_expression(screen, change=lambda table: table, names=None):
    response = screen.obsm["response"].iloc[:10] + 0.25
    table = change(response.set_axis(names or [f"Z{i}" for i in range(10)]))
    obs = pd.DataFrame({"tissue": "lung"}, index=table.index)
    screen.uns["response_only"] = {"obs": obs, "response": table}
    return screen


def test_lines_without_expression_may_be_tested_with_some_drugs_and_be_one(screen):
    dr.check_screen(without_expression(screen, lambda t: t.assign(DRUG004=np.nan)))
    dr.check_screen(
        without_expression(screen, lambda t: pd.concat([t, t.set_axis([f"Y{i}" for i in range(10)])]))
    )
    dr.check_screen(without_expression(screen, lambda t: t * np.nan))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            lambda t: t.set_axis([f"LINE{i:04d}" for i in range(1, 11)]),
            "10 lines .* are in the screen too .LINE0",
        ),
        (lambda t: t - 0.25, r"10 lines have the responses of another \(LINE0001 = Z0, .*or once more among"),
        (lambda t: np.exp(t), r"goes from .* to .*another unit, or no logarithm.* ln IC50 in µM: np.log"),
        (lambda t: t.abs().clip(upper=15), "another unit, or no logarithm"),
        (lambda t: t.mask(t > 2, np.inf), "infinite values"),
        (lambda t: t.astype(object).mask(t > 2, "high"), "holds what is no number"),
        (lambda t: t.drop(columns="DRUG003"), r"no column for 1 drugs of the screen \(DRUG003\)"),
        (lambda t: t.iloc[[0, 0]], "the same lines in one order, each once"),
    ],
    ids=["names", "responses", "IC50", "sizes", "infinite", "text", "drug", "twice"],
)
def test_lines_without_expression_that_do_not_fit(screen, change, match):
    refused(without_expression(screen, change), match)


def test_lines_without_expression_are_two_tables(screen):
    without_expression(screen)
    rest = screen.uns["response_only"]
    screen.uns["response_only"] = rest | {"obs": rest["obs"].iloc[::-1]}
    refused(screen, "must name the same lines in one order")
    for wrong in (rest["response"], {"response": rest["response"]}, None):
        screen.uns["response_only"] = wrong
        refused(screen, "must be a dict of two DataFrames by line")


# Expression

LN2 = np.log(2)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda x: np.round(2**x - 1), "whole numbers only .* as raw counts do"),
        (lambda x: 2**x - 1, "so no logarithm was taken"),
        (lambda x: x * LN2, "natural logarithm"),
        (
            lambda x: x * np.log10(2),
            "goes up to .* only, over 2,000 genes: logged twice, to base 10, or scaled",
        ),
        (lambda x: np.log2(x + 1), "logged twice"),
        (lambda x: (x - x.min()) / (x.max() - x.min()), "or scaled"),
        (lambda x: x - x.mean(axis=0), "negative values, as after centring"),
        (lambda x: np.log2(20 * (2**x - 1) + 1), "is no TPM: .* more than a million in 300 of 300 lines"),
        (lambda x: np.where(np.arange(len(x))[:, None] == 4, np.nan, x), r"2,000 NaN .* 1 lines .LINE0005."),
    ],
    ids=["counts", "TPM", "ln", "log10", "twice", "scaled", "centred", "logged counts", "NaN"],
)
@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_expression_of_another_scale(screen, change, match, kind):
    from scipy.sparse import csr_matrix

    screen.X = change(screen.X.astype(float))
    if kind == "sparse":
        screen.X = csr_matrix(screen.X)
    refused(screen, rf"X .*{match}.*log2\(TPM \+ 1\)")


def test_some_genes_sum_to_less_than_a_million(screen):
    dr.check_screen(screen[:, :700].copy())


def test_a_screen_without_lines(screen):
    refused(screen[:0].copy(), "empty: 0 lines")


# Responses


def test_responses_that_are_none(screen):
    screen.obsm["response"] = screen.obsm["response"].to_numpy()
    refused(screen, "is a ndarray: a DataFrame of lines × drugs")
    del screen.obsm["response"]
    refused(screen, "is missing")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (np.exp, "with no negative one: IC50 without a logarithm"),
        (lambda y: 100 / (1 + np.exp(-y)), "or areas in percent"),
        (lambda y: 1 / (1 + np.exp(-y)), "areas under the curve, or viabilities, and no ln IC50"),
        (lambda y: y * 5, "no ln IC50 in µM is beyond ±20"),
        (lambda y: y.mask(y > 3, np.inf), "infinite values, as the logarithm of an IC50 of 0"),
        (lambda y: y.astype(object).where(y < 3, ">10"), "no number"),
        (lambda y: y * np.nan, "holds no value"),
    ],
    ids=["IC50", "percent", "AUC", "far out", "infinite", "text", "nothing"],
)
def test_responses_of_another_kind(screen, change, match):
    screen.obsm["response"] = change(screen.obsm["response"])
    refused(screen, match)


def test_pic50_is_warned_of(screen):
    y = screen.obsm["response"].clip(-6, 6)
    screen.obsm["response"] = 6 - y / np.log(10)
    with pytest.warns(PmLabWarning, match="every IC50 would be over 1 µM. If these are pIC50"):
        dr.check_screen(screen)


def test_areas_under_the_curve_when_said(screen):
    screen.obsm["response"] = 1 / (1 + np.exp(-screen.obsm["response"]))
    screen.uns["response_measure"] = "auc"
    assert dr.check_screen(screen).max().max() <= 1
    screen.obsm["response"] *= 100
    refused(screen, "areas under the curve lie between 0 and 1")
    screen.uns["response_measure"] = "pic50"
    refused(screen, "is 'pic50'; it must be one of")


def test_constant_drugs_and_drugs_of_three_lines(screen):
    response = screen.obsm["response"]
    response.iloc[3:, 0] = np.nan
    response["DRUG002"] = 1.5
    refused(
        screen,
        r"1 drugs .* than 5 lines \(DRUG001: [0-3]\) and 1 drugs have the same .*\(DRUG002\).*drop_unusable",
    )
    with pytest.warns(PmLabWarning, match=r"fewer than 5 lines \(DRUG001\) and 1 constant drugs \(DRUG002\)"):
        kept = dr.drop_unusable_drugs(screen)
    assert dr.check_screen(kept).shape == (300, 58) and len(kept.uns["drugs"]) == 58
    assert kept.uns["pm_lab"]["drop_unusable_drugs"]["constant"] == ["DRUG002"]
    assert screen.obsm["response"].shape == (300, 60)


def test_what_was_dropped_survives_h5ad(screen, tmp_path):
    screen.obsm["response"]["DRUG002"] = 1.5
    with pytest.warns(PmLabWarning, match="constant"):
        kept = dr.drop_unusable_drugs(screen)
    kept.write_h5ad(tmp_path / "kept.h5ad")
    dropped = pm.datasets.read_anndata(tmp_path / "kept.h5ad").uns["pm_lab"]["drop_unusable_drugs"]
    assert list(dropped["constant"]) == ["DRUG002"] and len(dropped["too_few_lines"]) == 0


def test_unknown_drugs_cannot_be_taken(screen):
    with pytest.raises(DataError, match="1 drugs are not in the screen: Aspirin"):
        dr.take_drugs(screen, ["DRUG001", "Aspirin"])


def test_curves_go_with_their_drugs(screen):
    curves = (
        screen.obsm["response"].iloc[:2].stack().rename_axis(["line", "drug"]).rename("ln_ic50").reset_index()
    )
    screen.uns["curves"] = curves.replace({"drug": {"DRUG002": "DRUG/002"}})
    screen.uns["drugs"] = screen.uns["drugs"].rename({"DRUG002": "DRUG-002"})
    screen.obsm["response"] = screen.obsm["response"].rename(columns={"DRUG002": "DRUG-002"})
    part = dr.take_drugs(screen, ["DRUG001", "DRUG-002"])
    assert set(part.uns["curves"]["drug"]) == {"DRUG001", "DRUG/002"}
    assert len(screen.uns["curves"]) == len(curves)


def test_a_cid_is_a_whole_number_also_where_the_table_has_gaps(screen):
    screen.uns["drugs"]["cid"] = [np.nan, 123.0, *range(58)]
    assert dr.drug_table(screen)["cid"].iloc[:4].tolist() == ["", "123", "0", "1"]


def test_checks_change_nothing(screen, built_in):
    dr.check_screen(screen)
    np.testing.assert_array_equal(screen.X, built_in.X)
    assert screen.uns.keys() == built_in.uns.keys() and screen.obsm.keys() == built_in.obsm.keys()


def test_overview(built_in):
    table = dr.screen_overview(built_in)
    assert table.index[-1] == "all" and table["n_lines"].iloc[:-1].is_monotonic_decreasing
    assert table["n_values"].iloc[:-1].sum() == table.loc["all", "n_values"]
    response = built_in.obsm["response"]
    lung = response[built_in.obs["tissue"] == "lung"]
    assert table.loc["lung", "median_response"] == pytest.approx(np.nanmedian(lung))
    assert table.loc["lung", "share_measured"] == pytest.approx(lung.notna().to_numpy().mean())


@pytest.mark.parametrize("plot", ["plot_responses", "plot_measured"])
def test_figures(built_in, plot):
    figure = getattr(dr, plot)(built_in)
    ax = figure.axes[0]
    assert "60 drugs" in ax.get_xlabel() and "%" in ax.get_title()
    if plot == "plot_responses":
        assert ax.get_ylabel() == "ln IC50 (µM)"
        medians = ax.lines[0].get_ydata()
        np.testing.assert_allclose(medians, np.sort(built_in.obsm["response"].median()))
    else:
        shown = np.asarray(ax.images[0].get_array())
        assert shown.sum() == built_in.obsm["response"].notna().to_numpy().sum()
