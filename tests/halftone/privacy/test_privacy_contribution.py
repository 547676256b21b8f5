"""The rows of a user that count."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from halftone.privacy.contribution import bounded

users = st.lists(st.sampled_from(["a", "b", "c", None]), max_size=30)


@given(users, st.integers(1, 4))
def test_the_first_rows_of_each_user_stay(names: list[str | None], most: int) -> None:
    """In their order; rows of nobody go."""
    table = pa.table({"user": pa.array(names, pa.string()), "n": range(len(names))})
    seen: Counter[str | None] = Counter()
    wanted = [n for n, name in enumerate(names) if name is not None and (seen.update([name]) or seen[name] <= most)]
    assert bounded(table, "user", most)["n"].to_pylist() == wanted


@given(users, st.sampled_from(["a", "b", "c"]), st.integers(1, 4))
def test_a_user_less_takes_that_users_rows_along_and_no_others(names: list[str | None], gone: str, most: int) -> None:
    """Whoever else is in the table does not show in which rows of somebody stay."""
    table = pa.table({"user": pa.array(names, pa.string()), "n": range(len(names))})
    rest = table.filter(pa.array([name != gone for name in names], pa.bool_()))
    kept = bounded(table, "user", most)
    assert bounded(rest, "user", most)["n"].to_pylist() == [
        n for n, name in zip(kept["n"].to_pylist(), kept["user"].to_pylist(), strict=True) if name != gone
    ]


def test_users_may_be_numbers_and_tables_in_pieces() -> None:
    """A column of any type, in chunks, or with no rows."""
    table = pa.table({"user": pa.chunked_array([[1, 1], [2, 1]]), "n": [0, 1, 2, 3]})
    assert bounded(table, "user", 1)["n"].to_pylist() == [0, 2]
    assert bounded(table.slice(0, 0), "user", 1).num_rows == 0
    with pytest.raises(KeyError):
        bounded(table, "nobody", 1)
