"""Ed25519 keys of signed notes: their names, ids and spellings (C2SP signed-note v1)."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from halftone.merkle.encoding import from_base64, to_base64
from halftone.merkle.errors import KeyFormatError

_ED25519 = b"\x01"  # the signature type's identifier, in key ids and in verifier keys
_KEY_SIZE = 32


def generate_key() -> Ed25519PrivateKey:
    """Make a new private key from the operating system's randomness."""
    return Ed25519PrivateKey.generate()


def dump_key(key: Ed25519PrivateKey) -> str:
    """Spell a private key: its 32 raw bytes in base64. It is a secret."""
    return to_base64(key.private_bytes_raw())


def load_key(text: str) -> Ed25519PrivateKey:
    """Read a private key as :func:`dump_key` spells it; white space around it is ignored.

    Raises:
        KeyFormatError: it is not 32 bytes in base64. The message does not repeat it.

    """
    try:
        return Ed25519PrivateKey.from_private_bytes(from_base64(text.strip()))
    except ValueError:
        # Without the cause, which may quote a part of the secret.
        raise KeyFormatError("A private key is 32 bytes in base64.") from None


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key with the name under which it signs."""

    #: Who signs, such as ``halftone.example/log``: not empty, without white space, control characters and "+".
    name: str
    #: The key itself.
    key: Ed25519PublicKey

    def __post_init__(self) -> None:
        require_name(self.name)

    @property
    def id(self) -> bytes:
        """The key's id: the first 4 bytes of SHA-256(name || LF || 0x01 || public key)."""
        return sha256(self.name.encode() + b"\n" + _ED25519 + self.key.public_bytes_raw()).digest()[:4]

    def __str__(self) -> str:
        """The key as auditors keep it: ``name+id+base64(0x01 || public key)``, the id in lower-case hexadecimal."""
        return f"{self.name}+{self.id.hex()}+{to_base64(_ED25519 + self.key.public_bytes_raw())}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Read a verifier key; white space around it is ignored.

        Raises:
            KeyFormatError: it is malformed, of another type than Ed25519, or its id is not that of its name and key.

        """
        text = text.strip()
        parts = text.split("+", 2)  # base64 has "+" too
        if len(parts) != 3:
            raise KeyFormatError("A verifier key has the form name+id+key.")
        try:
            data = from_base64(parts[2])
        except ValueError as error:
            raise KeyFormatError("The verifier key's last part is not base64.") from error
        if data[:1] != _ED25519 or len(data) != 1 + _KEY_SIZE:
            raise KeyFormatError("The verifier key is not an Ed25519 key: byte 0x01 and 32 bytes of key.")
        found = cls(parts[0], Ed25519PublicKey.from_public_bytes(data[1:]))
        if found.id.hex() != parts[1]:
            raise KeyFormatError(f"The verifier key's id is {found.id.hex()}, not {parts[1]!r}: its name or key was altered.")
        return found


def verifier_key(name: str, public_key: Ed25519PublicKey) -> str:
    """Spell a public key for auditors: ``name+id+base64(0x01 || public key)``.

    Raises:
        KeyFormatError: the name is empty or has white space, control characters or "+".

    """
    return str(VerifierKey(name, public_key))


def require_name(name: str) -> None:
    """Check a key's name.

    Raises:
        KeyFormatError: it is empty, has Unicode white space, control characters or "+", or is not encodable.

    """
    if not is_name(name):
        raise KeyFormatError(f"A key's name is not empty and has no white space, control characters or '+': {name!r} is none.")


def is_name(name: str) -> bool:
    """Whether a text can be a key's name (C2SP signed-note)."""
    return bool(name) and not any(mark == "+" or mark < " " or mark.isspace() or "\ud800" <= mark <= "\udfff" for mark in name)
