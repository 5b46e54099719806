"""Cohorts for the tests of what leaves the explorer: an ordinary one, and one that tries to break a page."""

import base64
import re

import numpy as np
import pandas as pd

from pm_lab.explorer import CohortData, CohortState

N = 200
SPEC = {"time": "months", "event": "died", "unit": "months"}
SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(2)>'


def clinical() -> pd.DataFrame:
    """200 patients; 7 have the rare subtype, and subtype "none" is not known of 12."""
    rng = np.random.default_rng(11)
    subtype = np.repeat(["common", "second", "rare"], [120, 73, 7]).astype(object)
    table = pd.DataFrame(
        {
            "age": rng.integers(35, 85, N).astype(float),
            "subtype": rng.permutation(subtype),
            "grade": rng.choice(["low", "high"], N),
            "mutation_TP53": rng.random(N) < 0.4,
            "months": rng.exponential(30, N).round(2) + 0.1,
            "died": rng.random(N) < 0.6,
        },
        [f"Zzyzx-{i:03d}" for i in range(N)],
    )
    table.loc[table.index[rng.permutation(N)[:12]], "grade"] = None
    return table


def expression(table: pd.DataFrame) -> pd.DataFrame:
    values = np.random.default_rng(12).normal(6, 1, (len(table), 30))
    values[:, 0] += 2 * (table["grade"] == "high")
    return pd.DataFrame(values, table.index, [f"GENE{i}" for i in range(30)])


def predictions(names) -> pd.DataFrame:
    """Two drugs a patient; those of the second patient are out of distribution."""
    rows = [
        {"patient": name, "drug": drug, "ln_ic50": ic50, "lower": ic50 - 1, "upper": ic50 + 1}
        | {"percentile": percentile, "out_of_distribution": i == 1}
        for i, name in enumerate(names)
        for drug, ic50, percentile in (("Slowib", 2.5, 80.0), ("Quickib", -0.5, 4.0))
    ]
    table = pd.DataFrame(rows)
    table.attrs["coverage"] = 0.9
    return table


def ordinary(**changes) -> CohortState:
    table = clinical().assign(**changes)
    data = CohortData.open(
        (table, expression(table)), predictions=predictions(table.index[:50]), endpoint=dict(SPEC)
    )
    return CohortState(data)


def hostile() -> CohortState:
    """Names of patients, columns, categories, genes and drugs that are HTML, formulas or mathematics."""
    table = clinical().rename(columns={"grade": f"{SCRIPT} $\\frac"})
    table["subtype"] = table["subtype"].replace({"common": IMAGE, "second": "=cmd|' /C calc'!A0"})
    table.index = [f"{IMAGE} {i}" for i in range(N)]
    genes = expression(clinical()).set_axis(table.index).rename(columns={"GENE0": SCRIPT, "GENE1": "$x_"})
    drugs = predictions(table.index[:5]).replace({"Slowib": IMAGE})
    return CohortState(CohortData.open((table, genes), predictions=drugs, endpoint=dict(SPEC)))


def unpacked(html: str) -> str:
    """A summary with its image as the SVG that it is, to be read."""
    return re.sub(
        r'<img [^>]*src="data:image/svg\+xml;base64,([^"]*)">',
        lambda found: base64.b64decode(found[1]).decode(),
        html,
    )
