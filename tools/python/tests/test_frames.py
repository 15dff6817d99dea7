"""Frames: the newest, the next, as they come; what is refused and why."""

import asyncio
import math
import threading
import time

import pytest
import segment

import cobring


def test_fields_are_the_values_that_their_units_say(writer, eth):
    segment.good(writer, top__bid_qty=math.nan, times__ts_event=segment.UNDEF, quality__reasons=0b110,
                 cob__valid=[0b10110], top__update_id=0)
    frame = eth.latest()
    assert frame.symbol == "ETHUSDT"
    assert (frame.seq, frame.trigger) == (1, "timer")
    assert frame.top.bid_px == 2683.8
    assert math.isnan(frame.top.bid_qty)
    assert frame.top.update_id is None
    assert frame.times.ts_event is None
    assert frame.times.ts_recv == 1_700_000_000_000_000_000
    assert frame.quality.reasons == ("depth_old", "quote_old")
    assert frame.book.book_state == "live"
    assert frame.imbalance.imbalance_valid is True
    assert frame.cob.valid.tolist() == [False, True, True, False, True]
    assert frame.cob.bid_qty.shape == (5,)
    assert frame.book.bids.shape == (10, 2)
    assert frame.cursors.candles["1s"] == (0, 0)
    assert frame["top.bid_px"] == frame.top.bid_px
    assert "top.bid_px" in frame and "top.love" not in frame
    assert frame.data_quality_score == 1.0


def test_arrays_of_a_frame_are_read_only_and_outlive_everything_else(writer, eth):
    segment.good(writer, cob__bid_qty=[1, 2, 3, 4, 5])
    array = eth.latest().cob.bid_qty
    segment.good(writer, cob__bid_qty=[6, 7, 8, 9, 10])
    eth.latest()
    del eth
    assert array.tolist() == [1, 2, 3, 4, 5]
    with pytest.raises(ValueError):
        array[0] = 1


def test_an_unknown_name_is_one_clear_sentence(eth):
    frame = eth.latest()
    with pytest.raises(AttributeError, match="the frame has no \"soul\"; this engine's frames have symbol, "):
        frame.soul
    with pytest.raises(AttributeError, match='top has no "soul", it has bid_px, '):
        frame.top.soul
    with pytest.raises(cobring.SchemaMismatch, match="no window candles.7s, it has candles.1s"):
        frame.panel("7s", 1)
    with pytest.raises(cobring.SchemaMismatch, match="publishes no soul; its blocks are symbol"):
        cobring.open("ETHUSDT", dir=eth.path.parent, require=["soul"])


def test_latest_is_the_newest_and_next_goes_in_order(writer, eth):
    for _ in range(3):
        segment.good(writer)
    assert [eth.next().seq for _ in range(3)] == [1, 2, 3]
    assert eth.next() is None
    segment.good(writer)
    segment.good(writer)
    assert eth.latest().seq == 5
    assert eth.next() is None
    assert eth.latest().seq == 5


def test_next_counts_exactly_what_was_overwritten(writer, eth):
    for _ in range(20):
        segment.good(writer)
    with pytest.raises(cobring.Lapped) as caught:
        eth.next()
    assert caught.value.lost == 12
    assert eth.next().seq == 13
    assert eth.lapped == 12


