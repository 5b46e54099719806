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


def _bulk(table: pd.DataFrame, obs: pd.DataFrame, var: pd.DataFrame | None = None) -> anndata.AnnData:
    """Samples x genes from whole numbers, with log2(CPM + 1) as X; ``obs`` names the rows of ``table``."""
    import anndata
    import numpy as np
    import pandas as pd

    if list(table.index) != list(obs.index):
        raise ValueError(f"samples differ: counts of {list(table.index)}, descriptions of {list(obs.index)}")
    # Sums of coverage pass what float32 holds exactly (16.8 million).
    counts = table.to_numpy(np.float64)
    cpm = counts / counts.sum(axis=1, keepdims=True) * 1e6
    var = pd.DataFrame(index=pd.Index(table.columns, dtype=object)) if var is None else var
    return anndata.AnnData(
        np.log2(cpm + 1).astype(np.float32), obs=obs, var=var, layers={keys.COUNTS: counts}
    )


def _airway(counts: Path, samples: Path) -> anndata.AnnData:
    """8 samples x 64,102 Ensembl genes, 33,469 of them with counts; 4 donors (``celltype``), each twice."""
    import pandas as pd

    described = read_table(samples).set_index("id")
    obs = pd.DataFrame(
        {
            "dex": pd.Categorical(described["dex"], categories=["control", "treated"]),
            "celltype": pd.Categorical(described["celltype"]),
            keys.PATIENT: pd.Categorical(described["celltype"]),
            "geo_id": described["geo_id"].to_numpy(),
        },
        index=described.index.rename(None),
    )
    return _bulk(read_table(counts, index_col="ensgene").T, obs)


def _colorectal(counts: Path, samples: Path) -> anndata.AnnData:
    """10 samples x 19,719 genes. The numbers are sums of coverage over bases, as published, not reads."""
    import pandas as pd

    table = read_table(counts, index_col=0)
    described = read_table(samples, index_col=0)
    obs = pd.DataFrame(
        {
            "group": pd.Categorical(described["group"], categories=["CTRL", "CASE"]),
            "source": pd.Categorical(described["source_name"]),
        },
        index=described.index.rename(None),
    )
    var = pd.DataFrame({"width": table["width"].to_numpy()}, index=pd.Index(table.index, dtype=object))
    return _bulk(table.drop(columns="width").T, obs, var)


def _broad_example(key: str) -> Callable[[Path, Path], anndata.AnnData]:
    """A reader of a gct table of intensities with the cls file of its two classes, kept in ``obs[key]``."""

    def read(gct: Path, cls: Path) -> anndata.AnnData:
        import anndata
        import numpy as np
        import pandas as pd

        # The first column is NAME, the second "Description" or "DESCRIPTION"; gct is tab-separated text.
        table = pd.read_csv(gct, sep="\t", skiprows=2).set_index("NAME")
        table = table.drop(columns=[name for name in table if name.lower() == "description"])
        labels = cls.read_text().splitlines()[2].split()
        if len(labels) != table.shape[1]:
            raise ValueError(f"{cls.name} has {len(labels)} labels for {table.shape[1]} samples")
        obs = pd.DataFrame({key: pd.Categorical(labels)}, index=pd.Index(table.columns, dtype=object))
        var = pd.DataFrame(index=pd.Index(table.index, dtype=object))
        return anndata.AnnData(table.T.to_numpy(np.float64), obs=obs, var=var)

    return read


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


def _genefu(
    suffix: str, renamed: dict[str, str], size_in_cm: bool = True
) -> Callable[[Path], anndata.AnnData]:
    """A reader of a breast-cancer set of genefu: patients x probes, annotation, clinical table, endpoints."""

    def read(path: Path) -> anndata.AnnData:
        import anndata
        import numpy as np
        import pandas as pd

        objects = _read_r(path)
        data, demo, annotation = (objects[f"{part}.{suffix}"] for part in ("data", "demo", "annot"))
        if list(data.coords["dim_0"].values) != list(demo.index):
            raise ValueError(f"{path.name}: expression and clinical table have other patients")
        probes = pd.Index(data.coords["dim_1"].values.astype(str), dtype=object)
        var = _annotation(annotation.set_axis(annotation.index.astype(str)).loc[probes])
        obs = _breast_clinical(demo, renamed, size_in_cm)
        endpoints = {
            name: {"time": f"{name}_time", "event": f"{name}_event", "unit": "days"}
            for name in ("dmfs", "rfs", "os")
            if f"{name}_time" in obs
        }
        values = data.values.astype(np.float64)
        return anndata.AnnData(values, obs=obs, var=var, uns={keys.ENDPOINTS: endpoints})

    return read


