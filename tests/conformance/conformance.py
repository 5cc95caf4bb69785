"""Drives `smart-scanner exchange` with ccxt, a client that knows nothing of this project.

Usage: conformance.py PATH_TO_SMART_SCANNER

Starts the exchange itself (once fast, once at speed 1 for the call limits), runs every case in
order, prints one line a failure, and ends with `N passed, M failed`. Exit code 1 on any failure.
What ccxt cannot parse is a fault of the exchange.
"""

import asyncio
import json
import signal
import subprocess
import sys
import time
import traceback

import aiohttp
import ccxt
import ccxt.pro

KEY, SECRET, PASSPHRASE = "conformance", "conformance-secret", "conformance-pass"
POOR = "poor"
SYMBOL = "BTC/USDT:USDT"
OTHER = "ETH/USDT:USDT"
THIRD = "SOL/USDT:USDT"

CASES = []


def case(function):
    """Registers a case; its docstring names the promise."""
    CASES.append(function)
    return function


class Server:
    """One running exchange."""

    def __init__(self, binary, speed, *more):
        command = [
            binary, "exchange", "--listen", "127.0.0.1:0", "--speed", str(speed), "--seed", "7",
            "--instruments", "16", "--account", f"{KEY}:{SECRET}:{PASSPHRASE}",
            "--account", f"{POOR}:{SECRET}:{PASSPHRASE}", "--balance", "10000", *more,
        ]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the exchange did not start")
        self.ready = json.loads(line)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=10)


def configure(client, ready):
    client.urls["api"]["rest"] = ready["rest"]
    if "ws" in client.urls["api"]:
        client.urls["api"]["ws"] = {
            "swap": {"public": ready["ws_public"], "private": ready["ws_private"]},
        }
    # At speed 30 the venue takes 90 trade calls a wall second, and ccxt weighs each of them 1.67.
    client.rateLimit = 8
    return client


def rest(ready, **changes):
    options = {"apiKey": KEY, "secret": SECRET, "password": PASSPHRASE}
    options.update(changes)
    return configure(ccxt.blofin(options), ready)


def streaming(ready, **changes):
    options = {"apiKey": KEY, "secret": SECRET, "password": PASSPHRASE}
    options.update(changes)
    return configure(ccxt.pro.blofin(options), ready)


def expect(condition, text):
    if not condition:
        raise AssertionError(text)


def rejects(kind, code, call, *args, **kwargs):
    """The call must fail with this ccxt class, and the reply must carry this venue code."""
    try:
        result = call(*args, **kwargs)
    except kind as error:
        expect(code is None or str(code) in str(error), f"no {code} in: {error}")
        return
    except Exception as error:
        raise AssertionError(f"{type(error).__name__} instead of {kind.__name__}: {error}") from error
    raise AssertionError(f"nothing was rejected: {str(result)[:300]}")


def eventually(check, text, seconds=8.0):
    """Repeats `check` until it gives something true."""
    deadline = time.time() + seconds
    while time.time() < deadline:
        result = check()
        if result:
            return result
        time.sleep(0.03)
    raise AssertionError(text)


def last(client, symbol=SYMBOL):
    return client.fetch_ticker(symbol)["last"]


def away(client, side, symbol=SYMBOL, part=0.05):
    """A limit price that rests: below the market for a buy, above it for a sell."""
    factor = 1 - part if side == "buy" else 1 + part
    return float(client.price_to_precision(symbol, last(client, symbol) * factor))


def near(client, factor, symbol=SYMBOL):
    return float(client.price_to_precision(symbol, last(client, symbol) * factor))


def client_id(prefix="c"):
    client_id.count += 1
    return f"{prefix}{int(time.time() * 1000)}{client_id.count}"


client_id.count = 0


def position(client, symbol=SYMBOL):
    rows = [row for row in client.fetch_positions([symbol]) if row["contracts"]]
    return rows[0] if rows else None


def flatten(client, symbol=SYMBOL):
    if position(client, symbol):
        client.close_position(symbol)
        eventually(lambda: position(client, symbol) is None, "the position did not close")
    for order in client.fetch_open_orders(symbol):
        client.cancel_order(order["id"], symbol)
    for order in client.fetch_open_orders(symbol, params={"tpsl": True}):
        client.cancel_order(order["id"], symbol, {"tpsl": True})
    for order in client.fetch_open_orders(symbol, params={"trigger": True}):
        client.cancel_order(order["id"], symbol, {"trigger": True})


# ---- Public REST ------------------------------------------------------------------------------


@case
def markets_are_listed(c):
    markets = c.load_markets()
    expect(len(markets) == c.ready["instruments"], f"{len(markets)} markets")
    btc = markets[SYMBOL]
    expect(btc["linear"] and btc["swap"] and btc["settle"] == "USDT", "BTC is a linear swap in USDT")
    expect(btc["active"], "BTC is live")


@case
def markets_have_precision_and_limits(c):
    for market in c.markets.values():
        expect(market["precision"]["price"] > 0, f"tick of {market['id']}")
        expect(market["precision"]["amount"] > 0, f"lot of {market['id']}")
        expect(market["limits"]["amount"]["min"] > 0, f"least size of {market['id']}")
        expect(market["contractSize"] > 0, f"contract of {market['id']}")
        expect(market["limits"]["leverage"]["max"] >= 1, f"leverage of {market['id']}")


@case
def instruments_can_be_asked_one_by_one(c):
    rows = c.public_get_market_instruments({"instId": "BTC-USDT"})["data"]
    expect([row["instId"] for row in rows] == ["BTC-USDT"], str(rows))


@case
def ticker(c):
    row = c.fetch_ticker(SYMBOL)
    expect(row["bid"] < row["ask"], f"bid {row['bid']} ask {row['ask']}")
    expect(row["low"] <= row["last"] <= row["high"], "last within the day")
    expect(row["baseVolume"] > 0, "volume")
    expect(row["timestamp"] > 1_500_000_000_000, "ms")


@case
def tickers(c):
    rows = c.fetch_tickers()
    expect(len(rows) == len(c.markets), f"{len(rows)} tickers")


