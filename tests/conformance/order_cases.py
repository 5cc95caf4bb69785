"""Account settings, money and plain orders."""

import ccxt

from bench import (
    OTHER,
    SYMBOL,
    away,
    case,
    client_id,
    eventually,
    expect,
    flatten,
    last,
    near,
    position,
    rejects,
)


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
