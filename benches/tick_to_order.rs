//! Bytes of a closing candle to the bytes of a signed order, against the same path written with the
//! usual crates: serde_json for both ends, a MAC keyed for each order, reqwest's request builder.
//!
//! Two measures: the whole way, and the edges alone (the way without what both sides share).
//! Both sides run the same indicators, strategies and gate, each on a state of its own, over the same
//! candles; they take turns at going first. Only candles that end in an order are timed. Every order is
//! compared: same instrument, side, price, size and triggers, and a signature that fits its own bytes.
//! As a test (`--test`) it runs a small size.

use std::collections::HashMap;
use std::hint::black_box;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytemuck::Zeroable;
use hmac::{Hmac, KeyInit, Mac};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reqwest::header::HeaderMap;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use smart_scanner::indicators::{Board, Intake, SeriesPlan, Step, context_of};
use smart_scanner::model::client_id::instance_tag;
use smart_scanner::model::message::*;
use smart_scanner::model::*;
use smart_scanner::risk::{BracketMode, BracketParams, Limits};
use smart_scanner::stage::gate::core::{Gate, GateParams};
use smart_scanner::stage::gate::core_outputs::Outputs;
use smart_scanner::strategy::bandit::Bandit;
use smart_scanner::strategy::{Params, Scorer, Verdict};
use smart_scanner::sys::clock::Stamp;
use smart_scanner::venue::blofin::codec::{Decoded, Decoder, Window};
use smart_scanner::venue::blofin::request::RequestWriter;
use smart_scanner::venue::blofin::sign::{Credentials, NonceSource};

const KEY: &str = "0123456789abcdef0123456789abcdef";
const SECRET: &str = "s3cr3t-TEST-0123456789abcdef";
const PASSPHRASE: &str = "passphrase";
const HOST: &str = "openapi.blofin.com";
const PATH: &str = "/api/v1/trade/order";
const START_MS: i64 = 1_771_416_000_000;
const TRADED: InstrumentId = InstrumentId(245);

