"""All questions that a report answers, the most telling first."""

from __future__ import annotations

from collections.abc import Iterator

from mars_lmm.evaluation.config import TO_HALVE
from mars_lmm.evaluation.facts.bootstrap import FEWEST_UNITS, START
from mars_lmm.evaluation.facts.rules import ABSENT, CANNOT_TELL, FEWEST_UNITS_TO_EXCLUDE, PRESENT
from mars_lmm.evaluation.likelihood.validity import PUBLISHED_REJECTED
from mars_lmm.evaluation.report.filters import count, number, p_value, percent, with_span
from mars_lmm.evaluation.report.lob_bench_answers import against_baselines, halves, told_apart
from mars_lmm.evaluation.report.scores import Estimate
from mars_lmm.evaluation.report.verdict import NO, UNSURE, YES, Verdict, listed
from mars_lmm.evaluation.trajectories import REPLAY, SIMULATION

SIGNIFICANT = 0.05


def verdicts(
    evaluation: dict, facts: dict | None, lob_bench: dict | None, table7: dict | None, likelihood: dict | None
) -> list[Verdict]:
    """Answers to all questions that the tasks which were run can answer, the most telling first."""
    return list(_answers(evaluation, facts, lob_bench, table7, likelihood))


def _answers(evaluation, facts, lob_bench, table7, likelihood) -> Iterator[Verdict]:
    if lob_bench:
        baselines = list(lob_bench["verdict"]["ratios"])
        if baselines:
            yield against_baselines(lob_bench, baselines)
        if TO_HALVE in baselines:
            yield halves(lob_bench)
        yield told_apart(lob_bench["tests"][SIMULATION]["discriminator"])
    if facts:
        yield _facts(facts, "Does it show the stylized facts of returns that the market shows?", "facts")
        yield _facts(facts["order_flow"], "Does it show the facts of order flow that the market shows?", "order-flow")
    if likelihood:
        if likelihood["orders"]:
            yield _likelihood(likelihood["orders"])
        yield _calibration(likelihood["calibration"][SIMULATION])
    if table7:
        yield _table7(table7["sources"][SIMULATION])
    yield _rejected(evaluation, likelihood)


def _facts(found: dict, question: str, link: str) -> Verdict:
    comparison, rests = found["comparison"], found["sources"][REPLAY]
    rows = comparison["facts"]
    shown = [row for row in rows if row["sources"][REPLAY]["verdict"] == PRESENT]
    missed = {
        verdict: [row["name"].lower() for row in shown if row["sources"][SIMULATION]["verdict"] == verdict]
        for verdict in (ABSENT, CANNOT_TELL)
    }
    rivals = [f"{name} {agreed}" for name, agreed in comparison["agreed"].items() if name != SIMULATION]
    units = f"{rests['units']} {rests['unit']}s" + (" per symbol" if rests["unit"] == START else "")
    if rests["units"] < FEWEST_UNITS:
        return Verdict(question, UNSURE, f"{units} are too few to judge any; {FEWEST_UNITS} are the least.", link)
    if not shown:
        text = (
            f"The replay clearly shows none of the {len(rows)} in {units}, so there is nothing yet to "
            "agree on. Simulate more, or longer, starts."
        )
        return Verdict(question, UNSURE, text, link)
    text = f"{comparison['agreed'][SIMULATION]} of the {len(shown)} that the replay shows in {units}"
    text += f" ({', '.join(rivals)})." if rivals else "."
    for verdict, names in missed.items():
        text += f" {verdict.capitalize()}: {listed(names)}." if names else ""
    if invented := [row["name"].lower() for row in rows if _verdicts(row) == (ABSENT, PRESENT)]:
        text += f" It also shows what the replay denies: {listed(invented)}."
    if len(shown) < len(rows):
        others = len(rows) - len(shown)
        text += f" The other {others} of {len(rows)} are not clearly there in this replay and do not count."
    answer = NO if missed[ABSENT] else UNSURE if missed[CANNOT_TELL] else YES
    return Verdict(question, answer, text, link)


def _verdicts(row: dict) -> tuple[str, str]:
    return tuple(row["sources"][source]["verdict"] for source in (REPLAY, SIMULATION))


