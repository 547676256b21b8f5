"""The log's signing key: made at the first start or given from outside, and gone over from one to the next so that verifiers can follow."""

from __future__ import annotations

import json
from pathlib import Path

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from halftone.merkle import Checkpoint, Keys, dump_key, generate_key, load_key, sign_rotation, verifier_key
from infra.home import Home, write_secret

log = structlog.get_logger()

ORIGIN = "halftone"
"""Name of the log and of its keys."""


class KeyReplaced(RuntimeError):
    """The key is not the one that the log was signed with, which has not signed over to it: nothing is signed."""


class SigningKeys:
    """The key that signs, the public ones that verifiers need, and the notes by which one followed the other.

    In the home's ``audit`` directory: ``signing-key`` unless the key comes from outside, ``signing-key.next`` while another is to
    follow, ``public-key`` and ``rotations.json`` for whoever wants to check the log.
    """

    def __init__(self, home: Home, given: str | None = None) -> None:
        """Read or make the key; ``given`` is one from outside, or several with commas between, the one that is to sign first."""
        self._home = home
        self._secret, self._following = home.audit / "signing-key", home.audit / "signing-key.next"
        self._public, self._notes = home.audit / "public-key", home.audit / "rotations.json"
        self._given = [load_key(text) for text in given.split(",")] if given else []
        if not self._given and not self._secret.exists():
            if self._public.exists():
                raise KeyReplaced(f"the key of {self._public} is gone: put {self._secret} back, or set HALFTONE_SIGNING_KEY")
            write_secret(self._secret, dump_key(generate_key()) + "\n")
        self.rotations: tuple[str, ...] = tuple(json.loads(self._notes.read_text())) if self._notes.exists() else ()
        self.key = self._signing()
        self._end_rotation()
        if not self._public.exists():
            write_public(self._public, vkey(self.key))

    @property
    def verifying(self) -> Keys:
        """What checks everything that this log has signed."""
        return Keys(vkey(self.key), self.rotations)

    def following(self) -> Ed25519PrivateKey | None:
        """The key that is to sign from now on, if it is another than the one that does."""
        wanted = self._given[0] if self._given else load_key(self._following.read_text()) if self._following.exists() else None
        return None if wanted is None or vkey(wanted) == vkey(self.key) else wanted

    def rotate(self, at: Checkpoint, new: Ed25519PrivateKey) -> None:
        """Go over to another key at the checkpoint that was signed last. Doing it again, after a crash, ends it."""
        # The notes first: a public key that nothing leads to would be one that was swapped.
        note = next((each for each in self.rotations if f"\n{vkey(self.key)}\n{vkey(new)}\n" in each), None)
        if note is None:
            note = sign_rotation(at, self.key, new, ORIGIN)
            self.rotations = (*self.rotations, note)
            write_public(self._notes, json.dumps(self.rotations, indent=1))
        write_public(self._public, vkey(new))
        log.warning("audit.key_rotated", size=at.size, before=vkey(self.key), key=vkey(new))
        self.key = new
        self._end_rotation()

    def _end_rotation(self) -> None:
        """Keep the key that signs where it is kept, and no other; a crash may have come before this."""
        if self._given:
            if vkey(self._given[0]) == vkey(self.key):
                # What is kept outside is not kept here.
                self._secret.unlink(missing_ok=True)
        elif self._following.exists() and vkey(load_key(self._following.read_text())) == vkey(self.key):
            write_secret(self._secret, dump_key(self.key) + "\n")
            self._following.unlink()

    def _signing(self) -> Ed25519PrivateKey:
        """The key that the log is signed with, as its public one says, among those there are."""
        held = [*self._given, *([load_key(self._secret.read_text())] if self._secret.exists() else [])]
        if not self._public.exists():
            return held[0]
        known = self._public.read_text().strip()
        # After a crash amid a rotation, the public key is the new one already, or still the old one.
        if self._following.exists():
            held.append(load_key(self._following.read_text()))
        found = next((key for key in held if vkey(key) == known), None)
        if found is None:
            raise KeyReplaced(f"the log was signed with {known}: give that key too, after the new one and a comma, so that it signs over")
        return found


def vkey(key: Ed25519PrivateKey) -> str:
    """The public key as verifiers keep it."""
    return verifier_key(ORIGIN, key.public_key())


def write_public(path: Path, text: str) -> None:
    """Write a file for whoever checks the log, whole or not at all."""
    write_secret(path, text.rstrip("\n") + "\n")
