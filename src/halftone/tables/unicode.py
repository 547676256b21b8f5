"""Which encoding a text is in: by its mark, by its zero bytes, or by what makes words of it."""

from __future__ import annotations

import codecs

import charset_normalizer

from halftone.tables.errors import EncodingUnknown

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_COMMON = ("cp1252", "cp1251", "koi8_r", "cp932", "gb18030", "big5", "euc_kr", "euc_jp")
_MOST_CANDIDATES = 5
_LEAD = 0.1
"""By how much the best guess must make more words than the next."""


def wide_encoding(head: bytes) -> str | None:
    """The encoding that a byte order mark names, or UTF-16 where every other byte is nearly always zero."""
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    even, odd = head[0::2], head[1::2]
    if len(odd) >= 4:
        if 0 not in even and odd.count(0) > 0.5 * len(odd):
            return "utf-16-le"
        if 0 not in odd and even.count(0) > 0.5 * len(even):
            return "utf-16-be"
    return None


def guess(sample: bytes) -> str:
    """The encoding that alone makes words of a text which is not UTF-8.

    Encodings that read the sample alike count as one, and a runner-up whose words are nearly as good makes the guess unsure: an
    encoding taken wrongly changes letters in silence. Raises EncodingUnknown, which names the candidates.
    """
    lines = b"\n".join(line for line in sample.split(b"\n") if not line.isascii())
    found = sorted(charset_normalizer.from_bytes(lines), key=lambda match: (-match.coherence, match.chaos))
    if found and found[0].coherence > 0 and (len(found) == 1 or found[0].coherence - found[1].coherence >= _LEAD):
        return _commonest(found[0])
    candidates = tuple(dict.fromkeys(map(_commonest, found)))[:_MOST_CANDIDATES]
    named = f"it may be {', '.join(candidates)}" if candidates else "no encoding that is known makes text of it"
    raise EncodingUnknown(f"{named}: name its encoding, or save it as UTF-8", candidates=candidates)


def _commonest(match: charset_normalizer.CharsetMatch) -> str:
    """Of encodings that read the sample alike, the one that files are most often in."""
    alike = {match.encoding, *match.could_be_from_charset}
    return next((name for name in _COMMON if name in alike), match.encoding)