fn instruments() -> Instruments {
    let decimal = |text: &str| Decimal::parse(text.as_bytes()).expect("a decimal");
    let mut instruments = Instruments::new();
    for index in 0..490 {
        instruments.insert(Instrument {
            symbol: Symbol::parse(&format!("COIN{index}-USDT")).expect("a symbol"),
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
    }
    instruments
}

/// Indicators, strategies and gate of one side.
struct Middle {
    intake: Intake,
    board: Board,
    scorer: Scorer,
    gate: Gate,
    row: FeatureRow,
    out: Outputs,
    signal: Signal,
    /// The signal has left and is not noted yet.
    has_sent: bool,
    stamp: Stamp,
    /// Time of the last candle within this part.
    spent_ns: u64,
}

impl Middle {
    fn new() -> Middle {
        let mut plans = vec![SeriesPlan {
            timeframe: Timeframe::M1,
            warmup: 64,
            context_only: false,
        }];
        for timeframe in context_of(Timeframe::M1).into_iter().flatten() {
            plans.push(SeriesPlan {
                timeframe,
                warmup: 64,
                context_only: true,
            });
        }
        let timeframes: Vec<Timeframe> = plans.iter().map(|plan| plan.timeframe).collect();
        let params = Params {
            score_min: 2.0,
            signal_cooldown_ms: 0,
            ..Params::default()
        };
        let bandit = Bandit::new(params.bandit);
        Middle {
            intake: Intake::new(Timeframe::M1, 0),
            board: Board::new(Default::default(), 490, &plans),
            scorer: Scorer::new(params, 490, &timeframes, bandit),
            gate: ready_gate(),
            row: FeatureRow::default(),
            out: Outputs::default(),
            signal: Signal::zeroed(),
            has_sent: false,
            stamp: Stamp::process(),
            spent_ns: 0,
        }
    }

    /// A closed candle in, the command of an order out if it makes one.
    fn on_candle(&mut self, tick: &Tick, now: Wall) -> Option<OrderCommand> {
        let begin_ns = self.stamp.now_ns();
        let command = self.decide(tick, now);
        self.spent_ns = self.stamp.now_ns() - begin_ns;
        command
    }

    fn decide(&mut self, tick: &Tick, now: Wall) -> Option<OrderCommand> {
        let candle = tick.candle()?;
        let (board, row) = (&mut self.board, &mut self.row);
        let series = board.series(tick.instrument(), Timeframe::M1)?;
        let mut committed = false;
        self.intake.take(&candle, tick.flags, now.ms(), &mut |step| {
            if let Step::Commit { candle, .. } = step {
                committed = board.commit(series, &candle, 0, row).is_ok();
            }
        });
        if !committed {
            return None;
        }
        if self.scorer.on_row(&self.row, &mut self.signal) != Verdict::Signal {
            return None;
        }
        self.out.clear();
        self.gate.on_signal(&self.signal, now, &mut self.out);
        self.has_sent = true;
        self.out.commands.first().map(|command| command.get())
    }

    /// What goes on beside the timed path: a quote at the candle's close, the venue's clear no to the
    /// order, so that the next one may leave, and what the stages do later: the gate's upkeep, the
    /// scorer's note of what has left, and its learning from the close before.
    fn between(&mut self, close: f64, command: Option<&OrderCommand>, now: Wall) {
        self.out.clear();
        if let Some(command) = command {
            let reply = SendReply {
                call: command.call,
                kind: command.kind,
                outcome: Outcome::Rejected as u8,
                instrument: command.instrument,
                venue_code: 103_003,
                http_status: 200,
                lane: u16::from(command.lane),
                signed_ns: now.0,
                client_id: command.client_id,
                ..SendReply::zeroed()
            };
            self.gate.on_reply(&reply, now, &mut self.out);
        }
        let mut quote = Tick::new(TickKind::Quote, TRADED, now.ms());
        (quote.v[0], quote.v[1], quote.v[4]) = (close, close + 0.1, close);
        self.gate.on_tick(&quote, now, &mut self.out);
        while let Some(due) = self.gate.next_timer() {
            if due > now {
                break;
            }
            self.gate.on_timer(now, &mut self.out);
        }
        if std::mem::take(&mut self.has_sent) {
            self.scorer.emitted(&self.signal);
        }
        self.scorer.prepare();
    }
}

/// A synced gate that refuses as little as a gate can.
fn ready_gate() -> Gate {
    let params = GateParams {
        limits: Limits {
            enable_autotrade: true,
            score_min: 0.0,
            probability_min: 0.0,
            ev_r_min: -100.0,
            cost_r_max: 100.0,
            cooldown_sec: 0,
            entries_per_hour_max: 0,
            ..Limits::default()
        },
        brackets: BracketParams {
            mode: BracketMode::Bps,
            ..BracketParams::default()
        },
        ..GateParams::default()
    };
    let now = Wall::from_ms(START_MS);
    let mut gate = Gate::new(params, instruments(), instance_tag("bench"), 1);
    let mut out = Outputs::default();
    let mut fact = AccountEvent::zeroed();
    fact.kind = AccountKind::SocketUp as u8;
    gate.on_account(&fact, now, &mut out);
    for request in std::mem::take(&mut out.fetches) {
        let mut end = AccountEvent::zeroed();
        end.kind = AccountKind::ListComplete as u8;
        end.token = request.token;
        gate.on_account(&end, now, &mut out);
    }
    fact.kind = AccountKind::Balance as u8;
    (fact.equity, fact.available) = (1_000.0, 1_000.0);
    gate.on_account(&fact, now, &mut out);
    fact.kind = AccountKind::Config as u8;
    fact.margin_mode = GateParams::default().margin_mode as u8;
    (fact.instrument, fact.leverage) = (TRADED.0, 3);
    gate.on_account(&fact, now, &mut out);
    assert!(gate.entries_enabled(), "{:?}", gate.entries_off_reason());
    gate
}

/// Ours: the scanner, kept key state, one buffer.
struct Ours {
    instruments: Instruments,
    decoder: Decoder,
    middle: Middle,
    writer: RequestWriter,
}

impl Ours {
    fn new() -> Ours {
        let credentials = Credentials {
            key: KEY.into(),
            secret: SECRET.into(),
            passphrase: PASSPHRASE.into(),
        };
        Ours {
            instruments: instruments(),
            decoder: Decoder::new(),
            middle: Middle::new(),
            writer: RequestWriter::new(&credentials, HOST, NonceSource::new(1, 1)),
        }
    }

    fn on_frame(&mut self, frame: &[u8], now: Wall) -> Option<(OrderCommand, &[u8])> {
        let window = Window::around(now.ms());
        let Ok(Decoded::Ticks(ticks)) = self.decoder.decode_market(frame, &self.instruments, &window) else {
            return None;
        };
        let tick = *ticks.first()?;
        let command = self.middle.on_candle(&tick, now)?;
        let instrument = self.instruments.get(InstrumentId(command.instrument))?;
        let bytes = self.writer.write_command(&command, instrument, now).ok()?;
        Some((command, bytes))
    }
}

#[derive(Deserialize)]
struct Arg<'a> {
    channel: &'a str,
    #[serde(rename = "instId")]
    symbol: &'a str,
}

#[derive(Deserialize)]
struct Push<'a> {
    #[serde(borrow)]
    arg: Arg<'a>,
    data: Vec<[&'a str; 9]>,
}

/// The order as one would write it with serde; fields in the order of ours.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    inst_id: &'a str,
    margin_mode: &'a str,
    position_side: &'a str,
    side: &'a str,
    order_type: &'a str,
    price: String,
    size: String,
    client_order_id: &'a str,
    tp_trigger_price: String,
    tp_order_price: &'a str,
    sl_trigger_price: String,
    sl_order_price: &'a str,
}

