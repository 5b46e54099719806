"""The AnnData viewer's server: how long until a million cells are on the page, and what it holds meanwhile.

    python benchmarks/viewer.py [--server] [--browser] [--cells 1000000] [--peer-python /path/to/python]

Both parts run unless one is asked for. The browser part is described in viewer_browser.py beside this file.

Writes (once, into build/viewer/) 1,000,000 cells × 2,000 genes with 100 values a cell, gzipped, as CSR in
chunks of 100,000, as CSR in anndata's default chunks, and as CSC; see viewer_files.py. For each file a
Jupyter Server of its own is started with the extension, and asked over HTTP on this machine; the clock runs
from the request to the last byte of the answer. The page cache is warm: the file has just been read.

    structure       the first request for the file
    warnings        those that read whole columns
    table           the first page of 100 rows, then one sorted by a column of numbers
    map             1,000,000 points and a colour for each
    gene            the first time, the second time, and another gene
    meanwhile       a page of the table and the server's own status, asked again and again during scans
    memory          the server's peak, less that of a server without the extension

Beside it, in a new process: anndata.read_h5ad(backed="r"), which reads obs, and one gene out of it; and
h5web's server (jupyterlab-h5web) where --peer-python names a Python that has it: the tree, the map, and the
codes of a column. It knows no genes, so their colours have no counterpart there.

Genes are compared with each other and with anndata's before anything counts. Exits with 1 when a target below
is missed or an answer differs, after printing its tables.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import psutil
import viewer_files

FOLDER = Path(__file__).resolve().parents[1] / "build" / "viewer"
GENE, OTHERS = "G0077", [f"G{i:04d}" for i in (1500, 3, 1999)]
TARGETS = {  # milliseconds, megabytes
    "structure": 300,
    "warnings": 3_000,
    "table": 150,
    "map": 1_500,
    "gene first": {"csr_chunks_100000": 2_000, "csr_default": 4_000, "csc": 500},
    "gene again": 500,
    "meanwhile": 100,
    "memory": 250,
}


class Server:
    """A Jupyter Server in a process of its own, and a connection to it that stays open."""

    def __init__(self, python: str, extension: str, folder: Path, enabled: bool = True):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.token = secrets.token_hex()
        self.own = Path(tempfile.mkdtemp(prefix="viewer-"))
        settings = {
            "ServerApp": {
                "root_dir": str(folder),
                "port": self.port,
                "port_retries": 0,
                "open_browser": False,
                "allow_root": True,
                "jpserver_extensions": {extension: enabled},
            },
            "IdentityProvider": {"token": self.token},
        }
        (self.own / "jupyter_server_config.json").write_text(json.dumps(settings))
        names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
        env = os.environ | {name: str(self.own) for name in names}
        with (self.own / "log.txt").open("w") as log:
            self.process = subprocess.Popen(
                [python, "-m", "jupyter_server"], cwd=self.own, env=env, stdout=log, stderr=log
            )
        self._wait()
        self.watched = psutil.Process(self.process.pid)
        self.at_start = self.peak = self.watched.memory_info().rss
        self._stop = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def _wait(self) -> None:
        for _ in range(300):
            try:
                self.connection().ask("api/status")
                return
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.2)
        raise SystemExit(f"The server did not start:\n{(self.own / 'log.txt').read_text()[-2000:]}")

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            self.peak = max(self.peak, self.watched.memory_info().rss)

    def connection(self) -> Connection:
        return Connection(self.port, self.token)

    def processor(self) -> float:
        """Milliseconds of the processor so far, which other work on the machine hardly changes."""
        spent = self.watched.cpu_times()
        return 1e3 * (spent.user + spent.system)

    def stop(self) -> None:
        self._stop.set()
        self.process.terminate()
        self.process.wait(30)
        shutil.rmtree(self.own, ignore_errors=True)


class Connection:
    """One connection, as one of a browser's."""

    def __init__(self, port: int, token: str):
        self.http = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self.headers = {"Authorization": f"token {token}"}

    def ask(self, route: str, **query) -> tuple[float, bytes]:
        """Milliseconds from the request to the last byte, and the answer."""
        start = time.perf_counter()
        self.http.request("GET", f"/{route}?{urlencode(query)}", headers=self.headers)
        answer = self.http.getresponse()
        body = answer.read()
        taken = 1e3 * (time.perf_counter() - start)
        if answer.status != 200:
            raise SystemExit(f"{route} {query}: {answer.status} {body[:500].decode()}")
        return taken, body

    def viewer(self, route: str, **query) -> tuple[float, bytes]:
        return self.ask(f"pm-lab/anndata/{route}", **query)


