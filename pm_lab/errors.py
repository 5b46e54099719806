"""What pm_lab raises and warns with: what is wrong, where, and how to mend it."""


class PmLabError(Exception):
    """Base of every error that pm_lab raises on purpose."""


class DataError(PmLabError, ValueError):
    """The data given cannot carry the analysis asked for (wrong scale, missing column, NaN, names)."""


class DesignError(PmLabError, ValueError):
    """The study design cannot answer the question (no replicates, condition equal to batch)."""


class DatasetUnavailable(PmLabError, OSError):
    """A registered data set is not on this machine and could not be fetched."""


class ReaderMissing(PmLabError, NotImplementedError):
    """A data set is registered, but this version cannot read its files yet."""


class PmLabWarning(UserWarning):
    """The analysis goes on, but its user should know this."""


def listed(names, n: int = 5) -> str:
    """The first few names, for a message."""
    names = list(names)
    return ", ".join(map(str, names[:n])) + (", ..." if len(names) > n else "")