/// The same path with serde_json, a fresh key and reqwest.
struct Usual {
    instruments: Instruments,
    ids: HashMap<String, InstrumentId>,
    middle: Middle,
    client: reqwest::Client,
    nonce: u64,
}

impl Usual {
    fn new() -> Usual {
        let instruments = instruments();
        Usual {
            ids: instruments
                .iter()
                .map(|(id, row)| (row.symbol.as_str().to_owned(), id))
                .collect(),
            instruments,
            middle: Middle::new(),
            client: reqwest::Client::builder()
                .tls_backend_preconfigured(without_authorities())
                .build()
                .expect("a client"),
            nonce: 0,
        }
    }

    fn on_frame(&mut self, frame: &[u8], now: Wall) -> Option<(OrderCommand, reqwest::Request)> {
        let push: Push<'_> = serde_json::from_slice(frame).ok()?;
        if push.arg.channel != "candle1m" {
            return None;
        }
        let id = *self.ids.get(push.arg.symbol)?;
        let row = push.data.first()?;
        let open_ms: i64 = row[0].parse().ok()?;
        let mut tick = Tick::new(TickKind::Candle, id, open_ms);
        tick.timeframe = Timeframe::M1 as u8;
        for (value, text) in tick.v.iter_mut().zip(&row[1..8]) {
            *value = text.parse().ok()?;
        }
        if row[8] == "1" {
            tick.flags |= tick_flag::CONFIRMED;
        }
        let command = self.middle.on_candle(&tick, now)?;
        let instrument = self.instruments.get(InstrumentId(command.instrument))?;
        let price = |ticks: i64| rust_decimal::Decimal::new(ticks, 1).normalize().to_string();
        let body = serde_json::to_vec(&Body {
            inst_id: instrument.symbol.as_str(),
            margin_mode: MarginMode::from_code(command.margin_mode)?.text(),
            position_side: PositionSide::from_code(command.position_side)?.text(),
            side: Side::from_code(command.side)?.text(),
            order_type: OrderType::from_code(command.order_type)?.text(),
            price: price(command.price_ticks),
            size: price(command.size_lots),
            client_order_id: command.client_id.as_str(),
            tp_trigger_price: price(command.tp_ticks),
            tp_order_price: "-1",
            sl_trigger_price: price(command.sl_ticks),
            sl_order_price: "-1",
        })
        .ok()?;
        self.nonce += 1;
        let (time, nonce) = (now.ms().to_string(), format!("{:032x}", self.nonce));
        let sign = signature(&time, &nonce, &body);
        let request = self
            .client
            .post(format!("https://{HOST}{PATH}"))
            .header("ACCESS-KEY", KEY)
            .header("ACCESS-SIGN", sign)
            .header("ACCESS-TIMESTAMP", time)
            .header("ACCESS-NONCE", nonce)
            .header("ACCESS-PASSPHRASE", PASSPHRASE)
            .header("Content-Type", "application/json")
            .body(body)
            .build()
            .expect("a request");
        Some((command, request))
    }
}

