"""What a figure means, in a sentence."""

from __future__ import annotations

_CLOSE = 0.005
"""Floor and ceiling nearer than this cannot be told apart."""
_SUSPECT = 0.002
_NEARLY = 0.9


def read(value: float | None, floor: float | None, ceiling: float | None) -> str:
    """Say where a value lies between its floor (independent columns) and its ceiling (a bootstrap of the real table)."""
    if value is None:
        return "This cannot be computed: the tables have too few columns, or columns without variation."
    if floor is None or ceiling is None:
        return f"{value:.3f}; the real table gives no floor or ceiling to hold it against."
    if ceiling - floor < _CLOSE:
        return _without_room(value, floor, ceiling)
    between = f"independent columns reach {floor:.3f}, rows redrawn from the real table {ceiling:.3f}"
    share = (value - floor) / (ceiling - floor)
    if value > ceiling + _SUSPECT:
        return f"{value:.3f} is above the ceiling ({between}): closer to the real table than a redraw of it, so look for copied rows."
    if share >= _NEARLY:
        return f"{value:.3f} is about as close as real rows get ({between})."
    if share <= 0:
        return f"{value:.3f} is no better than knowing nothing of how columns hang together ({between})."
    return f"{value:.3f} lies {share:.0%} of the way from floor to ceiling ({between})."


def _without_room(value: float, floor: float, ceiling: float) -> str:
    tail = f"independent columns reach {floor:.3f} as well, so this says nothing of how columns hang together"
    if value >= ceiling - _CLOSE:
        return f"{value:.3f} is about as close as real rows get ({ceiling:.3f}); {tail}."
    return f"{value:.3f} falls short of what real rows get ({ceiling:.3f}); {tail}."