def _annotation(table: pd.DataFrame) -> pd.DataFrame:
    """Symbols and Entrez ids of 2008, as published; empty where a probe has none."""
    import pandas as pd

    symbol = table["NCBI.gene.symbol"].astype(object)
    entrez = table["EntrezGene.ID"]
    return pd.DataFrame(
        {
            "symbol": symbol.where(symbol.notna() & (symbol != "-"), "").astype(str).to_numpy(),
            "entrez": entrez.astype("Int64").astype(str).where(entrez.notna(), "").to_numpy(),
        },
        index=pd.Index(table.index, dtype=object),
    )


def _breast_clinical(demo: pd.DataFrame, renamed: dict[str, str], size_in_cm: bool) -> pd.DataFrame:
    """One row a patient; unknown values stay unknown, endpoints that nobody has are left out."""
    import pandas as pd

    names = pd.Index(demo.index.astype(str), dtype=object)
    obs = pd.DataFrame({keys.PATIENT: names}, index=names)
    obs["series"] = pd.Categorical(demo["series"].astype(str))
    for column in ("age", "size") if size_in_cm else ("age",):
        obs[column] = demo[column].to_numpy(dtype=float, na_value=float("nan"))
    words = {"er": {0: "negative", 1: "positive"}, "node": {0: "negative", 1: "positive"}}
    words["grade"] = {1: "1", 2: "2", 3: "3"}
    if not size_in_cm:  # the file calls it size all the same
        demo = demo.assign(t_category=demo["size"])
        words["t_category"] = {1: "1", 2: "2", 3: "3", 4: "4"}
    for column, levels in words.items():
        known = [levels.get(value) for value in demo[column].astype(object).where(demo[column].notna())]
        obs[column] = pd.Categorical(known, categories=list(levels.values()))
    for column, name in renamed.items():
        yes = {0: "no", 1: "yes"}
        values = [yes.get(value, value) for value in demo[column].astype(object).where(demo[column].notna())]
        obs[name] = pd.Categorical(values)
    for endpoint in ("dmfs", "rfs", "os"):
        time = demo[f"t.{endpoint}"].to_numpy(dtype=float, na_value=float("nan"))
        if pd.notna(time).any():
            obs[f"{endpoint}_time"] = time
            obs[f"{endpoint}_event"] = demo[f"e.{endpoint}"].to_numpy(dtype=float, na_value=float("nan"))
    return obs


def _golub(path: Path) -> anndata.AnnData:
    """72 samples x 7,129 probes of intensities, as published; ``obs["set"]`` is the paper's."""
    import warnings

    import anndata
    import numpy as np
    import pandas as pd

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Unknown encoding")  # the file names none; it holds ASCII only
        objects = _read_r(path)
    matrix = objects["golub"]["x"]
    names = pd.Index(matrix.coords["dim_0"].values.astype(str), dtype=object)
    train = set(objects["golub_train"]["x"].coords["dim_0"].values.astype(str))
    obs = pd.DataFrame(
        {
            "leukemia": pd.Categorical(objects["golub"]["y"].astype(str)),
            "set": pd.Categorical(["train" if name in train else "test" for name in names]),
        },
        index=names,
    )
    var = pd.DataFrame(index=pd.Index(matrix.coords["dim_1"].values.astype(str), dtype=object))
    return anndata.AnnData(matrix.values.astype(np.float64), obs=obs, var=var)


def _gdsc1(*paths: Path) -> anndata.AnnData:
    from pm_lab.datasets.gdsc import read_gdsc1

    return read_gdsc1(*paths)


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
    "airway": Reader(_airway),
    "breast_signatures": Reader(_breast_signatures),
    "colorectal": Reader(_colorectal),
    "gdsc1": Reader(_gdsc1),
    "gene_sets": Reader(_gene_sets),
    "golub": Reader(_golub),
    "gse7390": Reader(_gse7390),
    "kang2018": Reader(_kang2018),
    "kang2018_donors": Reader(_kang2018_donors, version=2),
    "leukemia": Reader(_broad_example("leukemia")),
    "nki": Reader(
        _genefu(
            "nkis",
            {
                "chemotherapy": "chemotherapy",
                "hormonotherapy": "hormone_therapy",
                "vantveer2002_70_genes": "published_gene70",
            },
        )
    ),
    "p53": Reader(_broad_example("p53")),
    "pbmc68k_reduced": Reader(_pbmc68k_reduced),
    "simulated": Reader(_simulated),
    "vdx": Reader(_genefu("vdxs", {}, size_in_cm=False), version=2),
}
