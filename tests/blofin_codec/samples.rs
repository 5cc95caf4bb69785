//! The collected messages of the venue, where they are at hand: every market and private push, and
//! every REST answer, must be read or refused for a reason that is known.

use crate::market::both;
use crate::{instrument, instruments, shared};
use bytemuck::Zeroable;
use serde_json::Value;
use smart_scanner::model::message::{FetchRequest, ListKind};
use smart_scanner::model::{ClientOrderId, Instruments, Reason};
use smart_scanner::venue::blofin::codec::{AccountDecoder, Channel, Decoder, Window};
use smart_scanner::venue::blofin::reply::ReplyReader;
use smart_scanner::venue::blofin::request::Cursor;

/// After every time in the samples but the newest, whose window reaches back anyway.
const SAMPLES_NOW_MS: i64 = 1_771_416_000_000;

fn samples() -> Option<Vec<(String, Value)>> {
    let folder = shared::find("reference/blofin-samples")?;
    let entries = std::fs::read_dir(&folder).expect("a folder");
    let mut out = Vec::new();
    for entry in entries {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("text");
        if let Ok(value) = serde_json::from_str(&text) {
            out.push((name, value));
        }
    }
    out.sort_by(|left, right| left.0.cmp(&right.0));
    assert!(!out.is_empty(), "no sample in {}", folder.display());
    Some(out)
}

/// The messages that a server sent, wherever the file keeps them.
fn pushes(value: &Value, out: &mut Vec<Value>) {
    match value {
        Value::Array(rows) => rows.iter().for_each(|row| pushes(row, out)),
        Value::Object(map)
            if map
                .get("dir")
                .and_then(Value::as_str)
                .is_some_and(|dir| dir.starts_with("server")) =>
        {
            pushes(&map["msg"], out);
        }
        Value::Object(map) if map.contains_key("arg") || map.contains_key("event") => out.push(value.clone()),
        _ => {}
    }
}

fn table() -> Instruments {
    let mut table = instruments();
    for (symbol, tick, lot) in [
        ("LTC-USDT", "0.01", "0.01"),
        ("BNB-USDT", "0.01", "1"),
        ("BCH-USDT", "0.01", "0.1"),
    ] {
        table.insert(instrument(symbol, tick, lot, "1")).expect("room");
    }
    table
}

#[test]
fn every_recorded_push_is_read_or_refused_for_a_known_reason() {
    let Some(files) = samples() else { return };
    let (mut decoder, mut account) = (Decoder::new(), AccountDecoder::new());
    let table = table();
    let (mut read, mut refused) = (0, Vec::new());
    for (name, value) in files.iter().filter(|(name, _)| name.contains("-ws-")) {
        let mut messages = Vec::new();
        pushes(value, &mut messages);
        for message in messages {
            let text = message.to_string();
            let channel = message["arg"]["channel"].as_str().and_then(Channel::parse);
            let private = matches!(
                channel,
                Some(Channel::Orders | Channel::OrdersAlgo | Channel::Positions | Channel::Account)
            );
            let reason = if private {
                account.decode(text.as_bytes(), &table).err()
            } else {
                // Each push is judged at its own time: the samples span years.
                let now = newest_time(&message).unwrap_or(SAMPLES_NOW_MS);
                both(&mut decoder, text.as_bytes(), now).0.err()
            };
            match reason {
                None => read += 1,
                Some(reason) => refused.push((name.clone(), reason)),
            }
        }
    }
    for (name, reason) in &refused {
        println!("refused {name}: {}", reason.text());
    }
    println!("{read} read, {} refused", refused.len());
    assert!(read > 60, "{read}");
    // Fixtures with a row of another instrument, with one-field candles, of channels we do not read,
    // and of instruments that are not linear.
    let known = [
        Reason::InstrumentUnknown,
        Reason::ChannelUnknown,
        Reason::FieldMissing,
    ];
    assert!(
        refused.iter().all(|(_, reason)| known.contains(reason)),
        "{refused:?}"
    );
    assert!(refused.len() <= 20, "{}", refused.len());
}