@contextmanager
def serving(python: str, extension: str, path: Path):
    with path.open("rb") as file:  # the page cache is warm
        while file.read(1 << 24):
            pass
    server = Server(python, extension, path.parent)
    try:
        yield server
    finally:
        server.stop()


def bare_memory() -> int:
    """Bytes that a server takes without the extension."""
    server = Server(sys.executable, "pm_lab.server", FOLDER, enabled=False)
    server.stop()
    return server.at_start


def gene_of(body: bytes) -> np.ndarray:
    """The values in a binary answer that holds one array."""
    length = int.from_bytes(body[:4], "little")
    (one,) = json.loads(body[4 : 4 + length])["arrays"]
    return np.frombuffer(body, one["dtype"], one["shape"][0], 4 + length + one["offset"])


def measure_file(name: str, path: Path, bare: int) -> tuple[dict[str, float], np.ndarray]:
    """Milliseconds and megabytes (beyond ``bare`` bytes) of one file, and the gene's values."""
    with serving(sys.executable, "pm_lab.server", path) as server:
        page, query = server.connection(), {"path": path.name}
        found = {"structure": page.viewer("structure", **query)[0]}
        found["warnings"] = page.viewer("warnings", **query)[0]
        table = {**query, "axis": "obs", "start": 0, "stop": 100}
        found["table"] = page.viewer("table", **table)[0]
        found["table sorted"] = page.viewer("table", **table, sort="age", descending=1)[0]
        found["map alone"] = page.viewer("embedding", **query, key="X_umap")[0]
        found["map"] = found["map alone"] + page.viewer("colour", **query, obs="cell_type")[0]
        before = server.processor()
        found["gene first"], first = page.viewer("colour", **query, gene=GENE)
        found["  of the processor"] = server.processor() - before
        found["gene again"], again = page.viewer("colour", **query, gene=GENE)
        if first != again:
            raise SystemExit(f"{name}: the second answer differs from the first")
        found["another gene"] = page.viewer("colour", **query, gene=OTHERS[0])[0]
        found["meanwhile"], found["meanwhile median"] = measure_meanwhile(server, table)
        found["memory"] = (server.peak - bare) / 1e6
        found["  since its start"] = (server.peak - server.at_start) / 1e6
    return found, gene_of(first)


def measure_meanwhile(server: Server, table: dict) -> tuple[float, float]:
    """The longest and the median wait for small requests while two genes are being scanned."""
    taken: list[float] = []
    done = threading.Event()

    def scan():
        for gene in OTHERS[1:]:
            server.connection().viewer("colour", path=table["path"], gene=gene)
        done.set()

    scanning = threading.Thread(target=scan)
    page = server.connection()
    page.viewer("table", **table)
    scanning.start()
    start = 0
    while not done.is_set():
        start += 100
        taken.append(page.viewer("table", **{**table, "start": start, "stop": start + 100})[0])
        taken.append(page.ask("api/status")[0])
        time.sleep(0.02)
    scanning.join()
    return max(taken), float(np.median(taken))


BACKED = """
import json, resource, sys, time
import anndata, numpy as np
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
before, start = peak(), time.perf_counter()
adata = anndata.read_h5ad(sys.argv[1], backed="r")
adata.obs.head(100)
opened, memory = 1e3 * (time.perf_counter() - start), peak() - before
start = time.perf_counter()
X = adata[:, sys.argv[2]].X
values = np.ravel(X.toarray() if hasattr(X, "toarray") else X)
gene = 1e3 * (time.perf_counter() - start)
np.save(sys.argv[3], values)
print(json.dumps({"open": opened, "memory": memory, "gene": gene, "memory of gene": peak() - before}))
"""


