"""Call limits at speed 1, and the sum of everything at the end."""

import time

import ccxt

from bench import POOR, SYMBOL, case, expect, flatten, rejects, rest


@case
def the_31st_trade_call_in_ten_seconds(c):
    slow = rest(c.slow.ready, enableRateLimit=False)
    slow.load_markets()
    for _ in range(30):
        slow.fetch_open_orders(SYMBOL)
        time.sleep(0.002)
    rejects(ccxt.RateLimitExceeded, 429, slow.fetch_open_orders, SYMBOL)
    # The refused call was answered at once, and ccxt's nonce is the millisecond.
    time.sleep(0.002)
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
