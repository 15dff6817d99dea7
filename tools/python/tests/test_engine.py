"""Against the real engine and a simulated exchange: real frames, four readers, replays, models."""

import contextlib
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from engine import PROGRAM, ROOT, Engine, Exchange, wait_until

import cobring
from cobring import plain

pytestmark = pytest.mark.skipif(not os.path.exists(PROGRAM), reason=f"no {PROGRAM}: cargo build, or set COBRING_BIN")
MODELS = '\n[models.cnn]\noutputs = 3\nsum_to_one = true\n\n[models.policy]\noutputs = 1\n'


@pytest.fixture(scope="module")
def exchange():
    made = Exchange("--seed", "7")
    yield made
    made.stop()


@pytest.fixture(scope="module")
def engine(exchange):
    made = Engine(exchange, MODELS)
    yield made
    made.remove()


@pytest.fixture
def eth(engine):
    reader = cobring.open("ETHUSDT", name="test", dir=engine.shm)
    wait_until("the book is live", lambda: reader.wait(1) and reader.latest(0).book.book_state == "live")
    return reader


def test_frames_of_an_engine_are_whole_and_consistent(eth):
    seen = 0
    for frame in eth.frames(mode="all", min_quality=0, timeout=20):
        bids, asks = frame.book.bids, frame.book.asks
        if frame.book.book_state == "live":
            assert bids[0, 0] < asks[0, 0] and (np.diff(bids[:, 0]) < 0).all() and (np.diff(asks[:, 0]) > 0).all()
            assert frame.cob.centre_bucket == np.floor((bids[0, 0] + asks[0, 0]) / 2 / frame.cob.bucket_size)
        assert frame.times.ts_recv > 0 and frame.symbol == "ETHUSDT"
        seen += 1
        if seen == 50:
            break


def test_windows_of_an_engine_grow_and_agree_with_the_frame(eth):
    def is_spliced():
        bars = eth.wait(1) and eth.latest(0).candles["1s"]
        return bars and len(bars) >= 2 and bars.open.open_time is not None

    wait_until("bars and an open one", is_spliced)
    frame = eth.latest(0)
    bars = frame.candles["1s"].last(2)
    assert bars["open_time"][1] - bars["open_time"][0] == 10**9
    assert frame.candles["1s"].open.open_time == bars["open_time"][1] + 10**9
    known = bars[~np.isnan(bars["high"])]
    assert (known["high"] >= known["low"]).all()
    wait_until("book states", lambda: eth.wait(1) and len(eth.latest(0).book_states) >= 5)
    frame = eth.latest(0)
    tensor, mask = frame.lob_tensor(5)
    last = frame.book_states[-1]
    assert last["update_id"] == frame.book.update_id
    assert mask[-1, :4].all() and tensor[-1, 2] == np.float32(frame.book.bids[0, 0])
    assert frame.intact()


def test_the_heatmap_of_an_engine_is_that_of_its_rows(eth):
    wait_until("seconds of buckets", lambda: eth.wait(1) and len(eth.latest(0).cob_rows) >= 3)
    frame = eth.latest(0)
    heat = frame.cob_heatmap(300, radius=10, metric="bid_qty")
    row = frame.cob_rows[-1]
    assert heat.times[-1] == row["venue_second"] and (np.diff(heat.times) > 0).all()
    assert heat.prices[10] == row["centre_bucket"] * frame.cob.bucket_size
    valid = cobring.unpack_bits(row["valid"][np.newaxis], 129)[0, 54:75]
    np.testing.assert_array_equal(heat.valid[-1], valid)
    np.testing.assert_array_equal(heat.values[-1][valid], row["bid_qty"][54:75][valid])


def test_a_named_reader_is_listed(engine, eth):
    eth.latest(0)
    listed = subprocess.run([PROGRAM, "shm", "ls", "--json", "--dir", engine.shm], check=True, capture_output=True)
    assert b'"test"' in listed.stdout


def test_outputs_of_models_come_back_in_frames(engine, eth):
    cnn = cobring.Model("ETHUSDT", "cnn", dir=engine.shm)
    assert cnn.outputs == 3
    frame = eth.latest(0)
    assert frame.outputs() == {"cnn": None, "policy": None}
    cnn.publish(frame, [0.25, 0.5, 0.25], action=1, confidence=0.5, horizon="5s", state=[1.0, 2.0])
    wait_until("the output shows", lambda: eth.wait(1) and len(eth.latest(0).models.cnn))
    frame = eth.latest(0)
    row = frame.models.cnn[-1]
    assert row["outputs"][:3].tolist() == [0.25, 0.5, 0.25] and row["action"] == 1 and row["horizon"] == 5 * 10**9
    assert list(frame.outputs(without="cnn")) == ["policy"]
    assert frame.vector(["models.cnn[-1].outputs"])[1].tolist() == [True] * 3 + [False] * 13
    with pytest.raises(ValueError, match="2 outputs were given, wanted"):
        cnn.publish(frame, [0.5, 0.5])
    with pytest.raises(ValueError, match="outputs"):
        cnn.publish(frame, [float("nan"), 0.5, 0.5])
    with pytest.raises(cobring.Error, match=f"process {os.getpid()}"):
        cobring.Model("ETHUSDT", "cnn", dir=engine.shm)
    with pytest.raises(cobring.NoWriter, match="love"):
        cobring.Model("ETHUSDT", "love", dir=engine.shm)


