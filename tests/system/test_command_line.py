"""Commands as people and scripts run them: in processes of their own, on a terminal and into a pipe."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from running_system import PATIENCE_SECONDS, REPOSITORY, System

SCHEMA = {"columns": [{"name": name, "type": "integer", "minimum": 0, "maximum": 9} for name in "ab"]}
ROWS = "a,b\n" + "\n".join(f"{i % 10},{i * 7 % 10}" for i in range(200))
COMMAND = [sys.executable, "-m", "infra.cli"]


def environment(home: Path | None, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HALFTONE_") and name != "NO_COLOR"}
    kept |= {"PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'src'}", "HALFTONE_CONFIG": "/nowhere/config.toml", "TERM": "xterm"}
    return kept | ({} if home is None else {"HALFTONE_HOME": str(home)}) | more


def halftone(system: System | None, *arguments: str, code: int = 0, **more: str) -> subprocess.CompletedProcess[str]:
    around = environment(system.home if system else None, **more)
    command = [*COMMAND, *arguments]
    done = subprocess.run(command, env=around, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS, input="")
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done


def on_terminal(system: System, *arguments: str, **more: str) -> str:
    """What a terminal gets to see of a command."""
    ours, theirs = pty.openpty()
    around = environment(system.home, COLUMNS="200", **more)
    with subprocess.Popen([*COMMAND, *arguments], env=around, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        said = b""
        try:
            while piece := os.read(ours, 65536):
                said += piece
        except OSError:
            pass  # how Linux says that the other side of a terminal is gone
        assert process.wait(PATIENCE_SECONDS) == 0, said
    os.close(ours)
    return said.decode().replace("\r\n", "\n")


@pytest.fixture(scope="module")
def numbers(system: System, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A dataset that was brought in by the command line, with a schema and a budget."""
    directory = tmp_path_factory.mktemp("numbers")
    (directory / "numbers.csv").write_text(ROWS)
    (directory / "schema.json").write_text(json.dumps(SCHEMA))
    added = halftone(
        system, "datasets", "add", str(directory / "numbers.csv"), "--name", "numbers", "--schema", str(directory / "schema.json")
    )
    halftone(system, "budget", "set", "numbers", "--epsilon", "2")
    return added.stdout.strip()


def test_what_makes_something_writes_its_id_alone(system: System, numbers: str) -> None:
    """So that a script can keep it; progress went to standard error."""
    assert system.get(f"/v1/datasets/{numbers}")["name"] == "numbers"
    job = halftone(system, "synthesize", "numbers", "--epsilon", "0.1", "--rows", "5", "--no-wait")
    assert system.ended(job.stdout.strip())["state"] == "completed"
    assert job.stderr == ""


def test_the_budgets_no_has_a_code_of_its_own(system: System, numbers: str) -> None:
    """3, with what was asked and what is left."""
    refused = halftone(system, "synthesize", numbers, "--epsilon", "50", code=3)
    assert "is left" in refused.stderr
    assert refused.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("job", "job_" + "0" * 32), 4, "There is no job"),
        (("datasets", "show", "nobody"), 4, "halftone datasets list"),
        (("datasets", "remove", "numbers"), 2, "--yes"),
        (("synthesize", "numbers"), 2, "--epsilon"),
        (("synthesize", "numbers", "--epsilon", "-1"), 1, "above 0"),
        (("datasets", "add", "/nowhere.csv"), 1, "There is no file"),
        (("datasets", "add", "--path", "/etc/passwd"), 1, "HALFTONE_READ_PATHS"),
        (("datasets", "keep", "numbers"), 2, "--for-good"),
        (("tokens", "issue", "x", "--role", "king"), 1, "'curator'"),
        (("tokens", "revoke", "tok_" + "0" * 32), 4, "There is no token"),
        (("completion", "tcsh"), 2, "'bash'"),
        (("jobs", "--url", "http://127.0.0.1:1", "--token", "x"), 1, "halftone up"),
        (("jobs", "--url", "http://127.0.0.1:1"), 1, "HALFTONE_TOKEN"),
    ],
)
def test_errors_say_what_to_do_and_have_codes(system: System, numbers: str, arguments: tuple[str, ...], code: int, says: str) -> None:
    """On standard error, without a traceback; nothing on standard output."""
    done = halftone(system, *arguments, code=code)
    assert says in done.stderr
    assert done.stdout == ""


def test_a_file_that_is_no_table_names_the_line(system: System, tmp_path: Path) -> None:
    """In the words of the job's problem, with its code."""
    (tmp_path / "ragged.csv").write_text("a,b\n1,2\n3\n")
    done = halftone(system, "datasets", "add", str(tmp_path / "ragged.csv"), code=1)
    assert "line 3" in done.stderr
    assert "(row-ragged)" in done.stderr


def test_a_token_given_out_opens_what_its_role_allows(system: System, numbers: str) -> None:
    """The token alone is written; in a script it is the next command's. Revoked, it opens nothing."""
    issued = halftone(system, "tokens", "issue", "Ada", "--role", "reader", "--days", "1")
    token, name = issued.stdout.strip(), issued.stderr.split(",")[0]
    assert numbers in halftone(system, "datasets", "list", HALFTONE_TOKEN=token).stdout
    assert "raw.read" in halftone(system, "datasets", "head", "numbers", HALFTONE_TOKEN=token, code=1).stderr
    halftone(system, "tokens", "revoke", name)
    assert "revoked" in halftone(system, "datasets", "list", HALFTONE_TOKEN=token, code=1).stderr
    (line,) = [line for line in halftone(system, "tokens", "list").stdout.splitlines() if line.startswith(name)]
    assert token not in line