@case
def some_tickers(c):
    rows = c.fetch_tickers([SYMBOL, OTHER])
    expect(set(rows) == {SYMBOL, OTHER}, str(list(rows)))


@case
def order_book(c):
    book = c.fetch_order_book(SYMBOL, 50)
    expect(len(book["bids"]) == 50 and len(book["asks"]) == 50, "50 levels a side")
    expect(book["bids"][0][0] < book["asks"][0][0], "not crossed")
    expect(book["bids"] == sorted(book["bids"], reverse=True), "bids descend")
    expect(book["asks"] == sorted(book["asks"]), "asks ascend")


@case
def order_book_default_depth(c):
    data = c.public_get_market_books({"instId": "BTC-USDT"})["data"][0]
    expect(len(data["bids"]) == 1 and isinstance(data["bids"][0][0], str), str(data))


@case
def order_book_too_deep(c):
    rejects(ccxt.BadRequest, 152002, c.public_get_market_books, {"instId": "BTC-USDT", "size": 101})


@case
def trades(c):
    rows = eventually(lambda: c.fetch_trades(SYMBOL, limit=20), "no public trade")
    expect(all(row["side"] in ("buy", "sell") and row["price"] > 0 for row in rows), "sides and prices")
    expect(len({row["id"] for row in rows}) == len(rows), "ids differ")


@case
def candles(c):
    rows = c.fetch_ohlcv(SYMBOL, "1m", limit=100)
    expect(len(rows) == 100, f"{len(rows)} rows")
    expect(all(b[0] - a[0] == 60_000 for a, b in zip(rows, rows[1:])), "a minute apart, oldest first")
    expect(all(row[3] <= min(row[1], row[4]) <= max(row[1], row[4]) <= row[2] for row in rows), "OHLC")


@case
def candles_of_every_timeframe(c):
    for timeframe in ["1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d"]:
        rows = c.fetch_ohlcv(SYMBOL, timeframe, limit=3)
        step = c.parse_timeframe(timeframe) * 1000
        expect(len(rows) == 3 and rows[1][0] - rows[0][0] == step, f"{timeframe}: {rows}")
        expect(rows[0][0] % step == 0, f"{timeframe} is aligned")


@case
def candles_since(c):
    newest = c.fetch_ohlcv(SYMBOL, "1m", limit=200)
    since = newest[50][0]
    rows = c.fetch_ohlcv(SYMBOL, "1m", since=since, limit=200)
    expect(rows[0][0] == since, f"{rows[0][0]} is not {since}")


@case
def candles_before_a_time(c):
    rows = c.public_get_market_candles({"instId": "BTC-USDT", "limit": 10})["data"]
    older = c.public_get_market_candles({"instId": "BTC-USDT", "limit": 10, "after": rows[-1][0]})["data"]
    expect(int(older[0][0]) == int(rows[-1][0]) - 60_000, "the next page joins on")
    expect(len(older[0]) == 9 and older[0][8] == "1", "nine texts, confirmed")


@case
def the_running_candle_is_first_and_unconfirmed(c):
    rows = c.public_get_market_candles({"instId": "BTC-USDT", "bar": "1H", "limit": 2})["data"]
    expect(rows[0][8] == "0" and rows[1][8] == "1", str(rows))


@case
def candles_default_and_most(c):
    expect(len(c.public_get_market_candles({"instId": "BTC-USDT"})["data"]) == 500, "500 by default")
    most = c.public_get_market_candles({"instId": "BTC-USDT", "limit": 5000})["data"]
    expect(len(most) == 1440, f"{len(most)} at most")


@case
def candle_volumes_agree(c):
    size = c.market(SYMBOL)["contractSize"]
    for row in c.public_get_market_candles({"instId": "BTC-USDT", "limit": 5})["data"]:
        expect(abs(float(row[5]) * size - float(row[6])) < 1e-6 * (1 + float(row[6])), str(row))


@case
def a_wrong_timeframe(c):
    rejects(ccxt.BadRequest, 152002, c.public_get_market_candles, {"instId": "BTC-USDT", "bar": "7m"})


@case
def mark_candles(c):
    rows = c.public_get_market_mark_price_candles({"instId": "BTC-USDT", "limit": 3})["data"]
    expect(len(rows) == 3 and len(rows[0]) == 6, str(rows))


@case
def index_candles(c):
    rows = c.public_get_market_index_candles({"instId": "BTC-USDT", "limit": 3})["data"]
    expect(len(rows) == 3 and len(rows[0]) == 6, str(rows))


@case
def mark_price(c):
    row = c.fetch_mark_price(SYMBOL)
    expect(0.9 < row["markPrice"] / last(c) < 1.1, str(row))


@case
def funding_rate(c):
    row = c.fetch_funding_rate(SYMBOL)
    expect(abs(row["fundingRate"]) < 0.02, str(row))
    expect(row["fundingTimestamp"] % (8 * 3_600_000) == 0, "a settlement time")


@case
def funding_history(c):
    rows = c.fetch_funding_rate_history(SYMBOL, limit=5)
    expect(isinstance(rows, list), str(rows))


@case
def position_tiers(c):
    rows = c.public_get_market_position_tiers({"instId": "BTC-USDT", "marginMode": "cross"})["data"]
    expect(float(rows[0]["maintenanceMarginRate"]) == 0.003, str(rows))


@case
def an_unknown_instrument(c):
    rejects(ccxt.BadRequest, 152014, c.public_get_market_candles, {"instId": "NOPE-USDT"})
    rejects(ccxt.BadRequest, 152002, c.public_get_market_tickers, {"instId": "NOPE-USDT"})


@case
def a_missing_parameter(c):
    rejects(ccxt.BadRequest, 152001, c.public_get_market_books, {})


@case
def an_unknown_path(c):
    rejects(ccxt.BadRequest, 404, c.fetch2, "market/nothing", ["public"], "GET")


@case
def a_wrong_verb(c):
    rejects(ccxt.BadRequest, 405, c.fetch2, "market/tickers", ["private"], "POST")


# ---- Authentication ---------------------------------------------------------------------------


@case
def a_wrong_key(c):
    rejects(ccxt.AuthenticationError, 152401, rest(c.ready, apiKey="nobody").private_get_account_balance)


