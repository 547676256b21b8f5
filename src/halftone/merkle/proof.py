"""A proof to hand out: "this entry is in the log", with the signed checkpoint it rests on, checked with a public key alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from halftone.merkle.encoding import from_base64, to_base64
from halftone.merkle.errors import ProofError
from halftone.merkle.note import Checkpoint
from halftone.merkle.rotation import Keys
from halftone.merkle.tree import Get, inclusion_proof, leaf_hash, verify_inclusion


@dataclass(frozen=True, slots=True)
class Proof:
    """That one entry is in the log at one position."""

    #: The entry's position in the log, from 0.
    index: int
    #: Leaves in the tree of the checkpoint.
    size: int
    #: The entry's leaf hash, 32 bytes.
    leaf_hash: bytes
    #: The siblings on the way to the root, 32 bytes each, from the leaf up.
    hashes: tuple[bytes, ...]
    #: The signed note over the tree of that size.
    checkpoint: str

    @classmethod
    def make(cls, index: int, size: int, get: Get, checkpoint: str) -> Proof:
        """Prove the entry at ``index`` under a checkpoint, the signed note over ``size`` leaves; reads O(log n) nodes.

        Raises:
            ProofError: the tree of that size has no such entry.

        """
        hashes = tuple(inclusion_proof(index, size, get))
        return cls(index, size, get(0, index), hashes, checkpoint)

    def to_dict(self) -> dict[str, Any]:
        """The proof as JSON types; hashes in base64."""
        return {
            "index": self.index,
            "size": self.size,
            "leaf_hash": to_base64(self.leaf_hash),
            "hashes": [to_base64(value) for value in self.hashes],
            "checkpoint": self.checkpoint,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Proof:
        """Read what :meth:`to_dict` wrote; unknown fields are ignored.

        Raises:
            ProofError: a field is missing, or not of its type.

        """
        hashes = _field(data, "hashes", list)
        return cls(
            index=_field(data, "index", int),
            size=_field(data, "size", int),
            leaf_hash=_hash(_field(data, "leaf_hash", str)),
            hashes=tuple(_hash(value) for value in hashes),
            checkpoint=_field(data, "checkpoint", str),
        )


def verify_proof(
    entry: bytes, proof: Proof | Mapping[str, Any], vkey: str, *, origin: str | None = None, rotations: Iterable[str] = ()
) -> Checkpoint:
    """Check that an entry is in the log, and give the checkpoint under which it is.

    Args:
        entry: the entry's canonical bytes.
        proof: a proof, or its dict.
        vkey: the log's verifier key.
        origin: the log it must be of; None accepts every log for which the key signs.
        rotations: the notes by which the log went over from one key to the next.

    Raises:
        ProofError: the proof is malformed, of another entry, of another size than its checkpoint, or does not hold.
        KeyFormatError: the verifier key is malformed.
        NoteError: the checkpoint is malformed, or of another log.
        SignatureError: the checkpoint is not signed by the key.

    """
    if not isinstance(proof, Proof):
        proof = Proof.from_dict(proof)
    if leaf_hash(entry) != proof.leaf_hash:
        raise ProofError("The proof is of another entry: this one has another hash.")
    checkpoint = Keys(vkey, rotations).verify(proof.checkpoint, origin=origin)
    if checkpoint.size != proof.size:
        raise ProofError(f"The proof is for {proof.size} leaves, its checkpoint for {checkpoint.size}.")
    verify_inclusion(proof.leaf_hash, proof.index, proof.size, proof.hashes, checkpoint.root)
    return checkpoint


def _field(data: Mapping[str, Any], name: str, kind: type) -> Any:
    value = data.get(name)
    # True is an int to Python, but no number in JSON.
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ProofError(f"The proof's field {name!r} is missing or of another type.")
    return value


def _hash(text: Any) -> bytes:
    try:
        return from_base64(text)
    except (ValueError, AttributeError) as error:
        raise ProofError("A hash in the proof is not base64.") from error
