"""Heatmaps of replayed frames against those of cobring-reference, which shares no code with the engine."""

import json
import os
import random
import subprocess

import numpy as np
import pytest
from engine import ROOT

import cobring

REFERENCE = os.environ.get("COBRING_REFERENCE", str(ROOT / "target/debug/cobring-reference"))
RECORDING = ROOT / "../shared/recordings/binance-spot/ethusdt_20240808.gz"
METRICS = ["bid_qty", "ask_qty", "qty", "net_qty", "bid_quote", "ask_quote", "quote", "net_quote", "imbalance",
           "buy_volume", "sell_volume"]

pytestmark = pytest.mark.skipif(not os.path.exists(REFERENCE), reason=f"no {REFERENCE}: cargo build -p cobring-reference")


class Market:
    """A recording of ETHUSDT: a book that wanders over many buckets, breaks and comes back; trades in and outside it."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.ms = 1_723_161_255_040
        self.update, self.trade_id, self.mid = 1_000, 1, 268_000
        self.lines = []

    def line(self, message):
        self.lines.append(f"{self.ms * 1_000_000 + self.random.randrange(10**6)} {json.dumps(message)}\n")

    def stream(self, channel, data):
        self.line({"stream": f"ethusdt@{channel}", "data": data | {"s": "ETHUSDT"}})

    def levels(self, sign, count):
        prices = sorted({self.mid + sign * self.random.randrange(1, 3_000) for _ in range(count)}, key=lambda px: sign * px)
        return [[f"{px / 100:.2f}", f"{self.random.randrange(1, 10**6) / 10**4:.4f}"] for px in prices]

    def depth(self, lost=0):
        first, self.update = self.update + 1 + lost, self.update + 1 + lost + self.random.randrange(9)
        self.mid += self.random.randrange(-300, 301)
        # What the mid went over goes, so that the book never crosses.
        gone = [[f"{px / 100:.2f}", "0"] for px in range(self.mid - 300, self.mid + 301)]
        bids = [[px, "0"] for px, _ in gone if float(px) * 100 > self.mid - 1] + self.levels(-1, 40)
        asks = [[px, "0"] for px, _ in gone if float(px) * 100 < self.mid + 1] + self.levels(1, 40)
        self.stream("depth@100ms", {"e": "depthUpdate", "E": self.ms + 700, "U": first, "u": self.update, "b": bids, "a": asks})

    def trade(self):
        self.trade_id += 1
        px = self.mid + self.random.randrange(-9_000, 9_001)
        self.stream("trade", {
            "e": "trade", "E": self.ms + 700, "T": self.ms + 699, "t": self.trade_id, "p": f"{px / 100:.2f}",
            "q": f"{self.random.randrange(1, 10**5) / 10**4:.4f}", "m": self.random.random() < 0.5,
        })

    def record(self, seconds):
        for step in range(seconds * 10):
            self.ms += 100
            if step % 150 == 12:
                self.line({"lastUpdateId": self.update, "bids": self.levels(-1, 1_000), "asks": self.levels(1, 1_000)})
            self.depth(lost=5 if step % 150 == 130 else 0)
            for _ in range(self.random.randrange(3)):
                self.trade()
        return self.lines


def check(path, seconds, radius):
    """Every cell of every metric, at the recording's end."""
    options = [word for metric in METRICS for word in ("--metric", metric)]
    text = subprocess.run([REFERENCE, "heatmap", path, "--seconds", str(seconds), "--radius", str(radius), *options],
                          check=True, capture_output=True, text=True).stdout
    for frame in cobring.replay(path, "ETHUSDT"):
        last = frame
    seen = [0, 0]
    for line in text.splitlines():
        expected = json.loads(line)
        metric = expected["metric"]
        heat = last.cob_heatmap(seconds, radius=radius, metric=metric)
        assert heat.times.tolist() == expected["times"], metric
        np.testing.assert_array_equal(heat.prices, np.array(expected["prices"], float), metric)
        np.testing.assert_array_equal(heat.valid, np.array(expected["valid"], bool).reshape(heat.valid.shape), metric)
        values = np.array(expected["values"], float).astype(np.float32)
        np.testing.assert_array_equal(heat.values, values.reshape(heat.values.shape), metric)
        times, prices, values, valid = last.get_cob_heatmap_matrix(seconds, radius, metric)
        np.testing.assert_array_equal(values, heat.values)
        np.testing.assert_array_equal(valid, heat.valid)
        assert times.tolist() == expected["times"] and prices.tolist() == heat.prices.tolist()
        seen[0] += int(valid.sum())
        seen[1] += int((~valid).sum())
    assert len(text.splitlines()) == len(METRICS)
    return seen


@pytest.mark.parametrize(("length", "seconds", "radius"), [(20, 300, 20), (20, 7, 0), (33, 30, 64), (45, 60, 33)])
def test_every_cell_of_a_book_that_breaks_is_the_reference_s(tmp_path, length, seconds, radius):
    path = tmp_path / "recording"
    path.write_text("".join(Market(length).record(length)))
    valid, invalid = check(path, seconds, radius)
    assert valid and (invalid or radius == 0)


@pytest.mark.skipif(not RECORDING.exists() and os.environ.get("CI") != "true", reason="no recordings")
@pytest.mark.parametrize(("lines", "seconds", "radius"), [(3_000, 300, 20), (9_000, 60, 50), (14_321, 120, 20)])
def test_every_cell_of_a_recording_is_the_reference_s(tmp_path, lines, seconds, radius):
    path = tmp_path / "recording"
    whole = subprocess.run(["gzip", "-dc", RECORDING], check=True, capture_output=True, text=True).stdout
    path.write_text("".join(whole.splitlines(keepends=True)[:lines]))
    valid, invalid = check(path, seconds, radius)
    assert valid and (invalid or radius == 20)
