#!/usr/bin/env python3
"""Check an exported Halftone log with nothing but Python (3.8 or later): no package, no server, no network.

    python verify_log.py log.jsonl --key public-key [--since checkpoint-of-yesterday ...]
    python verify_log.py --proof proof.json --key public-key

It recomputes the RFC 9162 Merkle tree from the entries, compares its root with the one in the signed checkpoint (C2SP tlog-checkpoint,
Ed25519) and, with --since, sees that what was signed then is a prefix of what there is now. The exit code is 0 if all holds, 1 if not
(the message then names the first bad entry, or those among which it is), 2 if it could not be checked. It shares no code with Halftone.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import re
import sys
from typing import Any, Iterable, Sequence, Tuple  # Python 3.8 has them here

# Ed25519 (RFC 8032, section 5.1), verification only, on extended coordinates. Nothing here is secret: speed may depend on the data.
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
Point = Tuple[int, int, int, int]
"""X, Y, Z and T with x = X/Z, y = Y/Z, x·y = T/Z."""
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)


def _sum(a: Point, b: Point) -> Point:
    x = (a[1] - a[0]) * (b[1] - b[0]) % P
    y = (a[1] + a[0]) * (b[1] + b[0]) % P
    t = 2 * a[3] * b[3] * D % P
    z = 2 * a[2] * b[2] % P
    e, f, g, h = y - x, z - t, z + t, y + x
    return e * f % P, g * h % P, f * g % P, e * h % P


def _times(n: int, point: Point) -> Point:
    found: Point = (0, 1, 1, 0)
    while n:
        if n & 1:
            found = _sum(found, point)
        point = _sum(point, point)
        n >>= 1
    return found


def _point(data: bytes) -> Point | None:
    """The point that 32 bytes stand for; None if they stand for none."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if y >= P:
        return None
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * ROOT_OF_MINUS_ONE % P
    if (x * x - x2) % P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


_FOUND = _point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))
BASE = _FOUND or (0, 1, 1, 0)


def ed25519_verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether a signature of 64 bytes is that of the key of 32 bytes over a message."""
    if len(public) != 32 or len(signature) != 64:
        return False
    key, r, s = _point(public), _point(signature[:32]), int.from_bytes(signature[32:], "little")
    if key is None or r is None or s >= L:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    left, right = _times(s, BASE), _sum(r, _times(h, key))
    return (left[0] * right[2] - right[0] * left[2]) % P == 0 and (left[1] * right[2] - right[1] * left[2]) % P == 0


class Bad(Exception):
    """The log, or something said of it, does not hold; the first bad entry is ``first``, or one after it and before ``last``."""

    def __init__(self, message: str, first: int | None = None, last: int | None = None) -> None:
        super().__init__(message)
        self.first, self.last = first, last


class Unusable(Exception):
    """What was given cannot be checked."""


def b64(text: str) -> bytes:
    """The bytes of standard, padded base64 in its one spelling."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (ValueError, AttributeError):
        raise Bad("something that should be base64 is not") from None
    if base64.b64encode(data).decode() != text:
        raise Bad("something that should be base64 is not in its one spelling")
    return data


def key_of(text: str) -> tuple[str, bytes, bytes]:
    """Name, id and public key of 'name+id+key' (C2SP signed-note)."""
    parts = text.strip().split("+", 2)
    data = b64(parts[2]) if len(parts) == 3 else b""
    if len(data) != 33 or data[0] != 1:
        raise Unusable(f"the public key has not the form name+id+key of an Ed25519 key: {text[:80]!r}")
    found = hashlib.sha256(parts[0].encode() + b"\n" + data).digest()[:4]
    if found.hex() != parts[1]:
        raise Unusable("the public key's id does not fit its name and key: one of them was altered")
    return parts[0], found, data[1:]