def test_a_dataset_is_kept_for_as_long_as_is_said(system: System, numbers: str) -> None:
    """And for good again."""
    assert json.loads(halftone(system, "datasets", "keep", "numbers", "--days", "30", "--json").stdout)["retention_days"] == 30
    assert json.loads(halftone(system, "datasets", "keep", "numbers", "--for-good", "--json").stdout)["retention_days"] is None


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands(shell: str) -> None:
    """What the command writes asks us back, and we answer."""
    script = halftone(None, "completion", shell).stdout
    assert "_HALFTONE_COMPLETE=complete_" + shell in script
    asked = {
        "_TYPER_COMPLETE_ARGS": "halftone tok",
        "COMP_WORDS": "halftone tok",
        "COMP_CWORD": "1",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    program = [sys.executable, "-c", "import sys; sys.argv = ['halftone']; from infra.cli import main; main()"]
    around = environment(None, _HALFTONE_COMPLETE=f"complete_{shell}", **asked)
    assert "tokens" in subprocess.run(program, env=around, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS).stdout


def test_a_pipe_gets_bare_lines_and_json_on_demand(system: System, numbers: str) -> None:
    """No headings, no colours; JSON is what the API says."""
    lines = [line.split("\t") for line in halftone(system, "datasets", "list").stdout.splitlines()]
    assert [numbers, "numbers", "real", "ready"] in [line[:4] for line in lines]
    assert json.loads(halftone(system, "budget", "show", "numbers", "--json").stdout)["epsilon"] == 2.0


def test_a_terminal_gets_headings_and_no_colours_if_it_wants_none(system: System, numbers: str) -> None:
    """NO_COLOR is heeded; ids are never cut."""
    plain, coloured = on_terminal(system, "datasets", "list", NO_COLOR="1"), on_terminal(system, "datasets", "list")
    assert "origin" in plain
    assert numbers in plain
    assert "\x1b[3" not in plain
    assert "\x1b[" in coloured


def test_a_name_of_two_datasets_is_not_guessed_at(system: System, numbers: str, tmp_path: Path) -> None:
    """Their ids are named instead."""
    for n in range(2):
        system.ended(system.upload(f"x\n{n}\n".encode(), name="twice")["job"])
    assert "2 datasets are called 'twice'" in halftone(system, "datasets", "show", "twice", code=1).stderr


def test_settings_come_from_flag_then_environment_then_file(system: System, tmp_path: Path) -> None:
    """The file's token goes to the file's address alone."""
    edge = str(system.http.base_url).rstrip("/")
    config = tmp_path / "config.toml"
    config.write_text(f'url = "{edge}"\ntoken = "{system.token}"\n')
    assert "marginal" in halftone(None, "engines", HALFTONE_CONFIG=str(config)).stdout
    assert "is not known here" in halftone(None, "engines", code=1, HALFTONE_CONFIG=str(config), HALFTONE_TOKEN="ht_wrong").stderr
    assert "marginal" in halftone(None, "engines", "--token", system.token, HALFTONE_CONFIG=str(config), HALFTONE_TOKEN="ht_wrong").stdout
    assert "HALFTONE_TOKEN" in halftone(None, "engines", "--url", "http://127.0.0.1:1", code=1, HALFTONE_CONFIG=str(config)).stderr
    config.write_text('adress = "x"\n')
    assert "'adress' is not known here" in halftone(None, "engines", code=1, HALFTONE_CONFIG=str(config)).stderr


def test_a_wait_that_is_interrupted_says_that_the_job_goes_on(system: System, numbers: str) -> None:
    """Exit code 130, and the commands that find it again."""
    arguments = [*COMMAND, "synthesize", numbers, "--epsilon", "0.1", "--rows", "20000000"]
    with subprocess.Popen(arguments, env=environment(system.home), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("job "):
                job = line.split()[1]
            if "%" in line:
                break
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
        assert process.wait(PATIENCE_SECONDS) == 130
    assert f"halftone watch {job}" in said
    assert "Traceback" not in said
    timed_out = halftone(system, "watch", job, "--timeout", "0.5", code=1)
    assert "it goes on" in timed_out.stderr
    halftone(system, "cancel", job)
    assert system.ended(job)["state"] == "cancelled"


def test_the_doctor_finds_nothing_wrong_with_what_runs(system: System) -> None:
    """Every check is well."""
    found = json.loads(halftone(system, "doctor", "--json").stdout)
    assert {"python", "versions", "home", "disk", "clock", "running", "broker", "edge", "token"} == {each["what"] for each in found}
    assert all(each["well"] for each in found)


def test_the_doctor_says_what_is_wrong_and_what_to_do(system: System, tmp_path: Path) -> None:
    """A home without a system, a home open to others, a token that opens nothing."""
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    (home / "admin-token").write_text("ht_x\n")
    found = {each["what"]: each for each in json.loads(halftone(None, "doctor", "--json", "--home", str(home), code=1).stdout)}
    assert {what for what, each in found.items() if not each["well"]} == {"home", "running", "edge"}
    assert "chmod" in found["home"]["todo"]
    assert "halftone up" in found["running"]["todo"]
    wrong = json.loads(halftone(system, "doctor", "--json", "--token", "ht_wrong", code=1).stdout)
    assert [each["what"] for each in wrong if not each["well"]] == ["token"]


def test_help_needs_nothing_heavy() -> None:
    """It is there in a fraction of a second, because neither pydantic, httpx, rich nor asyncio is imported for it."""
    script = "import sys, infra.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], env=environment(None), capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "typer" in loaded
    assert not loaded & {"pydantic", "httpx", "rich", "asyncio", "numpy", "pyarrow", "nats", "contracts", "halftone"}
