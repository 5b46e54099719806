"""What is worked out once for a data set and looked up at every change of a filter."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable
from typing import TypeVar

T = TypeVar("T")
_kept: dict[int, dict[Hashable, object]] = {}


def prepare_once(data: object, key: Hashable, build: Callable[[], T]) -> T:
    """The value of ``build()``, built once a data set and key, and forgotten with the data set.

    Parameters
    ----------
    data : a CohortData; it does not change once it is open.
    key : what is kept.
    build : makes it.
    """
    if id(data) not in _kept:
        _kept[id(data)] = {}
        weakref.finalize(data, _kept.pop, id(data), None)
    values = _kept[id(data)]
    if key not in values:
        values[key] = build()
    return values[key]
