"""cryptofeed's Binance handler and book over a recording of one symbol: `cryptofeed_book.py FILE`, text or .gz.

Prints "ready", then, for each line that comes in, passes over the whole file once and prints a line of JSON: what a depth
message took, and the book at the end, to be held against that of others. The handler asks for a snapshot over REST, as it
always does; here the recorded one answers."""

import asyncio
import gzip
import json
import sys
import time

from cryptofeed.defines import L2_BOOK
from cryptofeed.exchanges import Binance
from cryptofeed.symbols import Symbols

PAIR = "BTC-USDT"


class Recorded:
    """In place of the HTTP connection."""

    def __init__(self, snapshot: str):
        self.snapshot = snapshot

    async def read(self, *_args, **_keywords) -> str:
        return self.snapshot


async def pass_over(path: str) -> dict:
    seen = 0

    async def on_book(_book, _received: float) -> None:
        nonlocal seen
        seen += 1

    began = time.process_time_ns()
    with (gzip.open if path.endswith(".gz") else open)(path, "rt") as file:
        snapshot = next(line for line in file if '"lastUpdateId"' in line).split(" ", 1)[1]
        file.seek(0)
        handler = Binance(symbols=[PAIR], channels=[L2_BOOK], callbacks={L2_BOOK: on_book})
        handler.http_conn = Recorded(snapshot)
        messages = 0
        for line in file:
            received_ns, message = line.split(" ", 1)
            if "@depth" in message[:64]:
                messages += 1
                await handler.message_handler(message, None, int(received_ns) / 1e9)
    took_ns = time.process_time_ns() - began
    book = handler._l2_book[PAIR].book
    return {
        "message_ns": took_ns / messages,
        "messages": messages,
        "called_back": seen,
        "update_id": handler.last_update_id[PAIR],
        "best": [float(book.bids.index(0)[0]), float(book.asks.index(0)[0])],
    }


def main() -> None:
    instrument = {"symbol": "BTCUSDT", "baseAsset": "BTC", "quoteAsset": "USDT", "filters": [{"tickSize": "0.01"}]}
    Symbols.set(Binance.id, *Binance._parse_symbol_data({"symbols": [instrument]}))
    print("ready", flush=True)
    for _ in sys.stdin:
        print(json.dumps(asyncio.run(pass_over(sys.argv[1]))), flush=True)


main()
