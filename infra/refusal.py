"""Why a process does not start, in words for whoever started it."""

from __future__ import annotations


class StartRefused(RuntimeError):
    """The process cannot start as things are; its message says what is wrong and what to do. Trying again would not help."""
