"""Market data and signatures: what needs no account, and who gets in."""

import time

import ccxt

from bench import KEY, OTHER, SYMBOL, case, eventually, expect, last, rejects, rest


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