def measure_backed(path: Path) -> tuple[dict[str, float], np.ndarray]:
    """What anndata's backed mode takes in a new process, without its imports."""
    with tempfile.TemporaryDirectory() as folder:
        values = Path(folder, "gene.npy")
        command = [sys.executable, "-W", "ignore", "-c", BACKED, str(path), GENE, str(values)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return json.loads(done.stdout.splitlines()[-1]), np.load(values)


def measure_h5web(python: str, path: Path, bare: int) -> dict[str, float]:
    """What h5web's server takes for what it can answer."""
    with serving(python, "jupyterlab_h5web", path) as server:
        page = server.connection()
        tree = page.ask("h5web/meta", file=path.name, path="/")[0]
        for part in ("/obs", "/var", "/X", "/obsm"):
            tree += page.ask("h5web/meta", file=path.name, path=part)[0]
        points = page.ask("h5web/data", file=path.name, path="/obsm/X_umap", format="bin")[0]
        codes = page.ask("h5web/data", file=path.name, path="/obs/cell_type/codes", format="bin")[0]
    return {"structure": tree, "map": points + codes, "memory": (server.peak - bare) / 1e6}


def python_with_h5web(given: str | None) -> str | None:
    """The Python that has jupyterlab-h5web; None, having said so, where there is none."""
    if given is None and find_spec("jupyterlab_h5web"):
        return sys.executable
    if given is not None:
        found = subprocess.run([given, "-c", "import jupyterlab_h5web"], capture_output=True, check=False)
        if found.returncode == 0:
            return given
    print("h5web was not looked at: pass --peer-python with a Python that has jupyterlab-h5web.")
    return None


def verdict(what: str, value: float, target: float, peers: dict[str, float]) -> bool:
    unit = "MB" if what.startswith("memory") else "ms"
    said = "reached" if value <= target else "MISSED"
    line = f"{what:34}{value:9,.0f} {unit} target {target:6,}: {said:8}"
    line += "".join(
        f" {name} {other:,.0f} {unit}, ratio {value / other:.3f};" for name, other in peers.items()
    )
    print(line.rstrip(";"))
    return value <= target


def report(found: dict[str, dict], backed: dict[str, float], h5web: dict[str, float]) -> bool:
    """Print what was measured; True where all targets hold."""

    def middle(what: str) -> float:
        return float(np.median([one[what] for one in found.values()]))

    def beside(what: str, of_backed: str) -> dict[str, float]:
        return {"anndata backed": backed[of_backed]} | ({"h5web": h5web[what]} if what in h5web else {})

    print(f"\n{'':22}" + "".join(f"{name:>20}" for name in found))
    for what in next(iter(found.values())):
        print(f"{what:22}" + "".join(f"{one[what]:20,.0f}" for one in found.values()))
    print("\nMedian of the three files, for genes each file; peers of the file in chunks of 100,000:")
    held = [
        verdict("structure", middle("structure"), TARGETS["structure"], beside("structure", "open")),
        verdict("warnings", middle("warnings"), TARGETS["warnings"], {}),
        verdict("table, first page", middle("table"), TARGETS["table"], beside("table", "open")),
        verdict("map with colours", middle("map"), TARGETS["map"], beside("map", "open")),
    ]
    for name, one in found.items():
        peers = {"anndata backed": backed["gene"]} if name == "csr_chunks_100000" else {}
        held.append(verdict(f"gene, {name}", one["gene first"], TARGETS["gene first"][name], peers))
        held.append(verdict("    the second time", one["gene again"], TARGETS["gene again"], {}))
        held.append(verdict("    others meanwhile, longest", one["meanwhile"], TARGETS["meanwhile"], {}))
    worst = max(one["memory"] for one in found.values())
    held.append(verdict("memory", worst, TARGETS["memory"], beside("memory", "memory of gene")))
    print(
        f"anndata backed: {backed['memory']:,.0f} MB to open, "
        f"{backed['memory of gene']:,.0f} MB with one gene"
    )
    return all(held)


def measure_server(paths: dict[str, Path], peer_python: str | None) -> bool:
    found, genes, bare = {}, {}, bare_memory()
    for name, path in paths.items():
        found[name], genes[name] = measure_file(name, path, bare)
    first = next(iter(paths.values()))
    backed, expected = measure_backed(first)
    python = python_with_h5web(peer_python)
    h5web = measure_h5web(python, first, bare) if python else {}
    equal = all(np.array_equal(values, expected) for values in genes.values())
    held = report(found, backed, h5web)
    print(f"answers {'equal' if equal else 'DIFFER'}; load after: {os.getloadavg()[0]:.1f}")
    print("Not looked at: a cold page cache, a network.")
    return held and equal


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", action="store_true", help="this part alone")
    parser.add_argument("--browser", action="store_true", help="this part alone")
    parser.add_argument("--cells", type=int, default=1_000_000, help="fewer for a try")
    parser.add_argument("--peer-python", help="a Python that has jupyterlab-h5web")
    given = parser.parse_args()
    both = given.server == given.browser
    paths = viewer_files.write(FOLDER, given.cells)
    print(f"{given.cells:,} cells × {viewer_files.N_GENES:,} genes, {viewer_files.EACH} values a cell")
    load = os.getloadavg()[0]
    print(f"load of this machine before: {load:.1f} on {os.cpu_count()} processors")
    held = []
    if both or given.server:
        held.append(measure_server(paths, given.peer_python))
    if both or given.browser:
        from viewer_browser import measure_browser

        held.append(measure_browser(paths["csr_default"]))
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
