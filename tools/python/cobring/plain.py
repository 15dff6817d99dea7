"""A second reader, in plain Python with mmap and numpy: the executable specification of a segment's layout.

It knows no block and no window by name: all of that is in the segment's schema. It needs x86-64, where a load is never
reordered with a later one (elsewhere the re-checks below would need fences), and 8-byte loads through a numpy array,
which are single moves. It is meant to be read; for speed there is the compiled reader.

    python plain.py /dev/shm/cobring ETHUSDT          # the newest frame as JSON

Numbers are little-endian 64-bit words. A segment is

    header page     word 0 magic | 1 version | 2 retired | 3 checksum | 4 size in bytes | 5 epoch | 6 schema id | 7 pid
                    8, 9 schema at, size | 10, 11 window table at, count | 12, 13 slots at, count | 14 slot size
                    15 frame size | 16 bytes of the symbol's name | 17–24 the name
                    32 frames published | 48 heartbeat (CLOCK_MONOTONIC, ns) | 49 CLOCK_MONOTONIC minus frame time
    window table    32 words each: 0 bytes of the name | 1–8 name | 9 row size | 10 rows promised | 11 capacity C
                    12 rows at | 16 first | 17 begun | 18 done | 19 revision
    schema          JSON text
    frame ring      slots: word 0 sequence, the frame from byte 64 on
    windows         2·C rows each; row n lies at n mod C and at C + n mod C, so that any C rows lie side by side
"""

import json
import math
import mmap
import sys
import time
from pathlib import Path

import numpy as np

MAGIC, VERSION = int.from_bytes(b"cobring\0", "little"), 1
RETIRED, CHECKSUM, SIZE, PUBLISHED, HEARTBEAT = 2, 3, 4, 32, 48
ENTRY_WORDS, FIRST, BEGUN, DONE, REVISION = 32, 16, 17, 18, 19
UNDEF = -(2**63)


def record_dtype(record: dict) -> np.dtype:
    """A frame or a row of the schema as numpy's structured type."""
    fields = record["fields"]
    return np.dtype(
        {
            "names": [field["name"] for field in fields],
            "formats": [(field["dtype"], tuple(field["shape"])) for field in fields],
            "offsets": [field["offset"] for field in fields],
            "itemsize": record["size_bytes"],
        }
    )


class Gone(Exception):
    """What was to be read has been overwritten or repaired meanwhile: take a newer frame."""


class Window:
    """Rows of one window."""

    def __init__(self, segment: "Segment", number: int, schema: dict):
        entry = segment.table // 8 + number * ENTRY_WORDS
        self.words, self.state, self.memory = segment.words, entry, segment.memory
        self.name = segment.text(entry)
        self.row_size, self.promised, self.capacity, self.rows_at = (int(w) for w in self.words[entry + 9 : entry + 13])
        self.dtype = record_dtype(schema["row"])
        if self.name != schema["name"] or self.row_size != self.dtype.itemsize:
            raise ValueError(f"window {self.name} is described as {schema['name']}")

    def view(self, done: int, revision: int, count: int) -> np.ndarray:
        """The last `count` rows before a frame's cursor, in place. Ask `check` after use."""
        start = done - count
        if start < int(self.words[self.state + FIRST]) or count > self.capacity:
            raise Gone(f"window {self.name} never held row {start}")
        self.check(start, revision)
        at = self.rows_at + start % self.capacity * self.row_size
        return np.frombuffer(self.memory, self.dtype, count, at)

    def check(self, start: int, revision: int) -> None:
        """After use: raises unless rows from `start` on were all the while what they are at that revision."""
        begun, now = int(self.words[self.state + BEGUN]), int(self.words[self.state + REVISION])
        if begun > start + self.capacity:
            raise Gone(f"window {self.name}: the writer has come round to row {begun - self.capacity}")
        if now != revision or revision % 2:
            raise Gone(f"window {self.name}: a repair has made revision {revision} into {now}")


