"""A line of figures as SVG: no script, prints, and fills its card without stretching its letters."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from markupsafe import Markup, escape

TOP, BOTTOM, HEIGHT = 26, 140, 170


def line_chart(points: Sequence[tuple[str, int | None]], title: str) -> Markup:
    """(label, value) from left to right, None where there is none: the curve has a gap there.

    It is stretched to the width, texts and dots are placed by percent.
    """
    most = max([value for _, value in points if value is not None] + [1])
    places = [
        ((n + 0.5) * 100 / len(points), None if value is None else BOTTOM - (BOTTOM - TOP) * value / most)
        for n, (_, value) in enumerate(points)
    ]
    marks = "".join(_mark(label, value, x, y) for (label, value), (x, y) in zip(points, places, strict=True))
    return Markup(
        f'<svg class="chart" role="img"><title>{escape(title)}: {escape(_told(points))}</title>'
        f'<svg width="100%" height="{HEIGHT}" viewBox="0 0 100 {HEIGHT}" preserveAspectRatio="none">'
        f"{''.join(_curve(run) for run in _runs(places))}</svg>{marks}</svg>"
    )


def _runs(places: Sequence[tuple[float, float | None]]) -> list[list[tuple[float, float]]]:
    """Places beside each other that have a value."""
    found: list[list[tuple[float, float]]] = []
    for known, run in groupby(places, key=lambda place: place[1] is not None):
        if known:
            found.append([(x, y) for x, y in run if y is not None])
    return found


def _curve(run: Sequence[tuple[float, float]]) -> str:
    curve = " ".join(f"{x:.2f},{y:.1f}" for x, y in run)
    area = f"{run[0][0]:.2f},{BOTTOM} {curve} {run[-1][0]:.2f},{BOTTOM}"
    return (
        f'<polygon class="area" points="{area}"/>'
        f'<polyline class="curve" points="{curve}" vector-effect="non-scaling-stroke"/>'
    )


def _mark(label: str, value: int | None, x: float, y: float | None) -> str:
    below = f'<text x="{x:.2f}%" y="{HEIGHT - 10}">{escape(label)}</text>'
    if value is None or y is None:
        return below
    return f'<circle cx="{x:.2f}%" cy="{y:.1f}" r="3.5"/><text x="{x:.2f}%" y="{y - 9:.1f}">{value:,}</text>{below}'


def _told(points: Sequence[tuple[str, int | None]]) -> str:
    return ", ".join(f"{label} {'–' if value is None else value}" for label, value in points)