/// Nothing is sent, so nobody needs to be trusted.
fn without_authorities() -> rustls::ClientConfig {
    rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("the provider's own versions")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

fn signature(time: &str, nonce: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("a key");
    for part in [PATH.as_bytes(), b"POST", time.as_bytes(), nonce.as_bytes(), body] {
        mac.update(part);
    }
    let hex: String = mac
        .finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    STANDARD.encode(hex)
}

/// Both requests ask for the same order, and each signature fits its own bytes.
fn compare(ours: &[u8], usual: &reqwest::Request) {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut parsed = httparse::Request::new(&mut headers);
    let head = parsed.parse(ours).expect("our request is HTTP").unwrap();
    let header = |name: &str| {
        let found = parsed
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name));
        std::str::from_utf8(found.expect("a header").value).expect("text")
    };
    let (method, path, body) = (parsed.method, parsed.path, &ours[head..]);
    assert_eq!((method, path), (Some("POST"), Some(PATH)));
    let sign = signature(header("ACCESS-TIMESTAMP"), header("ACCESS-NONCE"), body);
    assert_eq!(header("ACCESS-SIGN"), sign);
    let theirs: &HeaderMap = usual.headers();
    let text = |name: &str| theirs[name].to_str().expect("text");
    let their_body = usual.body().and_then(|body| body.as_bytes()).expect("a body");
    assert_eq!(
        text("ACCESS-SIGN"),
        signature(text("ACCESS-TIMESTAMP"), text("ACCESS-NONCE"), their_body)
    );
    let json = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).expect("JSON");
    assert_eq!(json(body), json(their_body));
}

/// Closing candles of a walk with bursts, as frames; with the close of each.
fn frames(count: usize) -> Vec<(String, f64)> {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut price = 27_491.5f64;
    let mut drift = 0.0;
    (0..count)
        .map(|at| {
            if at % 40 == 0 {
                drift = rng.random_range(-0.0012..0.0012);
            }
            let open = price;
            let burst = if rng.random_bool(0.08) { 3.0 } else { 1.0 };
            let step = drift + burst * rng.random_range(-0.001..0.001);
            price = (price * (1.0 + step) * 10.0).round() / 10.0;
            price = price.clamp(9_000.0, 90_000.0);
            let high = open.max(price) + rng.random_range(0..80) as f64 / 10.0;
            let low = open.min(price) - rng.random_range(0..80) as f64 / 10.0;
            let contracts = (rng.random_range(40_000.0..120_000.0) * burst).round();
            let base = contracts / 1000.0;
            let open_ms = START_MS + at as i64 * 60_000;
            let frame = format!(
                r#"{{"arg":{{"channel":"candle1m","instId":"COIN{}-USDT"}},"data":[["{open_ms}","{open}","{high:.1}","{low:.1}","{price}","{contracts}","{base}","{:.3}","1"]]}}"#,
                TRADED.0,
                base * price
            );
            (frame, price)
        })
        .collect()
}

fn quantile(sorted: &[u64], part: f64) -> u64 {
    sorted[((sorted.len() - 1) as f64 * part) as usize]
}

