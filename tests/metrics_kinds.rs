//! Each kind of metrics line has its own fields; a fill on paper is told from a real one.

use bytemuck::Zeroable;
use smart_scanner::model::message::{CommandKind, GateEvent, GateEventKind};
use smart_scanner::model::*;
use smart_scanner::stage::housekeep::gate_lines::gate_event;

fn instruments() -> Instruments {
    let decimal = |text: &str| Decimal::parse(text.as_bytes()).expect("a decimal");
    let mut instruments = Instruments::new();
    instruments.insert(Instrument {
        symbol: Symbol::parse("BTC-USDT").expect("a symbol"),
        tick_size: decimal("0.1"),
        lot_size: decimal("0.1"),
        contract_value: decimal("0.001"),
        min_lots: Lots(1),
        max_limit_lots: Lots(1_000_000),
        max_market_lots: Lots(100_000),
        max_leverage: 150,
        live: true,
        list_ms: 0,
    });
    instruments
}

fn line(kind: GateEventKind, is_paper: bool, change: impl Fn(&mut GateEvent)) -> serde_json::Value {
    let mut event = GateEvent::zeroed();
    event.kind = kind as u8;
    event.side = Side::Buy as u8;
    event.timeframe = Timeframe::M5 as u8;
    event.signal = 7;
    event.size_lots = 8;
    event.header.time_ns = 1_800_000_000_123_000_000;
    change(&mut event);
    gate_event(&event, &instruments(), is_paper).expect("a line")
}

#[test]
fn fills_on_paper_have_a_kind_of_their_own() {
    let fill = |is_paper| {
        line(GateEventKind::Fill, is_paper, |event| {
            event.filled_lots = 8;
            event.fill_price = 60_000.1;
            event.fee = 0.0288;
        })
    };
    assert_eq!(
        (&fill(true)["kind"], &fill(false)["kind"]),
        (&"paper_fill".into(), &"fill".into())
    );
    let fill = fill(true);
    assert_eq!(fill["symbol"], "BTC-USDT");
    assert_eq!(
        (fill["size"].as_f64(), fill["price"].as_f64()),
        (Some(0.8), Some(60_000.1))
    );
    assert!((fill["notional_usd"].as_f64().expect("a number") - 48.00008).abs() < 1e-9);
    assert_eq!(fill["ts_ms"], 1_800_000_000_123_i64);
}

#[test]
fn a_closed_trade_says_what_it_earned_or_that_it_is_not_known() {
    let close = |reason: u16| {
        line(GateEventKind::TradeClosed, false, |event| {
            event.exit = 2;
            event.pnl = -0.3;
            event.r = -1.2;
            event.executions = 2;
            event.reason = reason;
            event.entry_price = 60_000.1;
            event.fill_price = 59_700.0;
        })
    };
    let known = close(0);
    assert_eq!(
        (&known["exit"], &known["pnl"], &known["executions"]),
        (&"sl".into(), &(-0.3).into(), &2.into())
    );
    assert_eq!(
        (known["entry_price"].as_f64(), known["exit_price"].as_f64()),
        (Some(60_000.1), Some(59_700.0))
    );
    let unknown = close(Reason::ReplyItemMissing as u16);
    assert!(unknown["pnl"].is_null() && unknown["r"].is_null() && unknown["reason"].is_string());
}

#[test]
fn a_position_that_cannot_be_protected_or_is_too_small_says_which_and_why() {
    for (kind, name, reason) in [
        (GateEventKind::NakedClose, "naked_close", Reason::StopAbsent),
        (GateEventKind::MarginLow, "margin_low", Reason::MarginLow),
    ] {
        let line = line(kind, false, |event| {
            event.side = Side::Sell as u8;
            event.reason = reason as u16;
        });
        assert_eq!(
            (
                &line["kind"],
                &line["side"],
                &line["reason"],
                line["size"].as_f64()
            ),
            (&name.into(), &"sell".into(), &reason.text().into(), Some(0.8))
        );
        assert_eq!(line["signal_id"], "0000000000000007");
    }
}

#[test]
fn orders_and_skips_say_what_and_why() {
    let order = line(GateEventKind::OrderSent, false, |event| {
        event.command = CommandKind::PlaceBracket as u8;
        event.size_lots = -1;
        event.sl_ticks = 597_001;
        event.reduce_only = 1;
    });
    assert_eq!(
        (&order["kind"], &order["command"], &order["size"]),
        (&"order".into(), &"bracket".into(), &"all".into())
    );
    assert_eq!(
        (order["sl"].as_f64(), order["tp"].is_null()),
        (Some(59_700.1), true)
    );
    for (command, text) in [
        (CommandKind::Cancel, "cancel"),
        (CommandKind::SetLeverage, "leverage"),
        (CommandKind::SetMarginMode, "margin_mode"),
        (CommandKind::SetPositionMode, "position_mode"),
    ] {
        let call = line(GateEventKind::OrderSent, false, |event| {
            event.command = command as u8;
        });
        assert_eq!((&call["kind"], &call["command"]), (&"order".into(), &text.into()));
    }
    for kind in [GateEventKind::Refused, GateEventKind::Skipped] {
        let skip = line(kind, false, |event| event.reason = Reason::Cooldown as u16);
        assert_eq!(
            (&skip["kind"], &skip["reason"]),
            (&"trade_skip".into(), &"cooldown".into())
        );
        assert_eq!(skip["signal_id"], "0000000000000007");
    }
}
