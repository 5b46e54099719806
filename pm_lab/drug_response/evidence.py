"""Why a patient's first drugs stand first: the pathways whose genes move their predictions most."""

from __future__ import annotations

import numpy as np

from pm_lab.drug_response.attribution import start_of, through_kernel, through_network
from pm_lab.drug_response.learnt import Learnt
from pm_lab.drug_response.pathways import pathway_members, score_row, set_widening
from pm_lab.drug_response.patients import PreparedRows
from pm_lab.errors import DataError

SHOWN_PATHWAYS = 3
ROWS = 50  # attributed together: their genes are not kept


def top_pathways(learnt: Learnt, rows: PreparedRows, drugs: np.ndarray) -> tuple[np.ndarray, int]:
    """The pathways with the largest scores, as in the ``rows`` of an Explanation.

    Parameters
    ----------
    rows : as :func:`prepare_rows` returns them. drugs : rows × drugs, places of each row's drugs in training.

    Returns
    -------
    Names with their signs, "-A, +B, -C", rows × drugs ("-": towards sensitive), and how many pathways were
    looked at: none, and empty texts, where no bundled pathway has 5 genes of training.
    """
    found = np.full(drugs.shape, "", dtype=object)
    try:
        members, _ = pathway_members(None, learnt.inputs.genes)
    except DataError:
        return found, 0
    names, widening = np.array(list(members), dtype=object), set_widening(learnt.expression, members)
    start = start_of(learnt, rows.network)
    for at in range(0, len(drugs), ROWS):
        part = slice(at, at + ROWS)
        values, _, _ = through_network(learnt, rows.network[part], start[part], drugs[part])
        values += through_kernel(learnt, rows.expression[part], drugs[part])
        for row, genes in enumerate(values, at):
            score = score_row(genes, members, widening)[1]
            for drug, of_drug in enumerate(score):
                best = np.argsort(-np.abs(of_drug), kind="stable")[:SHOWN_PATHWAYS]
                said = [f"{'-' if of_drug[place] < 0 else '+'}{names[place]}" for place in best]
                found[row, drug] = ", ".join(said)
    return found, len(members)
