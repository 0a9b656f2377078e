"""A line of figures as SVG: no script, prints, and fills its card without stretching its letters."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

TOP, BOTTOM, HEIGHT = 26, 140, 170


def line_chart(points: Sequence[tuple[str, int]], title: str) -> Markup:
    """(label, value) from left to right. The curve is stretched to the width, texts and dots are placed by percent."""
    most = max([value for _, value in points] + [1])
    places = [
        ((n + 0.5) * 100 / len(points), BOTTOM - (BOTTOM - TOP) * value / most) for n, (_, value) in enumerate(points)
    ]
    curve = " ".join(f"{x:.2f},{y:.1f}" for x, y in places)
    area = f"{places[0][0]:.2f},{BOTTOM} {curve} {places[-1][0]:.2f},{BOTTOM}"
    marks = "".join(_mark(label, value, x, y) for (label, value), (x, y) in zip(points, places, strict=True))
    return Markup(
        f'<svg class="chart" role="img"><title>{escape(title)}: {escape(_told(points))}</title>'
        f'<svg width="100%" height="{HEIGHT}" viewBox="0 0 100 {HEIGHT}" preserveAspectRatio="none">'
        f'<polygon class="area" points="{area}"/>'
        f'<polyline class="curve" points="{curve}" vector-effect="non-scaling-stroke"/></svg>{marks}</svg>'
    )


def _mark(label: str, value: int, x: float, y: float) -> str:
    return (
        f'<circle cx="{x:.2f}%" cy="{y:.1f}" r="3.5"/><text x="{x:.2f}%" y="{y - 9:.1f}">{value:,}</text>'
        f'<text x="{x:.2f}%" y="{HEIGHT - 10}">{escape(label)}</text>'
    )


def _told(points: Sequence[tuple[str, int]]) -> str:
    return ", ".join(f"{label} {value}" for label, value in points)
