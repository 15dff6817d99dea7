"""Windows: rows in place, what becomes of them, and what is computed from them."""

import math
import os
import pickle
import sys
import tracemalloc
from datetime import timedelta

import numpy as np
import pytest
import segment

import cobring

NS = 1_000_000_000


def bar(writer, second, close=None, window="candles.1s", closed=None):
    close = 100.0 + second if close is None else close
    return writer.append(window, open_time=second * NS, ts_closed=(second + 1) * NS if closed is None else closed,
                         open=close - 1, high=close + 2, low=close - 2, close=close, volume=second)


@pytest.fixture
def bars(writer, eth):
    """Six bars, of which four are promised."""
    for second in range(6):
        bar(writer, second)
    segment.good(writer)
    return eth.latest().candles["1s"]


def test_rows_are_the_last_promised_ones(bars):
    assert len(bars) == 4
    assert bars[:]["open_time"].tolist() == [2 * NS, 3 * NS, 4 * NS, 5 * NS]
    assert bars.last(2)["close"].tolist() == [104.0, 105.0]
    assert bars[-1]["close"] == 105.0 and bars[0]["close"] == 102.0
    assert bars[-300:].shape == (4,)
    assert bars[1:3]["volume"].tolist() == [3.0, 4.0]
    assert bars[::-2]["volume"].tolist() == [5.0, 3.0]
    assert bars[3:1].shape == (0,)
    with pytest.raises(IndexError, match="row 4 of candles.1s, which has 4"):
        bars[4]
    with pytest.raises(cobring.NotEnough, match="rows of candles.1s: found 4, wanted 5") as caught:
        bars.last(5)
    assert (caught.value.found, caught.value.wanted) == (4, 5)


def test_rows_follow_one_another_across_the_end_of_the_ring(writer, eth):
    for second in range(21):
        bar(writer, second)
        segment.good(writer)
        rows = eth.latest().candles["1s"][:]
        wanted = list(range(max(0, second - 3), second + 1))
        assert rows["volume"].tolist() == wanted


def mapping_of(address):
    """The line of /proc/self/maps that an address lies in."""
    for line in open("/proc/self/maps"):
        begin, end = (int(part, 16) for part in line.split()[0].split("-"))
        if begin <= address < end:
            return line
    return ""


def test_rows_lie_in_the_segment_and_are_read_only(bars):
    rows = bars.last(3)
    line = mapping_of(rows.__array_interface__["data"][0])
    assert "ETHUSDT" in line and "r--s" in line
    assert not rows.flags.writeable and not rows.flags.owndata
    assert np.shares_memory(rows["close"], bars.matrix("ohlcv"))
    with pytest.raises(ValueError):
        rows["close"][0] = 1
    with pytest.raises(ValueError):
        rows.flags.writeable = True


def test_rows_are_never_copied(writer, eth):
    for second in range(6):
        bar(writer, second)
    segment.good(writer)
    frame = eth.latest()
    bars = frame.candles["1s"]
    bars.last(4), bars.matrix("ohlcv")
    tracemalloc.start()
    before = tracemalloc.take_snapshot()
    held = [(bars.last(4), bars[-3:], bars.matrix("ohlcv"), bars[:]["close"]) for _ in range(50)]
    after = tracemalloc.take_snapshot()
    tracemalloc.stop()
    # numpy reports the memory of its arrays in a domain of its own.
    numpy_data = tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)
    copied = after.filter_traces([numpy_data]).compare_to(before.filter_traces([numpy_data]), "lineno")
    assert sum(change.size_diff for change in copied) == 0
    assert len(held) == 50


def test_the_mapping_lives_as_long_as_the_rows(writer, shm):
    bar(writer, 7)
    segment.good(writer)
    rows = cobring.open("ETHUSDT", dir=shm).latest().candles["1s"].last(1)["close"]
    writer.retire()
    os.unlink(writer.path)
    assert rows.tolist() == [107.0]
    assert "deleted" in mapping_of(rows.__array_interface__["data"][0])


