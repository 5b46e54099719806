"""From cell lines to patients: genes by their names, expression on the lines' scale, who is like no line.

Tumours carry stroma, immune cells and another platform; lines do not. So each gene of a cohort is far from
the lines in level and spread, and a model that is given it raw predicts from these differences.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab import checks, gene_sets, keys
from pm_lab.drug_response.contract import MODALITIES, check_expression, first
from pm_lab.drug_response.learnt import check_weight, known_lines
from pm_lab.drug_response.lines import FEWEST_GENES, LineInputs, tissue_of
from pm_lab.drug_response.resemblance import gene_correlations
from pm_lab.errors import DataError, PmLabWarning

if TYPE_CHECKING:
    from anndata import AnnData

ALIGNMENTS = ("auto", "gene", "sample", "none")
FEWEST_PATIENTS = 20  # whose ranks say where a patient stands in a gene
FEWEST_LINES = 20  # of a tissue, to be the reference of its patients
ALL_TISSUES = "lines of all tissues"


@dataclass(frozen=True)
class PreparedRows:
    """Patients or lines as the model takes them, and what was done to them.

    Attributes
    ----------
    expression : rows × genes of training, in SD of the lines, aligned.
    tissue : rows × tissues of training.
    network : the inputs of the networks, with the same expression.
    known : places of rows that are lines of training, −1 for others (:func:`known_lines`).
    kind : what a row is, "line" or "patient".
    measured : which genes of training the rows have.
    gene_correlations : how far genes go together as in the lines (:func:`gene_correlations`), or None.
    record : what is said of it in ``attrs``: "genes", "scale", "alignment" and "modalities".
    """

    expression: np.ndarray
    tissue: np.ndarray
    network: np.ndarray
    known: np.ndarray
    kind: str
    measured: np.ndarray
    gene_correlations: float | None
    record: dict


def gene_overlap(model, cohort) -> pd.DataFrame:
    """Which genes of a model a cohort has, under which names.

    Older and newer symbols of one gene are matched by :func:`pm_lab.gene_sets.match_symbols`.

    Parameters
    ----------
    model : a fitted DrugResponseModel.
    cohort : patients × genes, or a Cohort.

    Returns
    -------
    DataFrame, one row a gene of training: ``gene``, ``found_as`` (its name in the cohort; empty where it is
    absent), ``status`` ("found", "mended", "absent") and ``weight``, its share of the weights that the
    kernel of the model gives to genes. Below 70 % of the genes the model does not predict.

    Raises
    ------
    DataError
        Genes occur twice, or are Ensembl ids where training had symbols.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.simulate_cohort(n_cells=600, n_lines=60, n_drugs=10)
    >>> model = pm.drug_response.DrugResponseModel(members=2, hidden=8, max_epochs=5).fit(cohort.screen)
    >>> pm.drug_response.gene_overlap(model, cohort)["status"].value_counts().to_dict()
    {'found': 2000}
    """
    learnt, adata = model._fitted(), checks.bulk_of(cohort)
    checks.unique_names(adata)
    return _overlap(learnt, adata.var_names)


def _overlap(learnt, names: pd.Index) -> pd.DataFrame:
    genes = pd.Index(learnt.inputs.genes, dtype=object)
    _, mended = gene_sets.match_symbols({"training": genes}, names)
    mended = mended[~mended["matched_as"].isin(genes)].drop_duplicates("matched_as")
    other = dict(zip(mended["symbol"], mended["matched_as"], strict=True))
    found = genes.isin(names)
    status = np.where(found, "found", np.where(genes.isin(list(other)), "mended", "absent"))
    found_as = [gene if has else other.get(gene, "") for gene, has in zip(genes, found, strict=True)]
    weight = learnt.kernel.weight / max(learnt.kernel.weight.sum(), 1e-12)
    return pd.DataFrame({"gene": genes, "found_as": found_as, "status": status, "weight": weight})


def prepare_rows(learnt, adata: AnnData, align: str = "auto") -> PreparedRows:
    """Check a cohort, mend the names of its genes, and bring its expression to the scale of the lines.

    Parameters
    ----------
    learnt : what a model found in training.
    adata : rows × genes, ``X`` = log2(TPM + 1) (or log2(CPM + 1)); ``obs["tissue"]`` in the words of training
        is used if it is there.
    align : how each value is moved.

        - "gene": the place of a patient among the patients of the cohort becomes the same place among the
          lines, gene by gene: level and spread of stroma and platform go, what sets patients apart remains.
          What all patients of the cohort share goes too: predictions tell patients of a cohort apart, and do
          not compare cohorts. Patients of a tissue with 20 patients and 20 lines or more are aligned to the
          lines of that tissue, the others together to all lines. Tissue matters: lines of GDSC1 that were
          held out and given another level and spread in each gene were predicted as well as before when
          aligned to their tissue, and worse than without alignment when aligned to all.
        - "sample": the genes of a patient are ranked, and get the values of an average line in this order.
          Works for one patient, but leaves to each gene what tumours differ in from lines.
        - "none": nothing is moved, as for cell lines measured like those of training.
        - "auto": "none" for lines; "gene" for 20 patients or more, "sample" for fewer.

    Raises
    ------
    DataError
        Genes occur twice, fewer than 70 % of them are there or they have less than 60 % of the weight that
        the model gives to genes, expression that :func:`check_expression` or :func:`check_scale` refuses,
        modalities that cannot be those of training, an unknown ``align``, or "gene" for fewer than 20
        patients.

    Source
    ------
    Geeleher 2014, doi:10.1186/gb-2014-15-3-r47 (lines and tumours made comparable gene by gene).
    """
    if align not in ALIGNMENTS:
        raise DataError(f"align={align!r}: one of {', '.join(ALIGNMENTS)}.")
    checks.unique_names(adata)
    lines = keys.RESPONSE in adata.obsm or adata.obs_names.isin(learnt.lines).any()
    check_expression(adata, "lines" if lines else "patients")
    overlap = _overlap(learnt, adata.var_names)
    _refuse_few(overlap, adata.var_names)
    _say_mended(overlap)
    renamed = _renamed(adata, overlap)
    expression = learnt.inputs.expression(renamed)
    measured = (overlap["status"] != "absent").to_numpy()
    weight = check_weight(learnt, measured)
    known = known_lines(learnt, adata.obs_names, expression, measured)
    # Cell lines have responses, or are those of training; others are patients.
    kind = "line" if keys.RESPONSE in adata.obsm or (known >= 0).any() else keys.PATIENT
    if align == "auto" and kind == "line":
        align = "none"
    scale = learnt.inputs.check_scale(expression, measured, align != "none")
    modalities = learnt.inputs.check_modalities(renamed)
    together = gene_correlations(learnt.expression, expression, learnt.kernel.weight, measured)
    expression, groups = _align(learnt, expression, measured, tissue_of(adata), align)
    return PreparedRows(
        expression,
        learnt.inputs.tissue(renamed),
        learnt.inputs.network(renamed, expression),
        known,
        kind,
        measured,
        together,
        {
            "genes": _said_of_genes(overlap, weight),
            "scale": scale,
            "alignment": groups,
            "modalities": modalities,
        },
    )


def _refuse_few(overlap: pd.DataFrame, names: pd.Index) -> None:
    absent = overlap.loc[overlap["status"] == "absent", "gene"]
    if len(absent) <= (1 - FEWEST_GENES) * len(overlap):
        return
    raise DataError(
        f"{len(overlap) - len(absent):,} of the {len(overlap):,} genes of training are there, and at least "
        f"{FEWEST_GENES:.0%} must be. Absent: {first(absent)}. Are they named as in training "
        f"({first(overlap['gene'], 3)}; here {first(names, 3)})? "
        "pm.drug_response.gene_overlap(model, cohort) lists them all."
    )


def _say_mended(overlap: pd.DataFrame) -> None:
    mended = overlap[overlap["status"] == "mended"]
    if len(mended):
        shown = [f"{row.found_as} for {row.gene}" for row in mended.itertuples()]
        warnings.warn(
            f"{len(mended):,} of the {len(overlap):,} genes of training were found under another symbol: "
            f"{first(shown)}.",
            PmLabWarning,
            stacklevel=4,
        )


def _said_of_genes(overlap: pd.DataFrame, weight: float) -> dict:
    absent = overlap["status"] == "absent"
    mended = overlap[overlap["status"] == "mended"]
    return {
        "of_training": len(overlap),
        "found": int((~absent).sum()),
        "weight_found": weight,
        "absent": list(overlap.loc[absent, "gene"]),
        "mended": dict(zip(mended["gene"], mended["found_as"], strict=True)),
    }


def _renamed(adata: AnnData, overlap: pd.DataFrame) -> AnnData:
    """The same rows with the names of training, and only what the model looks at."""
    from anndata import AnnData

    mended = overlap[overlap["status"] == "mended"]
    names = pd.Series(adata.var_names, dtype=object).replace(
        dict(zip(mended["found_as"], mended["gene"], strict=True))
    )
    obs = adata.obs[[name for name in (keys.TISSUE,) if name in adata.obs]].copy()
    found = AnnData(adata.X, obs, pd.DataFrame(index=pd.Index(names)))
    for name in MODALITIES:
        if name in adata.obsm:
            found.obsm[name] = adata.obsm[name]
    if keys.FEATURES in adata.uns:
        found.uns[keys.FEATURES] = adata.uns[keys.FEATURES]
    return found


def _align(
    learnt, expression: np.ndarray, measured: np.ndarray, tissue: np.ndarray, align: str
) -> tuple[np.ndarray, list[dict]]:
    """Aligned expression, and a record of each group of rows that was aligned together."""
    if align == "none":
        return expression, [{"method": "none", "patients": len(expression)}]
    found, groups = expression.copy(), []
    for name, rows in _groups(learnt, tissue, align).items():
        reference = _reference(learnt, name)
        method = _method(align, len(rows))
        move = _by_gene if method == "gene" else _by_sample
        found[np.ix_(rows, measured)] = move(learnt.inputs, expression[rows], reference, measured)
        groups.append(
            {
                "method": method,
                "patients": len(rows),
                "reference": ALL_TISSUES if name is None else f"lines of {name}",
                "lines": len(reference),
            }
        )
    _say_aligned(groups, learnt.inputs.tissues, align)
    return found, groups


def _say_aligned(groups: list[dict], tissues: list[str], align: str) -> None:
    few = sum(group["patients"] for group in groups if group["method"] == "sample")
    if few and align == "auto":
        warnings.warn(
            f"{few:,} patients are fewer than the {FEWEST_PATIENTS} whose ranks align a gene: each was "
            "aligned by the ranks of its own genes, which leaves how tumours and platform differ from lines "
            "in every gene. Add patients of the same platform if you can.",
            PmLabWarning,
            stacklevel=5,
        )
    mixed = sum(
        group["patients"]
        for group in groups
        if group["method"] == "gene" and group["reference"] == ALL_TISSUES
    )
    if mixed and tissues:
        warnings.warn(
            f"{mixed:,} patients were aligned to lines of all tissues, since obs['{keys.TISSUE}'] names none "
            f"of which there are {FEWEST_PATIENTS} patients and {FEWEST_LINES} lines. If they are of one "
            f"tissue, what sets it apart is lost: name it in the words of training ({first(tissues)}).",
            PmLabWarning,
            stacklevel=5,
        )


def _groups(learnt, tissue: np.ndarray, align: str) -> dict[str | None, np.ndarray]:
    """Rows that are aligned together, by tissue; None: those of all other tissues."""
    groups = {}
    for name in pd.unique(tissue):
        rows = np.flatnonzero(tissue == name)
        enough = align == "sample" or len(rows) >= FEWEST_PATIENTS
        if enough and name in learnt.inputs.tissues and len(_reference(learnt, name)) >= FEWEST_LINES:
            groups[name] = rows
    rest = np.setdiff1d(np.arange(len(tissue)), np.concatenate([[], *groups.values()]))
    return groups | ({None: rest.astype(int)} if len(rest) else {})


def _reference(learnt, tissue: str | None) -> np.ndarray:
    if tissue is None:
        return learnt.expression
    return learnt.expression[learnt.tissue[:, learnt.inputs.tissues.index(tissue)] > 0]


def _method(align: str, n: int) -> str:
    if align == "gene" and n < FEWEST_PATIENTS:
        raise DataError(
            f"align='gene' with {n:,} patients: at least {FEWEST_PATIENTS} of one platform are needed to say "
            "where a patient stands in a gene. Pass align='sample', or more patients."
        )
    return "sample" if align == "auto" and n < FEWEST_PATIENTS else align.replace("auto", "gene")


def _by_gene(inputs: LineInputs, rows: np.ndarray, reference: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """The place among the rows becomes the same place among the lines, gene by gene."""
    from scipy.stats import rankdata

    place = (rankdata(rows[:, measured], axis=0) - 0.5) / len(rows)
    lines = np.sort(reference[:, measured], axis=0)
    level = place * (len(lines) - 1)
    below = np.floor(level).astype(int)
    low = np.take_along_axis(lines, below, axis=0)
    high = np.take_along_axis(lines, np.minimum(below + 1, len(lines) - 1), axis=0)
    return low + (level - below) * (high - low)


def _by_sample(
    inputs: LineInputs, rows: np.ndarray, reference: np.ndarray, measured: np.ndarray
) -> np.ndarray:
    """The genes of a row get the values of an average line, in their order."""
    from scipy.stats import rankdata

    center = inputs.numbers["center"][measured]
    scale = np.where(np.isinf(inputs.numbers["scale"]), 1.0, inputs.numbers["scale"])[measured]
    level = lambda values: values[:, measured] * scale + center  # noqa: E731
    average = np.sort(level(reference), axis=1).mean(axis=0)
    rank = rankdata(level(rows), axis=1) - 1
    found = np.interp(rank, np.arange(len(average)), average)
    return np.where(np.isinf(inputs.numbers["scale"][measured]), 0.0, (found - center) / scale)
