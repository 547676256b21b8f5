"""Completion of commands and options by the shell."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Annotated

import typer

VARIABLE = "_HALFTONE_COMPLETE"
"""Set by the shell when it asks how a line may go on."""


class Shell(StrEnum):
    """Shells that can complete."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, typer.Argument(help="bash, zsh or fish.", show_default=False)]) -> None:
    """Write what makes a shell complete commands and options: for bash, put 'eval "$(halftone completion bash)"' into ~/.bashrc."""
    from typer._completion_shared import get_completion_script

    typer.echo(get_completion_script(prog_name="halftone", complete_var=VARIABLE, shell=shell.value))


def answer_shells() -> None:
    """Make commands answer a shell that asks; without that a process need not load what it takes."""
    if VARIABLE in os.environ:
        from typer._completion_classes import completion_init

        completion_init()
