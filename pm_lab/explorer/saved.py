"""The state of an explorer as text: JSON, and a short token. Neither names a patient; both need the data.

The token is checked for damage, not signed: whoever has the data can make another.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib

from pm_lab.errors import DataError

from . import filters as f
from .choices import DEFAULTS, Choices, checked_setting
from .cohort_data import CohortData
from .groups import group_from_dict

FORMAT, VERSION, TOKEN = "pm_lab.explorer.state", 1, "pmx1."
MOST_TOKEN_BYTES = 20_000_000  # unpacked
PARTS = {
    "format": str,
    "version": int,
    "data": str,
    "kinds": dict,
    "filters": list,
    "groups": dict,
    "patient": int | None,
    "endpoint": str | None,
    "settings": dict,
}


def to_json(now: Choices) -> str:
    """Everything that is chosen, patients as rows."""
    parts = {
        "format": FORMAT,
        "version": VERSION,
        "data": now.data.hash,
        "kinds": now.data.kinds,
        "filters": [one.to_dict() for one in now.filters.values()],
        "groups": {name: group.to_dict() for name, group in now.groups.items()},
        "patient": now.patient,
        "endpoint": now.endpoint,
        "settings": dict(now.settings),
    }
    return json.dumps(parts, ensure_ascii=False, sort_keys=True)


def from_json(data: CohortData, text: str) -> Choices:
    """Read :func:`to_json`, every part checked as if it were chosen anew.

    Raises
    ------
    DataError
        Other data, another version, unknown parts, or a text that was changed.
    """
    try:
        given = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        raise DataError("this is no JSON of an explorer's state: it was changed or cut.") from None
    _check_form(given)
    data.require(given["data"])
    try:
        return _choices(data, given)
    except DataError:
        raise
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        raise DataError(f"the state was changed: a part of it cannot be read ({error}).") from None


def to_token(now: Choices) -> str:
    """As :func:`to_json`, packed, with a check sum."""
    packed = zlib.compress(to_json(now).encode(), 9)
    digest = hashlib.sha256(packed).digest()[:8]
    return TOKEN + base64.urlsafe_b64encode(digest + packed).decode().rstrip("=")


def from_token(data: CohortData, token: str) -> Choices:
    """Read :func:`to_token`; errors as :func:`from_json`."""
    if not isinstance(token, str) or not token.strip().startswith(TOKEN):
        raise DataError(f"this is no token of the explorer: it does not begin with {TOKEN!r}.")
    body = token.strip()[len(TOKEN) :]
    try:
        raw = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
        if hashlib.sha256(raw[8:]).digest()[:8] != raw[:8]:
            raise ValueError
        text = zlib.decompressobj().decompress(raw[8:], MOST_TOKEN_BYTES).decode()
    except (ValueError, zlib.error):
        raise DataError("the token was changed or cut: copy it again, whole.") from None
    return from_json(data, text)


def _check_form(given) -> None:
    """The parts that a state has, and no other."""
    if not isinstance(given, dict) or given.get("format") != FORMAT:
        raise DataError("this is not the state of an explorer.")
    if given.get("version") != VERSION:
        raise DataError(f"a state of version {given.get('version')!r}; this pm_lab reads version {VERSION}.")
    wrong = sorted(set(given) ^ set(PARTS))
    wrong += [name for name, kind in PARTS.items() if name in given and not isinstance(given[name], kind)]
    if not wrong and set(given["settings"]) != set(DEFAULTS):
        wrong = ["settings"]
    if wrong:
        raise DataError(f"the state was changed: {', '.join(wrong)} cannot be read.")


def _choices(data: CohortData, given: dict) -> Choices:
    if given["kinds"] != data.kinds:
        data = data.retyped(given["kinds"])
    filters = {}
    for one in given["filters"]:
        made = f.from_dict(data, one)
        if made.key in filters:
            raise DataError(f"there are two filters of {made.key!r}: the state was changed.")
        filters[made.key] = made
    row = given["patient"]
    if row is not None and (isinstance(row, bool) or not 0 <= row < data.n):
        raise DataError(f"the patient of row {row!r} is not among {data.n:,}.")
    if given["endpoint"] is not None:
        data.outcome(given["endpoint"])
    return Choices(
        data=data,
        filters=filters,
        groups={name: group_from_dict(data, name, one) for name, one in sorted(given["groups"].items())},
        patient=row,
        endpoint=given["endpoint"],
        settings={name: checked_setting(data, name, value) for name, value in given["settings"].items()},
    )
