"""A figure, table or control in the page. What it shows goes there by message: no notebook keeps it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import anywidget
import numpy as np

from pm_lab.errors import PmLabError

FRONT = Path(__file__).parent / "front"
PARTS = ("base", "filters", "curves", "scatter", "controls", "last")
TYPES = {"float32": "f4", "float64": "f8", "int32": "i4", "uint8": "u1"}

# The code of all figures is asked for by the first of a page, by message, and shared by the others: a page
# gets it once, and a notebook saved with its widgets holds none of it. Each figure carries only this.
# A kernel that runs other cells answers when they are done, one that was restarted never: so one figure after
# the other asks again, until an answer comes.
LOADER = """
const KEY = Symbol.for("pm_lab figures %s");
const gone = (el) => el.closest(".jupyter-widgets-disconnected");
const bundle = ({ model, el }) => {
  const page = (globalThis[KEY] ??= { asked: -Infinity });
  page.code ??= new Promise((resolve) => { page.resolve = resolve; });
  const take = ({ code }) => {
    if (code) page.resolve(import(URL.createObjectURL(new Blob([code], { type: "text/javascript" }))));
  };
  const ask = () => {
    if (Date.now() - page.asked < 19000 || gone(el)) return;
    model.send({ event: { type: "code" }, seq: 0 });
    page.asked = Date.now();
  };
  model.on("msg:custom", take);
  const again = setInterval(ask, 20000);
  ask();
  return page.code.finally(() => { clearInterval(again); model.off("msg:custom", take); });
};
const render = async (context) => gone(context.el) ? undefined : (await bundle(context)).render(context);
export default { render };
"""


@cache
def bundle() -> str:
    """The module that draws: style and parts joined, without comments and indentation."""
    import json

    style = re.sub(r"\s+", " ", (FRONT / "explorer.css").read_text(encoding="utf-8"))
    style = re.sub(r" ?([{};,]) ?|(:) ", r"\1\2", style)
    parts = [(FRONT / f"{name}.js").read_text(encoding="utf-8") for name in PARTS]
    code = re.sub(r"(?m)^\s*(//.*)?\n|^[ \t]+", "", "\n".join(parts))
    return f"const STYLE = {json.dumps(style)};\n{code}"


class LiveFigure(anywidget.AnyWidget):
    """Something shown in the page, drawn from a description by the code in ``front/``.

    Parameters
    ----------
    on_event : called with what a person did there: a dict with ``type``, and ``live`` where more will follow.
    on_error : called with what ``on_event`` raised.
    """

    _esm = LOADER % hashlib.sha256(bundle().encode()).hexdigest()[:12]

    def __init__(
        self,
        on_event: Callable[[dict], None] | None = None,
        on_error: Callable[[Exception], None] | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.description: dict = {}
        self._on_event, self._on_error = on_event, on_error
        self.on_msg(self._receive)

    def show(self, description: dict, kept: tuple[str, ...] = ()) -> None:
        """Draw this from now on.

        Parameters
        ----------
        description : ``kind``, ``title``, ``summary`` and what the kind needs; see :mod:`.charts`.
        kept : arrays that have not changed since the last time and need not be sent again.
        """
        self.description = description
        if self.comm is None:
            return
        sent = {name: value for name, value in description.items() if name not in kept}
        buffers: list = []
        content = {"draw": _encoded(sent, buffers)}
        if kept:
            content["kept"] = list(kept)
        self.send(content, buffers)

    def offer(self, name: str, content: bytes | str, media_type: str) -> None:
        """Let the browser save a file."""
        content = content.encode() if isinstance(content, str) else content
        self.send({"file": {"name": name, "type": media_type}}, [content])

    def _receive(self, _, content: dict, __) -> None:
        event = content.get("event", {})
        if event.get("type") == "code":
            self.send({"code": bundle()})
        elif event.get("type") == "ready":
            if self.description:
                self.show(self.description)
        else:
            try:
                self._answer(event)
            finally:
                self.send({"done": content.get("seq", 0)})

    def _answer(self, event: dict) -> None:
        try:
            if self._on_event is not None:
                self._on_event(event)
        except Exception as error:
            if self._on_error is not None:
                self._on_error(error)
            if self._on_error is None or not isinstance(error, PmLabError):
                raise


def _encoded(value, buffers: list):
    """A description as JSON; arrays of numbers travel beside it, as bytes."""
    if isinstance(value, dict):
        return {str(name): _encoded(one, buffers) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_encoded(one, buffers) for one in value]
    if isinstance(value, np.ndarray):
        if value.dtype.name not in TYPES:
            value = value.astype(np.uint8 if value.dtype == bool else np.float64)
        buffers.append(memoryview(np.ascontiguousarray(value)).cast("B") if value.size else b"")
        return {"buffer": len(buffers) - 1, "type": TYPES[value.dtype.name]}
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