def note_of(note: str, key: str) -> str | None:
    """The text of a note that the key has signed; None if the key has not. Raises Bad for a signature that is wrong."""
    name, key_id, public = key_of(key)
    text, separator, tail = note.rpartition("\n\n")
    if not separator or not tail.endswith("\n"):
        raise Bad("a signed note is malformed: it should be a text, an empty line, and lines of signatures")
    text += "\n"
    signed = False
    for line in tail[:-1].split("\n"):
        parts = line.split(" ")
        if len(parts) != 3 or parts[0] != "\u2014":
            raise Bad(f"a signed note has a line that is no signature: {line[:80]!r}")
        data = b64(parts[2])
        if parts[1] == name and data[:4] == key_id:
            if not ed25519_verify(public, text.encode(), data[4:]):
                raise Bad(f"the signature of {name}+{key_id.hex()} does not fit the text")
            signed = True
    return text if signed else None


def checkpoint_of(text: str) -> tuple[str, int, bytes]:
    """Origin, size and root."""
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] or not re.match(r"(0|[1-9][0-9]{0,18})\Z", lines[1]) or len(b64(lines[2])) != 32:
        raise Bad("a checkpoint is malformed: it should be origin, size and root, a line each")
    return lines[0], int(lines[1]), b64(lines[2])


class Keys:
    """The log's keys, from one that is trusted on, by rotations that both the old and the new key have signed."""

    def __init__(self, trusted: str, rotations: Iterable[str]) -> None:
        trusted = trusted.strip()
        key_of(trusted)
        self.turns: list[tuple[str, str, tuple[str, int, bytes]]] = []
        for note in rotations:
            lines = note.split("\n")
            if lines[0] != "halftone/key-rotation/v1" or len(lines) < 7:
                raise Bad("a key rotation is malformed")
            if any(note_of(note, key) is None for key in lines[1:3]):
                raise Bad("a key rotation is not signed by both of its keys")
            self.turns.append((lines[1], lines[2], checkpoint_of("\n".join(lines[3:6]) + "\n")))
        self.turns.sort(key=lambda turn: turn[2][1])
        chain = [self.turns[0][0]] + [turn[1] for turn in self.turns] if self.turns else [trusted]
        if trusted not in chain or any(a[1] != b[0] for a, b in zip(self.turns, self.turns[1:])):
            raise Bad("the log was not signed with this key, or its key rotations are no chain from it")
        sizes = [turn[2][1] for turn in self.turns]
        self.known = list(zip(chain, [0, *sizes], [*sizes, 10**19]))

    def checkpoint(self, note: str) -> tuple[str, int, bytes]:
        """Origin, size and root of a checkpoint that the key of its time has signed."""
        for key, first, last in reversed(self.known):
            text = note_of(note, key)
            if text is not None:
                found = checkpoint_of(text)
                if not first <= found[1] <= last:
                    raise Bad(f"a checkpoint of {found[1]} entries is signed with a key that signed those of {first} to {last}")
                return found
        raise Bad("the checkpoint is not signed with this key")


class Tree:
    """The roots of the complete subtrees of a growing RFC 9162 tree."""

    def __init__(self) -> None:
        self.size = 0
        self.peaks: list[bytes] = []

    def add(self, level: int, value: bytes) -> None:
        carry = self.size >> level
        while carry & 1:
            value = hashlib.sha256(b"\x01" + self.peaks.pop() + value).digest()
            carry >>= 1
        self.peaks.append(value)
        self.size += 1 << level

    def cover(self, end: int, hashes: Iterable[str]) -> None:
        """Append the fewest complete subtrees that reach from here to an end."""
        left = [b64(value) for value in hashes]
        while self.size < end and left:
            level = (end - self.size).bit_length() - 1
            if self.size:
                level = min(level, (self.size & -self.size).bit_length() - 1)
            self.add(level, left.pop(0))
        if self.size != end or left:
            raise Bad("the head has not as many hashes as its bounds require")

    def root(self) -> bytes:
        if not self.peaks:
            return hashlib.sha256(b"").digest()
        found = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            found = hashlib.sha256(b"\x01" + peak + found).digest()
        return found


LINE = re.compile(rb'\{"entry":(\{.*\}),"index":(0|[1-9][0-9]{0,18}),"leaf":"([0-9a-f]{64})"\}\Z', re.DOTALL)


