"""Signed notes (C2SP signed-note v1) and the checkpoints in them (C2SP tlog-checkpoint v1), with Ed25519 keys.

A note is text, an empty line, and signature lines. What is not signed by the key is never returned.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from halftone.merkle.encoding import from_base64, to_base64
from halftone.merkle.errors import NoteError, SignatureError
from halftone.merkle.keys import VerifierKey, is_name
from halftone.merkle.tree import HASH_SIZE

MAX_NOTE: Final = 1_000_000
"""Longest note that is read, in characters; a signed note is hostile until it is verified."""

MAX_SIGNATURES: Final = 100
"""Most signature lines that are read; the specification asks for 16 at least."""

_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_DASH: Final = "\u2014"  # an em dash begins a signature line


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log commits to: its tree at one size."""

    #: Which log; a URL without scheme, such as ``halftone.example/log``. One line, not empty.
    origin: str
    #: Leaves in the tree.
    size: int
    #: The tree's root, 32 bytes.
    root: bytes

    def __post_init__(self) -> None:
        if not self.origin or _CONTROL.search(self.origin) or "\n" in self.origin:
            raise NoteError("A checkpoint's origin is one line, not empty, without control characters.")
        if not 0 <= self.size < 10**19:
            raise NoteError("A checkpoint's size has at most 19 digits and no sign.")
        if len(self.root) != HASH_SIZE:
            raise NoteError(f"A checkpoint's root has {HASH_SIZE} bytes.")

    def __str__(self) -> str:
        """The text that is signed: origin, size and root in base64, a line each."""
        return f"{self.origin}\n{self.size}\n{to_base64(self.root)}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read a verified note's text. Extension lines are allowed, and ignored.

        Raises:
            NoteError: the text is no checkpoint.

        """
        lines = text.split("\n")
        if len(lines) < 4 or lines.pop() or not all(lines):
            raise NoteError("A checkpoint has at least three lines, none of them empty: origin, size and root.")
        origin, size, root = lines[:3]
        if not _SIZE.fullmatch(size):
            raise NoteError(f"A checkpoint's size is a decimal number without leading zeroes, not {size[:40]!r}.")
        try:
            return cls(origin, int(size), from_base64(root))
        except ValueError as error:
            raise NoteError("A checkpoint's root is not base64.") from error


def sign(checkpoint: Checkpoint, key: Ed25519PrivateKey, name: str) -> str:
    """Sign a checkpoint.

    A log must never sign two checkpoints of which one is no prefix of the other; whoever calls this sees to it.

    Args:
        checkpoint: what to sign.
        key: the log's private key.
        name: the key's name, which should be the checkpoint's origin.

    Raises:
        KeyFormatError: the name cannot be a key's name.

    """
    return sign_note(str(checkpoint), key, name)


def verify(text: str, verifier_key: str, *, origin: str | None = None) -> Checkpoint:
    """Read a signed checkpoint.

    Args:
        text: the note.
        verifier_key: the key that must have signed it, as ``name+id+key``.
        origin: the log it must be of; None accepts every log for which the key signs.

    Raises:
        KeyFormatError: the verifier key is malformed.
        NoteError: the note or its checkpoint is malformed, or of another log.
        SignatureError: the key has not signed it, or the text was altered.

    """
    checkpoint = Checkpoint.parse(verify_note(text, verifier_key))
    if origin is not None and checkpoint.origin != origin:
        raise NoteError(f"The checkpoint is of the log {checkpoint.origin!r}, not {origin!r}.")
    return checkpoint


def sign_note(text: str, key: Ed25519PrivateKey, name: str) -> str:
    """Sign any text that ends with a newline.

    Raises:
        KeyFormatError: the name cannot be a key's name.
        NoteError: the text does not end with a newline, or has control characters or lone surrogates.

    """
    signer = VerifierKey(name, key.public_key())
    if not text.endswith("\n"):
        raise NoteError("A note's text ends with a newline.")
    signature = key.sign(_encoded(text))
    return f"{text}\n{_DASH} {name} {to_base64(signer.id + signature)}\n"


def add_signature(note: str, key: Ed25519PrivateKey, name: str) -> str:
    """Sign a note once more, with another key.

    Raises:
        KeyFormatError: the name cannot be a key's name.
        NoteError: the note is malformed.

    """
    text, _ = _split_note(note)
    return note + sign_note(text, key, name).rpartition("\n\n")[2]


def verify_note(note: str, verifier_key: str) -> str:
    """Check that a key has signed a note, and give the signed text, with its last newline.

    Signatures of other keys are ignored, as the specification demands; one of this key that is wrong condemns the note.

    Raises:
        KeyFormatError: the verifier key is malformed.
        NoteError: the note is malformed.
        SignatureError: the key has not signed it, or the text was altered.

    """
    verifier = VerifierKey.parse(verifier_key)
    text, signatures = _split_note(note)
    mine = [signature for name, key_id, signature in signatures if (name, key_id) == (verifier.name, verifier.id)]
    if not mine:
        raise SignatureError(f"The note is not signed by the key {verifier.name}+{verifier.id.hex()}.")
    for signature in mine:
        try:
            verifier.key.verify(signature, _encoded(text))
        except InvalidSignature:
            raise SignatureError(f"The signature of the key {verifier.name}+{verifier.id.hex()} does not fit the text.") from None
    return text


def _split_note(note: str) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    """Split a note into its text and its signatures: name, key id, signature."""
    if len(note) > MAX_NOTE:
        raise NoteError(f"A note has at most {MAX_NOTE} characters.")
    _encoded(note)
    # The text may have empty lines too: the last one separates.
    text, separator, tail = note.rpartition("\n\n")
    if not separator or not tail.endswith("\n"):
        raise NoteError("A note is a text, an empty line, and lines of signatures, the last with its newline.")
    lines = tail[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteError(f"A note has at most {MAX_SIGNATURES} signatures.")
    return text + "\n", [_parse_signature(line) for line in lines]


def _parse_signature(line: str) -> tuple[str, bytes, bytes]:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != _DASH or not is_name(parts[1]):
        raise NoteError("A signature line is an em dash, the key's name and the signature, with single spaces between.")
    try:
        data = from_base64(parts[2])
    except ValueError as error:
        raise NoteError("A signature is not base64.") from error
    if len(data) < 5:
        raise NoteError("A signature is 4 bytes of key id, and the signature itself.")
    return parts[1], data[:4], data[4:]


def _encoded(text: str) -> bytes:
    if _CONTROL.search(text):
        raise NoteError("A note has no control characters but newlines (was it saved with other line ends?).")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise NoteError("A note is UTF-8 text.") from error
