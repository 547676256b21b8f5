"""The budget keeper: the one place that decides whether real data may be used at all.

It reserves before data is read, charges when a mechanism starts, releases only what its executor says never started, and refuses
what does not fit. Each decision is a row of an append-only ledger and an event, in one transaction with the job's next command.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import partial

from sqlalchemy import MetaData

from actors.ledger import DAY_MS, SOURCE, Ledger, row_cost, tables
from contracts.commands import DecideBudget, EnterRelease, ObserveBudget, ReserveBudget, RunJob, SetBudget, SetQuota
from contracts.cost import DELTA_SCALE, EPSILON_SCALE, NOTHING, Composition, Cost
from contracts.envelope import Envelope
from contracts.events import (
    BudgetApproved,
    BudgetCharged,
    BudgetDeclined,
    BudgetHeld,
    BudgetLimited,
    BudgetObserved,
    BudgetQuotaSet,
    BudgetRefused,
    BudgetReleased,
    BudgetReleaseEntered,
    BudgetReserved,
    BudgetUnbounded,
    JobCancelled,
    JobCompleted,
    JobFailed,
    JobRefused,
    MechanismStarted,
)
from contracts.ids import AccountId, JobId, MessageId, derived_message_id
from contracts.jobs import Actor, Grant, Refusal, StepRun, SynthesizeSpec, Use
from halftone.privacy.account import Account, Decision, decide, rooms_of
from halftone.privacy.conversion import budget_limit, pure_limit
from infra.behind import require_current
from infra.bus.control import serve
from infra.bus.retries import Given, Hopeless, Verdict
from infra.bus.runs import Delivery, EventLoop
from infra.bus.topology import KEEPER_EVENTS, ctl_durable
from infra.database.store import Transaction, now_ms
from infra.failpoints import around
from infra.runtime import running
from infra.settings import Settings


def charge_id(account: AccountId, job: JobId, run: StepRun) -> MessageId:
    """The id of the event of a run's charge: known before, so that what the run makes can name it."""
    return derived_message_id("\0".join((account, job, run.step, str(run.attempt))), "charge", 0)


def reserve(ledger: Ledger, tx: Transaction, envelope: Envelope, command: ReserveBudget) -> None:
    """Grant, hold or refuse, and pass the job on."""
    run = StepRun(step=command.step, attempt=command.attempt)
    if command.then.job != command.job or getattr(command.then.spec, "account", command.account) != command.account:
        # Granted on one account, it would read the data of another.
        raise Hopeless(code="request-of-another")
    if ledger.ended(command.job) or ledger.entries(command.account, command.job, run):
        # Cancelled before its turn, or asked twice under two ids: the first answer stands.
        return
    passed = _entered(ledger, command, run) if command.use is not Use.CHARGE else _decided(ledger, envelope, command, run)
    if passed is not None:
        _pass_on(tx, envelope, passed)


def _pass_on(tx: Transaction, envelope: Envelope, command: RunJob) -> None:
    tx.send(envelope.caused(command, source=SOURCE, handler="pass-on", n=0))


def _entered(ledger: Ledger, command: ReserveBudget, run: StepRun) -> RunJob:
    """What is used without noise has no cost that could be refused: it is written down."""
    account = ledger.current(command.account)
    if command.use is Use.RELEASE:
        more = replace(account, unbounded=account.unbounded + 1)
        after = ledger.add(account, more, BudgetUnbounded, NOTHING, (command.job, run), told={"reason": command.reason})
    else:
        after = ledger.add(account, replace(account, observed=account.observed + 1), BudgetObserved, NOTHING, (command.job, run))
    return command.then.model_copy(update={"grant": _grant(command, NOTHING, after)})


def _decided(ledger: Ledger, envelope: Envelope, command: ReserveBudget, run: StepRun) -> RunJob | None:
    """The job with its grant or its refusal; None while it waits for a second person."""
    account, cost, spec = ledger.current(command.account), command.cost, command.then.spec
    quotas = ledger.quotas(command.account, (envelope.principal, envelope.project))
    decision = decide(account, cost, quotas, spec.terms if isinstance(spec, SynthesizeSpec) else None)
    if decision.code is not None:
        ledger.add(
            account,
            account,
            BudgetRefused,
            cost,
            (command.job, run),
            told={"code": decision.code, "left": decision.left, "limits": decision.rooms},
        )
        return command.then.model_copy(update={"refusal": _refusal(account, decision, cost)})
    after = ledger.add(account, account.with_reserved(cost), BudgetReserved, cost, (command.job, run))
    granted = command.then.model_copy(update={"grant": _grant(command, cost, after)})
    if not account.waits(cost):
        return granted
    ledger.add(after, after, BudgetHeld, cost, (command.job, run))
    ledger.hold(command.account, run, granted)
    return None


