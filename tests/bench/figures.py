"""Figures: what was measured, the floor it is compared with, its budget, and whether that was met."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Sample:
    """Repeated measurements of one thing, sorted."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Iterable[float]) -> Sample:
        """Return the sample of at least one value."""
        return cls(tuple(sorted(values)))

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def quantile(self, share: float) -> float:
        """Return the value that ``share`` of all do not exceed (nearest rank)."""
        return self.values[min(len(self.values) - 1, max(0, -int(-share * len(self.values) // 1) - 1))]

    def __str__(self) -> str:
        return f"{_short(self.values[0])}–{_short(self.values[-1])}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table.

    Attributes:
        part: Which part of the benchmark it belongs to.
        name: What was measured.
        value: Median, or what else ``name`` says.
        unit: Unit of value, floor and budget.
        low: Smallest single value; the same as ``value`` where there is one only.
        high: Largest single value.
        runs: Number of measurements.
        floor: What the same costs without us, measured in the same run; None where there is no such thing.
        floor_name: What the floor is.
        budget: What ``value`` must not exceed; None where there is none.
        rule: Where the budget comes from, such as "1.3 lists and 15 ms".
        note: What should be known beside it.
    """

    part: str
    name: str
    value: float
    unit: str
    low: float
    high: float
    runs: int
    floor: float | None = None
    floor_name: str = ""
    budget: float | None = None
    rule: str = ""
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times the floor it is."""
        return self.value / self.floor if self.floor else None

    @property
    def verdict(self) -> str:
        """``met``, ``MISSED``, or nothing where there is no budget."""
        if self.budget is None:
            return ""
        return "met" if self.value <= self.budget else "MISSED"

    def plain(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {**asdict(self), "ratio": self.ratio, "verdict": self.verdict}


def figure(part: str, name: str, sample: Sample | float, unit: str, **more: Any) -> Figure:
    """Return the figure of a sample's median, or of a single value."""
    if not isinstance(sample, Sample):
        sample = Sample.of([sample])
    return Figure(
        part, name, sample.median, unit, sample.values[0], sample.values[-1], len(sample.values), **more
    )


_HEADS = ("part", "figure", "value", "spread (runs)", "floor", "ratio", "budget", "")


def table(figures: Sequence[Figure]) -> str:
    """Return the figures as a Markdown table with aligned columns."""
    rows = [_HEADS, *(_row(one) for one in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADS))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    notes = [f"- {one.part}, {one.name}: {one.note}" for one in figures if one.note]
    return "\n".join([*lines, *(["", *notes] if notes else [])])


def _row(one: Figure) -> tuple[str, ...]:
    spread = f"{_short(one.low)}–{_short(one.high)} ({one.runs})" if one.runs > 1 else ""
    floor = f"{_short(one.floor)} {one.unit} {one.floor_name}" if one.floor is not None else ""
    ratio = f"{one.ratio:.2f} ×" if one.ratio is not None else ""
    budget = f"≤ {_short(one.budget)} {one.unit}" if one.budget is not None else ""
    budget += f" ({one.rule})" if one.rule and budget else ""
    value = f"{_short(one.value)} {one.unit}".rstrip()
    return one.part, one.name, value, spread, floor, ratio, budget.strip(), one.verdict


def _short(value: float) -> str:
    if value == int(value) and abs(value) < 1e6:
        return f"{int(value):,}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}"
