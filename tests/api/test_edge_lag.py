"""An edge whose views, or whose log, are behind: it says so."""

from __future__ import annotations

from contracts.events import JobStarted
from contracts.ids import new_id
from tests.api.conftest import System, eventually


async def test_a_log_that_is_behind_makes_the_edge_unready(fresh: System) -> None:
    """No auditor runs: events come in, and no leaf does. Over the threshold it is a reason."""
    settings = fresh.settings.model_copy(update={"most_lag": 30})
    await fresh.stop()
    fresh.settings = settings
    await fresh.start()

    async def tell(count: int) -> None:
        for _ in range(count):
            sequence = await fresh.say(JobStarted(job=new_id("job"), attempt=1))
        await fresh.http.get(f"/v1/jobs?min_seq={sequence}")

    await tell(3)
    assert (await fresh.http.get("/health/ready")).status_code == 200
    await tell(30)

    async def behind() -> bool:
        answer = await fresh.http.get("/health/ready")
        reasons = answer.json()["reasons"]
        return answer.status_code == 503 and len(reasons) == 1 and reasons[0].startswith("the log is 3")

    await eventually(behind)
