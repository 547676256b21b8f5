"""The rows of one user that count: a bound on what anybody contributes, kept in silence."""

from __future__ import annotations

import numpy as np
import pyarrow as pa


def bounded(table: pa.Table, column: str, most: int) -> pa.Table:
    """The first ``most`` rows of each user, in the table's order; rows that name no user are left out.

    Which rows of a user stay depends on no other user: with one user more or less, that user's rows alone come or go. Rows without a user
    could not be told apart, and leaving one out could let another in. Raises KeyError for an unknown column.
    """
    users = table.column(column).combine_chunks().dictionary_encode()
    if isinstance(users, pa.ChunkedArray):
        users = users.combine_chunks()
    codes = users.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    order = np.argsort(codes, kind="stable")
    ordered = codes[order]
    first = np.concatenate([[True], ordered[1:] != ordered[:-1]]) if len(ordered) else np.zeros(0, bool)
    begins = np.maximum.accumulate(np.where(first, np.arange(len(ordered)), 0)) if len(ordered) else np.zeros(0, np.int64)
    kept = np.zeros(len(codes), bool)
    kept[order] = (np.arange(len(ordered)) - begins < most) & (ordered >= 0)
    return table.filter(pa.array(kept))