/// Sorted times of one round: the whole way of ours and of the usual crates, then their edges.
fn round(candles: &[(String, f64)], stamp: Stamp, scrub: &mut [u64]) -> [Vec<u64>; 4] {
    let (mut ours, mut usual) = (Ours::new(), Usual::new());
    let mut times: [Vec<u64>; 4] = Default::default();
    for (at, (frame, close)) in candles.iter().enumerate() {
        let now = Wall::from_ms(START_MS + (at as i64 + 1) * 60_000 + 40);
        ours.middle.between(*close, None, now);
        usual.middle.between(*close, None, now);
        for line in scrub.iter_mut().step_by(8) {
            *line = line.wrapping_add(1);
        }
        let (mut ours_ns, mut usual_ns) = (0, 0);
        let (mut ours_made, mut usual_made) = (None, None);
        for turn in 0..2 {
            if (at + turn) % 2 == 0 {
                let begin_ns = stamp.now_ns();
                let made = ours.on_frame(black_box(frame.as_bytes()), now);
                ours_ns = stamp.now_ns() - begin_ns;
                ours_made = made.map(|(command, bytes)| (command, bytes.to_vec()));
            } else {
                let begin_ns = stamp.now_ns();
                usual_made = black_box(usual.on_frame(black_box(frame.as_bytes()), now));
                usual_ns = stamp.now_ns() - begin_ns;
            }
        }
        assert_eq!(ours_made.is_some(), usual_made.is_some(), "candle {at}");
        if let (Some((command, bytes)), Some((other, request))) = (ours_made, usual_made) {
            compare(&bytes, &request);
            times[0].push(ours_ns);
            times[1].push(usual_ns);
            times[2].push(ours_ns - ours.middle.spent_ns);
            times[3].push(usual_ns - usual.middle.spent_ns);
            ours.middle.between(*close, Some(&command), now);
            usual.middle.between(*close, Some(&other), now);
        }
    }
    assert!(times[0].len() > candles.len() / 50, "{} orders", times[0].len());
    for one in &mut times {
        one.sort_unstable();
    }
    times
}

fn print(name: &str, rounds: &[[Vec<u64>; 4]]) {
    print_pair(&format!("{name}/whole"), rounds, 0);
    print_pair(&format!("{name}/edges"), rounds, 2);
    let orders: usize = rounds.iter().map(|round| round[0].len()).sum();
    println!(
        "tick_to_order/{name}: {orders} orders in {} rounds, all equal",
        rounds.len()
    );
}

/// Quantiles of the series `first` (ours) and the one after it (the usual crates).
fn print_pair(name: &str, rounds: &[[Vec<u64>; 4]], first: usize) {
    let at = |part: f64| {
        let mut ratios: Vec<f64> = rounds
            .iter()
            .map(|round| quantile(&round[first], part) as f64 / quantile(&round[first + 1], part) as f64)
            .collect();
        ratios.sort_unstable_by(f64::total_cmp);
        let side = |which: usize| {
            let mut values: Vec<u64> = rounds
                .iter()
                .map(|round| quantile(&round[first + which], part))
                .collect();
            values.sort_unstable();
            values[values.len() / 2]
        };
        (
            side(0),
            side(1),
            ratios[ratios.len() / 2],
            ratios[0],
            ratios[ratios.len() - 1],
        )
    };
    for (label, part) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
        let (ours, usual, ratio, least, most) = at(part);
        println!(
            "tick_to_order/{name} {label}: ours {ours} ns, usual crates {usual} ns, ratio {ratio:.3} [{least:.3}..{most:.3}]"
        );
    }
}

fn main() {
    let is_test =
        std::env::args().any(|word| word == "--test") || !std::env::args().any(|word| word == "--bench");
    let (rounds, count) = if is_test { (1, 1_500) } else { (9, 20_000) };
    let stamp = Stamp::process();
    let candles = frames(count);
    // Nothing to scrub: what the last candle left in the caches is there.
    let warm: Vec<_> = (0..rounds).map(|_| round(&candles, stamp, &mut [])).collect();
    print("warm", &warm);
    // 4 MiB written between candles: what other instruments would do to the caches.
    let mut scrub = vec![0u64; 512 * 1024];
    let cold: Vec<_> = (0..rounds).map(|_| round(&candles, stamp, &mut scrub)).collect();
    print("cold", &cold);
}