def test_latest_takes_at_most_a_few_microseconds(eth):
    """Not a benchmark: a bound that only a wrong implementation misses, on the slowest machine."""
    spans = []
    for _ in range(2_000):
        begun = time.perf_counter_ns()
        eth.latest(0)
        spans.append(time.perf_counter_ns() - begun)
    assert sorted(spans)[len(spans) // 2] < 100_000


@pytest.fixture(scope="module")
def stopped(exchange):
    """An engine that has run for a while and ended: its last frames, and its log."""
    made = Engine(exchange, MODELS)
    eth = cobring.open("ETHUSDT", dir=made.shm)
    wait_until("bars", lambda: eth.wait(1) and len(eth.latest(0).candles["1s"]) >= 2)
    made.stop()
    yield made
    made.remove()


def c_example(tmp_path):
    """The C example, where its library has been built."""
    folder = os.environ.get("COBRING_C_LIB", str(ROOT / "target/debug"))
    library = os.path.join(folder, "libcobring_c.a")
    if not os.path.exists(library):
        pytest.skip(f"no {library}: cargo build -p cobring-c")
    program = str(tmp_path / "example")
    source = ROOT / "tools/c"
    subprocess.run(["cc", "-I", str(source / "include"), str(source / "example.c"), library, "-lpthread", "-ldl", "-lm",
                    "-o", program], check=True)
    return program


def output(*command):
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.parametrize("symbol", ["ETHUSDT", "BTCUSDT"])
def test_four_readers_print_the_same_frame(stopped, symbol, tmp_path):
    rust = output(PROGRAM, "frame", "show", symbol, "--json", "--dir", stopped.shm)
    rust.pop("liveness")
    python = cobring.open(symbol, dir=stopped.shm).latest(0, alive=False)
    assert python.to_dict() == rust
    assert json.loads(python.to_json()) == rust
    assert output(sys.executable, plain.__file__, stopped.shm, symbol) == rust
    assert output(c_example(tmp_path), stopped.shm, symbol) == rust


def test_a_replay_of_the_log_gives_the_frames_of_the_run(stopped):
    last = cobring.open("ETHUSDT", dir=stopped.shm).latest(0, alive=False)
    seen = 0
    for frame in cobring.replay(stopped.logs(), symbol="ETHUSDT", at_seq=last.seq - 20):
        assert frame.seq == last.seq - 20 + seen
        seen += 1
        rows = frame.candles["1s"][:]
        assert frame.intact() and rows.intact()
    assert seen == 21 and frame.hash == last.hash
    assert frame.candles["1s"].copy().tobytes() == last.candles["1s"].copy().tobytes()
    panel = frame.panel("1s", 1)
    assert panel.symbols == ["ETHUSDT", "BTCUSDT"]


def fingerprints(log):
    """Of each frame: its hash, and the newest rows of windows as they are then."""
    found = []
    with contextlib.suppress(ValueError):  # cut before the first message of the symbol
        for frame in cobring.replay(log, "ETHUSDT"):
            windows = frame.candles["1s"], frame.indicators["1s"], frame.cob_rows, frame.book_states, frame.ticks
            found.append((frame.seq, frame.hash, *(bytes(window[-1:]) for window in windows)))
    return found


def test_a_cut_log_gives_the_same_frames_so_far(stopped, tmp_path):
    """No future leaks: no frame depends on what follows it."""
    [log] = stopped.logs()
    whole_log = Path(log).read_bytes()
    whole = fingerprints(log)
    cut_log, counts, rng = tmp_path / "cut.cblog", set(), random.Random(7)
    for number in range(20):
        # Every other one near the end: the answers to the first questions are most of a short log.
        first = 20_000 if number % 2 else len(whole_log) * 3 // 4
        cut = rng.randrange(first, len(whole_log))
        cut_log.write_bytes(whole_log[:cut])
        early = fingerprints(cut_log)
        assert early == whole[:len(early)], f"cut at byte {cut} of {len(whole_log)}"
        counts.add(len(early))
    assert len(counts) > 5 and max(counts) > len(whole) // 2, f"{counts} of {len(whole)}"


def test_a_replay_that_is_left_ends(stopped):
    replay = cobring.replay(stopped.logs(), "ETHUSDT")
    assert next(replay).seq == 0 and next(replay).seq == 1
    assert "cobring-replay" in threads()
    del replay
    wait_until("its thread ends", lambda: "cobring-replay" not in threads())


def threads():
    """Names of this process's threads."""
    names = []
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(FileNotFoundError):  # it ended just now
            names.append(Path(f"/proc/self/task/{task}/comm").read_text().strip())
    return names


def test_what_cannot_be_replayed_is_named(stopped, tmp_path):
    with pytest.raises(ValueError, match="symbol: wanted one of BTCUSDT, ETHUSDT"):
        cobring.replay(stopped.logs())
    with pytest.raises(ValueError, match='symbol "LOVE": the files hold BTCUSDT, ETHUSDT'):
        cobring.replay(stopped.logs(), "LOVE")
    with pytest.raises(cobring.Error, match="none.gz"):
        cobring.replay(tmp_path / "none.gz", "ETHUSDT")
    with pytest.raises(ValueError, match="no files were given"):
        cobring.replay([], "ETHUSDT")


RECORDINGS = ROOT / "../shared/recordings/binance-spot"


@pytest.mark.skipif(not RECORDINGS.exists() and os.environ.get("CI") != "true", reason="no recordings")
def test_a_recording_replays():
    files = [RECORDINGS / f"{symbol}usdt_20240808.gz" for symbol in ("eth", "btc")]
    replay = cobring.replay(files, "ETHUSDT", at_seq=20_000)
    frame = next(replay)
    assert frame.seq == 20_000 and frame.book.book_state == "live"
    panel = frame.panel("1s", 5)
    assert panel.shape == (2, 5, 5)
    assert 50_000 < np.nanmin(panel["BTCUSDT"][:, 3]) < 70_000 and panel.valid[0].all()
    heat = frame.cob_heatmap(10)
    assert heat.values.shape == (10, 41)
    assert next(replay).seq == 20_001