@case
def a_wrong_passphrase(c):
    rejects(ccxt.AuthenticationError, 152408, rest(c.ready, password="wrong").private_get_account_balance)


@case
def a_wrong_secret(c):
    rejects(ccxt.AuthenticationError, 152409, rest(c.ready, secret="wrong").private_get_account_balance)


def signed_at(ready, stamp, nonce=None):
    client = rest(ready)
    client.milliseconds = lambda: stamp
    client.nonce = lambda: stamp if nonce is None else nonce
    return client


@case
def a_stale_timestamp(c):
    rejects(ccxt.InvalidNonce, 152405,
            signed_at(c.ready, int(time.time() * 1000) - 61_000).private_get_account_balance)


@case
def a_timestamp_in_seconds(c):
    rejects(ccxt.InvalidNonce, 152410, signed_at(c.ready, int(time.time())).private_get_account_balance)


@case
def a_reused_nonce(c):
    client = signed_at(c.ready, int(time.time() * 1000))
    client.private_get_account_balance()
    rejects(ccxt.InvalidNonce, 152407, client.private_get_account_balance)


@case
def no_signature_at_all(c):
    try:
        c.fetch(c.urls["api"]["rest"] + "/api/v1/account/balance")
        raise AssertionError("an unsigned call was answered")
    except ccxt.BadRequest as error:
        expect("152001" in str(error), str(error))


@case
def the_key_describes_itself(c):
    data = c.private_get_user_query_apikey()["data"]
    expect(data["apiKey"] == KEY and str(data["readOnly"]) == "0", str(data))


# ---- Account ----------------------------------------------------------------------------------


@case
def balance(c):
    row = c.fetch_balance()["USDT"]
    expect(row["total"] == 10_000 and row["free"] == 10_000, str(row))


@case
def futures_wallet(c):
    row = c.fetch_balance({"accountType": "futures"})["USDT"]
    expect(row["total"] == 10_000, str(row))


@case
def currencies(c):
    expect("USDT" in c.fetch_currencies(), "USDT")


@case
def ledger_is_empty(c):
    expect(c.fetch_ledger("USDT") == [], "nothing was moved")


@case
def account_config(c):
    expect(c.private_get_account_config()["data"]["accountLevel"] == "0", "level 0")


@case
def no_position_yet(c):
    expect(c.fetch_positions() == [], "flat")


@case
def margin_mode(c):
    expect(c.fetch_margin_mode(SYMBOL)["marginMode"] == "cross", "cross")


@case
def margin_mode_there_and_back(c):
    c.set_margin_mode("isolated", SYMBOL)
    expect(c.fetch_margin_mode(SYMBOL)["marginMode"] == "isolated", "isolated")
    c.set_margin_mode("cross", SYMBOL)


@case
def position_mode(c):
    expect(not c.fetch_position_mode(SYMBOL)["hedged"], "one-way")


@case
def position_mode_there_and_back(c):
    c.set_position_mode(True)
    expect(c.fetch_position_mode(SYMBOL)["hedged"], "hedged")
    c.set_position_mode(False)


@case
def leverage(c):
    c.set_leverage(10, SYMBOL, {"marginMode": "cross"})
    expect(c.fetch_leverage(SYMBOL)["longLeverage"] == 10, "10")


@case
def leverages(c):
    rows = c.fetch_leverages([SYMBOL, OTHER])
    expect(rows[SYMBOL]["longLeverage"] == 10, str(rows))


@case
def leverage_too_high(c):
    rejects(ccxt.BadRequest, 152002, c.private_post_account_set_leverage,
            {"instId": "BTC-USDT", "leverage": "1000", "marginMode": "cross"})


@case
def too_many_leverages(c):
    names = ",".join(["BTC-USDT"] * 21)
    rejects(ccxt.BadRequest, 152015, c.private_get_account_batch_leverage_info,
            {"instId": names, "marginMode": "cross"})


@case
def isolated_leverage_is_its_own(c):
    c.set_leverage(5, OTHER, {"marginMode": "isolated"})
    expect(c.fetch_leverage(OTHER, {"marginMode": "isolated"})["longLeverage"] == 5, "5")


# ---- Orders -----------------------------------------------------------------------------------


@case
def a_limit_order_rests(c):
    c.limit_id = c.create_order(SYMBOL, "limit", "buy", 1, away(c, "buy"))["id"]
    order = c.fetch_open_orders(SYMBOL)[0]
    expect(order["id"] == c.limit_id and order["status"] == "open", str(order))
    expect(order["amount"] == 1 and order["filled"] == 0 and order["side"] == "buy", str(order))


@case
def resting_orders_freeze_money(c):
    row = c.fetch_balance()["USDT"]
    expect(row["free"] < 10_000 and row["used"] > 0 and row["total"] == 10_000, str(row))


@case
def an_order_in_detail(c):
    data = c.fetch2("trade/order-detail", ["private"], "GET", {"instId": "BTC-USDT", "orderId": c.limit_id})["data"]
    expect(data["orderId"] == c.limit_id and data["state"] == "live", str(data))
    expect(len(data["price"].split(".")[1]) == 18, "padded to 18 digits")


@case
def leverage_cannot_change_under_cross_orders(c):
    rejects(ccxt.InvalidOrder, 110006, c.set_leverage, 3, SYMBOL, {"marginMode": "cross"})


@case
def modes_cannot_change_under_orders(c):
    rejects(ccxt.InvalidOrder, 110019, c.set_position_mode, True)
    rejects(ccxt.InvalidOrder, 110019, c.set_margin_mode, "isolated", SYMBOL)


@case
def a_cancel(c):
    c.cancel_order(c.limit_id, SYMBOL)
    expect(c.fetch_open_orders(SYMBOL) == [], "gone")


@case
def a_cancelled_order_is_history(c):
    order = [row for row in c.fetch_closed_orders(SYMBOL) if row["id"] == c.limit_id][0]
    expect(order["status"] == "canceled", str(order))
    expect(order["info"]["cancelSource"] == "user_canceled", str(order["info"]))


@case
def a_second_cancel_fails(c):
    rejects(ccxt.BadRequest, 102068, c.cancel_order, c.limit_id, SYMBOL)


