"""How figures are written for people: shares in percent, p values, tables, and a guard's and a judge's card in words."""

from ..guard_card import Blocked, GuardCard
from ..judge_card import JudgeCard
from ..statistics import Rate


def percent(rate: Rate) -> str:
    """Write a rate with its 95 % interval, in percent."""
    return f"{100 * rate.value:.1f} [{100 * rate.low:.1f}, {100 * rate.high:.1f}]" if rate.n else "not judged"


def p_value(p: float) -> str:
    """Write a p value; the smallest only as below what matters."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def grid(head: list[str], rows: list[list[str]]) -> str:
    """Write a Markdown table; what stands in a cell neither ends it nor its line."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def judge_sentence(card: JudgeCard) -> str:
    """Say how a judge agrees with people."""
    kappa = f"kappa {card.kappa:.3f} [{card.kappa_low:.3f}, {card.kappa_high:.3f}]"
    rates = {"accuracy": card.accuracy, "sensitivity": card.sensitivity, "specificity": card.specificity}
    shares = ", ".join(f"{name} {percent(rate)} %" for name, rate in rates.items())
    unread = f"; {card.unjudged} not judged" if card.unjudged else ""
    labels = f"{card.accuracy.n} answers labelled by people (`{card.labels[:16]}`)"
    return f"Judge `{card.judge}` on {labels}: refusal {kappa}, {shares}{unread}."


def guard_table(card: GuardCard, *, by_group: bool = False) -> str:
    """Write a guard's card as Markdown; `by_group`: also what it blocked of each group of each suite."""
    checked = f"input check {card.milliseconds:.1f} ms (median), " if card.suites else ""
    cost = f"{checked}{card.megabytes:.1f} MB"
    lines = [
        f"guard {card.guard_id}, level {card.level}: {cost}", "",
        "| suite | recall, % [95 %] | n | false positives, % [95 %] | n |", "| --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    for figures in card.suites:
        lines.append(_blocked(figures.suite, figures.all))
        if by_group:
            lines += [_blocked(f"{figures.suite}: {name}", group) for name, group in figures.groups.items()]
    for answers in card.answers:
        lines.append(_blocked(f"answers of {answers.system}", answers.blocked))
    for answers in card.answers:
        leaked = f"median {answers.leaked.median:.0f}, 95th percentile {answers.leaked.percentile_95:.0f}"
        lines += [
            "",
            f"answers of {answers.system}: verdict on the stream as on the whole {percent(answers.agreement)} %; "
            f"tokens shown of a blocked answer: {leaked}",
        ]
    if by_group:
        lines += ["", "Pairs of prompts of one group on which it decides otherwise:"]
        lines += [f"{figures.suite} {100 * figures.changes:.1f} %" for figures in card.suites]
    if card.overall:
        o = card.overall
        at_one = f"recall at 1 % FPR {100 * o.recall_at_1_fpr:.1f} %"
        lines += ["", f"all suites: F1 {100 * o.f1:.1f}, AUPRC {o.auprc:.3f}, {at_one}, ECE {o.ece:.3f}"]
    lines += ["", *(f"suite {f.suite} {f.suite_id}" for f in card.suites)]
    lines += [f"records {a.system} {a.records_id}" for a in card.answers]
    return "\n".join(lines)


def _blocked(name: str, blocked: Blocked) -> str:
    recall, alarms = blocked
    return f"| {name} | {percent(recall)} | {recall.n} | {percent(alarms)} | {alarms.n} |"