def test_a_torn_slot_is_never_handed_out(writer, eth):
    seq = segment.good(writer)
    # As if the writer were at work on that slot.
    writer.words[writer.slot(seq) // 8] = 2 * (seq + writer.slots) + 1
    with pytest.raises(cobring.Lapped):
        eth.next()


def test_before_the_first_frame_there_is_not_enough(shm):
    writer = segment.Writer(shm, "ETHUSDT", segment.standard())
    with pytest.raises(cobring.NotEnough, match="ETHUSDT: frames: found 0, wanted 1"):
        cobring.open("ETHUSDT", dir=shm).latest()
    writer.close()


def test_a_missing_engine_is_no_writer(shm):
    with pytest.raises(cobring.NoWriter, match="has no segment ETHUSDT"):
        cobring.open("ETHUSDT", dir=shm)
    with pytest.raises(cobring.NoWriter, match="does not exist"):
        cobring.open("ETHUSDT", dir=shm + "/none")
    with pytest.raises(ValueError, match="is no name for a segment"):
        cobring.open("../ETHUSDT", dir=shm)


def test_open_waits_for_an_engine(shm):
    made = []
    later = threading.Timer(0.1, lambda: made.append(segment.Writer(shm, "ETHUSDT", segment.standard())))
    later.start()
    assert cobring.open("ETHUSDT", dir=shm, timeout=20).symbol == "ETHUSDT"
    later.join()
    made[0].close()


LOW = {"quality__score": 0.5, "quality__freshness": 0.5, "quality__age_depth": 4_500_000_000, "quality__reasons": 2}


def test_low_quality_is_refused_with_block_found_and_wanted(writer, eth):
    segment.good(writer, **LOW)
    with pytest.raises(cobring.LowQuality) as caught:
        eth.latest()
    error = caught.value
    assert error.frame.seq == 1
    assert error.reasons == [
        cobring.Finding("quality.freshness", "0.500 (depth 4.5 s old, depth_old)", "at least 0.8", "error")
    ]
    assert str(error) == (
        "ETHUSDT frame 1 is refused: quality.freshness: found 0.500 (depth 4.5 s old, depth_old), wanted at least 0.8"
    )
    assert eth.latest(min_quality=0.5).seq == 1
    assert eth.latest(0).seq == 1
    assert eth.refused == 1
    with pytest.raises(cobring.LowQuality):
        eth.get_base_data_input()


def test_what_a_handle_requires_is_checked_on_each_frame(writer, shm):
    eth = cobring.open("ETHUSDT", dir=shm, require={"candles.1s": 3, "book": True})
    segment.good(writer, **{"quality.valid_rows.candles.1s": 3})
    assert eth.latest().seq == 1
    segment.good(writer, **{"quality.valid_rows.candles.1s": 2, "quality.valid": 125})
    with pytest.raises(cobring.LowQuality) as caught:
        eth.latest()
    assert [(r.block, r.found, r.wanted) for r in caught.value.reasons] == [
        ("book", "marked as not valid", "a valid block"),
        ("candles.1s", "2 valid rows", "3 valid rows"),
    ]


def test_validate_lists_errors_before_warnings(writer, eth):
    segment.good(writer, quality__freshness=0.9, quality__coverage=0.3, quality__score=0.3)
    findings = eth.latest(0).validate({"ticks": 1})
    assert [(f.block, f.severity) for f in findings] == [
        ("quality.coverage", "error"), ("ticks", "error"), ("quality.freshness", "warning"),
    ]
    assert eth.latest(0).validate(min_quality=0.2)[0].severity == "warning"


@pytest.mark.parametrize("quality", [math.nan, -1.0, 0.79999])
def test_a_score_that_is_no_good_is_refused(writer, eth, quality):
    segment.good(writer, quality__score=quality)
    with pytest.raises(cobring.LowQuality):
        eth.latest()


def test_an_engine_that_has_ended_is_gone_and_its_last_frame_is_to_be_had(writer, eth):
    segment.good(writer)
    writer.retire()
    with pytest.raises(cobring.WriterGone, match="has ended and no new one has begun"):
        eth.latest()
    assert eth.latest(alive=False).seq == 1
    assert eth.liveness == "retired"


def test_a_killed_engine_is_gone(writer, eth):
    writer.beat(age_s=2)
    with pytest.raises(cobring.WriterGone, match="has done nothing for 2.0 s"):
        eth.latest()
    writer.unlock()
    with pytest.raises(cobring.WriterGone, match="has ended"):
        eth.latest()
    with pytest.raises(cobring.WriterGone):
        eth.wait(20)


def test_a_new_engine_is_followed(writer, eth, shm):
    eth.latest()
    new = segment.Writer(shm, "ETHUSDT", segment.standard(radius=3), epoch=2)
    segment.good(new)
    deadline = time.monotonic() + 20
    while eth.latest(alive=False).cob.bid_qty.shape == (5,):
        assert time.monotonic() < deadline
    assert eth.latest().cob.bid_qty.shape == (7,)
    assert eth.epoch == 2
    new.close()


def test_next_tells_of_a_new_engine_once(writer, eth, shm):
    segment.good(writer)
    new = segment.Writer(shm, "ETHUSDT", segment.standard(), epoch=2)
    segment.good(new)
    assert eth.next().epoch == 0
    with pytest.raises(cobring.EpochChanged) as caught:
        while eth.next(timeout=20) is None:
            pass
    assert (caught.value.previous, caught.value.current) == (1, 2)
    assert eth.next(timeout=20).seq == 0
    new.close()


def test_a_new_engine_without_what_is_required_is_a_mismatch(writer, shm):
    eth = cobring.open("ETHUSDT", dir=shm, require=["pivots"])
    new = segment.Writer(shm, "ETHUSDT", segment.standard(without=["pivots", "pivots.1s.1"]), epoch=2)
    segment.good(new)
    with pytest.raises(cobring.SchemaMismatch, match="publishes no pivots"):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            eth.latest(alive=False)
    new.close()


def test_wait_lets_other_threads_go_on(writer, eth):
    counted = []

    def publish():
        for _ in range(2_000):
            counted.append(eth.latest(0, alive=False).seq)
        segment.good(writer)

    thread = threading.Thread(target=publish)
    thread.start()
    assert eth.wait(20) or eth.latest().seq == 1
    thread.join()
    assert len(counted) == 2_000
    assert eth.wait(0) in (True, False)


def test_wait_returns_false_when_the_time_is_over(eth):
    assert eth.wait(0.01) is False
    assert eth.next(timeout=0.01) is None
    with pytest.raises(ValueError, match="wanted seconds"):
        eth.wait(math.nan)


TRIGGER = {"depth": 0, "quote": 1, "trade": 2, "timer": 6}


def published(writer, *frames):
    """Publishes (trigger, seconds[, quality]) each."""
    for trigger, second, *quality in frames:
        segment.good(writer, trigger=TRIGGER[trigger], times__ts_recv=int(second * 1e9),
                     quality__score=quality[0] if quality else 1.0, quality__coverage=quality[0] if quality else 1.0)


@pytest.mark.parametrize(
    ("options", "given", "skipped", "refused"),
    [
        ({}, [6], 5, 0),
        ({"mode": "all"}, [1, 2, 3, 5, 6], 0, 1),
        ({"mode": "all", "on_low": "pass"}, [1, 2, 3, 4, 5, 6], 0, 0),
        ({"mode": "all", "on": "depth"}, [1, 3], 0, 1),
        ({"mode": "all", "on": ["depth", "trade"]}, [1, 3, 5], 0, 1),
        ({"on": "trade"}, [5], 0, 0),
        ({"on": "depth", "min_quality": 0.1}, [4], 2, 0),
        ({"mode": "all", "every": "1s"}, [1, 3, 5, 6], 0, 1),
        ({"mode": "all", "every": 2}, [1, 5], 0, 1),
        ({"every": "1s"}, [6], 5, 0),
    ],
)
def test_frames_gives_what_was_asked_for_and_counts_the_rest(writer, eth, options, given, skipped, refused):
    frames = eth.frames(timeout=0, **options)
    published(writer, ("depth", 10.0), ("quote", 10.5), ("depth", 11.0), ("depth", 12.0, 0.5), ("trade", 12.5),
              ("timer", 13.0))
    assert [frame.seq for frame in frames] == given
    assert (frames.skipped, frames.refused) == (skipped, refused)


def test_frames_raises_where_it_is_told_to_and_goes_on(writer, eth):
    frames = eth.frames(mode="all", on_low="raise", timeout=0)
    published(writer, ("depth", 1, 0.5), ("depth", 2))
    with pytest.raises(cobring.LowQuality):
        next(frames)
    assert next(frames).seq == 2


def test_frames_counts_what_was_overwritten(writer, eth):
    frames = eth.frames(mode="all", timeout=0)
    for _ in range(20):
        segment.good(writer)
    assert len(list(frames)) == 8
    assert frames.skipped == 12


def test_frames_follows_a_new_engine(writer, eth, shm):
    frames = eth.frames(mode="all", timeout=20)
    segment.good(writer)
    assert next(frames).seq == 1
    writer.retire()
    new = segment.Writer(shm, "ETHUSDT", segment.standard(radius=3), epoch=2)
    segment.good(new)
    frame = next(frames)
    assert (frame.seq, frame.cob.bid_qty.shape) == (0, (7,))
    assert frames.restarts == 1
    new.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on": "love"}, 'on "love": wanted one of depth, quote'),
        ({"mode": "love"}, 'mode "love": wanted one of latest, all'),
        ({"on_low": "love"}, "wanted one of skip, raise, pass"),
        ({"every": "3 moons"}, "wanted a span as"),
        ({"every": 0}, "wanted a span above 0"),
    ],
)
def test_wrong_options_are_named(eth, options, message):
    with pytest.raises(ValueError, match=message):
        eth.frames(**options)


