"""The mathematics of a transparency log: canonical entries, a Merkle tree, signed checkpoints, proofs. No I/O, no database."""

from __future__ import annotations

from halftone.merkle.canonical import canonical, check_canonical
from halftone.merkle.errors import (
    CanonicalError,
    KeyFormatError,
    LogError,
    MissingNodeError,
    NoteError,
    ProofError,
    SignatureError,
    TamperedError,
)
from halftone.merkle.export import Head, entry_line, verify_export
from halftone.merkle.frontier import Frontier
from halftone.merkle.keys import VerifierKey, dump_key, generate_key, load_key, verifier_key
from halftone.merkle.note import Checkpoint, sign_note, verify_note
from halftone.merkle.note import sign as sign_checkpoint
from halftone.merkle.note import verify as verify_checkpoint
from halftone.merkle.proof import Proof, verify_proof
from halftone.merkle.rotation import Keys, Rotation, sign_rotation, verify_rotation
from halftone.merkle.stretch import Stretch, subtrees
from halftone.merkle.tiles import MOST_ENTRY_BYTES, Tile, entry_bundle, hash_tile, tiles
from halftone.merkle.tree import (
    EMPTY_ROOT,
    HASH_SIZE,
    MemoryNodes,
    Nodes,
    appended,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root,
    verify_consistency,
    verify_inclusion,
)
from halftone.merkle.verify import Report, Row, StoredNodes, verify_log, verify_rows

__all__ = [
    "EMPTY_ROOT",
    "HASH_SIZE",
    "MOST_ENTRY_BYTES",
    "CanonicalError",
    "Checkpoint",
    "Frontier",
    "Head",
    "KeyFormatError",
    "Keys",
    "LogError",
    "MemoryNodes",
    "MissingNodeError",
    "Nodes",
    "NoteError",
    "Proof",
    "ProofError",
    "Report",
    "Rotation",
    "Row",
    "SignatureError",
    "StoredNodes",
    "Stretch",
    "TamperedError",
    "Tile",
    "VerifierKey",
    "appended",
    "canonical",
    "check_canonical",
    "consistency_proof",
    "dump_key",
    "entry_bundle",
    "entry_line",
    "generate_key",
    "hash_tile",
    "inclusion_proof",
    "leaf_hash",
    "load_key",
    "node_hash",
    "root",
    "sign_checkpoint",
    "sign_note",
    "sign_rotation",
    "subtrees",
    "tiles",
    "verifier_key",
    "verify_checkpoint",
    "verify_consistency",
    "verify_export",
    "verify_inclusion",
    "verify_log",
    "verify_note",
    "verify_proof",
    "verify_rotation",
    "verify_rows",
]
