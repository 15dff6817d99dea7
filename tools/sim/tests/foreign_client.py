"""ccxt.pro, unmodified but for its base URLs, follows the simulator's market.

Usage: foreign_client.py REST_URL WS_URL. Prints one line and exits 0 when its book equals /sim/truth.
"""

import asyncio
import json
import sys
import urllib.request

import ccxt.pro


def call(url, method="GET"):
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=30) as answer:
        return json.load(answer)


async def main(rest, ws):
    exchange = ccxt.pro.binance({"options": {"fetchMarkets": {"types": ["spot"]}, "fetchMargins": False}})
    exchange.urls["api"]["public"] = rest + "/api/v3"
    exchange.urls["api"]["ws"]["spot"] = ws + "/ws"
    try:
        markets = await exchange.load_markets()
        assert markets["ETH/USDT"]["precision"]["price"] == 0.01, markets["ETH/USDT"]["precision"]
        rest_book = await exchange.fetch_order_book("ETH/USDT", 5)
        assert len(rest_book["bids"]) == 5

        trades, ticker = 0, {}

        async def count_trades():
            nonlocal trades
            while True:
                trades += len(await exchange.watch_trades("ETH/USDT"))

        async def keep_ticker():
            nonlocal ticker
            while True:
                ticker = await exchange.watch_ticker("ETH/USDT")

        others = [asyncio.create_task(count_trades()), asyncio.create_task(keep_ticker())]
        updates = 0
        while updates < 50 or trades < 20 or not ticker:
            book = await exchange.watch_order_book("ETH/USDT", 5000)
            updates += 1
        call(rest + "/sim/pause", "POST")
        truth = call(rest + "/sim/truth?symbol=ETHUSDT")
        while exchange.orderbooks["ETH/USDT"]["nonce"] != truth["update_id"]:
            book = await asyncio.wait_for(exchange.watch_order_book("ETH/USDT", 5000), 30)
        book = exchange.orderbooks["ETH/USDT"]
        for side in ("bids", "asks"):
            theirs = [(float(px), float(qty)) for px, qty in book[side]]
            ours = [(float(px), float(qty)) for px, qty in truth[side]][: len(theirs)]
            assert len(theirs) >= 1000 and theirs == ours, side
        for task in others:
            assert not task.done(), task.exception()
            task.cancel()
        print(f"ccxt {ccxt.__version__}: {updates} books, {trades} trades, last {ticker['last']}: equal to the truth")
    finally:
        await exchange.close()


asyncio.run(asyncio.wait_for(main(*sys.argv[1:3]), 120))
