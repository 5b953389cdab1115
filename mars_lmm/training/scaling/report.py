"""A ladder's report in Markdown: what it found, and everything that a reader needs to judge the fit.

The second table answers the checklist of "(Mis)Fitting: a survey of scaling laws" (arXiv 2502.18969).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mars_lmm.training.scaling.fit import LEVEL
from mars_lmm.training.scaling.huber import STARTS, THRESHOLD
from mars_lmm.training.scaling.law import NAMES, Law
from mars_lmm.training.scaling.plan import short
from mars_lmm.training.scaling.projection import EXPONENTS
from mars_lmm.whole_files import write_text

MEANING = {
    "non_embedding": "weights of matrix products: blocks, head and book encoder, without lookup tables and norms",
    "total": "all parameters",
    "blocks": "the blocks with the final norm, without embedding and head",
}


def write_report(
    rows: list[dict[str, Any]], fits: dict[str, Any], about: dict[str, Any], figures: list[Path], path: Path
) -> None:
    """Write the report.

    Args:
        rows: The table of runs.
        fits: By count of N, as `fit_rows` returns them; the first is the main one.
        about: What `describe` of the ladder says: command, data, optimiser, schedule.
        figures: PNG files in the report's folder.
        path: Where to.
    """
    main = next(iter(fits))
    parts = [
        f"# Ladder {about['name']}",
        _headline(fits[main], main),
        "\n".join(f"![{figure.stem.replace('_', ' ')}]({figure.name})" for figure in figures),
        "## The fit, for three counts of N",
        _fit_table(fits),
        "## Held out",
        _held_out_table(fits),
        "## The best size for a compute budget",
        _allocation_table(fits[main], main),
        "## How it was measured",
        _checklist(rows, fits, about),
        "## The runs",
        _runs_table(rows),
    ]
    write_text(path, "\n\n".join(parts) + "\n")


def _headline(fit: dict[str, Any], count: str) -> str:
    a, (low, high) = fit["size_exponent"]["value"], fit["size_exponent"]["interval"]
    tests = "; ".join(
        f"{test['what']} predicted within {test['error']:.2%}"
        + (f" ({test['unchanged_error']:.2%} if nothing changed)" if test["unchanged_error"] is not None else "")
        for test in fit["held_out"]
        if "skipped" not in test
    )
    told = (
        f"{Law(**fit['law'])} nats per order, N: {count}. N_opt ~ C^{a:.3f} ({low:.3f} to {high:.3f}). "
        f"Held out: {tests or 'nothing'}. Root mean square residual {fit['rms_error']:.2%}."
    )
    warnings = "".join(f"\n\n**{warning}**" for warning in fit["warnings"])
    return told + warnings


def _fit_table(fits: dict[str, Any]) -> str:
    lines = [_row("N", *NAMES, "a of N_opt ~ C^a", "rms residual"), _row(*["---"] * 8)]
    for count, fit in fits.items():
        exponent = fit["size_exponent"]
        lines += [
            _row(
                f"{count}, variable projection",
                *(f"{fit['law'][name]:.6g}" for name in NAMES),
                f"{exponent['value']:.4f}",
                f"{fit['rms_error']:.2%}",
            ),
            _row(
                f"{LEVEL:.0%} of resamples",
                *(_interval(fit["intervals"][name]) for name in NAMES),
                _interval(exponent["interval"]),
                "",
            ),
            _row(
                "Huber on log L, L-BFGS",
                *("inf" if fit["huber"][name] is None else f"{fit['huber'][name]:.6g}" for name in NAMES),
                f"{Law(**fit['huber']).size_exponent:.4f}",
                "",
            ),
        ]
    warnings = [f"- {count}: {warning}" for count, fit in fits.items() for warning in fit["warnings"]]
    return "\n".join(lines) + ("\n\n" + "\n".join(warnings) if warnings else "")


def _held_out_table(fits: dict[str, Any]) -> str:
    lines = [
        _row("N", "held out", "run", "measured", "predicted", "error", "error if nothing changed"),
        _row(*["---"] * 7),
    ]
    for count, fit in fits.items():
        for test in fit["held_out"]:
            if "skipped" in test:
                lines.append(_row(count, test["what"], test["skipped"], "", "", "", ""))
                continue
            lines += [
                _row(
                    count,
                    f"{test['what']}, {test['beyond']:.2g} times the rest",
                    run["cell"],
                    f"{run['nats']:.4f}",
                    f"{run['predicted']:.4f}",
                    f"{run['error']:+.2%}",
                    "" if run["unchanged_error"] is None else f"{run['unchanged_error']:+.2%}",
                )
                for run in test["runs"]
            ]
    return "\n".join(lines)


def _allocation_table(fit: dict[str, Any], count: str) -> str:
    lines = [_row("C = 6 N D", f"N_opt ({count})", "D_opt, orders", "orders per parameter", "nats"), _row(*["---"] * 5)]
    for place in fit["allocation"]:
        if place["N"] is None or place["D"] is None:
            lines.append(_row(f"{place['compute']:.3g}", "not determined", "", "", ""))
            continue
        lines.append(
            _row(
                f"{place['compute']:.3g}",
                f"{place['N']:.4g} ({_interval(place['N_interval'])})",
                f"{place['D']:.4g} ({_interval(place['D_interval'])})",
                f"{place['D'] / place['N']:.3g}",
                f"{place['nats']:.4f}",
            )
        )
    return "\n".join(lines)


def _checklist(rows: list[dict[str, Any]], fits: dict[str, Any], about: dict[str, Any]) -> str:
    fit = next(iter(fits.values()))
    sizes = {row["size"]: row for row in rows}
    budgets = sorted({row["budget"] for row in rows})
    most = max(row["epochs"] for row in rows)
    resampled = f"{about['resamples']:,} resamples of the runs with replacement, seed 0; central {LEVEL:.0%}"
    answers = {
        "command": f"`{about['command']}`",
        "form": "L(N, D) = E + A / N^alpha + B / D^beta, with E, A, B >= 0",
        "L": "nats per order on the whole validation split at the end of each run: the last checkpoint, not the best",
        "N": "; ".join(f"{count}: {MEANING[count]}" for count in fits),
        "D": "orders trained on (targets of all steps, repeats included)",
        "C": "6 N D in allocation and figures; `flops` of the table adds attention",
        "data": f"{about['data']}; fingerprint {about['fingerprint']}; {about['orders']}",
        "unique orders": f"{max(row['unique_orders'] for row in rows):,} at most, {most:.2f} epochs at most"
        + ("; **some budgets repeat orders**" if most > 1 else ""),
        "sizes": ", ".join(f"{size} ({short(row['non_embedding'])})" for size, row in sizes.items()),
        "shapes": "; ".join(f"{size}: {shape}" for size, shape in about["shapes"].items()),
        "budgets": ", ".join(map(short, budgets)),
        "seeds": ", ".join(sorted({str(row["seed"]) for row in rows})) + " (weights and order of rows)",
        "runs fitted": f"{len(rows)} of {about['planned']} planned; none left out by its loss",
        "optimiser": about["optimiser"],
        "learning rate": ", ".join(f"{size}: {row['learning_rate']:g}" for size, row in sizes.items()),
        "batch": ", ".join(f"{size}: {row['batch_orders']:,.0f} orders" for size, row in sizes.items()),
        "schedule": about["schedule"],
        "checkpoints": "one a run, its last: every budget is a run of its own with its own decay",
        "fit": "variable projection, sum of squared relative errors; grid of exponents "
        f"{EXPONENTS[0]} to {EXPONENTS[1]}, then Levenberg-Marquardt in all five",
        "cross-check": f"Huber (threshold {THRESHOLD:g}) of log L, summed; L-BFGS in float64 from "
        f"{len(STARTS['exponent']) ** 2 * len(STARTS['floor'])} starts",
        "intervals": resampled,
        "held out": ", ".join(
            f"{test['what']}: " + (test["skipped"] if "skipped" in test else f"{test['error']:.2%} off")
            for test in fit["held_out"]
        ),
    }
    return "\n".join([_row("", ""), _row("---", "---"), *(_row(name, text) for name, text in answers.items())])


def _runs_table(rows: list[dict[str, Any]]) -> str:
    lines = [
        _row("run", "N non-embedding", "N total", "N blocks", "D", "epochs", "steps", "FLOPs", "nats", "seconds"),
        _row(*["---"] * 10),
    ]
    lines += [
        _row(
            row["cell"],
            f"{row['non_embedding']:,}",
            f"{row['total']:,}",
            f"{row['blocks']:,}",
            f"{row['orders']:,}",
            f"{row['epochs']:.2f}",
            f"{row['steps']:,}",
            f"{row['flops']:.3g}",
            f"{row['nats']:.4f}",
            f"{row['seconds']:.0f}",
        )
        for row in rows
    ]
    return "\n".join(lines)


def _interval(values: list[float | None]) -> str:
    return " to ".join("inf" if value is None else f"{value:.4g}" for value in values)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
