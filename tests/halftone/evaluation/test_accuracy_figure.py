"""The accuracy figure: the reference tool's, and its laws."""

from __future__ import annotations

import importlib.util
import itertools
import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halftone.evaluation.accuracy import Accuracy, accuracy, marginals, overlap, sampled
from halftone.evaluation.codes import binned
from halftone.evaluation.columns import load

SHARED = Path(__file__).parents[4] / "shared"
ORDERS = ("uni", "bi", "tri", "overall")


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    path = SHARED / "tools" / "accuracy.py"
    if not path.exists():
        pytest.skip(f"the reference tool is not at {path}")
    spec = importlib.util.spec_from_file_location("reference_accuracy", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def same(ours: Accuracy, reference: dict[str, float]) -> None:
    assert {name: getattr(ours, name) for name in ORDERS} == pytest.approx(reference, abs=1e-4)


@pytest.mark.parametrize("by_name", [True, False])
def test_the_reference_tool_gives_the_same_on_adult(tool: ModuleType, by_name: bool) -> None:
    """On coded Adult, against a shuffled table of another size, all four figures agree, with the numeric columns named or guessed."""
    import pandas as pd

    path = SHARED / "data" / "adult-coded.csv.gz"
    if not path.exists():
        pytest.skip(f"Adult is not at {path}")
    real = pd.read_csv(path).sample(8_000, random_state=0).reset_index(drop=True)
    rng = np.random.default_rng(0)
    synthetic = pd.DataFrame({name: rng.permutation(real[name])[:5_000] for name in real})
    numeric = tool.ADULT_NUMERIC.split(",") if by_name else None
    reference = tool.accuracy(real, synthetic, numeric, 7)
    same(accuracy(pa.Table.from_pandas(real), pa.Table.from_pandas(synthetic), numeric=numeric, seed=7), reference)


def test_the_reference_tool_gives_the_same_with_gaps(tool: ModuleType) -> None:
    """Missing numbers and text, heavy values, values that only one table has, and constants are binned alike."""
    import pandas as pd

    rng = np.random.default_rng(1)

    def table(n: int, shift: int) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "heavy": np.where(rng.random(n) < 0.4, 0, rng.normal(shift, 1, n)),
                "gaps": np.where(rng.random(n) < 0.2, np.nan, rng.normal(0, 1 + shift, n)),
                "text": pd.Series(
                    rng.choice(
                        np.array([None, *(f"v{i}" for i in range(14 + shift))]), n, p=np.r_[0.1, np.full(14 + shift, 0.9 / (14 + shift))]
                    )
                ),
                "few": rng.integers(0, 5 + shift, n),
                "constant": 1,
            }
        )

    real, synthetic = table(3_000, 0), table(2_000, 1)
    # The least frequent of eleven would be an arbitrary choice: give every value a count of its own.
    real["text"] = pd.Series([f"v{i}" for i in range(14) for _ in range(20 * i)] + [None] * 1_180)
    same(accuracy(pa.Table.from_pandas(real), pa.Table.from_pandas(synthetic)), tool.accuracy(real, synthetic))


CELLS = st.none() | st.integers(-5, 5)
FLOATS = st.none() | st.floats(allow_nan=True, allow_infinity=True)
WORDS = st.none() | st.sampled_from("abcdefghijklmnop")


@st.composite
def tables(draw: st.DrawFn, columns: int) -> pa.Table:
    """A table of numbers and words with gaps, NaN and infinities."""
    rows = draw(st.integers(1, 30))
    strategies = itertools.islice(itertools.cycle([CELLS, FLOATS, WORDS]), columns)
    types = itertools.cycle([pa.int64(), pa.float64(), pa.string()])
    arrays = [pa.array(draw(st.lists(cells, min_size=rows, max_size=rows)), next(types)) for cells in strategies]
    return pa.table(arrays, names=[f"c{i}" for i in range(columns)])


