"""What can be wrong with a log, its proofs, its notes and its keys: one small tree, rooted in :class:`LogError`."""

from __future__ import annotations

from typing import ClassVar


class LogError(Exception):
    """The log, or something said about it, does not hold."""

    code: ClassVar[str] = "log"
    """Stable name of the kind of error, for machines."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or type(self).__doc__)


class CanonicalError(LogError):
    """The value or the bytes have no canonical JSON form (RFC 8785), or are not in it."""

    code = "log-not-canonical"


class MissingNodeError(LogError):
    """The node store does not hold a node that the tree needs.

    Attributes:
        level: height above the leaves, which are level 0.
        index: position within the level, from 0.

    """

    code = "log-node-missing"

    def __init__(self, level: int, index: int) -> None:
        super().__init__(f"The node store has no node {index} at level {level}.")
        self.level = level
        self.index = index


class ProofError(LogError):
    """The proof cannot be made, is malformed, or does not hold."""

    code = "log-proof"


class NoteError(LogError):
    """The signed note, or the checkpoint in it, is malformed."""

    code = "log-note"


class SignatureError(LogError):
    """The note bears no valid signature of the key."""

    code = "log-signature"


class KeyFormatError(LogError):
    """The key, or its name, is malformed."""

    code = "log-key"


class TamperedError(LogError):
    """The entries are not those that were signed.

    Attributes:
        index: an entry that is surely wrong or missing, from 0; None where none can be told.
        span: the entries among which the first wrong one is; those before it agree with an earlier checkpoint or with the
            recorded hashes.

    """

    code = "log-tampered"

    def __init__(self, message: str, *, span: range, index: int | None = None) -> None:
        super().__init__(message)
        self.index = index
        self.span = span
