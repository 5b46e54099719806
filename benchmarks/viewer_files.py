"""The files that viewer.py opens: one matrix written three ways, without ever holding it in memory.

Random cells with 100 values each of log1p(counts per 10,000), genes drawn evenly, so that every chunk holds
every gene and a scan can skip nothing. The cell types, patients, numbers and the map say nothing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

N_GENES, EACH = 2_000, 100  # genes, and values in each cell
CHUNK = 100_000
BATCH = 5_000  # cells made at once
BLOCK = 250  # genes whose values are turned from rows to columns at once
VARIANTS = ("csr_chunks_100000", "csr_default", "csc")
TYPES = ["B", "CD4 T", "CD8 T", "NK", "Monocyte", "Dendritic", "Megakaryocyte", "Fibroblast", "Endothelial"]


def paths(folder: Path, n: int) -> dict[str, Path]:
    """Variant → file of n cells, which need not exist yet."""
    return {name: folder / f"{name}_{n}.h5ad" for name in VARIANTS}


def write(folder: Path, n: int) -> dict[str, Path]:
    """Write the variants that are not there, and return all."""
    import h5py

    found = paths(folder, n)
    if all(path.exists() for path in found.values()):
        return found
    folder.mkdir(parents=True, exist_ok=True)
    frame = folder / "without_matrix.tmp"
    _write_all_but_the_matrix(frame, n)
    written = {}
    for name, path in found.items():
        written[name] = path.with_suffix(".tmp")
        written[name].write_bytes(frame.read_bytes())
    frame.unlink()
    with (
        h5py.File(written["csr_chunks_100000"], "r+") as chunked,
        h5py.File(written["csr_default"], "r+") as default,
        h5py.File(written["csc"], "r+") as csc,
    ):
        rows = [_matrix(chunked, "csr", n, (CHUNK,)), _matrix(default, "csr", n, True)]
        with _Blocks(folder) as blocks:
            for start in range(0, n, BATCH):
                genes, values = _batch(min(BATCH, n - start), start)
                for matrix in rows:
                    part = slice(start * EACH, (start + len(genes)) * EACH)
                    matrix["indices"][part], matrix["data"][part] = genes.ravel(), values.ravel()
                blocks.add(np.arange(start, start + len(genes)).repeat(EACH), genes.ravel(), values.ravel())
            for matrix in rows:
                matrix.create_dataset("indptr", data=np.arange(n + 1) * EACH, compression="gzip")
            blocks.write(_matrix(csc, "csc", n, (CHUNK,)))
    for name, path in found.items():
        written[name].rename(path)
    return found


def _write_all_but_the_matrix(path: Path, n: int) -> None:
    import anndata
    import pandas as pd

    rng = np.random.default_rng(0)
    kinds = rng.integers(0, len(TYPES), n)
    letters = np.array(list("ACGT"))[rng.integers(0, 4, (n, 12))]
    names = [f"{''.join(word)}-{i}" for i, word in enumerate(letters)]
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical.from_codes(kinds, TYPES),
            "patient": pd.Categorical.from_codes(rng.integers(0, 200, n), [f"P{i:03d}" for i in range(200)]),
            "age": np.where(rng.random(n) < 0.05, np.nan, rng.normal(58, 12, n).round(1)),
            "total_counts": rng.poisson(4_000, n),
            "doublet_score": rng.beta(2, 20, n).astype(np.float32),
            "treated": rng.random(n) < 0.5,
        },
        index=names,
    )
    at = rng.normal(0, 6, (len(TYPES), 2))[kinds] + rng.normal(0, 1.2, (n, 2))
    var = pd.DataFrame({"highly_variable": rng.random(N_GENES) < 0.2}, [f"G{i:04d}" for i in range(N_GENES)])
    adata = anndata.AnnData(None, obs, var, obsm={"X_umap": at.astype(np.float32)})
    adata.write_h5ad(path, compression="gzip")


def _batch(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Ascending genes (n × EACH) and their values for n cells."""
    rng = np.random.default_rng([1, seed])
    drawn = np.argpartition(rng.random((n, N_GENES), dtype=np.float32), EACH, axis=1)[:, :EACH]
    counts = 1 + rng.poisson(rng.gamma(0.5, 1.0, (n, EACH)))
    values = np.log1p(counts * (1e4 / counts.sum(axis=1, keepdims=True)))
    return np.sort(drawn, axis=1).astype(np.int32), values.astype(np.float32)


def _matrix(file, kind: str, n: int, chunks):
    """An empty X as anndata writes it."""
    if "X" in file:
        del file["X"]
    matrix = file.create_group("X")
    matrix.attrs.update({"encoding-type": f"{kind}_matrix", "encoding-version": "0.1.0"})
    matrix.attrs["shape"] = np.array([n, N_GENES])
    for name, kind_of_number in (("indices", np.int32), ("data", np.float32)):
        matrix.create_dataset(
            name, (n * EACH,), kind_of_number, maxshape=(None,), chunks=chunks, compression="gzip"
        )
    return matrix


class _Blocks:
    """Entries of a matrix, put aside on disk by blocks of genes and then written by column."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __enter__(self):
        names = [self.folder / f"block_{i}.tmp" for i in range(N_GENES // BLOCK)]
        self.files = [name.open("w+b", buffering=0) for name in names]
        return self

    def __exit__(self, *error):
        for file in self.files:
            file.close()
            Path(file.name).unlink()

    def add(self, rows: np.ndarray, genes: np.ndarray, values: np.ndarray) -> None:
        for i, file in enumerate(self.files):
            here = genes // BLOCK == i
            entries = np.empty(here.sum(), [("gene", "i4"), ("row", "i4"), ("value", "f4")])
            entries["gene"], entries["row"], entries["value"] = genes[here], rows[here], values[here]
            file.write(entries.tobytes())

    def write(self, matrix) -> None:
        start, counts = 0, np.zeros(N_GENES, np.int64)
        for file in self.files:
            file.seek(0)
            entries = np.fromfile(file, [("gene", "i4"), ("row", "i4"), ("value", "f4")])
            order = np.argsort(entries["gene"].astype(np.int16), kind="stable")
            counts += np.bincount(entries["gene"], minlength=N_GENES)
            stop = start + len(entries)
            for first in range(start, stop, 10 * CHUNK):
                part = order[first - start : first - start + 10 * CHUNK]
                matrix["indices"][first : first + len(part)] = entries["row"][part]
                matrix["data"][first : first + len(part)] = entries["value"][part]
            start = stop
        matrix.create_dataset("indptr", data=np.concatenate([[0], counts.cumsum()]), compression="gzip")