@given(st.data(), st.integers(1, 5))
@settings(max_examples=80, deadline=None)
def test_accuracy_is_a_share(data: st.DataObject, columns: int) -> None:
    """Any two tables agree between not at all and wholly, and orders that the table is too narrow for are absent."""
    real, synthetic = data.draw(tables(columns)), data.draw(tables(columns))
    numeric = data.draw(st.sets(st.sampled_from([name for name in real.column_names if real[name].type != pa.string()])))
    found = accuracy(real, synthetic, numeric=numeric)
    assert 0 <= found.overall <= 1
    assert [found.uni is None, found.bi is None, found.tri is None] == [columns < 1, columns < 2, columns < 3]


@given(st.data(), st.integers(1, 5))
@settings(max_examples=80, deadline=None)
def test_a_table_agrees_wholly_with_itself_in_any_order(data: st.DataObject, columns: int) -> None:
    """The order of rows, and how often all of them are repeated, does not matter."""
    real = data.draw(tables(columns))
    order = data.draw(st.permutations(range(real.num_rows)))
    assert accuracy(real, pa.concat_tables([real.take(order)] * 2)).overall == pytest.approx(1.0)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_overlap_is_symmetric_and_a_metric_on_shares(data: st.DataObject) -> None:
    """Either table may come first, and few or many cells make no difference to the figure."""
    codes = st.lists(st.integers(0, 9), min_size=1, max_size=20).map(np.array)
    x, y = data.draw(codes), data.draw(codes)
    assert overlap(x, y, 10) == overlap(y, x, 10)
    assert overlap(x, y, 10) == pytest.approx(overlap(x, y, 10**9))
    expected = sum(min(np.mean(x == code), np.mean(y == code)) for code in range(10))
    assert overlap(x, y, 10) == pytest.approx(expected)


def bins_of(real: pa.Array, synthetic: pa.Array, *, numeric: bool) -> tuple[list[int], list[int]]:
    column = load(pa.table({"a": real}), pa.table({"a": synthetic}), numeric=["a"] if numeric else [])[0]
    found = binned(column)
    assert all(0 <= code < found.size for code in [*found.real, *found.synthetic])
    return found.real.tolist(), found.synthetic.tolist()


def test_heavy_values_have_bins_of_their_own() -> None:
    """A value that more than a tenth of the rows share is told from its neighbours; the rest falls into deciles."""
    real = [0.0] * 50 + [float(n) for n in range(1, 51)]
    codes, others = bins_of(pa.array(real), pa.array([0.0, -1.0, 0.001, 50.0, 1e9, None]), numeric=True)
    assert len(set(codes)) == 11
    assert others[0] == codes[0]
    assert others[1] == others[2] == codes[50]
    assert others[3] == others[4] == codes[-1]
    assert others[5] not in codes


def test_rare_categories_share_a_bin() -> None:
    """The ten most frequent values have a bin each, the others and those never seen share one, and missing has its own."""
    words = [chr(97 + i) for i in range(12) for _ in range(12 - i)]
    codes, others = bins_of(pa.array([*words, None]), pa.array(["k", "l", "new", "a", None]), numeric=False)
    assert len(set(codes)) == 12
    assert others == [10, 10, 10, 0, 11]


def test_whole_numbers_and_doubles_of_one_value_are_equal() -> None:
    """A table in which gaps made a code column float is compared by value."""
    codes, others = bins_of(pa.array([1, 2, 2]), pa.array([2.0, None, 1.0]), numeric=False)
    assert codes == [1, 0, 0]
    assert others == [0, 11, 1]


def test_sampled_sets_are_those_that_listing_all_would_give() -> None:
    """Sets drawn from a wide table are the same as drawn from a list of all of them, which is never made."""
    drawn = np.random.default_rng(5).choice(math.comb(20, 3), 200, replace=False)
    listed = list(itertools.combinations(range(20), 3))
    assert marginals(20, 5)["tri"] == [listed[i] for i in drawn]
    wide = sampled(10_000, 3, 200, np.random.default_rng(0))
    assert len(set(wide)) == 200
    assert all(0 <= i < j < k < 10_000 for i, j, k in wide)
