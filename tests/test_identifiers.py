"""Columns that may identify a patient are found; those of the cohorts in use raise no false alarm."""

import re

import numpy as np
import pandas as pd
import pytest

import pm_lab as pm
from pm_lab.identifiers import identifier_columns

N = 40
ROWS = range(N)

FOUND = {
    "dates finer than a year": {
        "diagnosed": [f"{2010 + i % 9}-{1 + i % 12:02d}-{1 + i % 28:02d}" for i in ROWS],
        "visit": pd.date_range("2020-01-31", periods=N, freq="17D"),
        "seen": [f"{1 + i % 28}.{1 + i % 12}.{2010 + i % 9}" for i in ROWS],
        "onset": [f"{2010 + i % 9}-{1 + i % 12:02d}" for i in ROWS],
        "us_style": [f"{1 + i % 12}/{1 + i % 28}/{2010 + i % 9}" for i in ROWS],
        "date_of_birth": [19400100 + 10000 * (i % 30) + 1 + i % 28 for i in ROWS],
        "entry": [f"{1 + i % 28} Mar {2010 + i % 9}" for i in ROWS],
        "operated": [f"March {1 + i % 9}rd 2020" for i in ROWS],
        "began": [f"{1 + i % 9}th of March, 2020" for i in ROWS],
        "number": [20200301 + i % 28 for i in ROWS],
        "as_text": [f"{20200301 + i % 28}" for i in ROWS],
        "half_known": ["2020-03-01", "unknown"] * (N // 2),
        "surgery": ["2020-03"] + ["unknown"] * (N - 1),
        "dod": ["1-2-10"] + ["alive"] * (N - 1),
    },
    "ages over 89": {
        "age": [60 + i for i in ROWS],
        "ageAtDiagnosis": [60.5 + i for i in ROWS],
        "age_text": [str(60 + i) for i in ROWS],
        "age_at_entry": [95, 96, 50, 60, 70, 999, -9, 888] * (N // 8),
        "age_as_text": ["95", "60", "999", "?"] * (N // 4),
        "birth_year": [1930, 1950] * (N // 2),
        "year_born": [1930.0, np.nan] * (N // 2),
    },
    "postal codes or addresses": {
        "zip_code": [10115 + i for i in ROWS],
        "PLZ": [f"0{4100 + i}" for i in ROWS],
        "home": [f"SW{1 + i % 9}A {1 + i % 9}AA" for i in ROWS],
        "address": [f"{i} Elm Street" for i in ROWS],
    },
    "e-mail addresses": {"contact": [None] * (N - 1) + ["write to ann@example.org"]},
    "phone numbers": {
        "reachable": [f"+49 30 9018{200 + i}" for i in ROWS],
        "tel": [f"030 901820{i}" for i in ROWS],
        "number_us": [f"(555) 123-{4000 + i}" for i in ROWS],
        "mobile": [1701234000 + i for i in ROWS],
    },
    "record numbers": {
        "MRN": [f"A{i}" for i in ROWS],
        "ssn_like": [f"123-45-{6000 + i}" for i in ROWS],
        "case_id": [7034500 + 13 * i for i in ROWS],
        "label": [f"{7034500 + 13 * i}" for i in ROWS],
    },
    "names of persons": {
        "patient_name": [f"A{chr(97 + i % 26)}" for i in ROWS],
        "called": [f"{chr(65 + i % 26)}nna Meier{'abcdefgh'[i % 8]}" for i in ROWS],
        "seen_by": ["Dr. Huber"] * N,
        "physician": ["Huber", "Wong"] * (N // 2),
    },
    "free text, which can hold names": {
        "history": [f"Admitted with pain in region {i}, discharged well to her family" for i in ROWS],
    },
}


@pytest.mark.parametrize(
    ("reason", "name"), [(reason, name) for reason, columns in FOUND.items() for name in columns]
)
def test_a_column_is_found_for_its_reason(reason, name):
    found = identifier_columns(pd.DataFrame({"stage": ["I", "II"] * (N // 2), name: FOUND[reason][name]}))
    assert found[["column", "reason"]].values.tolist() == [[name, reason]]
    assert 0 < found["n"][0] <= N


@pytest.mark.parametrize("categorical", [False, True])
def test_an_example_shows_its_shape_and_not_itself(categorical):
    table = pd.DataFrame({"contact": ["Zoe.Quux@example.org"] * 3})
    found = identifier_columns(table.astype("category") if categorical else table)
    assert found["example_masked"][0] == "xxx.xxxx@xxxxxxx.xxx"
    assert not re.search("quux|zoe", found.to_json(), re.IGNORECASE)


def test_names_of_rows_are_looked_at_as_patient():
    table = pd.DataFrame({"stage": ["I"] * N}, index=[f"p{i}@example.org" for i in ROWS])
    assert identifier_columns(table)[["column", "n"]].values.tolist() == [["patient", N]]


def test_what_identifies_nobody_raises_no_alarm():
    table = pd.DataFrame(
        {
            "year": [2000 + i % 20 for i in ROWS],
            "year_of_birth": [1960 + i for i in ROWS],
            "days_to_death": [20 + 31 * i for i in ROWS],
            "some_dates": ["unknown"] * (N - 1) + ["2020-03-01"],
            "first_of_year": pd.to_datetime([f"{2000 + i % 20}-01-01" for i in ROWS]),
            "age": [50 + i % 39 for i in ROWS],
            "age_in_days": [20_000 + 31 * i for i in ROWS],
            "stage_at": [1 + i % 4 for i in ROWS],
            "n_counts": [1_000_000 + 7919 * i for i in ROWS],
            "score": np.linspace(0, 1, N),
            "subtype": ["Luminal A", "Luminal B", "Basal Like", "Soft Tissue"] * (N // 4),
            "gene_name": [f"GENE{i}" for i in ROWS],
            "sample_name": [f"TCGA-A1-{i:04d}" for i in ROWS],
            "dose": ["10-20", "20-30"] * (N // 2),
            "tnm": ["T1-N0", "T2-N1"] * (N // 2),
            "page": [95] * N,
            "dosage": [100] * N,
            "stage_text": ["Stage Two", "Stage One"] * (N // 2),
            "responder": [True, False] * (N // 2),
            "unknown": [None] * N,
            "nothing": [np.nan] * N,
            "z": [1 + 2j] * N,
            "lists": [[1, 2]] * N,
        },
        index=[f"GSE7390_{i:03d}" for i in ROWS],
    )
    assert identifier_columns(table).empty
    assert list(identifier_columns(table)) == ["column", "reason", "n", "example_masked"]
    assert identifier_columns(table.iloc[:0]).empty
    assert identifier_columns(table.iloc[:1]).empty


def test_a_long_column_is_read_in_part_and_its_ages_whole():
    n = 100_000
    ages = np.full(n, 60)
    ages[77_777] = 97
    table = pd.DataFrame({"age": ages, "mail": ["a@example.org"] * n})
    assert identifier_columns(table)["n"].tolist() == [1, 20_000]


def test_the_built_in_cohort_raises_no_alarm():
    cohort = pm.datasets.simulate_cohort(n_cells=600)
    assert identifier_columns(cohort.bulk.obs).empty


def test_bundled_patients_raise_no_alarm():
    assert identifier_columns(pm.datasets.load("gse7390").obs).empty


@pytest.mark.parametrize("name", ["golub", "nki", "vdx"])
def test_published_patients_raise_no_alarm(name, mirror, temporary_cache, monkeypatch):
    monkeypatch.setenv("PM_LAB_MIRROR", str(mirror))
    assert identifier_columns(pm.datasets.load(name).obs).empty