class Segment:
    """One segment, mapped read-only."""

    def __init__(self, path: Path):
        with open(path, "rb") as file:
            self.memory = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        self.words = words = np.frombuffer(self.memory, "<u8", len(self.memory) // 8)
        found = [int(word) for word in words[:17]]
        for what, value, wanted in [("magic", found[0], MAGIC), ("version", found[1], VERSION),
                                    ("size", found[SIZE], len(self.memory))]:
            if value != wanted:
                raise ValueError(f"{path}: {what} is {value}, wanted {wanted}")
        self.epoch, self.pid = found[5], found[7]
        schema_at, schema_size, self.table, windows, self.slots_at, self.slots, self.slot_size, self.frame_size = found[8:16]
        schema_words = words[schema_at // 8 :][: -(-schema_size // 8)]
        entries = [words[self.table // 8 + n * ENTRY_WORDS :][:13] for n in range(windows)]
        if self.checksum([words[SIZE:25], *entries, schema_words]) != found[CHECKSUM]:
            raise ValueError(f"{path}: the header is damaged")
        self.symbol = self.text(16)
        self.schema = json.loads(bytes(self.memory[schema_at : schema_at + schema_size]))
        self.dtype = record_dtype(self.schema["frame"])
        self.windows = {w["name"]: Window(self, n, w) for n, w in enumerate(self.schema["windows"])}

    @staticmethod
    def checksum(parts) -> int:
        """FNV-1a over words."""
        total = 0xCBF29CE484222325
        for word in np.concatenate(parts):
            total = (total ^ int(word)) * 0x100000001B3 & 2**64 - 1
        return total

    def text(self, word: int) -> str:
        """A name: its length in a word, then its bytes."""
        return self.words[word + 1 : word + 9].tobytes()[: int(self.words[word])].decode()

    @property
    def published(self) -> int:
        return int(self.words[PUBLISHED])

    @property
    def retired(self) -> bool:
        return bool(self.words[RETIRED])

    def frame(self, seq: int):
        """Frame `seq`, copied whole, or None where a newer one lies in its slot. The sequence is 2n+1 while frame n is
        written and 2n+2 once it is whole; looked at before and after, it proves that the copy is not torn."""
        slot = self.slots_at + seq % self.slots * self.slot_size
        before = int(self.words[slot // 8])
        copied = bytes(self.memory[slot + 64 : slot + 64 + self.frame_size])
        after = int(self.words[slot // 8])
        return np.frombuffer(copied, self.dtype)[0] if before == after == 2 * seq + 2 else None


class Reader:
    """A symbol's frames; follows a new engine's segment."""

    def __init__(self, directory, symbol: str):
        self.path = Path(directory) / symbol
        self.segment = Segment(self.path)
        self.position = self.segment.published

    def latest(self):
        """The newest frame, or None before the first."""
        while published := self.segment.published:
            if (frame := self.segment.frame(published - 1)) is not None:
                self.position = published
                return frame
        return None

    def next(self):
        """(frame, lost): the next frame, or None where there is none, and how many were overwritten before it."""
        lost = 0
        while self.position < self.segment.published:
            self.position += 1
            if (frame := self.segment.frame(self.position - 1)) is not None:
                return frame, lost
            lost += 1
        return None, lost

    def wait(self, timeout_s: float) -> bool:
        """Polls for a frame; after a restart the new segment's frames count."""
        deadline = time.monotonic() + timeout_s
        while self.segment.published <= self.position:
            if self.segment.retired and self.path.exists() and Segment(self.path).epoch != self.segment.epoch:
                self.segment, self.position = Segment(self.path), 0
            elif time.monotonic() >= deadline:
                return False
            else:
                time.sleep(0.0001)
        return True

    def heartbeat_age_s(self) -> float:
        """Above 1 the engine is dead or hangs."""
        return (time.clock_gettime_ns(time.CLOCK_MONOTONIC) - int(self.segment.words[HEARTBEAT])) / 1e9

    def rows(self, frame, name: str, count: int) -> np.ndarray:
        """The last `count` rows of a window at a frame's instant, copied and proven."""
        window = self.segment.windows[name]
        done, revision = (int(word) for word in frame[f"cursors.{name}"])
        rows = window.view(done, revision, count).copy()
        window.check(done - count, revision)
        return rows

    def plain(self, frame) -> dict:
        """The frame as nested dicts, as the JSON form has it."""
        root: dict = {}
        for field in self.segment.schema["frame"]["fields"]:
            *blocks, name = field["name"].split(".")
            block = root
            for part in blocks:
                block = block.setdefault(part, {})
            block[name] = self.value(field, frame[field["name"]])
        return root

    def value(self, field: dict, value):
        """A field as its unit says; what is unknown is None."""
        unit, _, argument = field["unit"].partition(":")
        names = next((n["values"] for n in self.segment.schema["names"] if n["name"] == argument), [])
        if unit == "text":
            return value.tobytes().split(b"\0")[0].decode()
        if unit == "bool":
            return bool(value)
        if unit == "enum":
            return names[value] if value < len(names) else int(value)
        if unit == "bits":
            return [names[bit] if bit < len(names) else bit for bit in range(64) if int(value) >> bit & 1]
        if unit == "bitset":
            return [bool(int(value[bit // 64]) >> bit % 64 & 1) for bit in range(int(argument))]
        if unit == "levels" and np.isnan(value[:, 0]).all():
            return None
        if unit == "update_id":
            return int(value) or None
        return number(value)


def number(value):
    """Numbers of the JSON form: UNDEF and what is not finite are null."""
    if np.ndim(value):
        return [number(element) for element in value]
    value = value.item()
    return None if value == UNDEF or isinstance(value, float) and not math.isfinite(value) else value


if __name__ == "__main__":
    reader = Reader(*sys.argv[1:3])
    newest = reader.latest()
    print("null" if newest is None else json.dumps(reader.plain(newest)))