def leaf_of(line: bytes, index: int) -> bytes:
    """The leaf hash of one line, which must be in its place and fit what is recorded in it."""
    match = LINE.match(line[:-1] if line.endswith(b"\n") else line)
    if match is None:
        raise Bad(f"entry {index} is not written as an export writes entries", index)
    if int(match.group(2)) != index:
        raise Bad(f"entry {index} is missing: entry {int(match.group(2))} is in its place", index)
    leaf = hashlib.sha256(b"\x00" + match.group(1)).digest()
    if leaf.hex() != match.group(3).decode():
        raise Bad(f"entry {index} does not have the hash that was recorded for it", index)
    return leaf


def marks_of(keys: Keys, head: dict[str, Any], since: list[str]) -> dict[int, bytes]:
    """The root at every size at which the log must pass a checkpoint."""
    marks: dict[int, bytes] = {}
    origin = keys.checkpoint(head["checkpoint"])[0]
    turns = [turn[2] for turn in keys.turns if turn[2][1] <= head["size"]]
    for name, size, root in [*map(keys.checkpoint, [head["checkpoint"], *since]), *turns]:
        if name != origin:
            raise Bad(f"a checkpoint is of another log: {name!r}, not {origin!r}")
        if marks.setdefault(size, root) != root:
            raise Bad(f"two signed checkpoints of {size} entries contradict each other: the log was forked", 0, size)
    return marks


class Progress:
    """Compares a growing tree with the checkpoints that it must pass, and knows up to where it is proven."""

    def __init__(self, keys: Keys, marks: dict[int, bytes], hints: Iterable[str]) -> None:
        self.keys, self.marks, self.proven = keys, marks, 0
        # Checking a signature takes much longer than hashing: these are only to tell where a log that does not hold goes wrong.
        self.hints = {checkpoint_of(note.rpartition("\n\n")[0] + "\n")[1]: note for note in hints}

    def look(self, tree: Tree) -> None:
        """Compare with what was signed of this size, if anything was."""
        root = self.marks.get(tree.size)
        if root is None and tree.size in self.hints:
            note = self.hints[tree.size]
            root = checkpoint_of(note.rpartition("\n\n")[0] + "\n")[2]
            if root != tree.root():
                root = self.keys.checkpoint(note)[2]
        if root is None:
            return
        if root != tree.root():
            raise Bad(f"entries {self.proven} to {max(tree.size - 1, 0)} are not those that were signed", self.proven, tree.size)
        self.proven = tree.size


def verify_export(lines: Iterable[bytes], key: str, since: Sequence[str] = ()) -> tuple[int, bytes, int]:
    """Check the lines of an export. Returns (size, root, entries read). Raises Bad or Unusable."""
    lines = iter(lines)
    try:
        head = json.loads(next(lines, b""))
        start, end, size = head["start"], head["end"], head["size"]
        if head["format"] != "halftone-log/1" or not 0 <= start <= end <= size:
            raise KeyError("format")
        keys = Keys(key, head["rotations"])
        _, signed, root = keys.checkpoint(head["checkpoint"])
        left, right = head["left"], head["right"]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Unusable("the first line is not the head of an exported log (halftone-log/1)") from None
    if signed != size:
        raise Bad(f"the head tells of {size} entries, its checkpoint of {signed}")
    whole = (start, end) == (0, size)
    if since and not whole:
        raise Unusable("--since needs a whole log, and this is a stretch of one")
    marks = marks_of(keys, head, list(since)) if whole else {}
    progress = Progress(keys, marks, head["checkpoints"] if whole else ())
    tree = Tree()
    tree.cover(start, left)
    progress.look(tree)
    for line in lines:
        if tree.size >= max(end, *marks, 0):
            raise Bad(f"there are entries from {tree.size} on that nothing vouches for", tree.size)
        tree.add(0, leaf_of(line, tree.size))
        progress.look(tree)
    expected = max(end, *marks, 0)
    if tree.size < expected:
        raise Bad(f"the log ends before entry {tree.size}, and {expected} entries were signed", tree.size)
    entries = tree.size - start
    tree.cover(max(size, tree.size), right)
    if not whole and tree.root() != root:
        raise Bad(f"entries {start} to {max(end - 1, start)} are not those that were signed", start, end)
    return size, root, entries