@case
def a_cancel_of_nothing_fails(c):
    rejects(ccxt.BadRequest, 102068, c.cancel_order, "12345", SYMBOL)


@case
def money_is_free_again(c):
    expect(c.fetch_balance()["USDT"]["free"] == 10_000, str(c.fetch_balance()["USDT"]))


@case
def a_client_id_is_kept(c):
    c.own_id = client_id()
    c.create_order(SYMBOL, "limit", "buy", 1, away(c, "buy"), {"clientOrderId": c.own_id})
    expect(c.fetch_open_orders(SYMBOL)[0]["clientOrderId"] == c.own_id, "its own id")


@case
def a_client_id_is_used_once(c):
    rejects(ccxt.InvalidOrder, 102002, c.create_order, SYMBOL, "limit", "buy", 1, away(c, "buy"),
            {"clientOrderId": c.own_id})


@case
def a_cancel_by_client_id(c):
    c.cancel_order(None, SYMBOL, {"clientOrderId": c.own_id})
    expect(c.fetch_open_orders(SYMBOL) == [], "gone")


@case
def a_lookup_by_client_id(c):
    data = c.fetch2("trade/order-detail", ["private"], "GET", {"instId": "BTC-USDT", "clientOrderId": c.own_id})["data"]
    expect(data["clientOrderId"] == c.own_id and data["state"] == "canceled", str(data))


@case
def a_client_id_with_a_dash(c):
    rejects(ccxt.InvalidOrder, 152009, c.create_order, SYMBOL, "limit", "buy", 1, away(c, "buy"),
            {"clientOrderId": "no-dash"})


@case
def a_client_id_that_is_too_long(c):
    rejects(ccxt.InvalidOrder, 152009, c.create_order, SYMBOL, "limit", "buy", 1, away(c, "buy"),
            {"clientOrderId": "x" * 33})


def raw_order(c, **changes):
    body = {"instId": "BTC-USDT", "marginMode": "cross", "positionSide": "net", "side": "buy",
            "orderType": "limit", "price": str(away(c, "buy")), "size": "1"}
    body.update(changes)
    return c.private_post_trade_order({key: value for key, value in body.items() if value is not None})


@case
def too_small_a_size(c):
    rejects(ccxt.BadRequest, 152002, raw_order, c, size="0.01")


@case
def a_size_off_the_lot(c):
    rejects(ccxt.BadRequest, 152002, raw_order, c, size="1.05")


@case
def a_price_off_the_tick(c):
    rejects(ccxt.BadRequest, 152002, raw_order, c, price="50000.05")


@case
def words_for_numbers(c):
    rejects(ccxt.BadRequest, 152002, raw_order, c, size="much")
    rejects(ccxt.BadRequest, 152002, raw_order, c, side="hold")
    rejects(ccxt.BadRequest, 152002, raw_order, c, orderType="wish")


@case
def missing_order_fields(c):
    for name in ["instId", "marginMode", "side", "orderType", "size", "price"]:
        rejects(ccxt.BadRequest, 152001, raw_order, c, **{name: None})


@case
def an_order_for_nothing(c):
    rejects(ccxt.BadRequest, 152014, raw_order, c, instId="NOPE-USDT")


@case
def too_large_a_limit_order(c):
    rejects(ccxt.InvalidOrder, 102014, raw_order, c, size="99999999")


@case
def too_large_a_market_order(c):
    rejects(ccxt.InvalidOrder, 102015, raw_order, c, orderType="market", price=None, size="999999")


@case
def too_high_a_price(c):
    rejects(ccxt.BadRequest, 102064, raw_order, c, price=str(near(c, 3)))


@case
def the_price_range(c):
    data = c.fetch2("trade/order/price-range", ["private"], "GET", {"instId": "BTC-USDT", "side": "buy"})["data"]
    expect(float(data["minPrice"]) < last(c) < float(data["maxPrice"]), str(data))


@case
def no_margin(c):
    rejects(ccxt.InsufficientFunds, 103003, c.create_order, SYMBOL, "limit", "buy", 100_000, away(c, "buy"))


@case
def the_wrong_position_side(c):
    rejects(ccxt.BadRequest, 102089, raw_order, c, positionSide="long")


@case
def reduce_only_without_position(c):
    rejects(ccxt.InvalidOrder, 102022, c.create_order, SYMBOL, "market", "sell", 1, None, {"reduceOnly": True})


@case
def closing_nothing(c):
    rejects(ccxt.InvalidOrder, 102005, c.close_position, SYMBOL)


@case
def an_object_where_an_array_is_due(c):
    rejects(ccxt.BadRequest, 152004, c.fetch2, "trade/batch-orders", ["private"], "POST", {"instId": "BTC-USDT"})


@case
def an_array_where_an_object_is_due(c):
    rejects(ccxt.BadRequest, 152004, c.fetch2, "trade/order", ["private"], "POST", [{"instId": "BTC-USDT"}])


@case
def a_market_order_fills(c):
    order = c.create_order(SYMBOL, "market", "buy", 5)
    row = eventually(lambda: position(c), "no position")
    expect(row["contracts"] == 5 and row["side"] == "long", str(row))
    done = eventually(lambda: [o for o in c.fetch_closed_orders(SYMBOL) if o["id"] == order["id"]], "no history")[0]
    expect(done["status"] == "closed" and done["filled"] == 5 and done["average"] > 0, str(done))
    c.entry = done


@case
def a_position_has_its_figures(c):
    row = position(c)
    expect(abs(row["entryPrice"] - c.entry["average"]) < 1e-6, str(row))
    expect(row["leverage"] == 10 and row["marginMode"] == "cross", str(row))
    value = 5 * c.market(SYMBOL)["contractSize"] * row["markPrice"]
    expect(abs(row["initialMargin"] - value / 10) < 1e-6 * value, str(row))
    expect(abs(row["maintenanceMargin"] - value * 0.003) < 1e-6 * value, str(row))


@case
def the_fee_is_the_takers(c):
    value = 5 * c.market(SYMBOL)["contractSize"] * c.entry["average"]
    expect(abs(c.entry["fee"]["cost"] - value * 0.0006) < 1e-9 * value, str(c.entry["fee"]))


