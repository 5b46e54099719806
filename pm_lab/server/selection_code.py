"""The viewer's filters and colours as Python that a person can read, run and change.

Names and values come from files and pages of anybody: they enter the code through ``repr`` only.
"""

from __future__ import annotations

from dataclasses import dataclass

RAW = "raw/X"

GENE_VALUES = '''\
def gene_values(adata, gene, layer=None):
    """One gene in every observation: from X, a layer, or the raw values (layer="raw/X")."""
    table = adata.raw if layer == "raw/X" else adata
    matrix = table.X if layer in (None, "raw/X") else table.layers[layer]
    values = matrix[:, np.flatnonzero(table.var_names == gene)[:1]]
    values = values.toarray() if hasattr(values, "toarray") else np.asarray(values)
    return values.astype("float32").ravel()'''

INSIDE = '''\
def inside(points, polygon):
    """Which points lie within a polygon: those from which a ray crosses its edges an odd number of times."""
    x, y = points.T
    within = np.zeros(len(points), dtype=bool)
    for (x1, y1), (x2, y2) in zip(polygon, np.roll(polygon, -1, axis=0)):
        if y1 != y2:
            within ^= ((y1 > y) != (y2 > y)) & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
    return within'''


@dataclass(frozen=True)
class SelectionCode:
    """Lines of code that make ``keep_obs`` and ``keep_var``; those of the filters among them."""

    helpers: list[str]
    lines_of_filters: list[str]

    @property
    def lines(self) -> list[str]:
        """All lines of the cell."""
        start = [
            "keep_obs = np.ones(adata.n_obs, dtype=bool)",
            "keep_var = np.ones(adata.n_vars, dtype=bool)",
        ]
        helpers = [line for helper in self.helpers for line in (helper, "", "")]
        return helpers + start + self.lines_of_filters


def selection(filters: list[dict], colour: dict | None = None) -> SelectionCode:
    """Code of filters that :func:`pm_lab.server.answers.checked_filter` has let through, joined by "and".

    The helpers that :func:`colouring` needs for ``colour`` are in it.
    """
    kinds = {one["kind"] for one in [*filters, *([colour] if colour else [])]}
    helpers = [code for kind, code in (("gene", GENE_VALUES), ("lasso", INSIDE)) if kind in kinds]
    return SelectionCode(helpers, [line for one in filters for line in ("", *_CODE[one["kind"]](one))])


def colouring(embedding: dict | None, colour: dict | None) -> list[str]:
    """Code that draws the selected rows of an embedding, coloured by a column or a gene."""
    if embedding is None:
        return []
    lines, name = [], None
    if colour and colour["kind"] == "obs":
        name = colour["name"]
    elif colour:
        name = f"gene {colour['name']}"
        values = f"gene_values(adata, {colour['name']!r}, {_layer(colour['layer'])!r})"
        lines = [f"selected.obs[{name!r}] = {values}[keep_obs]"]
    shown = f"basis={embedding['key']!r}, dimensions=({embedding['x']}, {embedding['y']})"
    return [*lines, f"sc.pl.embedding(selected, {shown}, color={name!r})"]


def _range(one: dict) -> list[str]:
    values = f"adata.{one['axis']}[{one['column']!r}].astype(float)"
    return [f"values = {values}", *_bounds(one), _narrowed(one["axis"], _or_missing(one, "within"))]


def _bounds(one: dict) -> list[str]:
    bounds = [
        f"(values {sign} {one[end]!r})"
        for end, sign in (("min", ">="), ("max", "<="))
        if one[end] is not None
    ]
    return [f"within = {' & '.join(bounds) or 'values == values'}"]


def _values(one: dict) -> list[str]:
    texts = [value if isinstance(value, str) else str(value) for value in one["values"]]
    return [
        f"values = adata.{one['axis']}[{one['column']!r}]",
        f"within = values.astype(str).isin({texts!r}) & values.notna()",
        _narrowed(one["axis"], _or_missing(one, "within")),
    ]


def _contains(one: dict) -> list[str]:
    frame = f"adata.{one['axis']}"
    if one["column"] in ("", ":index"):
        values, known = f"{frame}_names.to_series()", ""
    else:
        values, known = f"{frame}[{one['column']!r}]", " & values.notna()"
    return [
        f"values = {values}",
        f"within = values.astype(str).str.lower().str.contains({one['text'].lower()!r}, regex=False){known}",
        _narrowed(one["axis"], "within"),
    ]


def _gene(one: dict) -> list[str]:
    values = f"gene_values(adata, {one['gene']!r}, {_layer(one['layer'])!r})"
    return [f"values = {values}", *_bounds(one), "keep_obs &= within"]


def _lasso(one: dict) -> list[str]:
    points = f"np.asarray(adata.obsm[{one['key']!r}], dtype='float32')[:, [{one['x']}, {one['y']}]]"
    return [
        f"polygon = np.array({one['polygon']!r}, dtype=float)",
        f"keep_obs &= inside({points}, polygon)",
    ]


def _or_missing(one: dict, within: str) -> str:
    return f"({within} | values.isna())" if one["missing"] else within


def _narrowed(axis: str, within: str) -> str:
    return f"keep_{axis} &= {within}.to_numpy(dtype=bool)"


def _layer(layer: str | None) -> str | None:
    return None if layer in (None, "", "X") else layer


_CODE = {"range": _range, "values": _values, "contains": _contains, "gene": _gene, "lasso": _lasso}
