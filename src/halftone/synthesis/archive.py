"""Measurements and models as bytes: a JSON header and numpy arrays in one zip, nothing that could run code when it is read."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]
_HEADER = "header.json"


def pack(kind: str, header: Mapping[str, Any], arrays: Arrays) -> bytes:
    """One archive; the same content gives the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        text = json.dumps({"kind": kind, "version": 1, **header}, sort_keys=True)
        archive.writestr(zipfile.ZipInfo(_HEADER), text)
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue(), zipfile.ZIP_DEFLATED, 1)
    return buffer.getvalue()


def unpack(kind: str, data: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Header and arrays. Raises ValueError if the bytes are no archive of that kind, or of a version not known here."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            header = json.loads(archive.read(_HEADER))
            names = [name for name in archive.namelist() if name.endswith(".npy")]
            arrays = {
                name.removesuffix(".npy"): np.lib.format.read_array(io.BytesIO(archive.read(name)), allow_pickle=False) for name in names
            }
    except (zipfile.BadZipFile, KeyError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"these bytes are no {kind}") from error
    if not isinstance(header, dict) or (header.get("kind"), header.get("version")) != (kind, 1):
        raise ValueError(f"these bytes are no {kind} of version 1")
    return header, arrays
