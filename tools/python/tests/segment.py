"""A writer of segments in plain Python: every word under the tests' control, whole or torn, alive or dead."""

import fcntl
import json
import mmap
import os
import struct
import time
from pathlib import Path

import numpy as np

PAGE = 4096
F_OFD_SETLK = 37
UNDEF = np.iinfo(np.int64).min
# The header's words.
RETIRED, CHECKSUM, SIZE, PUBLISHED, HEARTBEAT = 2, 3, 4, 32, 48
# A window's state: words of its table entry.
FIRST, BEGUN, DONE, REVISION = 16, 17, 18, 19
ENTRY = 32
SLOT_HEADER = 8


def field(name, dtype, shape, unit):
    return {"name": name, "dtype": dtype, "shape": list(shape), "unit": unit}


def record(fields):
    """Fields one after the other, each at a multiple of 8."""
    offset = 0
    for one in fields:
        one["offset"] = offset
        size = np.dtype(one["dtype"]).itemsize * int(np.prod(one["shape"], dtype=int))
        offset += -(-size // 8) * 8
    return {"size_bytes": offset, "fields": fields}


def dtype_of(row):
    fields = row["fields"]
    return np.dtype(
        {
            "names": [f["name"] for f in fields],
            "formats": [(f["dtype"], tuple(f["shape"])) for f in fields],
            "offsets": [f["offset"] for f in fields],
            "itemsize": row["size_bytes"],
        }
    )


def _bytes_to_words(data: bytes) -> np.ndarray:
    return np.frombuffer(data + b"\0" * (-len(data) % 8), dtype="<u8")


def _name(text: str) -> np.ndarray:
    words = np.zeros(9, dtype="<u8")
    data = _bytes_to_words(text.encode())
    words[0] = len(text.encode())
    words[1 : 1 + len(data)] = data
    return words


def _checksum(words) -> int:
    total = 0xCBF29CE484222325
    for word in words:
        total = ((total ^ int(word)) * 0x100000001B3) % 2**64
    return total


class Writer:
    """Publishes frames of a schema: `frame` holds the fields by name, `publish` makes the next frame of them."""

    def __init__(self, directory, symbol, schema, epoch=1, slots=8, described=None):
        """`described` is what the segment says of itself, where that is to be another schema."""
        self.schema, self.symbol, self.epoch = schema, symbol, epoch
        self.directory = Path(directory)
        (self.directory / "subscribers").mkdir(parents=True, exist_ok=True)
        text = json.dumps(described or schema).encode()
        windows = schema["windows"]
        front = lambda size: -(-size // PAGE) * PAGE
        table = PAGE
        schema_at = table + front(len(windows) * ENTRY * 8)
        slots_at = schema_at + front(len(text))
        frame_size = schema["frame"]["size_bytes"]
        self.slot_size = 1 << (SLOT_HEADER * 8 + frame_size - 1).bit_length()
        at = slots_at + front(slots * self.slot_size)
        self.rows_at = []
        for window in windows:
            self.rows_at.append(at)
            at += front(2 * window["capacity"] * window["row"]["size_bytes"])
        self.size, self.slots_at, self.slots, self.table = at, slots_at, slots, table

        words = np.zeros(slots_at // 8, dtype="<u8")
        words[0] = int.from_bytes(b"cobring\0", "little")
        words[1] = 1
        words[4:17] = [at, epoch, 7, os.getpid(), schema_at, len(text), table, len(windows), slots_at, slots,
                       self.slot_size, frame_size, 0]
        words[16:25] = _name(symbol)
        static = []
        for number, window in enumerate(windows):
            entry = words[table // 8 + number * ENTRY :][:ENTRY]
            entry[:9] = _name(window["name"])
            entry[9:13] = [window["row"]["size_bytes"], window["rows_promised"], window["capacity"],
                           self.rows_at[number]]
            static.append(entry[:13])
        schema_words = _bytes_to_words(text)
        words[schema_at // 8 :][: len(schema_words)] = schema_words
        words[CHECKSUM] = _checksum(np.concatenate([words[SIZE:25], *static, schema_words]))

        self.path = self.directory / symbol
        temporary = self.directory / f".{symbol}.tmp"
        with open(temporary, "w+b") as file:
            file.truncate(at)
            self.file = os.dup(file.fileno())
        self.map = mmap.mmap(self.file, at)
        self.words = np.frombuffer(self.map, dtype="<u8")
        self.words[: len(words)] = words
        (self.directory / f"{symbol}.bell").write_bytes(b"\0" * PAGE)
        old = self.path.exists() and open(self.path, "r+b")
        fcntl.fcntl(self.file, F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
        os.rename(temporary, self.path)
        if old:
            with old, mmap.mmap(old.fileno(), PAGE) as header:
                header[8 * RETIRED] = 1
        self.frame_dtype = dtype_of(schema["frame"])
        self.frame = np.zeros(1, dtype=self.frame_dtype)[0]
        self.published = 0
        self.index = {window["name"]: number for number, window in enumerate(windows)}
        self.row_dtypes = [dtype_of(window["row"]) for window in windows]
        self.beat()

    def beat(self, age_s=0.0):
        """The engine's heartbeat."""
        self.words[HEARTBEAT] = time.clock_gettime_ns(time.CLOCK_MONOTONIC) - int(age_s * 1e9)

    def state(self, window):
        """The state words of a window's table entry, writable."""
        return self.words[self.table // 8 + self.index[window] * ENTRY :][:ENTRY]

    def row(self, window, **values):
        row = np.zeros(1, dtype=self.row_dtypes[self.index[window]])
        for name, value in values.items():
            row[name][0] = value
        return row

    def put(self, window, index, row):
        """Both copies of a row, without the protocol."""
        number = self.index[window]
        capacity, size = self.schema["windows"][number]["capacity"], row.dtype.itemsize
        for copy in (index % capacity, capacity + index % capacity):
            at = self.rows_at[number] + copy * size
            self.map[at : at + size] = row.tobytes()

    def append(self, window, **values):
        """Appends a row; the frame's cursor follows."""
        state = self.state(window)
        index = int(state[DONE])
        state[BEGUN] = index + 1
        self.put(window, index, self.row(window, **values))
        state[DONE] = index + 1
        self.cursor(window)
        return index

    def rewrite(self, window, index, **values):
        """A repair."""
        state = self.state(window)
        state[REVISION] += np.uint64(1)
        self.put(window, index, self.row(window, **values))
        state[REVISION] += np.uint64(1)
        self.cursor(window)

    def cursor(self, window):
        name = f"cursors.{window}"
        if name in self.frame_dtype.names:
            state = self.state(window)
            self.frame[name] = (state[DONE], state[REVISION])

    def slot(self, seq):
        """Byte offset of a frame's slot."""
        return self.slots_at + seq % self.slots * self.slot_size

    def publish(self, **values):
        """Publishes the frame with these fields changed; returns its number."""
        for name, value in values.items():
            self.frame[name.replace("__", ".")] = value
        seq = self.published
        if "seq" in self.frame_dtype.names:
            self.frame["seq"] = seq
        slot = self.slot(seq)
        self.words[slot // 8] = 2 * seq + 1
        at = slot + SLOT_HEADER * 8
        data = self.frame.tobytes()
        self.map[at : at + len(data)] = data
        self.words[slot // 8] = 2 * seq + 2
        self.published = seq + 1
        self.words[PUBLISHED] = self.published
        self.beat()
        return seq

    def retire(self):
        self.words[RETIRED] = 1

    def unlock(self):
        """As if the process had ended."""
        fcntl.fcntl(self.file, F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_UNLCK, 0, 0, 0, 0))

    def close(self):
        self.unlock()
        os.close(self.file)


CANDLE = [
    ("open_time", "<i8", "ns"), ("ts_closed", "<i8", "ns"), ("open", "<f8", "quote"), ("high", "<f8", "quote"),
    ("low", "<f8", "quote"), ("close", "<f8", "quote"), ("volume", "<f8", "base"), ("quote_volume", "<f8", "quote"),
    ("taker_buy_volume", "<f8", "base"), ("taker_buy_quote_volume", "<f8", "quote"), ("trade_count", "<u8", "count"),
    ("flags", "<u8", "bits:candle_flags"),
]


def standard(radius=2, promised=4, capacity=8, span=4, extra=(), without=()):
    """A small schema with FRAME.md's names. `extra` fields come in the middle of the frame, as a newer engine's may."""
    candle = lambda: record([field(name, dtype, (), unit) for name, dtype, unit in CANDLE])
    buckets, cells = 2 * radius + 1, 2 * span + 1
    rows = {
        "candles.1s": candle(),
        "candles.1m": candle(),
        "indicators.1s": record([field("open_time", "<i8", (), "ns"), field("rsi_14", "<f8", (), "ratio"),
                                 field("macd", "<f8", (), "quote")]),
        "cob_rows": record([
            field("ts_end", "<i8", (), "ns"), field("venue_second", "<i8", (), "s"),
            field("centre_bucket", "<i8", (), "bucket"), field("imbalance", "<f8", (), "ratio"),
            field("imbalance_px", "<f8", (), "ratio"),
            *[field(name, "<f4", (cells,), "base") for name in ("bid_qty", "ask_qty", "buy_volume", "sell_volume")],
            field("valid", "<u8", (-(-cells // 64),), f"bitset:{cells}"),
            field("overflow_buy", "<f4", (), "base"), field("overflow_sell", "<f4", (), "base"),
        ]),
        "book_states": record([
            field("ts_event", "<i8", (), "ns"), field("ts_recv", "<i8", (), "ns"),
            field("update_id", "<u8", (), "update_id"), field("valid", "|u1", (), "bool"),
            field("levels", "<f8", (10, 4), "quote"),
        ]),
        "ticks": record([field("ts_event", "<i8", (), "ns"), field("ts_recv", "<i8", (), "ns"),
                         field("kind", "|u1", (), "enum:tick_kind"), field("px", "<f8", (), "quote"),
                         field("qty", "<f8", (), "base")]),
        "pivots.1s.1": record([field("open_time", "<i8", (), "ns"), field("ts_confirmed", "<i8", (), "ns"),
                               field("price", "<f8", (), "quote"), field("kind", "|u1", (), "enum:pivot_kind"),
                               field("strength", "<f8", (), "quote")]),
    }
    windows = [
        {"name": name, "rows_promised": promised, "capacity": capacity, "row": row}
        for name, row in rows.items() if name not in without
    ]
    fields = [
        field("symbol", "|u1", (24,), "text"), field("schema_id", "<u8", (), "id"), field("epoch", "<u8", (), "id"),
        field("seq", "<u8", (), "id"), field("input_seq", "<u8", (), "id"), field("trigger", "|u1", (), "enum:trigger"),
        field("times.ts_event", "<i8", (), "ns"), field("times.ts_recv", "<i8", (), "ns"),
        field("times.ts_parsed", "<i8", (), "ns"), field("times.ts_applied", "<i8", (), "ns"),
        field("times.ts_published", "<i8", (), "ns"),
        *[field(f"quality.{name}", "<f8", (), "ratio")
          for name in ("score", "sync", "freshness", "completeness", "consistency", "coverage")],
        field("quality.reasons", "<u8", (), "bits:reasons"), field("quality.valid", "<u8", (), "bits:blocks"),
        field("quality.age_depth", "<i8", (), "ns"),
        field("quality.valid_rows.candles.1s", "<u8", (), "count"),
        *extra,
        *[field(f"top.{name}", "<f8", (), "quote") for name in ("bid_px", "bid_qty", "ask_px", "ask_qty", "mid_px")],
        field("top.update_id", "<u8", (), "update_id"), field("top.source", "|u1", (), "enum:top_source"),
        field("book.update_id", "<u8", (), "update_id"), field("book.bids", "<f8", (10, 2), "levels"),
        field("book.asks", "<f8", (10, 2), "levels"), field("book.book_state", "|u1", (), "enum:book_state"),
        field("cob.bucket_size", "<f8", (), "quote"), field("cob.centre_bucket", "<i8", (), "bucket"),
        field("imbalance.imbalance", "<f8", (), "ratio"), field("imbalance.imbalance_valid", "|u1", (), "bool"),
        field("flow.ofi", "<f8", (4,), "base"),
        *[field(f"candles.1s.open.{name}", dtype, (), unit) for name, dtype, unit in CANDLE],
        field("pivots.1s.1.trend", "<i8", (), "sign"), field("pivots.1s.1.support", "<f8", (), "quote"),
        *[field(f"cursors.{window['name']}", "<u8", (2,), "cursor") for window in windows],
        field("cob.bid_qty", "<f8", (buckets,), "base"), field("cob.ask_qty", "<f8", (buckets,), "base"),
        field("cob.valid", "<u8", (-(-buckets // 64),), f"bitset:{buckets}"),
    ]
    fields = [f for f in fields if f["name"].split(".")[0] not in without]
    names = {
        "trigger": ["depth", "quote", "trade", "snapshot", "repair", "link", "timer"],
        "book_state": ["empty", "syncing", "live", "gapped", "stale", "crossed", "halted"],
        "top_source": ["bookTicker", "depth", "none"], "reasons": ["not_live", "depth_old", "quote_old"],
        "blocks": ["top", "book", "cob", "imbalance", "flow", "candles.1s", "candles.1m"],
        "candle_flags": ["flat", "partial", "incomplete", "rest", "repaired", "hole"],
        "tick_kind": ["trade", "quote"], "pivot_kind": ["high", "low"],
    }
    return {"frame": record(fields), "windows": windows,
            "names": [{"name": name, "values": values} for name, values in names.items()]}


GOOD = {
    "quality__score": 1.0, "quality__sync": 1.0, "quality__freshness": 1.0, "quality__completeness": 1.0,
    "quality__consistency": 1.0, "quality__coverage": 1.0, "quality__valid": 127, "times__ts_event": UNDEF,
    "times__ts_recv": 1_700_000_000_000_000_000, "trigger": 6, "top__bid_px": 2683.8, "top__ask_px": 2683.81,
    "top__bid_qty": 3.0292, "top__ask_qty": 1.5, "top__mid_px": 2683.805, "top__update_id": 41, "book__update_id": 40,
    "book__book_state": 2, "cob__bucket_size": 1.0, "cob__centre_bucket": 2683, "imbalance__imbalance": 0.25,
    "imbalance__imbalance_valid": 1,
}


def good(writer, **values):
    """Publishes a good frame."""
    text = writer.symbol.encode()
    symbol = np.frombuffer(text + b"\0" * (24 - len(text)), np.uint8)
    present = {n: v for n, v in GOOD.items() if n.replace("__", ".") in writer.frame_dtype.names}
    return writer.publish(symbol=symbol, **{**present, **values})
