"""What an entry of the log says, in a few words: of costs, outcomes and causes."""

from __future__ import annotations

from typing import Any

from contracts.cost import DELTA_SCALE, EPSILON_SCALE, RHO_SCALE


def detail_of(entry: dict[str, Any]) -> str:
    """The numbers and codes of an entry that matter to whoever reads a job's story."""
    data = entry.get("data", {})
    parts: list[str] = []
    spec = data.get("spec")
    if isinstance(spec, dict):
        parts.append(str(spec.get("kind")))
        if "epsilon" in spec:
            parts.append(f"epsilon {spec['epsilon'] / EPSILON_SCALE:g}, delta {spec['delta'] / DELTA_SCALE:g}")
    parts += [f"{name} {_cost(data[name])}" for name in ("cost", "asked", "left") if isinstance(data.get(name), dict)]
    parts += [f"{name} {data[name]}" for name in ("step", "attempt", "code", "outcome", "right") if data.get(name) is not None]
    if isinstance(data.get("spent"), dict):
        parts.append(f"spent in all {_cost(data['spent'])}")
    outputs = data.get("outputs") or ()
    if outputs:
        parts.append("made " + ", ".join(str(output.get("role")) for output in outputs))
    return "; ".join(parts)


def _cost(cost: dict[str, Any]) -> str:
    rho, delta = cost.get("rho", 0) / RHO_SCALE, cost.get("delta", 0) / DELTA_SCALE
    return f"rho {rho:g}" + (f", delta {delta:g}" if delta else "")
