"""Websockets, public and private."""

import asyncio
import json
import time

from bench import KEY, OTHER, PASSPHRASE, SYMBOL, away, case, expect, flatten, near, streams, talk


@streams
async def watch_ticker(c, ws):
    first = await ws.watch_ticker(SYMBOL)
    second = await ws.watch_ticker(SYMBOL)
    expect(second["timestamp"] >= first["timestamp"] and second["bid"] < second["ask"], str(second))


@streams
async def watch_tickers(c, ws):
    expect(await ws.watch_tickers([SYMBOL, OTHER]), "tickers")


@streams
async def watch_bids_asks(c, ws):
    row = (await ws.watch_bids_asks([SYMBOL]))[SYMBOL]
    expect(row["bid"] < row["ask"], str(row))


@streams
async def watch_trades(c, ws):
    rows = await ws.watch_trades(SYMBOL)
    expect(rows[0]["price"] > 0 and rows[0]["side"] in ("buy", "sell"), str(rows))


@streams
async def watch_order_book(c, ws):
    for _ in range(20):
        book = await ws.watch_order_book(SYMBOL)
        expect(book["bids"][0][0] < book["asks"][0][0], "never crossed")
        expect(len(book["bids"]) >= 50, "deep")


@streams
async def watch_order_books_of_two(c, ws):
    seen = set()
    for _ in range(40):
        seen.add((await ws.watch_order_book_for_symbols([SYMBOL, OTHER]))["symbol"])
    expect(seen == {SYMBOL, OTHER}, str(seen))


@streams
async def watch_candles(c, ws):
    first = (await ws.watch_ohlcv(SYMBOL, "1m"))[-1]
    for _ in range(200):
        row = (await ws.watch_ohlcv(SYMBOL, "1m"))[-1]
        if row[0] > first[0]:
            expect(row[0] - first[0] == 60_000, "the next minute")
            return
    raise AssertionError("the minute never ended")


@streams
async def watch_funding_rate(c, ws):
    row = await ws.watch_funding_rate(SYMBOL)
    expect(row["fundingRate"] is not None, str(row))


@streams
async def watch_balance(c, ws):
    row = await ws.watch_balance()
    expect(row["USDT"]["total"] > 0, str(row))


@streams
async def watch_orders_and_positions(c, ws):
    orders = asyncio.ensure_future(ws.watch_orders(SYMBOL))
    positions = asyncio.ensure_future(ws.watch_positions([SYMBOL]))
    await asyncio.sleep(0.5)
    placed = await asyncio.to_thread(c.create_order, SYMBOL, "market", "buy", 1)
    rows = await orders
    expect(rows[-1]["id"] == placed["id"], f"{placed} {rows}")
    row = await positions
    row = row[0] if isinstance(row, list) else row
    expect(row["symbol"] == SYMBOL and row["contracts"] == 1, str(row))
    await asyncio.to_thread(flatten, c)


@streams
async def watch_order_until_it_is_done(c, ws):
    task = asyncio.ensure_future(ws.watch_orders(SYMBOL))
    await asyncio.sleep(0.3)
    placed = await asyncio.to_thread(c.create_order, SYMBOL, "limit", "buy", 1, away(c, "buy"))
    await task
    task = asyncio.ensure_future(ws.watch_orders(SYMBOL))
    await asyncio.to_thread(c.cancel_order, placed["id"], SYMBOL)
    for _ in range(5):
        rows = [row for row in await task if row["id"] == placed["id"]]
        if rows and rows[-1]["status"] == "canceled":
            return
        task = asyncio.ensure_future(ws.watch_orders(SYMBOL))
    raise AssertionError("the cancel was never pushed")


@streams
async def watch_stop_orders(c, ws):
    task = asyncio.ensure_future(ws.watch_orders(SYMBOL, params={"trigger": True}))
    await asyncio.sleep(0.3)
    await asyncio.to_thread(c.create_order, SYMBOL, "market", "buy", 1, None,
                            {"stopLoss": {"triggerPrice": near(c, 0.9)}})
    rows = await task
    expect(rows[-1]["info"]["orderType"] == "conditional", str(rows))
    await asyncio.to_thread(flatten, c)


@case
def a_failed_login(c):
    login = {"op": "login", "args": [{"apiKey": KEY, "passphrase": PASSPHRASE, "nonce": "n", "sign": "x",
                                      "timestamp": str(int(time.time() * 1000))}]}
    answer = asyncio.run(talk(c.ready["ws_private"], login))[0]
    expect(json.loads(answer) == {"event": "error", "code": "60009", "msg": "Login failed."}, answer)


@case
def a_private_channel_before_login(c):
    request = json.dumps({"op": "subscribe", "args": [{"channel": "orders"}]})
    answer = json.loads(asyncio.run(talk(c.ready["ws_private"], request))[0])
    expect(answer["code"] == "60012" and "arg" not in answer and answer["msg"].endswith(request), str(answer))


@case
def an_unknown_channel(c):
    request = {"op": "subscribe", "args": [{"channel": "weather", "instId": "BTC-USDT"}]}
    answer = json.loads(asyncio.run(talk(c.ready["ws_public"], request))[0])
    expect(answer["event"] == "error" and answer["code"] == "60012", str(answer))


@case
def ping_and_pong(c):
    expect(asyncio.run(talk(c.ready["ws_public"], "ping", "ping")) == ["pong", "pong"], "pong")


@case
def an_ack_for_each_arg(c):
    args = [{"channel": "trades", "instId": "BTC-USDT"}, {"channel": "trades", "instId": "ETH-USDT"}]
    answers = asyncio.run(talk(c.ready["ws_public"], {"op": "subscribe", "args": args}, "ping"))
    expect([json.loads(answer) for answer in answers]
           == [{"event": "subscribe", "arg": arg} for arg in args], str(answers))