def _refusal(account: Account, decision: Decision, cost: Cost) -> Refusal:
    return Refusal(account=account.id, code=decision.code or "", asked=cost, left=decision.left, limits=decision.rooms)


def _grant(command: ReserveBudget, cost: Cost, account: Account) -> Grant:
    run = StepRun(step=command.step, attempt=command.attempt)
    return Grant(
        account=command.account,
        step=command.step,
        use=command.use,
        cost=cost,
        attempt=command.attempt,
        entry=account.entries,
        charge=charge_id(command.account, command.job, run) if command.use is Use.CHARGE else None,
        observed=account.observed,
        unbounded=account.unbounded,
    )


def decide_held(ledger: Ledger, tx: Transaction, envelope: Envelope, command: DecideBudget) -> None:
    """Let what waits pass, or give it back and refuse the job. Whoever asked for it decides nothing."""
    held = ledger.held(command.account, command.job)
    if held is None or ledger.ended(command.job):
        return
    run, granted = held
    reserved = ledger.entries(command.account, command.job, run)[BudgetReserved.VERB]
    if reserved.principal == envelope.principal:
        raise Hopeless(code="approval-own")
    cost, account = row_cost(reserved), ledger.current(command.account)
    asker = (reserved.principal, reserved.project)
    ledger.drop_held(command.job)
    if command.approve:
        ledger.add(account, account, BudgetApproved, cost, (command.job, run), asker=asker, told={"reason": command.reason})
        passed = granted
    else:
        account = ledger.add(account, account, BudgetDeclined, cost, (command.job, run), asker=asker, told={"reason": command.reason})
        after = replace(account, reserved=account.reserved - cost)
        account = ledger.add(account, after, BudgetReleased, cost, (command.job, run), asker=asker)
        rooms, _ = rooms_of(account, ledger.quotas(command.account, asker))
        refusal = _refusal(account, Decision("budget-declined", rooms), cost)
        passed = granted.model_copy(update={"grant": None, "refusal": refusal})
    # In the asker's name: the job is theirs, whoever let it pass.
    asked = envelope.context.model_copy(update={"principal": reserved.principal, "project": reserved.project})
    message_id = derived_message_id(envelope.id, "pass-on", 0)
    tx.send(Envelope.wrap(passed, asked, source=SOURCE, message_id=message_id, causation=envelope.id))


def set_limit(ledger: Ledger, command: SetBudget) -> None:
    """Give an account its limit; one below what is spent refuses everything from then on."""
    account = ledger.current(command.account)
    if command.terms != account.terms and not account.untouched:
        # The edge has looked before; what was spent meanwhile would be about other units than what follows.
        raise Hopeless(code="budget-terms-fixed")
    epsilon, delta = Fraction(command.epsilon, EPSILON_SCALE), Fraction(command.delta, DELTA_SCALE)
    limit = pure_limit(epsilon) if command.terms.composition is Composition.PURE else budget_limit(epsilon, delta)
    window_end = account.window_end
    if command.window_days != account.window_days:
        window_end = None if command.window_days is None else ledger.now() + command.window_days * DAY_MS
    after = replace(
        account,
        limit=limit,
        terms=command.terms,
        # Without windows the limit is for all that was ever spent.
        before=account.before if command.window_days is not None else NOTHING,
        window_days=command.window_days,
        window_end=window_end,
        approval=command.approval,
    )
    same = ("epsilon", "delta", "terms", "window_days", "approval", "reason")
    ledger.add(account, after, BudgetLimited, told={name: getattr(command, name) for name in same})


def set_quota(ledger: Ledger, command: SetQuota) -> None:
    """Give a person or a project a limit besides the account's."""
    account = ledger.current(command.account)
    epsilon, delta = Fraction(command.epsilon, EPSILON_SCALE), Fraction(command.delta, DELTA_SCALE)
    quota = pure_limit(epsilon) if account.terms.composition is Composition.PURE else budget_limit(epsilon, delta)
    ledger.set_quota(command.account, command.holder, quota)
    told = {"quota": quota} | {name: getattr(command, name) for name in ("holder", "epsilon", "delta", "reason")}
    ledger.add(account, account, BudgetQuotaSet, told=told)


def enter_release(ledger: Ledger, command: EnterRelease) -> None:
    """Write down that raw figures have left the circle of those who may see them."""
    account = ledger.current(command.account)
    ledger.add(account, replace(account, unbounded=account.unbounded + 1), BudgetReleaseEntered, told={"reason": command.reason})


