"""Figures of survival. What a figure shows is said in words as well: ``figure.get_label()``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pm_lab.errors import DataError

from .performance import NO_INFORMATION, RiskEvaluation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind people can tell apart, then two of Tol's muted ones.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#332288", "#882255", "#999999"]
DASHES = ["-", "--", "-.", ":"]
GREY = "#888888"
MOST_ROWS = 60
FEW_AT_RISK = 10  # below that one patient's event is a cliff in the curve


def plot_kaplan_meier(curves: pd.DataFrame, test: pd.DataFrame | None = None) -> Figure:
    """Show survival of each group with its confidence band, and the numbers at risk below.

    Parameters
    ----------
    curves : of :func:`kaplan_meier`.
    test : of :func:`log_rank`, for the title.

    Returns
    -------
    matplotlib.figure.Figure
        Ticks on the curves are censored patients. A curve is pale and has no band where fewer than ten
        patients are left. ``get_label()`` says it in words.

    Raises
    ------
    DataError
        When ``curves`` is not a table of :func:`kaplan_meier`.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.load("gse7390")
    >>> curves = pm.survival.kaplan_meier(cohort, "dmfs", groupby="er")
    >>> figure = pm.survival.plot_kaplan_meier(curves, pm.survival.log_rank(cohort, "dmfs", groupby="er"))
    """
    from matplotlib.figure import Figure

    _check(curves, "kaplan_meier", "group", "time", "survival", "at_risk")
    groups = list(dict.fromkeys(curves["group"]))
    figure = Figure(figsize=(7.5, 4.6 + 0.24 * len(groups)), layout="constrained")
    ax, numbers = figure.subplots(2, 1, sharex=True, height_ratios=[12, 0.5 + 0.75 * len(groups)])
    for i, name in enumerate(groups):
        part, colour = curves[curves["group"] == name], COLOURS[i % len(COLOURS)]
        label = f"{name} ({part['events'].sum():,} events in {_size(part):,})"
        _curve(ax, part, colour, DASHES[i % len(DASHES)], label)
    level = curves.attrs.get("level", 0.95)
    title = f"{curves.attrs.get('endpoint', 'survival')}, bands {level:.0%}"
    if test is not None:
        title += f"; {test['test'].iloc[0]} p = {test['pvalue'].iloc[0]:.2g}"
    ax.set(ylim=(0, 1.02), xlim=(0, None), ylabel="share without event", title=title)
    ax.tick_params(labelbottom=True)
    ax.set_xlabel(f"time, {curves.attrs.get('unit', '')} (pale: fewer than {FEW_AT_RISK} at risk)")
    ax.legend(frameon=False, loc="best", title=curves.attrs.get("groupby") or None)
    _numbers_at_risk(numbers, curves, groups, ax.get_xticks())
    last = "; ".join(f"{name} {curves[curves['group'] == name]['survival'].iloc[-1]:.2f}" for name in groups)
    figure.set_label(f"Kaplan-Meier curves of {len(groups)} groups. At the end of follow-up: {last}.")
    return figure


def _curve(ax, part: pd.DataFrame, colour: str, style: str, label: str) -> None:
    """One group: with its band while enough patients are left, pale afterwards."""
    enough = np.flatnonzero(part["at_risk"] >= FEW_AT_RISK)
    end = enough[-1] + 1 if len(enough) else 1
    sure, rest = part.iloc[:end], part.iloc[end - 1 :]
    ax.step(sure["time"], sure["survival"], where="post", color=colour, linestyle=style, label=label)
    ax.fill_between(sure["time"], sure["lower"], sure["upper"], step="post", color=colour, alpha=0.15, lw=0)
    ax.step(rest["time"], rest["survival"], where="post", color=colour, linestyle=style, alpha=0.3, lw=1)
    for piece, alpha in ((sure, 1), (rest.iloc[1:], 0.3)):
        gone = piece[piece["censored"] > 0]
        ax.plot(gone["time"], gone["survival"], "|", color=colour, markersize=6, alpha=alpha)


def _size(part: pd.DataFrame) -> int:
    return int(part["events"].sum() + part["censored"].sum())


def _numbers_at_risk(ax, curves: pd.DataFrame, groups: list[str], ticks) -> None:
    ticks = [tick for tick in ticks if 0 <= tick <= curves["time"].max()]
    for i, name in enumerate(groups):
        part = curves[curves["group"] == name]
        for tick in ticks:
            ax.text(tick, -i, f"{_at_risk(part, tick):,}", ha="center", va="center", fontsize=8)
    ax.set(ylim=(-len(groups) + 0.4, 0.6), yticks=[-i for i in range(len(groups))], yticklabels=groups)
    for label, colour in zip(ax.get_yticklabels(), COLOURS * 9, strict=False):
        label.set(color=colour, fontsize=8)
    ax.set_title("number at risk", loc="left", fontsize=8, pad=2)
    ax.tick_params(length=0, labelbottom=False)
    ax.tick_params(axis="y", pad=18)  # the first number stands around the left end of the axis
    ax.set_frame_on(False)


def _at_risk(part: pd.DataFrame, time: float) -> int:
    """Patients under observation just before a time."""
    later = part[part["time"] >= time]
    if later.empty:
        return 0
    return int(later["at_risk"].iloc[0])  # nobody enters or leaves between two rows


def plot_cumulative_incidence(incidence: pd.DataFrame) -> Figure:
    """Show the cumulative incidence of each cause, one panel per group.

    Parameters
    ----------
    incidence : of :func:`cumulative_incidence`.

    Returns
    -------
    matplotlib.figure.Figure
        Each cause with its confidence band, where there is one. ``get_label()`` says it in words.

    Raises
    ------
    DataError
        When ``incidence`` is not a table of :func:`cumulative_incidence`.

    Examples
    --------
    >>> import pandas as pd, pm_lab as pm
    >>> table = pd.DataFrame({"months": [1.0, 2, 3, 4], "what": ["relapse", "death", "none", "relapse"]})
    >>> endpoint = {"time": "months", "event": "what", "unit": "months", "censored": "none"}
    >>> figure = pm.survival.plot_cumulative_incidence(pm.survival.cumulative_incidence(table, endpoint))
    """
    from matplotlib.figure import Figure

    _check(incidence, "cumulative_incidence", "group", "cause", "time", "incidence")
    groups = list(dict.fromkeys(incidence["group"]))
    causes = list(dict.fromkeys(incidence["cause"]))
    figure = Figure(figsize=(4.6 * len(groups) + 1.5, 4.2), layout="constrained")
    for ax, name in zip(figure.subplots(1, len(groups), sharey=True, squeeze=False)[0], groups, strict=True):
        for i, cause in enumerate(causes):
            part = incidence[(incidence["group"] == name) & (incidence["cause"] == cause)]
            time, share = np.append(0, part["time"]), np.append(0, part["incidence"])
            colour, style = COLOURS[i % len(COLOURS)], DASHES[i % len(DASHES)]
            ax.step(time, share, where="post", color=colour, linestyle=style, label=cause)
            ax.fill_between(
                part["time"], part["lower"], part["upper"], step="post", color=colour, alpha=0.15, lw=0
            )
        column = incidence.attrs.get("groupby")
        ax.set_title(f"{column}: {name}" if column else name, fontsize=10)
        ax.set(xlabel=f"time, {incidence.attrs.get('unit', '')}", ylim=(0, None), xlim=(0, None))
    figure.axes[0].set_ylabel("cumulative incidence")
    figure.axes[0].legend(frameon=False, loc="upper left")
    last = incidence.groupby(["group", "cause"], sort=False)["incidence"].last()
    words = "; ".join(f"{group}, {cause} {share:.2f}" for (group, cause), share in last.items())
    figure.set_label(f"Cumulative incidence at the end of follow-up: {words}.")
    return figure


def plot_hazard_ratios(table: pd.DataFrame, per_sd: bool = False) -> Figure:
    """Show hazard ratios with their intervals, one row per coefficient.

    Parameters
    ----------
    table : of :func:`cox`.
    per_sd : numbers per standard deviation and not per unit, so that they can be compared.

    Returns
    -------
    matplotlib.figure.Figure
        On a log scale; orange where proportional hazards are doubtful (p < .05 of the residuals' test).

    Raises
    ------
    DataError
        When ``table`` is not one of :func:`cox`, or has more than 60 rows.

    Examples
    --------
    >>> import pm_lab as pm
    >>> table = pm.survival.cox(pm.datasets.load("gse7390"), ["age", "er", "size"], "dmfs")
    >>> figure = pm.survival.plot_hazard_ratios(table, per_sd=True)
    """
    from matplotlib.figure import Figure

    _check(table, "cox", "hazard_ratio", "lower", "upper", "ph_pvalue")
    if len(table) > MOST_ROWS:
        raise DataError(f"{len(table):,} rows are too many to see; pass at most {MOST_ROWS}.")
    shown = table[["hazard_ratio", "lower", "upper"]].copy()
    if per_sd:
        scaled = table[["hazard_ratio_per_sd", "lower_per_sd", "upper_per_sd"]].set_axis(
            shown.columns, axis=1
        )
        shown = scaled.fillna(shown)
    figure = Figure(figsize=(7, 1.4 + 0.36 * len(table)), layout="constrained")
    ax = figure.subplots()
    place = np.arange(len(table))[::-1]
    doubtful = (table["ph_pvalue"] < 0.05).to_numpy()
    for rows, colour, marker, label in (
        (~doubtful, COLOURS[0], "s", "hazards proportional, as far as seen"),
        (doubtful, COLOURS[1], "D", "not proportional (p < .05)"),
    ):
        ax.hlines(place[rows], shown["lower"][rows], shown["upper"][rows], color=colour)
        ax.scatter(
            shown["hazard_ratio"][rows], place[rows], color=colour, marker=marker, label=label, zorder=2
        )
    if doubtful.any():
        figure.legend(frameon=False, loc="outside lower center", ncols=2, fontsize=8)
    ax.axvline(1, color=GREY, linewidth=0.8, linestyle="--")
    names = [f"{name}, per SD" if per_sd and sd > 0 else name for name, sd in table["sd"].items()]
    ax.set_yticks(place, names)
    ax.set_ylim(-0.6, len(table) - 0.4)
    ax.set_xscale("log")
    ticks = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
    low, high = shown["lower"].min(), shown["upper"].max()
    ax.set_xticks([t for t in ticks if low / 2 <= t <= high * 2], minor=False)
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.minorticks_off()
    level = table.attrs.get("level", 0.95)
    ax.set_xlabel(f"hazard ratio, {level:.0%} interval (log scale)")
    ax.set_title(f"{table.attrs.get('endpoint', '')}: {table.attrs.get('events', '?')} events", fontsize=10)
    strongest = shown["hazard_ratio"].map(lambda ratio: abs(np.log(ratio))).idxmax()
    figure.set_label(
        f"Hazard ratios of {len(table)} coefficients; the largest effect is {strongest}, "
        f"{shown['hazard_ratio'][strongest]:.2f}."
    )
    return figure


def plot_calibration(evaluation: RiskEvaluation) -> Figure:
    """Show predicted against observed risk by the horizon, in groups of predicted risk.

    Parameters
    ----------
    evaluation : of :func:`evaluate_risk`.

    Returns
    -------
    matplotlib.figure.Figure
        One line per model; on the dashed line predictions are right. ``get_label()`` says it in words.

    Raises
    ------
    DataError
        When no model has probabilities.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.load("gse7390")
    >>> evaluation = pm.survival.evaluate_risk("size", cohort, "dmfs", clinical=["er", "size"], n_boot=10)
    >>> figure = pm.survival.plot_calibration(evaluation)
    """
    from matplotlib.figure import Figure

    _check_evaluation(evaluation)
    table = evaluation.calibration[evaluation.calibration["model"] != NO_INFORMATION]
    if table.empty:
        raise DataError(f"no model has probabilities to calibrate. {'; '.join(evaluation.notes)}.")
    figure = Figure(figsize=(5.6, 5.4), layout="constrained")
    ax = figure.subplots()
    largest = float(max(table["predicted"].max(), table["upper"].max())) * 1.05
    ax.plot([0, largest], [0, largest], color=GREY, linestyle="--", linewidth=0.8, label="right")
    for i, (name, part) in enumerate(table.groupby("model", sort=False)):
        reach = np.abs(part[["lower", "upper"]].to_numpy().T - part["observed"].to_numpy())
        ax.errorbar(
            part["predicted"], part["observed"], reach, color=COLOURS[i % len(COLOURS)],
            marker="osD^v"[i % 5], linestyle=DASHES[i % len(DASHES)], label=name, capsize=2, linewidth=1,
        )  # fmt: skip
    by = f"by {evaluation.horizon:g} {evaluation.unit}"
    ax.set(xlabel=f"predicted risk {by}", ylabel=f"observed risk {by}", xlim=(0, largest), ylim=(0, largest))
    ax.set_title(f"groups of predicted risk, {evaluation.level:.0%} intervals by patient", fontsize=10)
    ax.legend(frameon=False, loc="upper left")
    figure.set_label(f"Calibration {by}: " + "; ".join(_slopes(evaluation, table)) + ".")
    return figure


def _slopes(evaluation: RiskEvaluation, table: pd.DataFrame) -> list[str]:
    slopes = evaluation.scores.query("metric == 'calibration_slope'").set_index("model")["estimate"]
    return [f"{name} slope {slopes[name]:.2f}" for name in table["model"].unique() if name in slopes]


def plot_decision_curve(evaluation: RiskEvaluation) -> Figure:
    """Show the net benefit of treating by each model over thresholds of risk, beside treating all or none.

    Parameters
    ----------
    evaluation : of :func:`evaluate_risk`.

    Returns
    -------
    matplotlib.figure.Figure
        Bands for the models judged; a model helps where it is above both treating all and none.

    Raises
    ------
    DataError
        When no model has probabilities.

    Examples
    --------
    >>> import pm_lab as pm
    >>> cohort = pm.datasets.load("gse7390")
    >>> evaluation = pm.survival.evaluate_risk("size", cohort, "dmfs", clinical=["er", "size"], n_boot=10)
    >>> figure = pm.survival.plot_decision_curve(evaluation)
    """
    from matplotlib.figure import Figure

    _check_evaluation(evaluation)
    table = evaluation.net_benefit
    names = [name for name in table["model"].unique() if not name.startswith("treat ")]
    if not names:
        raise DataError(f"no model has probabilities to decide by. {'; '.join(evaluation.notes)}.")
    figure = Figure(figsize=(7, 4.6), layout="constrained")
    ax = figure.subplots()
    for i, name in enumerate(names):
        part, colour = table[table["model"] == name], COLOURS[i % len(COLOURS)]
        ax.plot(part["threshold"], part["net_benefit"], color=colour, linestyle=DASHES[i % 4], label=name)
        ax.fill_between(part["threshold"], part["lower"], part["upper"], color=colour, alpha=0.1, lw=0)
    for name, style in (("treat all", ":"), ("treat none", "-")):
        part = table[table["model"] == name]
        ax.plot(
            part["threshold"], part["net_benefit"], color="black", linewidth=0.9, linestyle=style, label=name
        )
    top = float(table["upper"].max())
    ax.set(ylim=(-0.25 * top, 1.1 * top), ylabel="net benefit, true positives per patient")
    ax.set_xlabel(f"risk by {evaluation.horizon:g} {evaluation.unit} from which a patient is treated")
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    ax.set_title(f"{evaluation.level:.0%} intervals by patient", fontsize=10)
    ax.legend(frameon=False)
    figure.set_label(
        f"Net benefit of {', '.join(names)} over thresholds of risk, beside treating all or none."
    )
    return figure


def _check(table: pd.DataFrame, function: str, *needed: str) -> None:
    if not isinstance(table, pd.DataFrame):
        raise DataError(f"this is a {type(table).__name__}, not a table of pm.survival.{function}.")
    lacking = [name for name in needed if name not in table]
    if lacking:
        raise DataError(f"this is not a table of pm.survival.{function}: it lacks {lacking}.")


def _check_evaluation(evaluation: RiskEvaluation) -> None:
    if not isinstance(evaluation, RiskEvaluation):
        raise DataError(
            f"this is a {type(evaluation).__name__}, not what pm.survival.evaluate_risk returned."
        )