def test_async_for_leaves_the_loop_free(writer, eth):
    async def main():
        ticks, frames = [], eth.frames(mode="all", timeout=20)

        async def publish():
            for _ in range(3):
                await asyncio.sleep(0.02)
                ticks.append(segment.good(writer))

        task = asyncio.create_task(publish())
        seen = []
        async for frame in frames:
            seen.append(frame.seq)
            if len(seen) == 3:
                frames.close()
        await task
        return seen, ticks

    seen, ticks = asyncio.run(main())
    assert seen == ticks == [1, 2, 3]


def test_reprs_name_what_they_are(writer, eth):
    segment.good(writer, cob__bid_qty=[1, 2, 3, 0, 0], cob__ask_qty=[0, 0, 0, 4, 5])
    frame = eth.latest()
    assert repr(frame) == (
        "<cobring.Frame ETHUSDT seq=1 trigger=timer quality=1.000 book=live bid=2683.8 ask=2683.81>"
    )
    assert "bid_px=2683.8" in repr(frame.top)
    assert "rows=0" in repr(frame.candles["1s"])
    assert repr(eth).startswith("<cobring.Reader ETHUSDT alive epoch=1 published=2")
    assert "<svg" in frame._repr_html_() and "ETHUSDT" in frame._repr_html_()
    assert "alive" in eth._repr_html_()
    assert "bid_px" in frame.top._repr_html_()


def test_the_hash_leaves_out_what_differs_between_run_and_replay(writer, eth):
    segment.good(writer, times__ts_published=1)
    first = eth.latest().hash
    writer.published -= 1
    segment.good(writer, times__ts_published=2, epoch=7)
    second = eth.latest().hash
    writer.published -= 1
    segment.good(writer, top__bid_px=2683.79)
    assert first == second != eth.latest().hash
    assert len(first) == 64 and int(first, 16)
