"""The command line. Data goes to standard output, everything else to standard error.

Exit codes: 0 well, 1 error, 2 usage, 3 refused by the budget, 4 not found, 130 interrupted.
"""

from __future__ import annotations

import typer

from infra.commands import audit, budget, certificates, datasets, dead, events, jobs, schema, system, tokens
from infra.commands.backup import backup, restore
from infra.commands.completion import answer_shells, completion
from infra.commands.doctor import doctor
from infra.commands.migrate import migrate

# Without markup, help needs no rich: it is there in a fraction of the time.
app = typer.Typer(
    name="halftone",
    no_args_is_help=True,
    # By a command of its own, which says for which shell: a shell that is guessed can be another.
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Sensitive tables in, synthetic ones out, and a proof of what it cost.",
)
system.add_to(app)
app.command("doctor")(doctor)
app.command("migrate")(migrate)
app.command("backup")(backup)
app.command("restore")(restore)
app.add_typer(datasets.app, name="datasets")
app.add_typer(schema.app, name="schema")
app.add_typer(budget.app, name="budget")
app.add_typer(certificates.app, name="certificate")
jobs.add_to(app)
app.command("models")(datasets.models)
app.command("engines")(datasets.engines)
app.add_typer(tokens.app, name="tokens")
app.add_typer(audit.app, name="audit")
app.add_typer(dead.app, name="dead")
app.add_typer(events.app, name="events")
app.command("completion")(completion)


def main() -> None:
    """Entry point of the ``halftone`` command."""
    answer_shells()
    app()


if __name__ == "__main__":
    main()