def observe(ledger: Ledger, command: ObserveBudget, principal: str) -> None:
    """Enter that raw figures were shown to a principal, once; the attempt says which principal in the row it is."""
    shown = ledger.shown_to(command.account, (command.job, command.step))
    if principal not in shown:
        run = StepRun(step=command.step, attempt=len(shown) + 1)
        account = ledger.current(command.account)
        ledger.add(account, replace(account, observed=account.observed + 1), BudgetObserved, NOTHING, (command.job, run))


def charge(ledger: Ledger, event: MechanismStarted) -> None:
    """Take a reservation's cost for good, whatever becomes of the job."""
    run = StepRun(step=event.step, attempt=event.attempt)
    entries = ledger.entries(event.account, event.job, run)
    reserved = entries.get(BudgetReserved.VERB)
    if reserved is None:
        raise LookupError(f"mechanism of {event.job} started without a reservation")
    if BudgetCharged.VERB in entries:
        return
    cost, account = row_cost(reserved), ledger.current(event.account)
    # Given back by mistake and started all the same: in doubt, charge.
    still_reserved = account.reserved if BudgetReleased.VERB in entries else account.reserved - cost
    after = replace(account, spent=account.spent + cost, reserved=still_reserved)
    asker = (reserved.principal, reserved.project)
    charged = charge_id(event.account, event.job, run)
    ledger.add(account, after, BudgetCharged, cost, (event.job, run), asker=asker, event_id=charged)


def release(ledger: Ledger, job: JobId, never_started: tuple[StepRun, ...]) -> None:
    """Give back what was reserved for runs that, their executor says, never started."""
    ledger.end(job)
    for account_id in ledger.accounts_of(job) if never_started else ():
        for run in never_started:
            entries = ledger.entries(account_id, job, run)
            reserved = entries.get(BudgetReserved.VERB)
            if reserved is None or entries.keys() & {BudgetCharged.VERB, BudgetReleased.VERB}:
                continue
            cost, account = row_cost(reserved), ledger.current(account_id)
            after = replace(account, reserved=account.reserved - cost)
            ledger.add(account, after, BudgetReleased, cost, (job, run), asker=(reserved.principal, reserved.project))
    ledger.drop_held(job)


def enter(ledger: Ledger, command: SetBudget | SetQuota | ObserveBudget | EnterRelease, principal: str) -> None:
    """Do what somebody asks for whose right to it the edge has seen."""
    match command:
        case SetBudget():
            set_limit(ledger, command)
        case SetQuota():
            set_quota(ledger, command)
        case ObserveBudget():
            observe(ledger, command, principal)
        case EnterRelease():
            enter_release(ledger, command)


@around("keeper.handle")
def handle(envelope: Envelope, tx: Transaction, now: Callable[[], int] = now_ms) -> None:
    """Apply one message, once."""
    if not tx.first_time(envelope.id):
        return
    ledger = Ledger(tx, envelope, now)
    match message := envelope.message:
        case ReserveBudget():
            reserve(ledger, tx, envelope, message)
        case DecideBudget():
            decide_held(ledger, tx, envelope, message)
        case SetBudget() | SetQuota() | ObserveBudget() | EnterRelease():
            enter(ledger, message, envelope.principal)
        case MechanismStarted():
            charge(ledger, message)
        case JobFailed() | JobCancelled():
            release(ledger, message.job, message.never_started)
        case JobCompleted() | JobRefused():
            release(ledger, message.job, ())
        case _:
            raise Hopeless(code="misaddressed")


def give_up(given: Given, tx: Transaction) -> None:
    """Have the job of a request that cannot be answered end: nothing was reserved for it."""
    asked = given.envelope.message if given.envelope is not None else None
    if given.envelope is not None and isinstance(asked, ReserveBudget) and asked.then.job == asked.job:
        passed = given.envelope.caused(asked.then.model_copy(update={"failed": given.reason}), source=SOURCE, handler="pass-on", n=0)
        if not tx.has_sent(passed.id):
            tx.send(passed)


async def run(settings: Settings) -> None:
    """Keep the budget until stopped."""
    metadata: MetaData = tables()
    async with running(Actor.BUDGET_KEEPER, settings, metadata) as runtime:

        @around("keeper.apply")
        async def apply(envelope: Envelope) -> None:
            await runtime.store.write(partial(handle, envelope))

        async def apply_event(delivery: Delivery) -> Verdict:
            await apply(delivery.envelope)
            return Verdict.DONE

        await require_current(runtime, "halftone.evt.budget.>")
        runtime.keep("control", partial(serve, runtime, {ctl_durable(Actor.BUDGET_KEEPER): apply}, give_up))
        runtime.keep("events", EventLoop(runtime, KEEPER_EVENTS, apply_event).run)
        runtime.ready()
        await runtime.until_stopped()
