"""What the server's administrator may set, and what all requests share: threads, open files, progress."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from traitlets import Bool, Int
from traitlets.config import Configurable

from pm_lab.server.files import Files
from pm_lab.server.progress import Progress


class PmLab(Configurable):
    """Settings of the AnnData viewer, as ``c.PmLab.follow_symlinks = True`` in the server's configuration."""

    follow_symlinks = Bool(
        False,
        help="Open AnnData files that a symbolic link within the server's folder points to outside of it.",
    ).tag(config=True)
    max_threads = Int(4, min=1, help="How many files are read at the same time.").tag(config=True)
    max_open_files = Int(8, min=1, help="How many files are kept open between requests.").tag(config=True)
    idle_seconds = Int(300, min=1, help="A file that nobody asks for this long is closed.").tag(config=True)
    max_cache_bytes = Int(
        64 * 2**20, min=0, help="Memory for columns, genes and embeddings kept between requests."
    ).tag(config=True)

    def __init__(self, **settings) -> None:
        super().__init__(**settings)
        # Long scans never take all threads: other requests are answered meanwhile.
        self.scans = asyncio.Semaphore(max(1, self.max_threads // 2))
        self.threads = ThreadPoolExecutor(self.max_threads, thread_name_prefix="pm_lab")
        self.files = Files(self.max_open_files, self.idle_seconds, self.max_cache_bytes)
        self.progress = Progress()
