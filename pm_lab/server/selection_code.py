"""The viewer's filters and colours as Python that a person can read, run and change.

Names and values come from files and pages of anybody: they enter the code through ``repr`` only.
"""

from __future__ import annotations

from dataclasses import dataclass

NAMES = ("", ":index")  # how a filter calls the names of the rows

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
    """Code that draws the selected rows of an embedding, coloured by a column or a gene.

    A column's ``colour["drawn_as"]`` is "category" or "float" where scanpy cannot draw it as it is.
    """
    if embedding is None:
        return []
    lines, name = [], None
    if colour and colour["kind"] == "obs":
        name = colour["name"]
        if kind := colour["drawn_as"]:
            lines = [f"selected.obs[{f'column {name}'!r}] = selected.obs[{name!r}].astype({kind!r})"]
            name = f"column {name}"
    elif colour:
        name = f"gene {colour['name']}"
        values = f"gene_values(adata, {colour['name']!r}, {_layer(colour['layer'])!r})"
        lines = [f"selected.obs[{name!r}] = {values}[keep_obs]"]
    shown = f"basis={embedding['key']!r}, dimensions=({embedding['x']}, {embedding['y']})"
    return [*lines, f"sc.pl.embedding(selected, {shown}, color={name!r})"]


def _range(one: dict) -> list[str]:
    within = _between(one) or "values.notna()"
    return [f"values = adata.{one['axis']}[{one['column']!r}]", _narrowed(one, within)]


def _between(one: dict) -> str:
    ends = (("min", ">="), ("max", "<="))
    return " & ".join(f"(values {sign} {one[end]!r})" for end, sign in ends if one[end] is not None)


def _values(one: dict) -> list[str]:
    if one["column"] in NAMES:
        return [f"keep_{one['axis']} &= adata.{one['axis']}_names.isin({_listed(one['values'])})"]
    values = f"adata.{one['axis']}[{one['column']!r}]"
    return [f"values = {values}", _narrowed(one, f"values.isin({_listed(one['values'])})")]


def _listed(values: list) -> str:
    """A list as code: infinity has no literal."""
    return f"[{', '.join(_INFINITY.get(value, repr(value)) for value in values)}]"


_INFINITY = {float("inf"): "np.inf", float("-inf"): "-np.inf"}


def _contains(one: dict) -> list[str]:
    text, frame = one["text"].casefold(), f"adata.{one['axis']}"
    values = f"{frame}_names.to_series()" if one["column"] in NAMES else f"{frame}[{one['column']!r}]"
    found = f"values.astype(str).str.casefold().str.contains({text!r}, regex=False)"
    return [f"values = {values}", _narrowed({**one, "missing": False}, f"{found} & values.notna()")]


def _narrowed(one: dict, within: str) -> str:
    if one["missing"]:
        within = f"{within} | values.isna()"
    return f"keep_{one['axis']} &= ({within}).to_numpy(dtype=bool, na_value=False)"


def _gene(one: dict) -> list[str]:
    values = f"gene_values(adata, {one['gene']!r}, {_layer(one['layer'])!r})"
    return [f"values = {values}", f"keep_obs &= {_between(one)}"] if _between(one) else []


def _lasso(one: dict) -> list[str]:
    points = f"np.asarray(adata.obsm[{one['key']!r}], dtype='float32')[:, [{one['x']}, {one['y']}]]"
    return [
        f"polygon = np.array({one['polygon']!r}, dtype=float)",
        f"keep_obs &= inside({points}, polygon)",
    ]


def _layer(layer: str | None) -> str | None:
    return None if layer in (None, "", "X") else layer


_CODE = {"range": _range, "values": _values, "contains": _contains, "gene": _gene, "lasso": _lasso}
