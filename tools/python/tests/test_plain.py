"""The plain reader against the compiled one, on the same segments."""

import json
import math
import random
import subprocess
import sys

import numpy as np
import pytest
import segment
from test_windows import NS, bar, book

import cobring
from cobring import plain


@pytest.fixture
def reader(writer, shm):
    return plain.Reader(shm, "ETHUSDT")


def scribble(writer, generator):
    """Publishes a frame of random values, unknown ones among them."""
    for name in writer.frame_dtype.names:
        place = writer.frame_dtype.fields[name][0]
        base, shape = (place.subdtype or (place, ()))[0], place.shape
        if name.startswith("cursors.") or name == "symbol":
            continue
        count = int(np.prod(shape, dtype=int))
        if base.kind == "f":
            values = [generator.choice([math.nan, math.inf, 0.0, -0.0, 1e-9, generator.uniform(-1e6, 1e6)]) for _ in range(count)]
        elif base.kind == "i":
            values = [generator.choice([segment.UNDEF, -1, 0, generator.randrange(2**63)]) for _ in range(count)]
        else:
            values = [generator.choice([0, 1, generator.randrange(2 ** (8 * base.itemsize))]) for _ in range(count)]
        writer.frame[name] = np.array(values, base).reshape(shape) if shape else values[0]
    segment.Writer.publish(writer)


def test_both_readers_print_the_same_frame(writer, eth, reader):
    generator = random.Random(7)
    for _ in range(200):
        scribble(writer, generator)
        ours, theirs = reader.plain(reader.latest()), eth.latest(0).to_dict()
        assert json.dumps(ours) == json.dumps(theirs)


def test_both_readers_go_through_the_same_frames(writer, eth, reader):
    generator = random.Random(11)
    for _ in range(300):
        for _ in range(generator.choice([0, 1, 2, 12])):
            segment.good(writer)
        frame, lost = reader.next()
        try:
            theirs, theirs_lost = eth.next(), 0
        except cobring.Lapped as lapped:
            theirs_lost, theirs = lapped.lost, eth.next()
        assert (frame["seq"] if frame is not None else None, lost) == (theirs.seq if theirs else None, theirs_lost)


def test_both_readers_see_the_same_rows(writer, eth, reader):
    for second in range(30):
        bar(writer, second)
        if second % 5 == 4:
            writer.rewrite("candles.1s", second - 1, close=second)
        book(writer)
        segment.good(writer)
        frame, theirs = reader.latest(), eth.latest()
        for window in ("candles.1s", "book_states"):
            rows = theirs[window][:]
            # As text, where NaN is NaN.
            assert repr(reader.rows(frame, window, len(rows)).tolist()) == repr(rows.tolist())


def test_torn_frames_and_lapped_rows_are_refused(writer, reader):
    for second in range(8):
        bar(writer, second)
    segment.good(writer)
    frame = reader.latest()
    assert reader.rows(frame, "candles.1s", 8)["open_time"][0] == 0
    assert reader.segment.frame(0) is not None and reader.segment.frame(9) is None
    writer.words[writer.slot(0) // 8] += np.uint64(1)
    assert reader.segment.frame(0) is None
    bar(writer, 8)
    with pytest.raises(plain.Gone, match="come round to row 1"):
        reader.rows(frame, "candles.1s", 8)
    assert reader.rows(frame, "candles.1s", 7)["open_time"][0] == NS
    writer.rewrite("candles.1s", 5)
    with pytest.raises(plain.Gone, match="a repair has made revision 0 into 2"):
        reader.rows(frame, "candles.1s", 1)


def test_a_restart_is_followed(writer, reader, shm):
    writer.retire()
    assert not reader.wait(0.001)
    new = segment.Writer(shm, "ETHUSDT", segment.standard(radius=3), epoch=2)
    segment.good(new)
    assert reader.wait(20) and reader.latest()["cob.bid_qty"].shape == (7,)
    assert reader.heartbeat_age_s() < 60
    new.close()


@pytest.mark.parametrize("word", [0, 1, 3, 4, 5, 8, 9, 12, 14, 15, 17, 512, 521, 523, 524])
def test_a_damaged_header_is_refused_by_both(writer, shm, word):
    writer.words[word] ^= np.uint64(2)
    with pytest.raises((ValueError, UnicodeDecodeError)):
        plain.Reader(shm, "ETHUSDT")
    with pytest.raises(cobring.SchemaMismatch):
        cobring.open("ETHUSDT", dir=shm)


def test_the_file_alone_prints_a_frame(writer, shm, eth):
    program = [sys.executable, plain.__file__, shm, "ETHUSDT"]
    printed = subprocess.run(program, check=True, capture_output=True, text=True).stdout
    assert json.loads(printed) == eth.latest().to_dict()


NEW = [segment.field("oracle.mood", "<f8", (3,), "ratio"), segment.field("top.depth", "<u2", (), "count"),
       segment.field("oracle.odd", "<i4", (), "count")]


def test_an_older_reader_works_with_a_newer_engines_blocks(shm):
    writer = segment.Writer(shm, "ETHUSDT", segment.standard(extra=NEW))
    segment.good(writer, **{"oracle.mood": [1, 2, 3], "oracle.odd": -7, "top.depth": 9})
    frame = cobring.open("ETHUSDT", dir=shm).latest()
    assert frame.oracle.mood.tolist() == [1, 2, 3] and frame.oracle.odd == -7 and frame.top.depth == 9
    assert frame.top.bid_px == 2683.8
    writer.close()


def test_a_newer_reader_says_what_an_older_engine_lacks(shm):
    writer = segment.Writer(shm, "ETHUSDT", segment.standard(without=["flow", "cob_rows", "book_states"]))
    segment.good(writer)
    eth = cobring.open("ETHUSDT", dir=shm)
    frame = eth.latest()
    with pytest.raises(AttributeError, match='the frame has no "flow"; this engine'):
        frame.flow
    with pytest.raises(cobring.SchemaMismatch, match="the segment has no window cob_rows, it has candles.1s"):
        frame.cob_heatmap()
    with pytest.raises(cobring.SchemaMismatch, match="the segment has no window book_states"):
        frame.lob_tensor(1)
    with pytest.raises(cobring.SchemaMismatch, match="publishes no cob_rows; its blocks are"):
        cobring.open("ETHUSDT", dir=shm, require={"cob_rows": 60})
    writer.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda schema: schema["frame"]["fields"][5].update(offset=1 << 40), "wanted inside"),
        (lambda schema: schema["windows"][0]["row"]["fields"][3].update(shape=[1 << 62, 8]), "wanted inside"),
        (lambda schema: schema.pop("names"), "schema is damaged: missing field"),
        (lambda schema: schema["windows"][1].update(name="candles.2m"), "schema and segment disagree"),
    ],
)
def test_a_schema_that_lies_is_refused(shm, change, message):
    lie = segment.standard()
    change(lie)
    writer = segment.Writer(shm, "ETHUSDT", segment.standard(), described=lie)
    with pytest.raises(cobring.SchemaMismatch, match=message):
        cobring.open("ETHUSDT", dir=shm)
    writer.close()