def test_rows_know_when_they_are_overwritten(writer, eth):
    for second in range(4):
        bar(writer, second)
    segment.good(writer)
    frame = eth.latest()
    rows, last, column = frame.candles["1s"][:], frame.candles["1s"].last(1), frame.candles["1s"][1:]["close"]
    for second in range(4, 8):
        bar(writer, second)
    assert rows.intact() and frame.intact() and frame.candles["1s"].intact()
    assert rows.copy()["volume"].tolist() == [0, 1, 2, 3]
    bar(writer, 8)
    assert not rows.intact() and not frame.intact()
    assert column.intact() and last.intact()
    with pytest.raises(cobring.Lapped, match="window candles.1s: rows from 0 on were asked for") as caught:
        rows.copy()
    assert caught.value.lost == 1
    assert last.copy()["volume"].tolist() == [3]
    with pytest.raises(cobring.Lapped):
        pickle.dumps(rows)
    # The promise was kept: what is still there is still to be had.
    assert len(frame.candles["1s"]) == 3


def test_a_row_that_is_being_overwritten_counts_as_gone(writer, eth):
    for second in range(8):
        bar(writer, second)
    segment.good(writer)
    rows = eth.latest().candles["1s"].last(4)
    state = writer.state("candles.1s")
    state[segment.BEGUN] = 12
    assert rows.intact()
    state[segment.BEGUN] = 13
    assert not rows.intact()


def test_a_repair_is_told_apart(writer, eth):
    for second in range(3):
        bar(writer, second)
    segment.good(writer)
    frame = eth.latest()
    rows = frame.candles["1s"][:]
    writer.rewrite("candles.1s", 1, close=7.0)
    assert not rows.intact() and not frame.intact()
    with pytest.raises(cobring.Repaired, match="a repair has made it 2; take the next frame"):
        rows.copy()
    with pytest.raises(cobring.Lapped):
        frame.candles["1s"].last(1)
    segment.good(writer)
    assert eth.latest().candles["1s"][1]["close"] == 7.0
    writer.state("candles.1s")[segment.REVISION] = 3
    segment.good(writer)
    with pytest.raises(cobring.Repaired):
        eth.latest().candles["1s"].last(1)


def test_a_restored_window_does_not_show_what_was_never_written(writer, eth):
    state = writer.state("candles.1s")
    state[segment.FIRST] = state[segment.BEGUN] = state[segment.DONE] = 100
    bar(writer, 5)
    segment.good(writer)
    assert len(eth.latest().candles["1s"]) == 1
    with pytest.raises(cobring.NotEnough, match="found 1, wanted 2"):
        eth.latest().candles["1s"].last(2)


def test_a_matrix_is_a_strided_view(bars):
    matrix = bars.matrix("ohlcv")
    assert matrix.shape == (4, 5) and matrix.dtype == np.float64
    assert matrix.strides == (96, 8) and matrix.base is not None and not matrix.flags.owndata
    assert matrix[-1].tolist() == [104.0, 107.0, 103.0, 105.0, 5.0]
    assert bars.matrix("ohlcv", 2).shape == (2, 5)
    assert bars.matrix(["open", "close"])[0].tolist() == [101.0, 102.0]
    assert bars.matrix(["close"]).shape == (4, 1)
    with pytest.raises(ValueError, match="do not lie evenly spaced"):
        bars.matrix(["open", "high", "volume"])
    with pytest.raises(cobring.SchemaMismatch, match='no column "soul"'):
        bars.matrix(["soul"])


def test_computing_gives_ordinary_arrays(bars):
    rows = bars[:]
    assert type(rows) is type(rows["close"]) is cobring.Rows
    assert type(rows["close"] * 2) is np.ndarray
    assert float(rows["close"].mean()) == 103.5
    assert type(rows.copy()) is np.ndarray
    assert type(pickle.loads(pickle.dumps(rows))) is np.ndarray
    assert rows.to_dict()["volume"].tolist() == [2, 3, 4, 5]
    assert "intact=True" in repr(rows)


def test_since_selects_by_time_and_states_its_span(writer, eth):
    for second in range(6):
        writer.append("ticks", ts_recv=second * NS, px=second)
    segment.good(writer, times__ts_recv=6 * NS)
    ticks = eth.latest().ticks
    for span, first, complete, covered in [
        ("2s", 4, True, 2), (3.5, 3, True, 3.5), (timedelta(seconds=4), 2, True, 4), ("30min", 2, False, 4), ("500ms", 6, True, 0.5),
    ]:
        rows = ticks.since(span)
        assert rows["px"].tolist() == list(range(first, 6)), span
        assert (rows.complete, rows.span_ns) == (complete, covered * NS), span