def _likelihood(orders: dict) -> Verdict:
    best = min(orders["baselines"], key=lambda name: orders["baselines"][name]["nats"]["value"])
    gain = orders["baselines"][best]["gain"]
    text = (
        f"{with_span(orders['nats'])} nats per order on {count(orders['orders'])} held-out orders; better than "
        f"{best} counts ({number(orders['baselines'][best]['nats']['value'])}) by {with_span(gain)}."
    )
    return Verdict("Does it predict orders better than counting?", _sign(gain), text, "likelihood")


def _sign(gain: Estimate) -> str:
    if gain["low"] is None:
        return UNSURE
    return YES if gain["low"] > 0 else NO if gain["high"] < 0 else UNSURE


def _calibration(found: dict) -> Verdict:
    question = "Does the replay look like one of the rollouts?"
    names = {"price": "price", "volume": "volume", "spread": "spread"}
    tests = {label: found[name]["pit"]["p_value"] for name, label in names.items()}
    known = [value for value in tests.values() if value is not None]
    covered = "; ".join(
        f"{label} in {with_span(found[name]['coverage']['90'], percent)} of the minutes, "
        f"p = {p_value(tests[label])}".replace("= <", "<")
        for name, label in names.items()
    )
    text = (
        f"The central 90 % of the rollouts hold the replay's {covered}. 95 % intervals over {found['starts']} starts."
    )
    if not known or found["starts"] < FEWEST_UNITS:
        return Verdict(question, UNSURE, text, "calibration")
    # The tests are of one simulation, so each has its share of the chance of a false alarm.
    rejected = [label for label, value in tests.items() if value is not None and value < SIGNIFICANT / len(known)]
    if rejected:
        return Verdict(question, NO, f"Not in its {listed(rejected)}. {text}", "calibration")
    if found["starts"] < FEWEST_UNITS_TO_EXCLUDE:
        text += f" Nothing speaks against it, but with fewer than {FEWEST_UNITS_TO_EXCLUDE} starts little could."
        return Verdict(question, UNSURE, text, "calibration")
    return Verdict(question, YES, text, "calibration")


def _table7(found: dict) -> Verdict:
    rows = found["rows"]
    as_true = [
        row
        for row in rows
        if row["overlap"]["high"] is not None
        and row["ceiling"]["low"] is not None
        and row["overlap"]["high"] >= row["ceiling"]["low"]
    ]
    above = [row for row in rows if row["overlap"]["value"] is not None]
    beyond = sum(row["overlap"]["value"] >= row["published"]["overlap"] for row in above)
    forecast = sum((row["accuracy"]["low"] or 0) > (row["majority"] or 1) for row in rows)
    text = (
        f"The overlap with the replay reaches what the model would score were it the truth in {len(as_true)} of "
        f"{len(rows)} quantities, MarS's published figure in {beyond}; three-class forecasts clearly beat the most "
        f"frequent class in {forecast}. {found['starts']} starts, {found['rollouts']} rollouts each."
    )
    answer = YES if len(as_true) == len(rows) else NO
    if found["starts"] < FEWEST_UNITS:
        answer = UNSURE
    return Verdict("Are MarS's ten quantities distributed as in the market?", answer, text, "table7")


def _rejected(evaluation: dict, likelihood: dict | None) -> Verdict:
    simulation = evaluation["simulation"]
    share, interval = simulation["rejected"], simulation["rejected_interval"]
    link = "validity" if likelihood else "repeat"
    if share is None:
        return Verdict("Are its orders valid?", UNSURE, "It sent none.", link)
    text = (
        f"The exchange rejected {with_span({'value': share} | interval, percent)} of them; MarketGPT reports "
        f"{percent(PUBLISHED_REJECTED)}. 95 % interval over {simulation['starts']} starts."
    )
    low, high = interval["low"], interval["high"]
    if high is None or simulation["starts"] < FEWEST_UNITS or low <= PUBLISHED_REJECTED <= high:
        answer = UNSURE
    else:
        answer = YES if high < PUBLISHED_REJECTED else NO
    return Verdict("Are its orders valid?", answer, text, link)