/// The latest 13-digit time that stands anywhere in a push.
fn newest_time(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) if text.len() == 13 => text.parse().ok(),
        Value::Array(rows) => rows.iter().filter_map(newest_time).max(),
        Value::Object(map) => map.values().filter_map(newest_time).max(),
        _ => None,
    }
}

#[test]
fn every_recorded_answer_is_read() {
    let Some(files) = samples() else { return };
    let table = table();
    let mut reader = ReplyReader::new();
    let mut count = 0;
    for (name, list) in [
        ("ccxt-response-00-fetchclosedorders.json", ListKind::OrdersHistory),
        ("ccxt-response-01-fetchopenorders.json", ListKind::OrdersPending),
        ("ccxt-response-03-fetchmytrades.json", ListKind::Fills),
        ("ccxt-response-06-fetchbalance.json", ListKind::Balance),
        ("ccxt-response-08-fetchpositions.json", ListKind::Positions),
        ("ccxt-response-21-fetchpositionadlrank.json", ListKind::Positions),
        (
            "docs-rest-get-active-orders--response.json",
            ListKind::OrdersPending,
        ),
        (
            "docs-rest-get-active-tpsl-orders--response.json",
            ListKind::BracketsPending,
        ),
        (
            "docs-rest-get-tpsl-order-history--response.json",
            ListKind::BracketsHistory,
        ),
        (
            "docs-rest-get-order-history--response.json",
            ListKind::OrdersHistory,
        ),
        ("docs-rest-get-trade-history--response.json", ListKind::Fills),
        ("docs-rest-get-positions--response.json", ListKind::Positions),
        ("docs-rest-get-margin-mode--response.json", ListKind::Config),
        ("docs-rest-get-position-mode--response.json", ListKind::Config),
        ("docs-rest-get-multiple-leverage--response.json", ListKind::Config),
        (
            "bfnet-rest-futures-trading-getopenorders.json",
            ListKind::OrdersPending,
        ),
        (
            "real-rest-trade-orders-tpsl-history.json",
            ListKind::BracketsHistory,
        ),
    ] {
        let Some((_, value)) = files.iter().find(|(file, _)| file == name) else {
            panic!("{name} is gone");
        };
        let body = answer(value).to_string();
        let request = FetchRequest {
            list: list as u8,
            client_id: ClientOrderId::default(),
            limit: 100,
            ..FetchRequest::zeroed()
        };
        let page = reader
            .read_list(
                200,
                body.as_bytes(),
                &request,
                Cursor::default(),
                &table,
                SAMPLES_NOW_MS,
            )
            .unwrap_or_else(|fault| panic!("{name}: {fault:?} {body}"));
        println!(
            "{name}: {} rows, {} of other instruments",
            page.events.len(),
            page.unknown_count
        );
        count += page.events.len();
    }
    assert!(count > 20, "{count}");
    let (_, listing) = files
        .iter()
        .find(|(file, _)| file == "real-rest-market-instruments-490.json")
        .expect("the listing");
    let body = answer(listing).to_string();
    let list = reader
        .read_instruments(200, body.as_bytes())
        .expect("the listing");
    println!(
        "{} linear, {} other, {} invalid",
        list.instruments.len(),
        list.other_count,
        list.invalid_count
    );
    assert_eq!(
        (
            list.instruments.len() as u32 + list.other_count,
            list.invalid_count
        ),
        (490, 0)
    );
    let mut all = Instruments::new();
    for row in list.instruments {
        assert!(all.insert(*row).is_some());
    }
    let (_, ticker) = files
        .iter()
        .find(|(file, _)| file == "ccxt-response-13-fetchticker.json")
        .expect("a ticker");
    let window = Window::around(1_710_328_244_013);
    let body = answer(ticker).to_string();
    let (quotes, left_out) = reader
        .read_tickers(200, body.as_bytes(), &all, &window)
        .expect("a ticker");
    assert_eq!((quotes.len(), left_out), (1, 0));
}

/// The venue's answer inside a sample, which may carry its provenance around it.
fn answer(value: &Value) -> &Value {
    if value.get("code").is_some() {
        return value;
    }
    ["httpResponse", "response", "msg", "body"]
        .iter()
        .find_map(|name| value.get(name))
        .unwrap_or(value)
}
