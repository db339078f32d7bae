"""Writes down what was measured: a page and Markdown for people, JSON and JUnit for machines, all naming their files by id.

Nothing here measures; what was not measured is left out, or said to be missing. The page alone needs matplotlib.
"""

from .card import safety_markdown
from .comparison import HTML, JSON, MARKDOWN, as_json, as_markdown, can_draw, show, table, write
from .evidence import Evidence, gather, records_in
from .gate import JUNIT, gate_markdown, write_gate
from .markdown import grid, guard_table, judge_sentence, p_value, percent

__all__ = [
    "HTML", "JSON", "JUNIT", "MARKDOWN", "Evidence", "as_json", "as_markdown", "can_draw", "gate_markdown", "gather",
    "grid", "guard_table", "judge_sentence", "p_value", "percent", "records_in", "safety_markdown", "show", "table", "write",
    "write_gate",
]  # fmt: skip
