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
from halftone.merkle.frontier import Frontier
from halftone.merkle.keys import VerifierKey, dump_key, generate_key, load_key, verifier_key
from halftone.merkle.note import Checkpoint, sign_note, verify_note
from halftone.merkle.note import sign as sign_checkpoint
from halftone.merkle.note import verify as verify_checkpoint
from halftone.merkle.proof import Proof, verify_proof
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
from halftone.merkle.verify import Report, verify_log

__all__ = [
    "EMPTY_ROOT",
    "HASH_SIZE",
    "CanonicalError",
    "Checkpoint",
    "Frontier",
    "KeyFormatError",
    "LogError",
    "MemoryNodes",
    "MissingNodeError",
    "Nodes",
    "NoteError",
    "Proof",
    "ProofError",
    "Report",
    "SignatureError",
    "TamperedError",
    "VerifierKey",
    "appended",
    "canonical",
    "check_canonical",
    "consistency_proof",
    "dump_key",
    "generate_key",
    "inclusion_proof",
    "leaf_hash",
    "load_key",
    "node_hash",
    "root",
    "sign_checkpoint",
    "sign_note",
    "verifier_key",
    "verify_checkpoint",
    "verify_consistency",
    "verify_inclusion",
    "verify_log",
    "verify_note",
    "verify_proof",
]