@case
def my_trades(c):
    rows = c.fetch_my_trades(SYMBOL)
    mine = [row for row in rows if row["order"] == c.entry["id"]]
    expect(sum(row["amount"] for row in mine) == 5, str(mine))
    expect(all(row["side"] == "buy" and row["price"] > 0 for row in mine), str(mine))


@case
def my_trades_of_one_order(c):
    rows = c.fetch_my_trades(SYMBOL, params={"orderId": c.entry["id"]})
    expect(rows and all(row["order"] == c.entry["id"] for row in rows), str(rows))


@case
def a_reduce_only_order_shrinks(c):
    c.create_order(SYMBOL, "market", "sell", 2, None, {"reduceOnly": True})
    eventually(lambda: position(c)["contracts"] == 3, "not 3")


@case
def a_reduce_only_order_never_flips(c):
    c.create_order(SYMBOL, "market", "sell", 50, None, {"reduceOnly": True})
    eventually(lambda: position(c) is None, "not flat")


@case
def a_closed_position_is_history(c):
    rows = c.fetch_positions_history()
    expect(rows and rows[0]["info"]["instId"] == "BTC-USDT", str(rows))
    expect(float(rows[0]["info"]["fee"]) < 0, "fees are negative here")


@case
def a_position_closes_at_market(c):
    c.create_order(SYMBOL, "market", "sell", 3)
    row = eventually(lambda: position(c), "no position")
    expect(row["side"] == "short" and row["contracts"] == 3, str(row))
    c.close_position(SYMBOL)
    eventually(lambda: position(c) is None, "not flat")


@case
def the_opposite_order_flips(c):
    c.create_order(SYMBOL, "market", "buy", 2)
    eventually(lambda: position(c), "no position")
    c.create_order(SYMBOL, "market", "sell", 5)
    row = eventually(lambda: (lambda p: p if p and p["side"] == "short" else None)(position(c)), "not short")
    expect(row["contracts"] == 3, str(row))
    flatten(c)


@case
def a_crossing_limit_fills_at_once(c):
    order = c.create_order(SYMBOL, "limit", "buy", 1, near(c, 1.01))
    eventually(lambda: position(c), "no position")
    done = [o for o in c.fetch_closed_orders(SYMBOL) if o["id"] == order["id"]][0]
    expect(done["average"] <= near(c, 1.02), "no worse than its limit")
    flatten(c)


@case
def a_post_only_order_rests(c):
    order = raw_order(c, orderType="post_only")["data"][0]
    rows = c.fetch_open_orders(SYMBOL)
    expect([row["id"] for row in rows] == [order["orderId"]], str(rows))
    c.cancel_order(order["orderId"], SYMBOL)


@case
def a_crossing_post_only_order_is_cancelled(c):
    order = raw_order(c, orderType="post_only", price=str(near(c, 1.01)))["data"][0]
    row = eventually(lambda: [o for o in c.fetch_closed_orders(SYMBOL) if o["id"] == order["orderId"]], "no row")[0]
    expect(row["status"] == "canceled" and row["filled"] == 0, str(row))


@case
def an_ioc_order_never_rests(c):
    order = raw_order(c, orderType="ioc")["data"][0]
    row = eventually(lambda: [o for o in c.fetch_closed_orders(SYMBOL) if o["id"] == order["orderId"]], "no row")[0]
    expect(row["status"] == "canceled", str(row))


@case
def a_fok_order_fills_whole_or_not(c):
    order = raw_order(c, orderType="fok", price=str(near(c, 1.01)))["data"][0]
    row = eventually(lambda: [o for o in c.fetch_closed_orders(SYMBOL) if o["id"] == order["orderId"]], "no row")[0]
    expect(row["status"] == "closed" and row["filled"] == 1, str(row))
    flatten(c)


@case
def a_resting_order_fills_when_the_price_comes(c):
    def post():
        """Posts at the bid; the market may have moved past it meanwhile."""
        bid = c.fetch_ticker(SYMBOL)["bid"]
        return raw_order(c, orderType="post_only", price=c.price_to_precision(SYMBOL, bid))["data"][0]["orderId"]

    def done(order_id):
        rows = c.fetch_closed_orders(SYMBOL)
        return [row for row in rows if row["id"] == order_id and row["status"] == "closed"]

    for _ in range(40):
        order_id = post()
        try:
            row = eventually(lambda: done(order_id), "not filled", 0.5)[0]
            break
        except AssertionError:
            try:
                c.cancel_order(order_id, SYMBOL)
            except ccxt.BadRequest:
                pass
    else:
        raise AssertionError("never filled")
    expect(row["average"] <= row["price"], str(row))
    value = c.market(SYMBOL)["contractSize"] * row["average"]
    expect(abs(row["fee"]["cost"] - value * 0.0002) < 1e-9 * value, f"the maker's fee: {row['fee']}")
    flatten(c)


# ---- Stops, targets, triggers -----------------------------------------------------------------


@case
def an_entry_with_stop_and_target(c):
    c.parent = c.create_order(SYMBOL, "market", "buy", 2, None, {
        "stopLoss": {"triggerPrice": near(c, 0.9)}, "takeProfit": {"triggerPrice": near(c, 1.1)}})
    eventually(lambda: position(c), "no position")
    rows = eventually(lambda: c.fetch_open_orders(SYMBOL, params={"tpsl": True}), "no TP/SL row")
    expect(len(rows) == 1, str(rows))
    info = rows[0]["info"]
    expect(float(info["slTriggerPrice"]) < last(c) < float(info["tpTriggerPrice"]), str(info))
    expect(info["slOrderPrice"] == "-1" and info["reduceOnly"] == "true" and info["side"] == "sell", str(info))


@case
def a_tpsl_row_in_detail(c):
    row = c.fetch_open_orders(SYMBOL, params={"tpsl": True})[0]
    data = c.fetch2("trade/order-tpsl-detail", ["private"], "GET",
                    {"instId": "BTC-USDT", "tpslId": row["id"]})["data"]
    expect(data["tpslId"] == row["id"] and data["state"] == "live", str(data))


