"""Signed notes and checkpoints: the examples of their specifications, round trips, and every kind of forgery."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from halftone.merkle import (
    Checkpoint,
    KeyFormatError,
    LogError,
    NoteError,
    SignatureError,
    VerifierKey,
    dump_key,
    generate_key,
    load_key,
    sign_checkpoint,
    sign_note,
    verifier_key,
    verify_checkpoint,
    verify_note,
)

# The example of Go's golang.org/x/mod/sumdb/note: text, keys and signatures made by that package.
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_SECRET = base64.b64encode(base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]).decode()
PETER_SIGNED = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
ENOCH = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
ENOCH_SIGNED = "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"
NOTE = f"{TEXT}\n{PETER_SIGNED}"

NAME = "halftone.example/log"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
VKEY = verifier_key(NAME, KEY.public_key())
CHECKPOINT = Checkpoint(NAME, 20_852_163, bytes(range(32)))

lines = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30)


def test_the_known_note_verifies() -> None:
    """A note signed by the reference implementation yields its text."""
    assert verify_note(NOTE, PETER) == TEXT


def test_signing_gives_the_known_note() -> None:
    """Ed25519 is deterministic: the same key, name and text give the reference's note, byte for byte."""
    key = load_key(PETER_SECRET)
    assert verifier_key("PeterNeumann", key.public_key()) == PETER
    assert sign_note(TEXT, key, "PeterNeumann") == NOTE


def test_signatures_of_others_are_ignored_and_one_of_ours_is_enough() -> None:
    """A note may bear many signatures: each key finds its own, in any order."""
    for tail in (PETER_SIGNED + ENOCH_SIGNED, ENOCH_SIGNED + PETER_SIGNED):
        assert verify_note(f"{TEXT}\n{tail}", PETER) == verify_note(f"{TEXT}\n{tail}", ENOCH) == TEXT
    with pytest.raises(SignatureError, match="not signed by the key EnochRoot"):
        verify_note(NOTE, ENOCH)


def test_a_wrong_signature_of_ours_condemns_the_note() -> None:
    """Beside a valid one too: a note that contradicts itself is not to be trusted."""
    wrong = PETER_SIGNED.replace("/ZJkuBS9", "/ZJkuBS8")
    with pytest.raises(SignatureError, match="does not fit"):
        verify_note(f"{NOTE}{wrong}", PETER)


@pytest.mark.parametrize(
    "note",
    [
        "",
        TEXT,
        f"{TEXT}\n",
        f"{TEXT}{PETER_SIGNED}",
        NOTE[:-1],
        f"{NOTE}Unexpected line.\n",
        f"\x01{NOTE}",
        f"\ud800{NOTE}",
        NOTE.replace("\n", "\r\n"),
        NOTE.replace("—", "-"),
        NOTE.replace("PeterNeumann", "Peter Neumann"),
        NOTE.replace("PeterNeumann", "Peter+Neumann"),
        NOTE.replace("PeterNeumann", ""),
        NOTE.replace("wJnAM=", "wJnAN="),
        NOTE.replace("wJnAM=", "wJnAM"),
        f"{TEXT}\n— PeterNeumann x08gow==\n",
        f"{TEXT}\n" + 101 * PETER_SIGNED,
        "x" * 1_000_000 + NOTE,
    ],
)
def test_a_malformed_note_is_refused(note: str) -> None:
    """Whatever is not exactly a note is refused before any signature is looked at."""
    with pytest.raises(NoteError):
        verify_note(note, PETER)


@pytest.mark.parametrize("text", ["", "abc", "abc\ttab\n", "\ud800\n"])
def test_a_text_that_cannot_be_a_note_is_not_signed(text: str) -> None:
    """What could not be verified is not signed."""
    with pytest.raises(NoteError):
        sign_note(text, KEY, NAME)


@given(st.lists(lines, min_size=1, max_size=5))
def test_any_text_makes_a_note_and_comes_back(content: list[str]) -> None:
    """Empty lines, em dashes and any script are text like other text."""
    text = "\n".join(content) + "\n"
    assert verify_note(sign_note(text, KEY, NAME), VKEY) == text


@given(st.data())
def test_altering_any_character_of_a_checkpoint_is_found(data: st.DataObject) -> None:
    """No character of a signed checkpoint can be replaced, dropped or doubled."""
    note = sign_checkpoint(CHECKPOINT, KEY, NAME)
    place = data.draw(st.integers(0, len(note) - 1))
    middle = data.draw(st.sampled_from(["", 2 * note[place], "0", "A", "\n", " ", "é"]).filter(lambda text: text != note[place]))
    with pytest.raises(LogError):
        verify_checkpoint(note[:place] + middle + note[place + 1 :], VKEY)


@given(st.integers(0, 10**19 - 1), st.binary(min_size=32, max_size=32), lines.filter(bool))
def test_checkpoints_come_back(size: int, root: bytes, origin: str) -> None:
    """Signing and verifying gives the same checkpoint."""
    checkpoint = Checkpoint(origin, size, root)
    assert verify_checkpoint(sign_checkpoint(checkpoint, KEY, NAME), VKEY, origin=origin) == checkpoint