def test_blocks_below_blocks_go_by_name_and_number(writer, eth):
    writer.append("pivots.1s.1", price=7.0, kind=1)
    segment.good(writer, **{"pivots.1s.1.trend": -1, "candles.1s.open.close": 9.5})
    frame = eth.latest()
    assert frame.pivots["1s"]["1"].trend == frame.pivots["1s"][1].trend == frame.pivots["1s.1"].trend == -1
    assert frame.pivots["1s"][1][-1]["price"] == 7.0
    assert frame["pivots.1s.1"].last(1)["price"].tolist() == [7.0]
    assert frame.candles["1s"].open.close == 9.5
    assert frame.names("pivot_kind")[frame.pivots["1s"][1][-1]["kind"]] == "low"
    assert "1s" in frame.candles and frame.candles.keys() == ["1s", "1m"]
    with pytest.raises(KeyError, match='candles has no "7s", it has 1s, 1m'):
        frame.candles["7s"]
    with pytest.raises(TypeError, match="top is a block and has no rows"):
        frame.top[:]
    assert frame.top.to_dict()["bid_px"] == 2683.8


def book(writer, valid=1, **cells):
    levels = np.full((10, 4), math.nan)
    levels[0] = [2683.81, 1.5, 2683.8, 3.0292]
    for (level, cell), value in cells.get("at", {}).items():
        levels[level, cell] = value
    writer.append("book_states", valid=valid, levels=levels)


def test_lob_tensor_is_float32_with_a_mask(writer, eth):
    book(writer)
    book(writer, valid=0)
    book(writer, at={(9, 3): 0.25})
    segment.good(writer)
    tensor, mask = eth.latest().lob_tensor(3)
    assert tensor.shape == mask.shape == (3, 40) and tensor.dtype == np.float32 and mask.dtype == bool
    assert tensor[0, :4].tolist() == [np.float32(2683.81), 1.5, np.float32(2683.8), np.float32(3.0292)]
    assert mask[0].nonzero()[0].tolist() == [0, 1, 2, 3] and mask[2].nonzero()[0].tolist() == [0, 1, 2, 3, 39]
    assert not mask[1].any() and np.isnan(tensor[~mask]).all()
    with pytest.raises(cobring.NotEnough):
        eth.latest().lob_tensor(4)


def test_vectors_are_float32_with_a_mask(writer, eth):
    bar(writer, 3)
    writer.append("indicators.1s", rsi_14=70.0, macd=math.nan)
    segment.good(writer, flow__ofi=[1, 2, math.nan, 4], cob__bid_qty=[1, 2, 3, 4, 5], cob__valid=[0b00110],
                 quality__valid=127 - 2, top__update_id=0)
    values, mask = eth.latest().vector(
        ["top.bid_px", "flow.ofi", "flow.ofi[-1]", "cob.bid_qty", "book.update_id", "top.update_id",
         "times.ts_event", "indicators.1s[-1].rsi_14", "indicators.1s[-1].macd", "candles.1s[-2].close"]
    )
    assert values.dtype == np.float32 and mask.dtype == bool
    t, f = True, False
    assert mask.tolist() == [t, t, t, f, t, t, f, t, t, f, f, f, f, f, t, f, f]
    assert values[mask].tolist() == [np.float32(2683.8), 1, 2, 4, 4, 2, 3, 70]
    for name in ("soul", "flow.soul[1]", "flow.ofi[x]", "candles.1s[-1].soul"):
        with pytest.raises(cobring.SchemaMismatch, match="the frame has no field|has no window"):
            eth.latest().vector([name])
    with pytest.raises(IndexError, match="flow.ofi has 4 elements"):
        eth.latest().vector(["flow.ofi[4]"])


def cob_row(writer, second, centre, valid=0b111111111):
    cells = np.arange(9, dtype=np.float32)
    writer.append("cob_rows", ts_end=second * NS, venue_second=second, centre_bucket=centre, valid=[valid],
                  bid_qty=np.where(cells < 4, 5 - cells, 0), ask_qty=np.where(cells > 4, cells, 0),
                  buy_volume=cells, sell_volume=cells / 2)


