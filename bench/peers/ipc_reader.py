"""The process that reads in Python: `ipc_reader.py NUMBER DIR MEDIUM…`. It polls for each frame and tells when it had it,
as the reader in Rust does (bench/src/ipc/reader.rs); the words of the page that they share stand in bench/src/ipc.rs."""

import ctypes
import mmap
import sys
import time

import cobring
import numpy as np

TURN, MEDIUM, FIRST, COUNT, READER = 0, 1, 2, 3, 4
READERS, READER_WORDS, READY, DONE, DONE_AT, SUM = 16, 32, 0, 16, 17, 18
END = 2**64 - 1


def main() -> None:
    number, directory, media = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    pr_set_pdeathsig, sigkill = 1, 9
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, sigkill)  # it polls without end: not beyond the writer's
    with open(f"{directory}/control", "r+b") as file:
        control = np.frombuffer(mmap.mmap(file.fileno(), 0), "<u8")
    line = control[READERS + number * READER_WORDS :][:READER_WORDS]
    reader = cobring.open(media[number], dir=directory)  # the one that is for this reader
    next_frame, now = reader.next, time.monotonic_ns
    print("ready", flush=True)
    turn = 0
    while True:
        turn += 1
        while control[TURN] < turn:
            time.sleep(0.0001)
        if control[MEDIUM] == END:
            return
        reader_of_turn, first, count = int(control[READER]), int(control[FIRST]), int(control[COUNT])
        line[READY] = turn
        if reader_of_turn != number:
            continue
        for message in range(first, first + count):
            while (frame := next_frame(0.0, min_quality=0.0)) is None:
                pass
            done_at = now()
            # After the time: of the two arrays of the frame's buckets, to be held against what was sent.
            cob = frame.cob
            total = int(cob.bid_qty.view("<u8").sum()) + int(cob.ask_qty.view("<u8").sum())
            line[SUM] = total % 2**64
            line[DONE_AT] = done_at
            line[DONE] = message + 1


main()
