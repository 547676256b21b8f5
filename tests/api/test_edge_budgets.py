"""Budgets over HTTP: stated in epsilon, kept in integers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from contracts.commands import SetBudget
from contracts.cost import NOTHING, Cost
from contracts.events import BudgetLimited, BudgetReserved
from halftone.privacy.conversion import budget_limit, job_cost

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def account_of(system: Any, dataset: str) -> str:
    return str((await system.http.get(f"/v1/datasets/{dataset}")).json()["account"])


async def limited(system: Any, account: str, entry: int = 1, spent: Cost = NOTHING, epsilon: int = 3) -> int:
    """Say what the keeper says when it has set a limit."""
    limit = budget_limit(epsilon, 1e-9)
    event = BudgetLimited(account=account, entry=entry, spent=spent, reserved=NOTHING, limit=limit, epsilon=epsilon * 10**9, delta=10**9)
    return int(await system.say(event))


async def test_setting_a_budget_answers_once_the_keeper_has_set_it(system: Any) -> None:
    """The command states what the client stated, to the unit; the answer is the budget as it then is."""
    dataset = await system.ready(attested=False)
    account = await account_of(system, dataset)
    asked = asyncio.create_task(system.http.put(f"/v1/budgets/{dataset}", json={"epsilon": 3, "delta": 1e-9}))
    (command,) = await system.sent(account + '", "epsilon')
    assert isinstance(command.message, SetBudget)
    assert (command.message.epsilon, command.message.delta) == (3 * 10**9, 10**9)
    await limited(system, account)
    answer = await asked
    assert (answer.status_code, answer.json()["epsilon"], answer.json()["delta"]) == (200, 3.0, 1e-9)
    assert answer.json()["limit"]["rho"] == budget_limit(3, 1e-9).rho
    assert answer.json()["left"]["rho"] == budget_limit(3, 1e-9).rho


async def test_a_keeper_that_is_away_is_no_reason_to_wait_for_ever(system: Any) -> None:
    """202: the limit will be set; the answer shows the budget as it is."""
    dataset = await system.ready(attested=False)
    answer = await system.http.put(f"/v1/budgets/{dataset}", json={"epsilon": 1})
    assert (answer.status_code, answer.json()["limit"]) == (202, None)


async def test_a_budget_of_epsilon_3_admits_about_eight_jobs_of_epsilon_1(system: Any) -> None:
    """Epsilons are not added: a preview says how many jobs fit, and what each costs."""
    dataset = (await system.upload())["dataset"]
    account = await account_of(system, dataset)
    sequence = await limited(system, account)
    await system.http.get(f"/v1/budgets/{dataset}?min_seq={sequence}")
    preview = (await system.http.post(f"/v1/budgets/{dataset}:preview", json={"epsilon": 1.0})).json()
    assert preview["admits"] == budget_limit(3, 1e-9).rho // job_cost(1.0, 1e-9).rho
    assert 7 <= preview["admits"] <= 9
    assert preview["cost"]["rho"] == job_cost(1.0, 1e-9).rho
    assert preview["left_after"]["rho"] == preview["left"]["rho"] - preview["cost"]["rho"]
    none = (await system.http.post(f"/v1/budgets/{dataset}:preview", json={"epsilon": 50})).json()
    assert none["admits"] == 0


async def test_a_ledger_is_read_in_pages(system: Any) -> None:
    """Entries come oldest first, each with what it came to; a cursor that is none is refused."""
    dataset = (await system.upload())["dataset"]
    account = await account_of(system, dataset)
    await limited(system, account)
    job = (await system.noop())["id"]
    limit, cost = budget_limit(3, 1e-9), job_cost(1, 1e-9)
    reserved = BudgetReserved(account=account, entry=2, spent=NOTHING, reserved=cost, limit=limit, job=job, step="measure", cost=cost)
    sequence = await system.say(reserved)
    first = (await system.http.get(f"/v1/budgets/{dataset}/entries?limit=1&min_seq={sequence}")).json()
    assert [entry["kind"] for entry in first["items"]] == ["limited"]
    second = (await system.http.get(f"/v1/budgets/{dataset}/entries?limit=1&cursor={first['next']}")).json()
    assert [(entry["kind"], entry["cost"]["rho"]) for entry in second["items"]] == [("reserved", cost.rho)]
    assert second["next"] is None
    await system.problem(await system.http.get(f"/v1/budgets/{dataset}/entries?cursor=x"), 422, "request-invalid")


@pytest.mark.parametrize(
    "body", ['{"epsilon": 0}', '{"epsilon": NaN}', "{}", '{"epsilon": 1, "delta": 1}', '{"epsilon": 1, "delta": 0}', '{"epsilon": "1"}']
)
@pytest.mark.parametrize(("method", "suffix"), [("PUT", ""), ("POST", ":preview")])
async def test_a_budget_needs_numbers_that_mean_something(system: Any, body: str, method: str, suffix: str) -> None:
    """The parameter is named, and what would be right."""
    dataset = (await system.upload())["dataset"]
    response = await system.http.request(
        method, f"/v1/budgets/{dataset}{suffix}", content=body, headers={"Content-Type": "application/json"}
    )
    document = await system.problem(response, 422, "request-invalid")
    assert document["parameter"] in {"epsilon", "delta"}
    assert "such as" in document["detail"]
