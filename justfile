set positional-arguments

# list the recipes
[private]
default:
    @just --list --unsorted

# synthesize a real table end to end, and say where the result, the report and the audit proof are
demo *args:
    @halftone demo "$@"

# run everything on this machine (--port, --home, --compat NAME=PORT: see `./just up --help`)
up *args:
    @halftone up "$@"

# run the tests; arguments go to pytest
test *args:
    pytest -n 2 --dist worksteal "$@"

# lint, formatting, imports, generated contracts, types
check:
    ruff check
    ruff format --check
    lint-imports --no-logo
    python -m contracts.generate --check
    mypy

# measure against the peers that the benchmarks name; arguments choose which
bench *args:
    python tests/bench/run.py "$@"

# break a running system in every way that is known, and write into docs/reliability.md how it came out; arguments go to pytest
faults *args:
    python tests/faults/all_faults.py "$@"

# try for longer than a test may take: 100,000 random runs of the budget and 1,000 races of fifty, canaries, thousands of tamperings with the log
soak *args:
    HALFTONE_LEDGER_RUNS=100000 HALFTONE_RACES=1000 HALFTONE_LEDGER_EXAMPLES=2000 HALFTONE_CANARIES=2000 HALFTONE_TAMPERINGS=1000 \
        pytest -n 2 tests/actors/test_ledger_*.py tests/halftone/privacy/test_privacy_noise.py tests/infra/test_log_tampering.py "$@"

# format the code, and fix what can be fixed without a thought
fmt:
    ruff check --fix
    ruff format

# write the JSON Schemas and the AsyncAPI document of contracts anew
contracts:
    python -m contracts.generate