def naive_heatmap(rows, size, radius, metric):
    """FRAME.md's definition, cell by cell."""
    centre = [row["centre_bucket"] for row in rows if row["centre_bucket"] != segment.UNDEF][-1]
    buckets = [int(centre) + at for at in range(-radius, radius + 1)]
    values, valid = [], []
    for row in rows:
        for bucket in buckets:
            at = bucket - int(row["centre_bucket"]) + 4
            known = row["centre_bucket"] != segment.UNDEF and 0 <= at < 9 and int(row["valid"][0]) >> at & 1
            valid.append(bool(known))
            if not known:
                values.append(math.nan)
                continue
            bid, ask = float(row["bid_qty"][at]), float(row["ask_qty"][at])
            mid = (bucket + 0.5) * size
            values.append({
                "bid_qty": bid, "ask_qty": ask, "qty": bid + ask, "net_qty": bid - ask, "bid_quote": bid * mid,
                "ask_quote": ask * mid, "quote": (bid + ask) * mid, "net_quote": (bid - ask) * mid,
                "imbalance": 0.0 if bid + ask == 0 else (bid - ask) / (bid + ask),
                "buy_volume": float(row["buy_volume"][at]), "sell_volume": float(row["sell_volume"][at]),
            }[metric])
    shape = (len(rows), 2 * radius + 1)
    return [b * size for b in buckets], np.array(values, np.float32).reshape(shape), np.array(valid).reshape(shape)


METRICS = ("bid_qty", "ask_qty", "qty", "net_qty", "bid_quote", "ask_quote", "quote", "net_quote", "imbalance",
           "buy_volume", "sell_volume")


@pytest.mark.parametrize("metric", METRICS)
def test_the_heatmap_is_fixed_in_price(writer, eth, metric):
    for second, (centre, valid) in enumerate([(270, 511), (268, 0b101110111), (segment.UNDEF, 0), (269, 0b111111110)]):
        cob_row(writer, second, centre, valid)
    segment.good(writer, cob__bucket_size=10.0)
    frame = eth.latest()
    heat = frame.cob_heatmap(300, radius=3, metric=metric)
    prices, values, valid = naive_heatmap(frame.cob_rows[:], 10.0, 3, metric)
    assert heat.times.tolist() == [0, 1, 2, 3] and heat.times.dtype == np.int64
    assert heat.prices.tolist() == prices and heat.prices.dtype == np.float64
    np.testing.assert_array_equal(heat.valid, valid)
    np.testing.assert_array_equal(heat.values, values)
    assert heat.values.dtype == np.float32
    assert not np.isnan(heat.filled(0)).any()
    times, _, last, _ = frame.get_cob_heatmap_matrix(1, 2, metric)
    assert times.tolist() == [3] and last.shape == (1, 5)


def test_a_heatmap_that_cannot_be_is_refused(writer, eth):
    cob_row(writer, 0, 268)
    segment.good(writer)
    with pytest.raises(ValueError, match='metric "love": wanted one of bid_qty'):
        eth.latest().cob_heatmap(metric="love")
    with pytest.raises(ValueError, match="rows hold 4 buckets on each side"):
        eth.latest().cob_heatmap(radius=5)
    assert "valid=100.0%" in repr(eth.latest().cob_heatmap(radius=1))


@pytest.fixture
def btc(shm):
    made = segment.Writer(shm, "BTCUSDT", segment.standard())
    segment.good(made)
    yield made
    made.close()


def test_a_panel_joins_by_time_and_sees_no_future(writer, eth, btc):
    for second in (1, 2, 3, 4):
        bar(writer, second)
    for second in (0, 2, 3, 4):
        bar(btc, second, close=1000.0 + second, closed=(second + 1) * NS + 5)
    # The frame was received before BTC's last bar had closed.
    segment.good(writer, times__ts_recv=5 * NS)
    panel = eth.latest().panel("1s", 3)
    assert panel.symbols == ["ETHUSDT", "BTCUSDT"] and panel.shape == (2, 3, 5)
    assert panel.times.tolist() == [2 * NS, 3 * NS, 4 * NS]
    assert panel["ETHUSDT"][:, 3].tolist() == [102.0, 103.0, 104.0]
    assert panel[1][:2, 3].tolist() == [1002.0, 1003.0] and np.isnan(panel[1][2]).all()
    assert panel.valid[1].all(axis=1).tolist() == [True, True, False]
    assert panel.filled(0.0)[1, 2].tolist() == [0] * 5
    assert np.asarray(panel).shape == (2, 3, 5) and len(panel) == 2
    assert np.isnan(eth.latest().panel("1s", 4)[1, 0]).all()
    one = eth.latest().panel("1s", 2, features=["close", "trade_count"])
    assert one.shape == (2, 2, 2) and one.features == ["close", "trade_count"]
    with pytest.raises(cobring.SchemaMismatch, match='no column "soul"'):
        eth.latest().panel("1s", 1, ["soul"])
    with pytest.raises(cobring.NotEnough):
        eth.latest().panel("1s", 5)


