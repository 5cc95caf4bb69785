//! A gateway on a real socket, a gate that says yes on a thread, and a sender that writes any bytes.

use bytemuck::Zeroable;
use smart_scanner::bus::BusBuilder;
use smart_scanner::gateway::sources::Sources;
use smart_scanner::gateway::{AlertLine, Gateway, Handover, Ids, Options, Prices, Tokens};
use smart_scanner::model::message::{Alert, AlertAnswer};
use smart_scanner::model::{Decimal, Instrument, Instruments, Lots, Symbol, Wall};
use smart_scanner::sys::clock::Stamp;
use smart_scanner::venue::blofin::bans::Bans;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub const TOKEN: &str = "CANARY-token-of-thirty-two-letters";
pub const NEXT_TOKEN: &str = "CANARY-token-of-the-next-season-xx";
/// Wall time in ms.
pub fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("after 1970").as_millis() as i64
}

/// What a test may change.
pub struct Plan<'a> {
    pub tokens: &'a [&'a str],
    pub per_second: f64,
    pub burst: f64,
    pub connections_max: usize,
    pub ids: Option<&'a Path>,
    pub sources: Sources,
    /// The gate answers nothing.
    pub mute: bool,
    /// Where prices are asked, and whom the calls ask and tell.
    pub prices: Option<(String, Arc<dyn Bans>)>,
    /// Last price that the gate knows.
    pub reference: f64,
}

impl Default for Plan<'_> {
    fn default() -> Self {
        Plan {
            tokens: &[],
            per_second: 1e5,
            burst: 1e5,
            connections_max: 64,
            ids: None,
            sources: Sources::default(),
            mute: false,
            prices: None,
            reference: 60_000.0,
        }
    }
}

/// The gateway and what came of it.
pub struct Desk {
    pub gateway: Gateway,
    pub address: SocketAddr,
    /// Alerts that reached the gate.
    pub alerts: Arc<Mutex<Vec<Alert>>>,
    /// Bodies that the capture was told.
    pub bodies: Arc<Mutex<Vec<Vec<u8>>>>,
    pub lines: crossbeam::channel::Receiver<AlertLine>,
    stop: Arc<AtomicBool>,
    gate: Option<std::thread::JoinHandle<()>>,
}

