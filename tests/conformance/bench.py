"""What the cases share: the exchange under test, clients for it, and ways to say what must hold."""


import asyncio
import json
import signal
import subprocess
import time

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


async def talk(url, *requests):
    """Sends each request on a plain websocket and returns the answer to each."""
    answers = []
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        for request in requests:
            await socket.send_str(request if isinstance(request, str) else json.dumps(request))
            answers.append((await asyncio.wait_for(socket.receive(), 5)).data)
    return answers