def test_a_panel_without_a_reference_is_of_one_symbol(writer, eth, shm, btc):
    bar(writer, 1)
    segment.good(writer)
    assert cobring.open("ETHUSDT", dir=shm, reference=None).latest().panel("1s", 1).shape == (1, 1, 5)
    bar(btc, 1)
    segment.good(btc)
    assert cobring.open("BTCUSDT", dir=shm).latest().panel("1s", 1).symbols == ["BTCUSDT"]


def test_a_panel_without_an_engine_for_the_reference_says_so(writer, eth):
    bar(writer, 1)
    segment.good(writer)
    with pytest.raises(cobring.NoWriter, match="has no segment BTCUSDT"):
        eth.latest().panel("1s", 1)


def test_a_panel_follows_a_new_engine(writer, eth, btc, shm):
    bar(writer, 1)
    bar(btc, 1, close=5.0)
    segment.good(writer)
    frame = eth.latest()
    assert frame.panel("1s", 1)[1, 0, 3] == 5.0
    new = segment.Writer(shm, "BTCUSDT", segment.standard(), epoch=2)
    bar(new, 1, close=6.0)
    assert frame.panel("1s", 1)[1, 0, 3] == 6.0
    new.close()


def test_a_copy_lives_without_the_engine(writer, eth):
    for second in range(4):
        bar(writer, second)
    segment.good(writer, cob__bid_qty=[1, 2, 3, 4, 5])
    frame = eth.latest()
    copied, short = frame.copy(), frame.copy(rows=2)
    back = pickle.loads(pickle.dumps(frame))
    for second in range(4, 20):
        bar(writer, second)
    assert len(frame.candles["1s"]) == 0
    for one in (copied, back, copied.copy(), pickle.loads(pickle.dumps(copied))):
        assert one == frame and hash(one) == hash(frame) and one.hash == frame.hash
        assert one.candles["1s"][:]["volume"].tolist() == [0, 1, 2, 3]
        assert one.candles["1s"].matrix("ohlcv", 2)[0].tolist() == [101, 104, 100, 102, 2]
        assert one.intact() and one.candles["1s"].last(4).intact()
        assert one.cob.bid_qty.tolist() == [1, 2, 3, 4, 5]
        assert one.to_dict() == frame.to_dict()
    assert short.candles["1s"][:]["volume"].tolist() == [2, 3]
    with pytest.raises(cobring.NotEnough):
        short.candles["1s"].last(3)


def test_a_copy_comes_too_late_where_rows_were_overwritten_meanwhile(writer, eth):
    for second in range(8):
        bar(writer, second)
    segment.good(writer)
    frame = eth.latest()
    writer.state("candles.1s")[segment.REVISION] = 2
    with pytest.raises(cobring.Lapped):
        frame.copy()


def test_to_dict_and_json_say_the_same(writer, eth):
    import json

    segment.good(writer, top__bid_qty=math.nan)
    frame = eth.latest()
    assert json.loads(frame.to_json()) == frame.to_dict()
    assert frame.to_dict()["top"]["bid_qty"] is None
    assert frame.to_dict()["trigger"] == "timer"


def test_to_torch_copies_to_float32(writer, eth, monkeypatch):
    class Torch:
        @staticmethod
        def from_numpy(array):
            assert array.dtype == np.float32 and array.flags.owndata and array.flags.writeable
            return array

    monkeypatch.setitem(sys.modules, "torch", Torch)
    bar(writer, 3)
    cob_row(writer, 1, 268)
    segment.good(writer, flow__ofi=[1, 2, 3, 4])
    frame = eth.latest()
    tensors = frame.to_torch(rows=2)
    assert tensors["flow.ofi"].tolist() == [1, 2, 3, 4]
    assert tensors["candles.1s"].shape == (1, 12) and tensors["candles.1s"][0, 5] == 103
    assert tensors["ticks"].shape == (0, 5)
    assert np.isnan(tensors["times.ts_event"])
    values, valid = frame.cob_heatmap(radius=2).to_torch()
    assert values.shape == valid.shape == (1, 5)


def test_bit_sets_of_rows_unpack(writer, eth):
    cob_row(writer, 0, 268, 0b000000101)
    segment.good(writer)
    bits = cobring.unpack_bits(eth.latest().cob_rows.last(1)["valid"], 9)
    assert bits.tolist() == [[True, False, True] + [False] * 6]
