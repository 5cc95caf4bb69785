"""Drives `smart-scanner exchange` with ccxt, a client that knows nothing of this project.

Usage: conformance.py PATH_TO_SMART_SCANNER [CASE...]

Starts the exchange itself (once fast, once at speed 1 for the call limits), runs every case in
order, prints one line a failure, and ends with `N passed, M failed`. Exit code 1 on any failure.
What ccxt cannot parse is a fault of the exchange.
"""

import sys
import traceback

# The order of these lines is the order of the cases; a formatter must not sort them.
import public_cases  # noqa: F401
import order_cases  # noqa: F401
import bracket_cases  # noqa: F401
import stream_cases  # noqa: F401
import limit_cases  # noqa: F401
from bench import CASES, Server, rest


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
