"""Stops, targets, trigger orders, batches, pages, hedge mode and isolated margin."""

import json
import time

import ccxt

from bench import (
    OTHER,
    POOR,
    SYMBOL,
    THIRD,
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
    rest,
)


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
    for _ in range(150):
        if position(c) is None:
            break
        # When the market walks away upward, the stop follows it.
        rows = c.fetch_open_orders(SYMBOL, params={"tpsl": True})
        try:
            if rows and float(rows[0]["info"]["slTriggerPrice"]) < last(c) * 0.9993:
                c.cancel_order(rows[0]["id"], SYMBOL, {"tpsl": True})
                rows = []
            if not rows:
                c.private_post_trade_order_tpsl({
                    "instId": "BTC-USDT", "marginMode": "cross", "positionSide": "net", "side": "sell",
                    "size": "-1", "slTriggerPrice": str(near(c, 0.9998)), "slOrderPrice": "-1",
                    "reduceOnly": "true"})
        except ccxt.ExchangeError:
            # It fired, or the price fell below the new stop, between two calls.
            pass
        time.sleep(0.1)
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
