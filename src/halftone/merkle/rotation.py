"""A log that goes over to another key: both keys sign that they do, and at which size. Whoever knows one knows the other by it.

Of a rotation from one key to another, the old one signs checkpoints up to its size, the new one from there on: a key that was given up
and gets into wrong hands signs nothing that anybody believes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from halftone.merkle.errors import NoteError, SignatureError
from halftone.merkle.keys import VerifierKey, verifier_key
from halftone.merkle.note import Checkpoint, add_signature, sign_note, verify_note

_FORM = "halftone/key-rotation/v1"


@dataclass(frozen=True, slots=True)
class Rotation:
    """From which key to which, and at which state of the log."""

    old: str
    new: str
    #: The log when it was done: what the old key signed last, and the new one first.
    at: Checkpoint

    def __str__(self) -> str:
        """The text that both keys sign."""
        return f"{_FORM}\n{self.old}\n{self.new}\n{self.at}"

    @classmethod
    def parse(cls, text: str) -> Rotation:
        """Read the text of a note that was verified.

        Raises:
            NoteError: it is no rotation.
            KeyFormatError: it names something that is no key.

        """
        form, _, rest = text.partition("\n")
        keys = rest.split("\n", 2)
        if form != _FORM or len(keys) != 3:
            raise NoteError(f"A key rotation has the lines {_FORM!r}, old key, new key, and those of a checkpoint.")
        old, new, checkpoint = keys
        VerifierKey.parse(old)
        VerifierKey.parse(new)
        return cls(old, new, Checkpoint.parse(checkpoint))


def sign_rotation(at: Checkpoint, old: Ed25519PrivateKey, new: Ed25519PrivateKey, name: str) -> str:
    """Say, under both keys, that the log goes over from one to the other at a checkpoint."""
    text = str(Rotation(verifier_key(name, old.public_key()), verifier_key(name, new.public_key()), at))
    return add_signature(sign_note(text, old, name), new, name)


def verify_rotation(note: str) -> Rotation:
    """Read a rotation that both of its keys signed. Whether one of them is to be trusted is another question.

    Raises:
        NoteError: it is malformed.
        KeyFormatError: it names something that is no key.
        SignatureError: one of the keys has not signed it.

    """
    text = note.rpartition("\n\n")[0] + "\n"
    rotation = Rotation.parse(text)
    for key in (rotation.old, rotation.new):
        verify_note(note, key)
    return rotation


class Keys:
    """The keys of a log, known from one of them: what checks a checkpoint, whenever it was signed."""

    def __init__(self, trusted: str, rotations: Iterable[str] = ()) -> None:
        """Follow rotations from the trusted key, to later keys and to earlier ones.

        Raises:
            KeyFormatError: the trusted key is malformed.
            NoteError: a rotation is malformed, or they are no chain.
            SignatureError: a rotation is not signed by both of its keys.

        """
        trusted = str(VerifierKey.parse(trusted))
        self.rotations = tuple(sorted((verify_rotation(note) for note in rotations), key=lambda each: each.at.size))
        chain = [trusted] if not self.rotations else [self.rotations[0].old, *(each.new for each in self.rotations)]
        if any(before.new != after.old for before, after in zip(self.rotations, self.rotations[1:], strict=False)):
            raise NoteError("The key rotations are no chain: each goes on from the key that the one before went over to.")
        if trusted not in chain:
            key = VerifierKey.parse(trusted)
            raise SignatureError(f"The key {key.name}+{key.id.hex()} is none of those that the log was signed with.")
        turns = [each.at.size for each in self.rotations]
        self._known = list(zip(chain, [0, *turns], [*turns, 10**19], strict=True))
        self.current = chain[-1]

    def verify(self, note: str, *, origin: str | None = None) -> Checkpoint:
        """Read a checkpoint that the key of its time has signed.

        Raises:
            NoteError: the note or its checkpoint is malformed, or of another log.
            SignatureError: no key of that time has signed it, or the text was altered.

        """
        failure: SignatureError | None = None
        for key, first, last in reversed(self._known):
            try:
                checkpoint = Checkpoint.parse(verify_note(note, key))
            except SignatureError as error:
                failure = failure or error
                continue
            if not first <= checkpoint.size <= last:
                name = VerifierKey.parse(key)
                raise SignatureError(
                    f"The key {name.name}+{name.id.hex()} signed checkpoints of {first} to {last} entries, not of {checkpoint.size}."
                )
            if origin is not None and checkpoint.origin != origin:
                raise NoteError(f"The checkpoint is of the log {checkpoint.origin!r}, not {origin!r}.")
            return checkpoint
        raise failure or SignatureError
