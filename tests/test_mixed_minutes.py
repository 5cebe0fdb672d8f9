"""Synthetic and real minutes of a symbol meet: the one way is refused, the other replaces them."""

from pathlib import Path

import pytest

from etl.base.errors import StoreError
from etl.settings import Settings
from tests.minutes import load_rows, look_at, make_row, use_folder

FIRST, SECOND = "2013-02-28T14:30Z", "2013-02-28T14:31Z"


def read_stored(settings: Settings) -> dict[str, tuple[int, tuple[str, ...]]]:
    with look_at(settings) as snapshot:
        found = snapshot.instruments.items()
        return {symbol: (each.bars, each.sources) for (symbol, _), each in found}


def test_real_minutes_take_the_place_of_the_synthetic_ones_of_their_symbol(
    data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = use_folder(data_dir)
    made = [make_row(FIRST, symbol=symbol, source="synthetic") for symbol in ("AAPL", "IBM")]
    load_rows(settings, made)
    record = load_rows(settings, [make_row(SECOND, source="alpaca")])
    assert read_stored(settings) == {"AAPL": (1, ("alpaca",)), "IBM": (1, ("synthetic",))}
    assert (record["inserted"], record["replaced"]) == (1, ["AAPL"])
    assert "the stored minutes of AAPL are synthetic, and real ones come" in caplog.text
    with look_at(settings) as snapshot:
        assert snapshot.revisions("AAPL", "1m", None, None).num_rows == 0, "never were known"


def test_a_symbol_of_which_both_come_is_refused_whole(data_dir: Path) -> None:
    settings = use_folder(data_dir)
    load_rows(settings, [make_row(FIRST, source="synthetic")])
    both = [make_row(FIRST, source="alpaca"), make_row(SECOND, source="synthetic")]
    with pytest.raises(StoreError, match="never stand beside each other"):
        load_rows(settings, both)
    assert read_stored(settings) == {"AAPL": (1, ("synthetic",))}


def test_synthetic_minutes_do_not_come_beside_real_ones(data_dir: Path) -> None:
    settings = use_folder(data_dir)
    load_rows(settings, [make_row(FIRST, source="alpaca")])
    both = [make_row(FIRST, symbol=symbol, source="synthetic") for symbol in ("AAPL", "IBM")]
    with pytest.raises(
        StoreError, match="stored minutes of AAPL are real, and those that come are synthetic"
    ):
        load_rows(settings, both)
    assert read_stored(settings) == {"AAPL": (1, ("alpaca",))}, "nothing of the other symbol"
    load_rows(settings, both[1:])
    assert read_stored(settings)["IBM"] == (1, ("synthetic",))
