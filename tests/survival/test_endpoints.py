"""Endpoints: what is read, and what is refused at the door."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import pm_lab as pm
from pm_lab.errors import DataError, DesignError, PmLabWarning
from pm_lab.survival import cox, declare_endpoint, endpoint_table, evaluate_risk, kaplan_meier

SPEC = {"time": "time", "event": "event", "unit": "months"}


@pytest.fixture
def table():
    return pd.DataFrame({"time": [1.0, 2, 3, 4], "event": [1, 0, 1, 0]}, index=list("abcd"))


def test_declared_endpoint_is_read_from_cohort_adata_and_table(cohort, table):
    of_cohort = endpoint_table(cohort, "os")
    assert of_cohort.equals(endpoint_table(cohort.bulk, "os")) and of_cohort.attrs["unit"] == "months"
    assert of_cohort["event"].sum() == cohort.bulk.obs["os_event"].sum()
    declare_endpoint(table, "pfs", "time", "event", "months")
    assert endpoint_table(table, "pfs")["event"].tolist() == [True, False, True, False]


def test_declaration_survives_a_file(bulk, tmp_path):
    declare_endpoint(bulk, "again", "os_time", "os_event", "months", measured={"response": 3.0})
    bulk[:, :5].write_h5ad(tmp_path / "cohort.h5ad")
    back = ad.read_h5ad(tmp_path / "cohort.h5ad")
    assert endpoint_table(back, "again").equals(endpoint_table(bulk, "again"))
    with pytest.raises(DesignError, match="'response' was measured after time zero in 120 of 120"):
        kaplan_meier(back, "again", groupby="response")


def test_unknown_endpoint_lists_the_known(bulk, table):
    with pytest.raises(DataError, match=r"no endpoint 'dmfs'. Declared are \['os'\]"):
        kaplan_meier(bulk, "dmfs")
    with pytest.raises(DataError, match="None is declared"):
        kaplan_meier(table, "dmfs")
    with pytest.raises(DataError, match=r"lacks \['unit'\]"):
        endpoint_table(table, {"time": "time", "event": "event"})
    with pytest.raises(DataError, match=r"has \['evnt'\], which mean nothing"):
        endpoint_table(table, SPEC | {"evnt": "event"})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, np.nan, 3, 4], r"missing for 1 of 4 patients \(b\)"),
        ([1, -2, -3, 4], r"negative for 2 of 4 patients \(b, c; smallest -3\)"),
        ([1, np.inf, 3, 4], "infinite for 1 of 4"),
        (["1", "2", "3", "x"], "not numbers"),
        ([True, True, False, False], "not numbers"),
    ],
)
def test_times_that_cannot_be(table, values, message):
    with pytest.raises(DataError, match=message):
        endpoint_table(table.assign(time=values), SPEC)


@pytest.mark.parametrize("values", [[1, 0, 1, 0], [1.0, 0.0, 1.0, 0.0], [True, False, True, False]])
@pytest.mark.parametrize("kind", [None, "category", str])
def test_event_codings_that_mean_one_thing(table, values, kind):
    column = pd.Series(values, table.index)
    column = column.astype(int).astype(str) if kind is str else column.astype(kind) if kind else column
    assert endpoint_table(table.assign(event=column), SPEC)["event"].tolist() == [True, False, True, False]


def test_event_coded_1_and_2_or_as_text_names_the_levels_and_the_mend(table):
    with pytest.raises(DataError, match=r"levels 1 \(3\), 2 \(1\).*censored"):
        endpoint_table(table.assign(event=[1, 2, 1, 1]), SPEC)
    words = table.assign(event=["dead", "alive", "dead", "alive"])
    with pytest.raises(DataError, match=r"alive \(2\), dead \(2\)"):
        endpoint_table(words, SPEC)
    read = endpoint_table(words, SPEC | {"censored": "alive"})
    assert read["event"].tolist() == [True, False, True, False]
    with pytest.warns(PmLabWarning, match="nobody is coded 'lost'"):
        assert endpoint_table(words, SPEC | {"censored": "lost"})["event"].all()


def test_event_of_interest_among_causes(table):
    causes = table.assign(event=["relapse", "none", "death", "none"])
    read = endpoint_table(causes, SPEC | {"censored": "none", "of_interest": "relapse"})
    assert read["event"].tolist() == [True, False, False, False]
    assert endpoint_table(causes, SPEC | {"censored": "none"})["event"].sum() == 2
    with pytest.raises(DataError, match=r"'cure'; causes in 'event' are \['death', 'relapse'\]"):
        endpoint_table(causes, SPEC | {"censored": "none", "of_interest": "cure"})


def test_all_censored_and_one_event(drawn):
    nobody = drawn.assign(event=False)
    for analysis in (kaplan_meier, lambda t, e: cox(t, ["x"], e), lambda t, e: evaluate_risk("x", t, e)):
        with pytest.raises(DataError, match="none of 400 patients has an event"):
            analysis(nobody, "os")
    one = drawn.assign(event=np.arange(400) == 0)
    with pytest.warns(PmLabWarning, match="one event only"):
        assert kaplan_meier(one, "os")["events"].sum() == 1
    with pytest.raises(DesignError, match="1 coefficients for 1 events"):
        cox(one, ["x"], "os")
    with pytest.raises(DataError, match="1 event in 400 patients"):
        evaluate_risk("x", one, "os")


def test_event_at_time_zero_is_warned_of(table):
    with pytest.warns(PmLabWarning, match=r"1 patients have their event at time zero \(a\)"):
        endpoint_table(table.assign(time=[0, 1, 2, 3]), SPEC)


def test_patient_in_two_rows_is_refused(table):
    with pytest.raises(DataError, match=r"1 patients have more than one row \(x\)"):
        endpoint_table(table.assign(patient=["x", "x", "y", "z"]), SPEC)


def test_entry_after_the_end_is_refused(table):
    late = table.assign(entry=[1.0, 0, 4, 0])
    with pytest.raises(DataError, match=r"2 of 4 patients enter at or after their end \(a, c\)"):
        endpoint_table(late, SPEC | {"entry": "entry"})


def test_covariate_measured_after_time_zero_is_refused_unless_entry_is_there(table):
    table = table.assign(response=["no", "yes", "no", "yes"], when=[0.0, 1.5, 0.5, 0])
    spec = SPEC | {"measured": {"response": "when"}}
    with pytest.raises(DesignError, match=r"in 2 of 4 patients \(b, c; up to 1.5 months\).*immortal"):
        kaplan_meier(table, spec, groupby="response")
    with pytest.raises(DesignError, match="immortal"):
        cox(table, ["response"], spec)
    with pytest.raises(DesignError, match="immortal"), pytest.warns(PmLabWarning, match="2 events only"):
        evaluate_risk("response", table.assign(response=[1, 2, 3, 4.0]), spec)
    assert len(kaplan_meier(table, spec)) > 0  # the others do not mind
    curves = kaplan_meier(table, spec | {"entry": "when"}, groupby="response")
    assert set(curves["group"]) == {"no", "yes"}


def test_expression_measured_after_time_zero_is_refused_whole(bulk):
    bulk.uns["endpoints"]["os"]["measured"] = {"expression": 2.0}
    with pytest.raises(DesignError, match="'expression' was measured after time zero in 120 of 120"):
        cox(bulk, ["age", bulk.var_names[0]], "os")
    assert len(cox(bulk, ["age"], "os")) == 1


def test_dates_of_measurement(table):
    table = table.assign(
        response=[1, 2, 1, 2],
        diagnosis=["2020-01-01"] * 4,
        scan=["2019-12-20", "2020-01-01", "2020-03-02", "2020-01-01"],
    )
    spec = SPEC | {"measured": {"response": "scan"}}
    with pytest.raises(DataError, match="needs 'start'"):
        kaplan_meier(table, spec, groupby="response")
    with pytest.raises(DesignError, match=r"in 1 of 4 patients \(c; up to 2.004 months\)"):
        kaplan_meier(table, spec | {"start": "diagnosis"}, groupby="response")


def test_declaration_that_fails_leaves_nothing(table):
    with pytest.raises(DataError):
        declare_endpoint(table, "os", "time", "nosuch", "months")
    assert "endpoints" not in table.attrs
    assert pm.survival.endpoint_table(table, SPEC).attrs["endpoint"] == "event"