@case
def a_tpsl_order_is_cancelled(c):
    row = c.fetch_open_orders(SYMBOL, params={"tpsl": True})[0]
    c.cancel_order(row["id"], SYMBOL, {"tpsl": True})
    expect(c.fetch_open_orders(SYMBOL, params={"tpsl": True}) == [], "gone")
    history = c.fetch_closed_orders(SYMBOL, params={"tpsl": True})
    expect([r for r in history if r["id"] == row["id"]][0]["status"] == "canceled", str(history[:1]))


@case
def a_cancel_of_a_dead_tpsl_says_so_inside(c):
    data = c.private_post_trade_cancel_tpsl
    rejects(ccxt.ExchangeError, 500, data, [{"instId": "BTC-USDT", "tpslId": "1"}])


@case
def a_stop_of_its_own(c):
    order = c.private_post_trade_order_tpsl({
        "instId": "BTC-USDT", "marginMode": "cross", "positionSide": "net", "side": "sell", "size": "-1",
        "slTriggerPrice": str(near(c, 0.9)), "slOrderPrice": "-1", "reduceOnly": "true"})
    c.stop_id = order["data"]["tpslId"]
    row = [r for r in c.fetch_open_orders(SYMBOL, params={"tpsl": True}) if r["id"] == c.stop_id][0]
    expect(row["info"]["size"] == "-1", str(row))


@case
def a_whole_position_stop_goes_with_its_position(c):
    c.close_position(SYMBOL)
    eventually(lambda: position(c) is None, "not flat")
    eventually(lambda: not c.fetch_open_orders(SYMBOL, params={"tpsl": True}), "the stop stayed")


@case
def ccxts_own_tpsl_order(c):
    c.create_order(SYMBOL, "market", "buy", 1)
    eventually(lambda: position(c), "no position")
    order = c.create_order(SYMBOL, "market", "sell", 1, None,
                           {"stopLossPrice": near(c, 0.9), "takeProfitPrice": near(c, 1.1)})
    rows = c.fetch_open_orders(SYMBOL, params={"tpsl": True})
    expect([row["id"] for row in rows] == [order["id"]], str(rows))
    flatten(c)


@case
def a_stop_on_the_wrong_side(c):
    rejects(ccxt.InvalidOrder, None, c.create_order, SYMBOL, "market", "buy", 1, None,
            {"stopLoss": {"triggerPrice": near(c, 1.1)}})
    rejects(ccxt.InvalidOrder, 102051, c.create_order, SYMBOL, "limit", "buy", 1, away(c, "buy"),
            {"stopLoss": {"triggerPrice": near(c, 0.99)}})


@case
def a_target_on_the_wrong_side(c):
    rejects(ccxt.InvalidOrder, None, c.create_order, SYMBOL, "market", "buy", 1, None,
            {"takeProfit": {"triggerPrice": near(c, 0.9)}})
    rejects(ccxt.InvalidOrder, 102049, c.create_order, SYMBOL, "limit", "sell", 1, away(c, "sell"),
            {"takeProfit": {"triggerPrice": near(c, 1.2)}})


@case
def a_tpsl_without_a_price(c):
    rejects(ccxt.BadRequest, 152003, c.private_post_trade_order_tpsl, {
        "instId": "BTC-USDT", "marginMode": "cross", "positionSide": "net", "side": "sell", "size": "1"})


@case
def a_stop_fires(c):
    c.create_order(SYMBOL, "market", "buy", 1, None, {"stopLoss": {"triggerPrice": near(c, 0.9995)}})
    eventually(lambda: position(c), "no position")
    for _ in range(60):
        if position(c) is None:
            break
        # When the market walks away upward, the stop follows it.
        rows = c.fetch_open_orders(SYMBOL, params={"tpsl": True})
        if rows and float(rows[0]["info"]["slTriggerPrice"]) < last(c) * 0.999:
            c.cancel_order(rows[0]["id"], SYMBOL, {"tpsl": True})
            try:
                c.private_post_trade_order_tpsl({
                    "instId": "BTC-USDT", "marginMode": "cross", "positionSide": "net", "side": "sell",
                    "size": "-1", "slTriggerPrice": str(near(c, 0.9999)), "slOrderPrice": "-1",
                    "reduceOnly": "true"})
            except ccxt.InvalidOrder:
                pass
        time.sleep(0.2)
    expect(position(c) is None, "the stop never fired")
    history = c.fetch_closed_orders(SYMBOL, params={"tpsl": True})
    fired = [row for row in history if row["info"]["state"] == "effective"]
    expect(fired and fired[0]["info"]["triggerType"] == "sl", str(history[:2]))
    sent = [row for row in c.fetch_closed_orders(SYMBOL) if row["info"]["orderCategory"] == "sl"]
    expect(sent and sent[0]["info"]["algoId"] == fired[0]["id"], str(sent[:1]))


@case
def a_trigger_order_waits(c):
    price = near(c, 1.05)
    order = c.create_order(SYMBOL, "limit", "buy", 1, price, {"triggerPrice": price, "trigger": True})
    rows = c.fetch_open_orders(SYMBOL, params={"trigger": True})
    expect([row["id"] for row in rows] == [order["id"]], f"{order} {rows}")
    expect(float(rows[0]["info"]["triggerPrice"]) == price, str(rows[0]))
    c.trigger_id = order["id"]


@case
def a_trigger_order_is_cancelled(c):
    c.cancel_order(c.trigger_id, SYMBOL, {"trigger": True})
    expect(c.fetch_open_orders(SYMBOL, params={"trigger": True}) == [], "gone")
    rows = c.fetch2("trade/orders-algo-history", ["private"], "GET", {"orderType": "trigger"})["data"]
    expect(rows[0]["algoId"] == c.trigger_id and rows[0]["state"] == "canceled", str(rows[:1]))


@case
def a_trigger_order_with_attached_stop(c):
    answer = c.private_post_trade_order_algo({
        "instId": "BTC-USDT", "marginMode": "cross", "positionSide": "net", "side": "buy", "size": "1",
        "orderType": "trigger", "triggerPrice": str(near(c, 1.05)), "triggerPriceType": "last",
        "orderPrice": "-1", "attachAlgoOrders": [{"slTriggerPrice": str(near(c, 0.9)), "slOrderPrice": "-1",
                                                  "slTriggerPriceType": "last"}]})
    algo_id = answer["data"]["algoId"]
    row = c.fetch2("trade/orders-algo-pending", ["private"], "GET", {"orderType": "trigger"})["data"][0]
    expect(row["algoId"] == algo_id and len(row["attachAlgoOrders"]) == 1, str(row))
    c.private_post_trade_cancel_algo({"instId": "BTC-USDT", "algoId": algo_id})


