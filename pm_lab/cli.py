"""The command line: pm-lab doctor, pm-lab data list|fetch|verify, pm-lab run NOTEBOOK, pm-lab app COHORT."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pm_lab import __version__
from pm_lab.errors import DataError, PmLabError

if TYPE_CHECKING:
    from nbformat import NotebookNode


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 if all went well, 1 if something is broken, 2 for a call that makes no sense."""
    arguments = _parser().parse_args(argv)
    try:
        code = arguments.command(arguments)
        sys.stdout.flush()  # a closed pipe is noticed here, not while Python ends
        return code
    except BrokenPipeError:  # whoever read the output has stopped, as in `pm-lab data list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # as a shell reports a program that a closed pipe ended
    except PmLabError as error:
        print(f"pm-lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("pm-lab: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pm-lab", description="Notebooks for personalized medicine.")
    parser.add_argument("--version", action="version", version=f"pm-lab {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    doctor = commands.add_parser("doctor", help="check this installation and say how to mend it")
    doctor.add_argument("--json", action="store_true", help="print the findings as JSON")
    only = "check only the extension for JupyterLab; 1 where one of its halves is off"
    doctor.add_argument("--extension", action="store_true", help=only)
    doctor.set_defaults(command=_doctor)

    data = commands.add_parser("data", help="list, fetch and verify data sets")
    actions = data.add_subparsers(title="commands", required=True, metavar="COMMAND")
    listing = actions.add_parser("list", help="which data sets there are, and where each is")
    listing.set_defaults(command=_data_list)
    fetch = actions.add_parser("fetch", help="download the files of data sets that are not on this machine")
    fetch.add_argument("names", nargs="*", metavar="NAME")
    fetch.add_argument("--all", action="store_true", help="every registered data set")
    fetch.set_defaults(command=_data_fetch)
    verify = actions.add_parser("verify", help="check files on this machine against their SHA-256")
    verify.add_argument("names", nargs="*", metavar="NAME", help="default: every file on this machine")
    verify.set_defaults(command=_data_verify)

    run = commands.add_parser("run", help="execute a copy of a notebook, with parameters")
    run.add_argument("notebook", type=Path, metavar="NOTEBOOK")
    run.add_argument(
        *("-p", "--parameter"),
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="set a variable of the notebook's parameters cell; may be given several times",
    )
    run.add_argument("-o", "--output", type=Path, help="default: NOTEBOOK-run.ipynb in this folder")
    run.set_defaults(command=_run)
    _add_app(commands)
    return parser


def _add_app(commands) -> None:
    app = commands.add_parser("app", help="open the patient explorer in a browser, on this machine alone")
    app.add_argument("cohort", nargs="?", metavar="COHORT", help="one row per patient: .h5ad, .zarr, .csv, …")
    app.add_argument("--cells", metavar="FILE", help="cells with obs['patient']: .h5ad or .zarr")
    app.add_argument("--predictions", metavar="FILE", help="predicted drug responses: .csv or .tsv")
    app.add_argument(
        "--endpoint",
        metavar="NAME",
        help="a declared endpoint, or columns: time=os_time,event=os_event,unit=months",
    )
    app.add_argument("--port", type=int, help="default: 8866, or the next that is free")
    app.add_argument("--no-browser", action="store_true", help="only print the address")
    app.set_defaults(command=_app)


def _doctor(arguments: argparse.Namespace) -> int:
    from pm_lab import doctor

    found = []
    for finding in doctor.findings(arguments.extension):
        found.append(finding)
        if not arguments.json:
            print(f"{finding.status:<5} {finding.check:<18} {finding.finding}", flush=True)
            if finding.mend:
                print(f"{'':<24} -> {finding.mend}", flush=True)
    needed = ("fail", "warn") if arguments.extension else ("fail",)
    broken = sum(finding.status in needed for finding in found)
    if arguments.json:
        import json

        report = {"ok": not broken, "findings": [finding._asdict() for finding in found]}
        print(json.dumps(report, indent=2))
    else:
        print(f"\n{broken} broken" if broken else "\nAll that is needed works.")
        if broken and not _environment_is_active():
            print(
                "These commands are those of this environment: source .venv/bin/activate in a checkout first."
            )
    return 1 if broken else 0


def _environment_is_active() -> bool:
    """Whether a command that a person types is that of this environment."""
    found = shutil.which("jupyter")
    return found is not None and Path(found).parent == Path(sys.executable).parent


def _data_list(arguments: argparse.Namespace) -> int:
    from pm_lab.datasets import available

    for row in available().to_dict("records"):
        size = f"{row['size_mb']:.1f} MB" if row["size_mb"] else ""
        note = "" if row["reader"] else " (no reader yet)"
        print(f"{row['name']:<21} {row['where']:<9} {size:>8}  {row['what']}{note}")
    return 0


def _data_fetch(arguments: argparse.Namespace) -> int:
    from pm_lab.datasets import fetch
    from pm_lab.datasets.registry import find, registered

    if arguments.all == bool(arguments.names):
        raise DataError("name the data sets to fetch, or pass --all. pm-lab data list shows them.")
    names = list(registered()) if arguments.all else arguments.names
    for data_set in [find(name) for name in names]:  # a misspelt name is said before any download
        paths = fetch(data_set.name)
        if data_set.bundled_in:
            print(f"{data_set.name}: bundled, nothing to fetch")
        else:
            print(f"{data_set.name}: {len(paths)} file(s), {data_set.bytes / 1e6:.1f} MB, all verified")
    return 0


def _data_verify(arguments: argparse.Namespace) -> int:
    from pm_lab.datasets import verify
    from pm_lab.datasets.registry import find, registered

    sets = [find(name) for name in arguments.names or registered()]
    broken = 0
    for data_set in sets:
        checked = verify(data_set.name)
        if not arguments.names:  # what was never fetched is not broken
            checked = checked[checked["where"] != "absent"]
        wrong = checked[~checked["ok"]]
        broken += len(wrong)
        if len(checked):
            print(f"{data_set.name}: {len(checked) - len(wrong)} of {len(checked)} file(s) as registered")
        for row in wrong.to_dict("records"):
            print(f"  {row['file']}: {row['problem']}")
    return 1 if broken else 0


def _app(arguments: argparse.Namespace) -> int:
    from pm_lab.explorer import serve

    files = (arguments.cohort, arguments.cells, arguments.predictions)
    asked = serve.Asked(*files, _endpoint(arguments.endpoint), folder=str(Path.cwd()))
    serve.serve(asked, arguments.port, browser=not arguments.no_browser)
    return 0


def _endpoint(text: str | None) -> str | dict[str, str] | None:
    """A name, or a declaration written as time=os_time,event=os_event,unit=months."""
    if text is None or "=" not in text:
        return text
    parts = [part.partition("=") for part in text.split(",")]
    if wrong := [name for name, sign, value in parts if not (name.strip() and sign and value.strip())]:
        raise DataError(f"--endpoint: {wrong[0]!r} is no NAME=COLUMN. Write time=...,event=...,unit=...")
    return {name.strip(): value.strip() for name, _, value in parts}


def _run(arguments: argparse.Namespace) -> int:
    notebook: Path = arguments.notebook
    if not notebook.is_file():
        raise DataError(f"there is no notebook {notebook}.")
    if notebook.suffix != ".ipynb":
        raise DataError(f"{notebook} is no notebook: its name does not end in .ipynb.")
    output = arguments.output or _free_name(notebook)
    if output.suffix != ".ipynb":
        raise DataError(f"{output}: the output is a notebook too, so its name must end in .ipynb.")
    if output.exists() and output.samefile(notebook):
        raise DataError(f"the output would overwrite {notebook} itself. Pass another name with -o.")
    if not output.parent.is_dir():
        raise DataError(f"there is no folder {output.parent} to write the output into.")
    parameters = {name: _value(text) for name, text in arguments.parameter}
    content = _read_notebook(notebook)
    _check_parameters(notebook, content, set(parameters))
    return _execute(notebook, output, parameters, _kernel(content))


def _free_name(notebook: Path) -> Path:
    """The first of name-run.ipynb, name-run-2.ipynb … in the working folder that is not taken."""
    number, output = 1, Path(f"{notebook.stem}-run.ipynb")
    while output.exists():
        number += 1
        output = Path(f"{notebook.stem}-run-{number}.ipynb")
    return output


def _value(text: str):
    """24 is a number, True a truth value, [1, 2] a list; what is no Python literal is text."""
    import ast

    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _check_parameters(notebook: Path, content: NotebookNode, names: set[str]) -> None:
    tagged = [cell for cell in content.cells if "parameters" in cell.metadata.get("tags", ())]
    known = _assigned(tagged[0].source, notebook) if names and tagged else set()
    if unknown := sorted(names - known):
        raise DataError(
            f"{notebook.name} has no parameter {', '.join(unknown)}. "
            f"It has: {', '.join(sorted(known)) or 'none (no cell is tagged parameters)'}."
        )


def _read_notebook(notebook: Path) -> NotebookNode:
    import nbformat

    try:
        return nbformat.read(notebook, as_version=4)
    except Exception as error:
        raise DataError(f"{notebook} cannot be read as a notebook: {error}") from error


def _assigned(source: str, notebook: Path) -> set[str]:
    """The variables that a cell assigns at its top level."""
    import ast

    try:
        statements = ast.parse(source).body
    except SyntaxError as error:
        raise DataError(f"{notebook}: the parameters cell is not plain Python: {error}") from error
    targets = [
        target
        for statement in statements
        if isinstance(statement, ast.Assign | ast.AnnAssign)
        for target in (statement.targets if isinstance(statement, ast.Assign) else [statement.target])
    ]
    names = [name for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]
    return {name.id for name in names if isinstance(name.ctx, ast.Store)}  # n[0] = 1 assigns no n


def _kernel(content: NotebookNode) -> dict[str, str]:
    """The kernel and the language that a notebook names; Python where it names none."""
    kernel, language = (content.metadata.get(key, {}) for key in ("kernelspec", "language_info"))
    return {
        "kernel_name": kernel.get("name") or "python3",
        "language": language.get("name") or kernel.get("language") or "python",
    }


def _execute(notebook: Path, output: Path, parameters: dict, kernel: dict[str, str]) -> int:
    """Execute into an unfinished file and rename it at the end, however the notebook ended."""
    import papermill
    from papermill.exceptions import PapermillExecutionError

    unfinished = output.with_name(f".{output.stem}-unfinished.ipynb")
    try:
        papermill.execute_notebook(
            str(notebook),
            str(unfinished),
            parameters=parameters,
            **kernel,
            progress_bar=os.environ.get("PM_LAB_PROGRESS") != "0",
            cwd=str(notebook.resolve().parent),  # as JupyterLab does
        )
    except PapermillExecutionError as error:
        first_line = next((line for line in error.source.splitlines() if line.strip()), "")
        print(
            f"pm-lab: {notebook}: cell In [{error.exec_count}] failed: {error.ename}: {error.evalue}\n"
            f"  the cell begins: {first_line}\n  the traceback is in {output}",
            file=sys.stderr,
        )
        return 1
    except Exception as error:
        raise PmLabError(f"{notebook} could not be executed: {type(error).__name__}: {error}") from error
    finally:
        if unfinished.exists():
            unfinished.replace(output)
    print(f"{notebook} -> {output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
