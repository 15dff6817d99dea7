"""hftbacktest's converter and nautilus_trader's Binance adapter with its book, over the depth messages of a recording:
`once.py FILE`, a .gz of one symbol. Prints what a depth message takes, ns of processor time. Not gated: their figures are
kept as dated results. Needs bench/peers/requirements-once.txt."""

import gzip
import json
import sys
import tempfile
import time

import msgspec
from hftbacktest.data.utils import binancefutures
from nautilus_trader.adapters.binance.common.schemas.market import BinanceOrderBookMsg
from nautilus_trader.model.book import OrderBook
from nautilus_trader.model.enums import BookType
from nautilus_trader.model.identifiers import InstrumentId

ROUNDS = 3


def depth_lines(path: str) -> list[tuple[str, str]]:
    """Receive time and message."""
    with gzip.open(path, "rt") as file:
        lines = (line.rstrip("\n").split(" ", 1) for line in file)
        return [(at, message) for at, message in lines if "@depth" in message[:64]]


def hftbacktest(lines: list[tuple[str, str]]) -> int:
    """The converter knows futures alone, whose messages have the time of the change as well."""
    with tempfile.NamedTemporaryFile(suffix=".gz") as file:
        with gzip.open(file.name, "wt") as out:
            for at, message in lines:
                parsed = json.loads(message)
                parsed["data"]["T"] = parsed["data"]["E"]
                out.write(f"{at} {json.dumps(parsed, separators=(',', ':'))}\n")
        began = time.process_time_ns()
        events = binancefutures.convert(file.name, buffer_size=2_000_000)
        took = time.process_time_ns() - began
        levels = sum(len(side) for _, message in lines for side in map(json.loads(message)["data"].get, "ba"))
        assert len(events) == levels, f"{len(events)} events of {levels} levels"
        return took


def nautilus(lines: list[tuple[str, str]]) -> int:
    instrument = InstrumentId.from_str("BTCUSDT.BINANCE")
    decoder = msgspec.json.Decoder(BinanceOrderBookMsg)
    book = OrderBook(instrument, BookType.L2_MBP)
    began = time.process_time_ns()
    for at, message in lines:
        data = decoder.decode(message).data
        book.apply_deltas(data.parse_to_order_book_deltas(instrument, int(at)))
    took = time.process_time_ns() - began
    assert book.best_bid_price() < book.best_ask_price(), "the book is crossed"
    return took


def main() -> None:
    lines = depth_lines(sys.argv[1])
    for peer in (hftbacktest, nautilus):
        times = sorted(peer(lines) for _ in range(ROUNDS))
        print(json.dumps({"peer": peer.__name__, "messages": len(lines), "message_ns": times[ROUNDS // 2] // len(lines)}))


main()