@case
def an_unknown_trigger_type(c):
    rejects(ccxt.BadRequest, 152428, c.private_post_trade_order_algo, {
        "instId": "BTC-USDT", "marginMode": "cross", "positionSide": "net", "side": "buy", "size": "1",
        "orderType": "trigger", "triggerPrice": str(near(c, 1.05)), "triggerPriceType": "moon"})


# ---- Batches and pages ------------------------------------------------------------------------


def batch(c, count, **changes):
    rows = [{"symbol": SYMBOL, "type": "limit", "side": "buy", "amount": 0.1, "price": away(c, "buy")}
            for _ in range(count)]
    for row in rows:
        row.update(changes)
    return rows


@case
def a_batch(c):
    rows = c.create_orders(batch(c, 3))
    expect(len({row["id"] for row in rows}) == 3, str(rows))
    expect(len(c.fetch_open_orders(SYMBOL)) == 3, "three rest")


@case
def a_batch_cancel(c):
    ids = [row["id"] for row in c.fetch_open_orders(SYMBOL)]
    c.cancel_orders(ids, SYMBOL)
    expect(c.fetch_open_orders(SYMBOL) == [], "gone")


@case
def a_batch_that_fails_in_part(c):
    price = str(away(c, "buy"))
    good = {"instId": "BTC-USDT", "marginMode": "cross", "positionSide": "net", "side": "buy",
            "orderType": "limit", "price": price, "size": "1"}
    try:
        c.fetch2("trade/batch-orders", ["private"], "POST", [good, {**good, "size": "99999999"}])
        raise AssertionError("the outer code is 2")
    except ccxt.ExchangeError as error:
        body = json.loads(str(error).split(" ", 1)[1])
        expect(body["code"] == "2" and body["data"][1]["code"] == "102014", str(body))
        expect(body["data"][0]["code"] == "0", str(body))
    flatten(c)


@case
def a_batch_that_fails_whole(c):
    bad = {"instId": "BTC-USDT", "marginMode": "cross", "positionSide": "net", "side": "buy",
           "orderType": "limit", "price": str(away(c, "buy")), "size": "99999999", "clientOrderId": client_id()}
    try:
        c.fetch2("trade/batch-orders", ["private"], "POST", [bad])
        raise AssertionError("the outer code is 1")
    except ccxt.ExchangeError as error:
        body = json.loads(str(error).split(" ", 1)[1])
        expect(body["code"] == "1" and body["msg"] == "All operations failed", str(body))
        expect(body["data"][0]["orderId"] == "0" and body["data"][0]["clientOrderId"] == bad["clientOrderId"],
               str(body))


@case
def too_large_a_batch(c):
    rejects(ccxt.InvalidOrder, 152006, c.create_orders, batch(c, 21))


@case
def a_batch_of_two_instruments(c):
    rows = batch(c, 2)
    rows[1]["symbol"] = OTHER
    rows[1]["price"] = away(c, "buy", OTHER)
    rejects(ccxt.InvalidOrder, 152007, c.create_orders, rows)


@case
def a_batch_cancel_of_mixed_ids(c):
    rejects(ccxt.InvalidOrder, 152008, c.fetch2, "trade/cancel-batch-orders", ["private"], "POST",
            [{"instId": "BTC-USDT", "orderId": "1"}, {"instId": "BTC-USDT", "clientOrderId": "a"}])


@case
def pages_of_open_orders(c):
    for _ in range(2):
        c.create_orders(batch(c, 15))
    first = c.fetch2("trade/orders-pending", ["private"], "GET", {})["data"]
    expect(len(first) == 20, f"{len(first)} by default")
    second = c.fetch2("trade/orders-pending", ["private"], "GET", {"after": first[-1]["orderId"]})["data"]
    expect(len(second) == 10, f"{len(second)} on the second page")
    seen = [row["orderId"] for row in first + second]
    expect(len(set(seen)) == 30 and seen == sorted(seen, key=int, reverse=True), "each once, newest first")
    newer = c.fetch2("trade/orders-pending", ["private"], "GET", {"before": first[2]["orderId"]})["data"]
    expect([row["orderId"] for row in newer] == seen[:2], "before is exclusive")
    c.cancel_orders(seen[:20], SYMBOL)
    c.cancel_orders(seen[20:], SYMBOL)


@case
def both_cursors_at_once(c):
    rejects(ccxt.BadRequest, 152002, c.fetch2, "trade/orders-history", ["private"], "GET", {"after": 9, "before": 3})


@case
def history_by_state(c):
    rows = c.fetch2("trade/orders-history", ["private"], "GET", {"state": "filled", "limit": 100})["data"]
    expect(rows and all(row["state"] == "filled" for row in rows), "only filled ones")


@case
def fills_page_by_trade_id(c):
    rows = c.fetch2("trade/fills-history", ["private"], "GET", {"limit": 2})["data"]
    older = c.fetch2("trade/fills-history", ["private"], "GET", {"limit": 2, "after": rows[-1]["tradeId"]})["data"]
    expect(int(older[0]["tradeId"]) < int(rows[-1]["tradeId"]), "older")


# ---- Hedge mode, isolated margin --------------------------------------------------------------


@case
def hedge_mode_holds_both_sides(c):
    flatten(c)
    c.set_position_mode(True)
    for side, position_side in [("buy", "long"), ("sell", "short")]:
        c.private_post_trade_order({"instId": "SOL-USDT", "marginMode": "cross", "positionSide": position_side,
                                    "side": side, "orderType": "market", "size": "1"})
    rows = eventually(lambda: (lambda r: r if len(r) == 2 else None)(c.fetch_positions([THIRD])), "not two")
    expect({row["side"] for row in rows} == {"long", "short"}, str(rows))
    expect(all(row["contracts"] == 1 for row in rows), "sizes are positive")