pub fn instruments() -> Instruments {
    let mut instruments = Instruments::new();
    let decimal = |text: &str| Decimal::parse(text.as_bytes()).expect("a decimal");
    for symbol in ["BTC-USDT", "ETH-USDT", "1000BONK-USDT"] {
        instruments.insert(Instrument {
            symbol: Symbol::parse(symbol).expect("a symbol"),
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

impl Desk {
    pub fn open(plan: Plan<'_>) -> Desk {
        let stamp = Stamp::process();
        let mut bus = BusBuilder::new("test");
        bus.stamp(stamp);
        bus.ring::<Alert>("webhook_gate", 256);
        bus.ring::<AlertAnswer>("gate_webhook", 512);
        let bus = bus.heap().expect("a bus");
        let mut taken = bus.consumer::<Alert>("webhook_gate").expect("an end");
        let mut answers = bus.producer::<AlertAnswer>("gate_webhook").expect("an end");
        let handover = Handover::new(
            bus.producer("webhook_gate").expect("an end"),
            bus.consumer("gate_webhook").expect("an end"),
            stamp,
            None,
        );
        let (sender, lines) = crossbeam::channel::bounded(1024);
        let (alerts, bodies) = (
            Arc::<Mutex<Vec<Alert>>>::default(),
            Arc::<Mutex<Vec<Vec<u8>>>>::default(),
        );
        let told = Arc::clone(&bodies);
        let options = Options {
            listen: "127.0.0.1:0".parse().expect("an address"),
            tokens: Tokens::new(plan.tokens.iter().copied()),
            sources: plan.sources,
            per_second: plan.per_second,
            burst: plan.burst,
            age_s_max: 10,
            connections_max: plan.connections_max,
            instruments: Arc::new(instruments()),
            listed: ["BTC-USDT", "DOGE-USDT"].map(str::to_owned).to_vec(),
            ids: match plan.ids {
                Some(path) => Ids::open(path, now_ms()).expect("a file of ids"),
                None => Ids::in_memory(),
            },
            clock: Arc::new(|| Wall::from_ms(1_748_000_000_000)),
            lines: Some(sender),
            capture: Some(Arc::new(move |_, body| {
                told.lock().expect("a lock").push(body.to_vec())
            })),
            prices: plan.prices.map(|(url, bans)| {
                let client = reqwest::Client::builder().no_proxy();
                // Plain http in these tests; the root store is not looked at.
                let tls =
                    smart_scanner::venue::blofin::tls::client_config(None).expect("a TLS configuration");
                let client = client.tls_backend_preconfigured((*tls).clone()).build();
                Prices::new(client.expect("a client"), &url, bans)
            }),
        };
        let stop = Arc::new(AtomicBool::new(false));
        let (seen, stopped) = (Arc::clone(&alerts), Arc::clone(&stop));
        let gate = std::thread::spawn(move || {
            // The bus lives as long as its ends are used.
            let _bus = bus;
            let mut number = 0;
            while !stopped.load(Ordering::Acquire) {
                let Some(alert) = taken.take() else {
                    std::thread::sleep(Duration::from_micros(200));
                    continue;
                };
                seen.lock().expect("a lock").push(alert);
                if plan.mute {
                    continue;
                }
                number += 1;
                answers
                    .publish(&accepted(&alert, number, plan.reference))
                    .expect("room");
            }
        });
        let gateway = Gateway::start(options, handover).expect("a free port");
        Desk {
            address: gateway.address(),
            gateway,
            alerts,
            bodies,
            lines,
            stop,
            gate: Some(gate),
        }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("a connection");
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .expect("a timeout");
        stream
    }

    /// The status and the body of the reply to `bytes`; `None` when the connection just ends.
    pub fn raw(&self, bytes: &[u8]) -> Option<(u16, String)> {
        let mut stream = self.connect();
        // The other side may have said all it has to say before it heard everything.
        let _ = stream.write_all(bytes);
        read_reply(&mut stream)
    }

    /// Posts `body` to `path` with `headers` (each with its line end).
    pub fn post(&self, path: &str, headers: &str, body: &[u8]) -> (u16, String) {
        let mut bytes = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n{headers}\r\n",
            body.len()
        )
        .into_bytes();
        bytes.extend_from_slice(body);
        self.raw(&bytes).expect("a reply")
    }

    /// Posts JSON `body` to /signal and returns the reply as JSON.
    pub fn signal(&self, body: &str) -> (u16, serde_json::Value) {
        let (status, text) = self.post("/signal", "Content-Type: application/json\r\n", body.as_bytes());
        (
            status,
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")),
        )
    }

    pub fn count(&self, name: &str) -> u64 {
        let named = self.gateway.counts().named();
        named
            .iter()
            .find(|(other, _)| *other == name)
            .map_or(0, |(_, count)| *count)
    }

    pub fn alert_count(&self) -> usize {
        self.alerts.lock().expect("a lock").len()
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.gateway.stop();
        self.stop.store(true, Ordering::Release);
        if let Some(gate) = self.gate.take() {
            let _ = gate.join();
        }
    }
}

fn accepted(alert: &Alert, number: u64, reference: f64) -> AlertAnswer {
    let mut answer = AlertAnswer::zeroed();
    answer.request = alert.request;
    answer.instrument = alert.instrument;
    answer.side = alert.side;
    answer.reference = reference;
    if reference <= 0.0 {
        answer.decision = 2;
        answer.reason = smart_scanner::model::Reason::QuoteAbsent as u16;
        answer.signal = number;
        return answer;
    }
    answer.decision = if alert.dry == 1 { 4 } else { 1 };
    answer.signal = if alert.dry == 1 { 0 } else { number };
    answer.price_ticks = 600_001;
    answer.size_lots = 8;
    answer.tp_ticks = 604_000;
    answer.sl_ticks = 597_000;
    answer.leverage = 3;
    answer.order_type = 5;
    answer.notional_usd = 48.0;
    answer
}

/// Reads one reply: status and body, by its length.
pub fn read_reply(stream: &mut TcpStream) -> Option<(u16, String)> {
    let mut bytes = Vec::new();
    let mut byte = [0; 1];
    while !bytes.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => bytes.push(byte[0]),
            _ => return None,
        }
    }
    let head = String::from_utf8(bytes).expect("a head in ASCII");
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length: ")?
                .parse()
                .ok()
        })
        .unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((status, String::from_utf8(body).expect("a body in UTF-8")))
}
