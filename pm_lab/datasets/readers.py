"""From raw files, as published, to an AnnData or a dictionary of tables. One reader a data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from pm_lab import keys
from pm_lab.datasets.open import read_anndata, read_table

if TYPE_CHECKING:
    import anndata
    import pandas as pd
    from scipy.sparse import csr_matrix

# Classes of Bioconductor objects whose slots are taken as they are.
S4_CLASSES = (
    *("CompressedGRangesList", "DFrame", "DataFrame", "GRanges", "IRanges", "PartitioningByEnd", "Rle"),
    *("Seqinfo", "SimpleAssays", "SimpleList", "SingleCellExperiment", "dgCMatrix", "package_version"),
)


def _read_r(path: Path) -> dict[str, Any]:
    """The objects of an .rda or .RData file; S4 objects as namespaces of their slots."""
    import rdata

    as_they_are = dict.fromkeys(S4_CLASSES, lambda value, attributes: value)
    return rdata.read_rda(path, constructor_dict={**rdata.conversion.DEFAULT_CLASS_MAP, **as_they_are})


def _transposed(matrix: SimpleNamespace) -> csr_matrix:
    """A dgCMatrix of genes x cells, compressed by cell, is a CSR matrix of cells x genes as it stands."""
    import numpy as np
    from scipy.sparse import csr_matrix

    n_genes, n_cells = (int(size) for size in matrix.Dim)
    return csr_matrix((matrix.x.astype(np.float32), matrix.i, matrix.p), shape=(n_cells, n_genes))


def _cells(counts: csr_matrix, obs: pd.DataFrame, genes) -> anndata.AnnData:
    import anndata
    import pandas as pd

    var = pd.DataFrame(index=pd.Index(genes, dtype=object))
    return anndata.AnnData(counts, obs=obs, var=var, layers={keys.COUNTS: counts.copy()})


def _kang2018(path: Path) -> anndata.AnnData:
    """2,000 cells x 9,015 genes. Barcodes recur between the conditions, so names begin with the condition."""
    import numpy as np
    import pandas as pd
    from scipy.sparse import vstack

    objects = _read_r(path)
    parts = {"ctrl": objects["pbmc.ctrl"], "stim": objects["pbmc.stim"]}
    genes = parts["ctrl"].Dimnames[0]
    if not np.array_equal(genes, parts["stim"].Dimnames[0]):
        raise ValueError("the two matrices of kang2018 have different genes")
    names = [f"{condition}_{barcode}" for condition, part in parts.items() for barcode in part.Dimnames[1]]
    conditions = np.repeat(list(parts), [part.Dim[1] for part in parts.values()])
    obs = pd.DataFrame({"condition": pd.Categorical(conditions)}, index=pd.Index(names, dtype=object))
    return _cells(vstack([_transposed(part) for part in parts.values()], format="csr"), obs, genes)


def _kang2018_donors(path: Path) -> anndata.AnnData:
    """1,556 cells x 1,267 genes; the authors' annotation is ``author_cell_type``, donors are ``patient``."""
    import pandas as pd

    experiment = _read_r(path)["example_sce"]
    counts = experiment.assays.data.listData["counts"]
    described = experiment.colData.listData
    samples = pd.Series(described["sample_id"]).astype(str)
    obs = pd.DataFrame(
        {
            "condition": pd.Categorical(pd.Series(described["group_id"]).astype(str)),
            keys.PATIENT: pd.Categorical(samples.str[len("ctrl") :]),
            "author_cell_type": pd.Categorical(pd.Series(described["cluster_id"]).astype(str)),
        }
    )
    names = obs["condition"].astype(str) + "_" + experiment.colData.rownames
    obs.index = pd.Index(names.to_numpy(), dtype=object)
    # 91 symbols carry their Ensembl id (CD79A_ENSG00000105369); without it all are still unique.
    genes = pd.Index(counts.Dimnames[0]).str.replace(r"_ENSG\d+$", "", regex=True)
    return _cells(_transposed(counts), obs, genes)


def _gene_sets(hallmark: Path, go_bp: Path, c2: Path) -> dict[str, dict[str, list[str]]]:
    from pm_lab.gene_sets import read_gmt

    return {"hallmark": read_gmt(hallmark), "go_bp": read_gmt(go_bp), "c2_broad_2005": read_gmt(c2)}


def _breast_signatures(_model: Path, pam50: Path, gene70: Path, gene76: Path) -> dict[str, pd.DataFrame]:
    """ "pam50": centroids, 50 genes x 5 subtypes; the others: one row a probe, as published."""
    model = _read_r(pam50)["pam50"]
    centroids = model["centroids"].to_pandas()
    centroids.index.name, centroids.columns.name = "gene", None
    return {
        "pam50": centroids,
        "gene70": read_table(gene70),
        "gene76": read_table(gene76),
    }


def _simulated():
    from pm_lab.datasets.simulate import simulate_cohort

    return simulate_cohort()


def _pbmc68k_reduced() -> anndata.AnnData:
    """From scanpy's own file. X is scaled, .raw log-normalised; the file holds no counts."""
    import warnings

    from anndata import OldFormatWarning

    # scanpy itself would take seconds to import; its file is enough.
    folder = Path(find_spec("scanpy").origin).parent
    with warnings.catch_warnings():  # the file is of an old layout, which anndata brings up to date
        warnings.simplefilter("ignore", OldFormatWarning)
        warnings.filterwarnings("ignore", r"Moving element from \.uns", FutureWarning)
        return read_anndata(folder / "datasets" / "10x_pbmc68k_reduced.h5ad")


def _gse7390() -> anndata.AnnData:
    """198 patients x 76 probes (log2 intensities), time to distant metastasis in days."""
    import anndata
    import pandas as pd
    from sksurv.datasets import load_breast_cancer

    table, outcome = load_breast_cancer()
    clinical = ["age", "er", "grade", "size"]
    probes = table.drop(columns=clinical)
    obs = table[clinical].assign(
        grade=table["grade"].cat.rename_categories({"unkown": "unknown"}),
        dmfs_time=outcome["t.tdm"],
        dmfs_event=outcome["e.tdm"],
    )
    names = pd.Index([f"GSE7390_{row:03d}" for row in range(1, len(obs) + 1)], dtype=object)
    obs.index = names
    obs.insert(0, keys.PATIENT, names)
    var = pd.DataFrame(index=pd.Index(probes.columns.str.removeprefix("X"), dtype=object))
    endpoints = {"dmfs": {"time": "dmfs_time", "event": "dmfs_event", "unit": "days"}}
    return anndata.AnnData(probes.to_numpy(), obs=obs, var=var, uns={keys.ENDPOINTS: endpoints})


@dataclass(frozen=True)
class Reader:
    """``read`` takes the files of the data set in their registered order; none for bundled sets.

    Raise ``version`` with every change of what it returns: what an older one built is then rebuilt.
    """

    read: Callable[..., Any]
    version: int = 1


READERS = {
    "breast_signatures": Reader(_breast_signatures),
    "gene_sets": Reader(_gene_sets),
    "gse7390": Reader(_gse7390),
    "kang2018": Reader(_kang2018),
    "kang2018_donors": Reader(_kang2018_donors, version=2),
    "pbmc68k_reduced": Reader(_pbmc68k_reduced),
    "simulated": Reader(_simulated),
}