def test_a_checkpoint_has_the_specified_text() -> None:
    """Origin, size and root, a line each: the text of the example in C2SP tlog-checkpoint."""
    root = base64.b64decode("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=")
    text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    assert str(Checkpoint("example.com/behind-the-sofa", 20_852_163, root)) == text
    assert Checkpoint.parse(f"{text}an extension\n") == Checkpoint.parse(text)


@pytest.mark.parametrize(
    ("size", "root"),
    [
        ("01", None),
        ("-1", None),
        ("+1", None),
        ("1.0", None),
        ("", None),
        ("٣", None),
        ("1" * 20, None),
        ("1", "AAAA"),
        ("1", "!"),
        ("1", ""),
    ],
)
def test_a_signed_text_that_is_no_checkpoint_is_refused(size: str, root: str | None) -> None:
    """A valid signature does not make a checkpoint: sizes and roots have one spelling."""
    root = base64.b64encode(bytes(32)).decode() if root is None else root
    with pytest.raises(NoteError):
        verify_checkpoint(sign_note(f"{NAME}\n{size}\n{root}\n", KEY, NAME), VKEY)


@pytest.mark.parametrize("text", ["a\n1\n", "\n1\nAAAA\n", f"{CHECKPOINT}\n", f"{CHECKPOINT}\nextension\n"])
def test_a_checkpoint_with_missing_or_empty_lines_is_refused(text: str) -> None:
    """Three lines at least, and none of them empty."""
    with pytest.raises(NoteError, match="three lines"):
        verify_checkpoint(sign_note(text, KEY, NAME), VKEY)


@pytest.mark.parametrize(
    ("origin", "size", "root"), [("", 1, bytes(32)), ("a\nb", 1, bytes(32)), ("a", -1, bytes(32)), ("a", 1, bytes(31))]
)
def test_an_impossible_checkpoint_cannot_be_made(origin: str, size: int, root: bytes) -> None:
    """What could not be read back cannot be signed."""
    with pytest.raises(NoteError):
        Checkpoint(origin, size, root)


def test_a_checkpoint_of_another_log_is_refused() -> None:
    """One key may sign for several logs: the origin says for which."""
    note = sign_checkpoint(CHECKPOINT, KEY, NAME)
    with pytest.raises(NoteError, match=r"not 'other\.example/log'"):
        verify_checkpoint(note, VKEY, origin="other.example/log")


def test_another_key_of_the_same_name_is_refused() -> None:
    """A name is no key: a replaced key is found, also when the forger copies the old key's id."""
    forger = generate_key()
    forged = sign_checkpoint(CHECKPOINT, forger, NAME)
    with pytest.raises(SignatureError, match="not signed by the key"):
        verify_checkpoint(forged, VKEY)
    signature = base64.b64encode(VerifierKey.parse(VKEY).id + forger.sign(str(CHECKPOINT).encode())).decode()
    with pytest.raises(SignatureError, match="does not fit"):
        verify_checkpoint(f"{CHECKPOINT}\n— {NAME} {signature}\n", VKEY)


def test_the_same_key_under_another_name_is_refused() -> None:
    """Name and key together make the identity."""
    with pytest.raises(SignatureError, match="not signed by the key"):
        verify_checkpoint(sign_checkpoint(CHECKPOINT, KEY, "other.example/log"), VKEY)


def test_every_part_and_every_mangling_of_a_verifier_key_is_refused() -> None:
    """The id binds name and key: what was cut or mistyped is not taken for a key."""
    parts = {PETER[i:j] for i in range(len(PETER)) for j in range(i, len(PETER) + 1)} - {PETER}
    mangled = {PETER[:i] + chr(ord(PETER[i]) + 1) + PETER[i + 1 :] for i in range(len(PETER))}
    adjusted = {"PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==", PETER.replace("c74f", "C74F")}
    other_type = {"PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"}
    for text in parts | mangled | adjusted | other_type:
        with pytest.raises(KeyFormatError):
            VerifierKey.parse(text)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u00a0b", "a\nb", "a\x01b", "\ud800"])
def test_a_name_that_would_not_parse_is_refused(name: str) -> None:
    """Names go into lines split at spaces and keys split at plus signs."""
    with pytest.raises(KeyFormatError, match="name"):
        verifier_key(name, KEY.public_key())
    with pytest.raises(KeyFormatError, match="name"):
        sign_checkpoint(CHECKPOINT, KEY, name)


def test_private_keys_come_back_and_differ() -> None:
    """A key survives its file, with or without a newline at the end; no two are alike."""
    key = generate_key()
    assert load_key(f"{dump_key(key)}\n").private_bytes_raw() == key.private_bytes_raw()
    assert dump_key(key) != dump_key(generate_key())


@pytest.mark.parametrize("text", ["", "c2VjcmV0", "no base64 but secret", dump_key(KEY)[:-1], "é"])
def test_a_malformed_private_key_is_refused_without_repeating_it(text: str) -> None:
    """Errors end up in logs; secrets must not."""
    with pytest.raises(KeyFormatError) as caught:
        load_key(text)
    assert not text or text not in str(caught.value)
    assert caught.value.__cause__ is None