def canonical(value: Any) -> str:
    """RFC 8785 of what a log's entries hold: objects, lists, strings, whole numbers, true, false and null."""
    if isinstance(value, dict):
        pairs = sorted(value.items(), key=lambda pair: pair[0].encode("utf-16-be"))
        return "{" + ",".join(canonical(name) + ":" + canonical(each) for name, each in pairs) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, float):
        raise Unusable("the entry has a fraction, which this does not spell: use 'halftone audit verify --proof'")
    return json.dumps(value, ensure_ascii=False)


def verify_proof(bundle: dict[str, Any], key: str) -> tuple[int, int, bytes]:
    """Check one inclusion proof, as the API serves it. Returns (index, size, root). Raises Bad or Unusable."""
    try:
        index, size, hashes, entry = bundle["index"], bundle["size"], [b64(value) for value in bundle["hashes"]], bundle["entry"]
        _, signed, root = Keys(key, bundle.get("rotations", [])).checkpoint(bundle["checkpoint"])
    except (KeyError, TypeError, AttributeError):
        raise Unusable("this is not a proof as GET /v1/audit/proofs serves it") from None
    if signed != size or not 0 <= index < size:
        raise Bad(f"the proof is for {size!r} entries, its checkpoint for {signed}")
    found, place, last = hashlib.sha256(b"\x00" + canonical(entry).encode()).digest(), index, size - 1
    for value in hashes:
        if not last:
            raise Bad("the proof has more hashes than it should", index)
        if place & 1 or place == last:
            found = hashlib.sha256(b"\x01" + value + found).digest()
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            found = hashlib.sha256(b"\x01" + found + value).digest()
        place, last = place >> 1, last >> 1
    if last or found != root:
        raise Bad(f"the proof does not lead from entry {index} to the signed root", index)
    return index, size, root


def text_of(given: str) -> str:
    """The text of a file, or what was given if it is a key itself."""
    if re.match(r"[^\s+]+\+[0-9a-f]{8}\+[A-Za-z0-9+/=]+\Z", given):
        return given
    try:
        with open(given, encoding="utf-8", newline="") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise Unusable(f"{given} cannot be read: {error}") from None


def check(arguments: argparse.Namespace) -> str:
    """Do what was asked. Returns what to say."""
    key = text_of(arguments.key)
    if arguments.proof:
        try:
            bundle = json.loads(text_of(arguments.proof))
        except ValueError:
            raise Unusable(f"{arguments.proof} is not JSON") from None
        index, size, root = verify_proof(bundle, key)
        return f"proved: entry {index} is in the log of {size} entries, root {root.hex()}"
    if not arguments.export:
        raise Unusable("name an exported log, or a proof with --proof")
    try:
        with open(arguments.export, "rb") as file:
            size, root, entries = verify_export(file, key, [text_of(name) for name in arguments.since])
    except OSError as error:
        raise Unusable(f"{arguments.export} cannot be read: {error}") from None
    return f"verified: {entries} of {size} entries, root {root.hex()}"


def main(given: list[str] | None = None) -> int:
    """Check, say what was found, and give the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("export", nargs="?", help="the exported log, JSON lines")
    parser.add_argument("--key", required=True, help="the log's public key, or the file that holds it")
    parser.add_argument("--since", action="append", default=[], help="a checkpoint that was kept from before; may be repeated")
    parser.add_argument("--proof", help="one inclusion proof, to be checked instead of a log")
    try:
        sys.stdout.write(check(parser.parse_args(given)) + "\n")
    except Bad as bad:
        where = "" if bad.first is None else f" (first bad entry: {bad.first})"
        if bad.first is not None and bad.last is not None and bad.last - bad.first > 1:
            where = f" (first bad entry: one of {bad.first} to {bad.last - 1})"
        sys.stderr.write(f"the log does not hold: {bad}{where}\n")
        return 1
    except Unusable as error:
        sys.stderr.write(f"not checked: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
