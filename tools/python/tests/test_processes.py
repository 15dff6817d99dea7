"""Other processes: forks, pickled handles, engines that die, readers that sleep."""

import asyncio
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time

import pytest
import segment
from test_windows import bar

import cobring

WRITER = """
import sys, time
sys.path.insert(0, sys.argv[1])
import segment
writer = segment.Writer(sys.argv[2], "ETHUSDT", segment.standard(), epoch=int(sys.argv[3]))
segment.good(writer)
print("ready", flush=True)
for line in sys.stdin:
    segment.good(writer)
    print(writer.published, flush=True)
"""


class Engine:
    """A writer in a process of its own; publishes when told to."""

    def __init__(self, shm, epoch):
        here = os.path.dirname(__file__)
        self.process = subprocess.Popen([sys.executable, "-c", WRITER, here, shm, str(epoch)], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == "ready\n"

    def publish(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


@pytest.fixture
def engine(shm):
    made = Engine(shm, 1)
    yield made
    made.kill()


def test_a_killed_engine_is_told_and_its_successor_followed(engine, shm):
    eth = cobring.open("ETHUSDT", dir=shm)
    assert eth.latest().seq == 0
    engine.kill()
    with pytest.raises(cobring.WriterGone, match="is gone, and no new one has begun"):
        eth.wait(20)
    with pytest.raises(cobring.WriterGone, match=f"process {engine.process.pid}"):
        while True:
            eth.latest()
    assert eth.latest(alive=False).seq == 0
    successor = Engine(shm, 2)
    with pytest.raises(cobring.EpochChanged):
        while eth.next(timeout=20) is None:
            pass
    assert eth.next(timeout=20).seq == 0 and eth.epoch == 2
    successor.kill()


def test_an_iteration_outlives_its_engine(engine, shm):
    frames = cobring.open("ETHUSDT", dir=shm).frames(mode="all", timeout=30)
    engine.publish()
    assert next(frames).seq == 1
    engine.kill()
    successors = []
    later = threading.Timer(0.3, lambda: successors.append(Engine(shm, 2)))
    later.start()
    assert next(frames).seq == 0 and frames.restarts == 1
    later.join()
    successors[0].kill()


def test_a_handle_can_be_pickled_to_another_process(engine, shm):
    eth = cobring.open("ETHUSDT", name="cnn", dir=shm, require={"candles.1s": 0}, min_quality=0.7, reference=None)
    again = pickle.loads(pickle.dumps(eth))
    assert (again.name, again.symbol, again.latest().seq) == ("cnn", "ETHUSDT", 0)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(cobring.Reader.latest, (eth,)).seq == 0


def test_a_handle_survives_a_fork(engine, shm):
    eth = cobring.open("ETHUSDT", dir=shm)
    frame = eth.latest()
    rows = frame.candles["1s"][:]
    stop = threading.Event()

    def wait():
        while not stop.is_set():
            eth.wait(0.05)

    # Another thread is in the middle of a wait when the process forks.
    waiter = threading.Thread(target=wait)
    waiter.start()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, b"." * (len(rows) + 1))
            while (new := eth.next(timeout=20)) is None:
                pass
            os.write(writing, b"%d" % new.seq)
            os._exit(0)
        finally:
            os._exit(1)
    assert os.read(reading, 1) == b"."
    engine.publish()
    assert os.waitpid(child, 0)[1] == 0
    assert os.read(reading, 10) == b"1"
    stop.set()
    waiter.join()
    assert eth.next(timeout=20).seq == 1


def test_a_sleeper_is_woken_by_a_signal(engine, shm):
    """Ctrl-C ends a wait."""
    program = "import sys, cobring; print('ready', flush=True); cobring.open('ETHUSDT', dir=sys.argv[1]).wait()"
    process = subprocess.Popen(
        [sys.executable, "-c", program, shm],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A shell's background job ignores SIGINT, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    process.stdout.readline()
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert b"KeyboardInterrupt" in stderr and process.returncode != 0


def test_many_tasks_wait_at_once(engine, shm):
    async def first(frames):
        async for frame in frames:
            return frame.seq

    async def main():
        eth = cobring.open("ETHUSDT", dir=shm)
        tasks = [asyncio.create_task(first(eth.frames(mode="all", timeout=30))) for _ in range(8)]
        await asyncio.sleep(0.05)
        engine.publish()
        return await asyncio.gather(*tasks)

    assert asyncio.run(main()) == [1] * 8


def test_a_fast_writer_never_tears_a_frame_or_a_row(shm):
    """A writer at full speed in another thread; each frame's fields and rows must agree."""
    writer = segment.Writer(shm, "ETHUSDT", segment.standard())
    segment.good(writer)
    eth = cobring.open("ETHUSDT", dir=shm)
    stop = threading.Event()

    def write():
        count = 0
        while not stop.is_set():
            count += 1
            bar(writer, count, close=float(count))
            segment.good(writer, top__bid_px=float(count), top__ask_px=float(count), flow__ofi=[count] * 4)

    thread = threading.Thread(target=write)
    thread.start()
    proven = 0
    deadline = time.monotonic() + 30
    try:
        while proven < 200 and time.monotonic() < deadline:
            frame = eth.latest(0, alive=False)
            count = frame.top.bid_px
            assert frame.top.ask_px == count or frame.seq == 0
            assert frame.flow.ofi.tolist() in ([count] * 4, [0] * 4)
            try:
                rows = frame.candles["1s"].last(3)
                closes, matrix = rows["close"].tolist(), frame.candles["1s"].matrix(["close"], 3)[:, 0].tolist()
                rows.copy()
            except (cobring.Lapped, cobring.NotEnough):
                continue
            assert closes == matrix == [count - 2, count - 1, count]
            proven += 1
    finally:
        stop.set()
        thread.join()
        writer.close()
    assert proven == 200