@case
def hedge_mode_needs_a_side(c):
    rejects(ccxt.BadRequest, 102089, c.private_post_trade_order, {
        "instId": "SOL-USDT", "marginMode": "cross", "positionSide": "net", "side": "buy",
        "orderType": "market", "size": "1"})


@case
def hedge_mode_closes_each_side(c):
    for side in ["long", "short"]:
        c.private_post_trade_close_position({"instId": "SOL-USDT", "marginMode": "cross", "positionSide": side})
    eventually(lambda: c.fetch_positions([THIRD]) == [], "not flat")
    c.set_position_mode(False)


@case
def isolated_margin(c):
    c.set_margin_mode("isolated", OTHER)
    c.create_order(OTHER, "market", "buy", 10, None, {"marginMode": "isolated"})
    row = eventually(lambda: position(c, OTHER), "no position")
    expect(row["marginMode"] == "isolated" and row["leverage"] == 5, str(row))
    expect(row["liquidationPrice"] and row["liquidationPrice"] < row["entryPrice"], str(row))
    c.private_post_trade_close_position({"instId": "ETH-USDT", "marginMode": "isolated", "positionSide": "net"})
    eventually(lambda: position(c, OTHER) is None, "not flat")
    c.set_margin_mode("cross", OTHER)


@case
def the_adl_rank(c):
    c.create_order(SYMBOL, "market", "buy", 1)
    eventually(lambda: position(c), "no position")
    expect(c.fetch_positions_adl_rank([SYMBOL]), "a rank")
    flatten(c)


@case
def accounts_do_not_see_each_other(c):
    other = rest(c.ready, apiKey=POOR)
    c.create_order(SYMBOL, "limit", "buy", 1, away(c, "buy"))
    expect(other.fetch_open_orders(SYMBOL) == [] and other.fetch_my_trades(SYMBOL) == [], "strangers")
    order = c.fetch_open_orders(SYMBOL)[0]
    rejects(ccxt.BadRequest, 102068, other.cancel_order, order["id"], SYMBOL)
    c.cancel_order(order["id"], SYMBOL)


@case
def demo_money(c):
    other = rest(c.ready, apiKey=POOR)
    before = other.fetch_balance()["USDT"]["total"]
    other.fetch2("asset/demo-apply-money", ["private"], "POST", {
        "adjustType": 0, "accountType": "futures", "demoApplyMoney": [{"currency": "USDT", "amountStr": "109"}]})
    expect(other.fetch_balance()["USDT"]["total"] == before + 109, "109 more")


# ---- Websockets -------------------------------------------------------------------------------


def streams(function):
    """Runs an async case with a streaming client that is closed afterwards."""

    def run(c):
        async def body():
            client = streaming(c.ready)
            try:
                await client.load_markets()
                await asyncio.wait_for(function(c, client), 30)
            finally:
                await client.close()

        asyncio.run(body())

    run.__name__ = function.__name__
    CASES.append(run)
    return run


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


async def talk(url, *requests):
    """Sends each request on a plain websocket and returns the answer to each."""
    answers = []
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        for request in requests:
            await socket.send_str(request if isinstance(request, str) else json.dumps(request))
            answers.append((await asyncio.wait_for(socket.receive(), 5)).data)
    return answers


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


# ---- Limits, at speed 1 -----------------------------------------------------------------------


@case
def the_31st_trade_call_in_ten_seconds(c):
    slow = rest(c.slow.ready, enableRateLimit=False)
    slow.load_markets()
    for _ in range(30):
        slow.fetch_open_orders(SYMBOL)
        time.sleep(0.002)
    rejects(ccxt.RateLimitExceeded, 429, slow.fetch_open_orders, SYMBOL)
    slow.fetch_balance()


@case
def another_user_is_not_limited(c):
    rest(c.slow.ready, apiKey=POOR).fetch_open_orders(SYMBOL)


@case
def the_501st_call_in_a_minute_locks_out(c):
    slow = rest(c.slow.ready, enableRateLimit=False)
    done = 0
    try:
        for _ in range(520):
            slow.public_get_market_mark_price({"instId": "BTC-USDT"})
            done += 1
    except ccxt.RateLimitExceeded:
        expect(400 < done <= 500, f"limited after {done}")
        rejects(ccxt.RateLimitExceeded, 429, slow.fetch_balance)
        return
    raise AssertionError("520 calls in a minute were answered")


@case
def the_books_balance_at_the_end(c):
    flatten(c)
    row = c.fetch_balance()["USDT"]
    expect(abs(row["total"] - row["free"]) < 1e-9, f"flat, so everything is free: {row}")
    fees = sum(trade["fee"]["cost"] for trade in all_fills(c))
    gains = sum(float(trade["info"]["fillPnl"]) for trade in all_fills(c))
    funding = sum(float(fee["fundingFee"]) for fee in all_funding(c))
    expect(abs(10_000 + gains - fees + funding - row["total"]) < 1e-6,
           f"10000 + {gains} - {fees} + {funding} is not {row['total']}")


def all_fills(c):
    rows, cursor = [], {}
    while True:
        page = c.fetch_my_trades(params={"limit": 100, **cursor})
        if not page:
            return rows
        rows += page
        cursor = {"after": str(min(int(row["id"]) for row in page))}


def all_funding(c):
    return c.fetch2("account/funding-fees", ["private"], "GET", {"limit": 100})["data"]


def main():
    binary = sys.argv[1]
    only = sys.argv[2:]
    fast, slow = Server(binary, 30), Server(binary, 1)
    client = rest(fast.ready)
    client.ready, client.slow = fast.ready, slow
    passed, failed = 0, 0
    try:
        for function in CASES:
            name = function.__name__
            if only and name not in only and name != "markets_are_listed":
                continue
            try:
                function(client)
                passed += 1
            except Exception as error:
                failed += 1
                print(f"FAILED {name}: {type(error).__name__}: {str(error)[:600]}")
                if not isinstance(error, AssertionError):
                    print(traceback.format_exc(limit=-3))
    finally:
        for server in (fast, slow):
            if server.stop() != 0:
                failed += 1
                print("FAILED the exchange did not end with code 0")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
