//! The in-process ports: the seam of the stages, plugged into the core without a socket.
//!
//! The bytes are the same as on the wire: complete HTTP requests, JSON replies, text frames.

use super::shared::{Ending, Mail, SharedVenue};
use crate::model::Wall;
use crate::model::message::{Lane, PROTECTIVE_CALLS};
use crate::venue::blofin::call_port::LaneGroup;
use crate::venue::seam::{Busy, CallEvent, CallPort, Endpoint, FrameEvent, FramePort, Gone};

/// A monotonic clock in nanoseconds, for the receive stamps that no decision reads.
pub type MonoClock = fn() -> u64;

/// Websockets without sockets.
pub struct InProcessFrames {
    shared: SharedVenue,
    mono: MonoClock,
    /// Mailbox of each open connection, in the order they are polled.
    connections: Vec<(u16, usize)>,
    /// Where the next poll begins, so that no connection starves another.
    next_index: usize,
    current: String,
}

impl InProcessFrames {
    pub fn new(shared: SharedVenue, mono: MonoClock) -> Self {
        InProcessFrames {
            shared,
            mono,
            connections: Vec::new(),
            next_index: 0,
            current: String::new(),
        }
    }

    fn mailbox(&self, connection: u16) -> Option<usize> {
        self.connections
            .iter()
            .find(|(number, _)| *number == connection)
            .map(|(_, mailbox)| *mailbox)
    }

    fn forget(&mut self, connection: u16) {
        self.connections.retain(|(number, _)| *number != connection);
    }
}

impl Drop for InProcessFrames {
    /// A process that is gone has closed its sockets.
    fn drop(&mut self) {
        for (_, mailbox) in std::mem::take(&mut self.connections) {
            self.shared.lock().close(mailbox);
        }
    }
}

impl FramePort for InProcessFrames {
    fn open(&mut self, connection: u16, endpoint: Endpoint) {
        self.close(connection);
        let mailbox = self.shared.lock().open(endpoint);
        self.connections.push((connection, mailbox));
    }

    fn send(&mut self, connection: u16, text: &[u8]) -> bool {
        match self.mailbox(connection) {
            Some(mailbox) => self.shared.lock().send(mailbox, text),
            None => false,
        }
    }

    fn close(&mut self, connection: u16) {
        if let Some(mailbox) = self.mailbox(connection) {
            self.shared.lock().close(mailbox);
            self.forget(connection);
        }
    }

    fn poll(&mut self, now: Wall) -> FrameEvent<'_> {
        let mut found = None;
        {
            let mut carrier = self.shared.lock();
            carrier.advance(now);
            let count = self.connections.len();
            for step in 0..count {
                let index = (self.next_index + step) % count;
                let (connection, mailbox) = self.connections[index];
                if let Some(mail) = carrier.receive(mailbox) {
                    self.next_index = index + 1;
                    found = Some((connection, mail));
                    break;
                }
            }
            if let Some((_, Mail::Text(text))) = &mut found {
                let old = std::mem::replace(&mut self.current, std::mem::take(text));
                carrier.recycle(old);
            }
        }
        match found {
            None => FrameEvent::Idle,
            Some((connection, Mail::Opened)) => FrameEvent::Opened { connection },
            Some((connection, Mail::Text(_))) => FrameEvent::Text {
                connection,
                receive_ns: (self.mono)(),
                bytes: self.current.as_bytes(),
            },
            Some((connection, Mail::NotOpened)) => {
                self.forget(connection);
                FrameEvent::Gone {
                    connection,
                    why: Gone::NotOpened,
                }
            }
            Some((connection, Mail::Closed)) => {
                self.forget(connection);
                FrameEvent::Gone {
                    connection,
                    why: Gone::Closed,
                }
            }
        }
    }
}

/// Request and reply without sockets.
pub struct InProcessCalls {
    shared: SharedVenue,
    mono: MonoClock,
    /// Slots of the groups seen so far, in the order they are polled.
    lanes: Vec<(LaneGroup, usize)>,
    /// Market reads that may be out at once.
    market_calls: usize,
    next_index: usize,
    current: String,
}

impl InProcessCalls {
    pub fn new(shared: SharedVenue, mono: MonoClock) -> Self {
        InProcessCalls {
            shared,
            mono,
            lanes: Vec::new(),
            market_calls: 1,
            next_index: 0,
            current: String::new(),
        }
    }

    /// The same with `count` connections for market reads instead of one.
    pub fn with_market_calls(mut self, count: usize) -> Self {
        self.market_calls = count.max(1);
        self
    }

    /// A slot for `lane` that is free; `None` when there is none yet, or all are taken.
    fn free_slot(&self, lane: Lane) -> Option<usize> {
        let carrier = self.shared.lock();
        let group = LaneGroup::of(lane);
        let mut slots = self.lanes.iter().filter(|(known, _)| *known == group);
        slots
            .find(|(_, slot)| carrier.is_free(*slot))
            .map(|(_, slot)| *slot)
    }

    fn may_add(&self, lane: Lane) -> bool {
        let group = LaneGroup::of(lane);
        let most = match group {
            LaneGroup::Market => self.market_calls,
            LaneGroup::Protective => PROTECTIVE_CALLS,
            LaneGroup::Ordinary => 1,
        };
        self.lanes.iter().filter(|(known, _)| *known == group).count() < most
    }
}

impl Drop for InProcessCalls {
    /// A process that is gone hears no answers; what it wrote still arrives.
    fn drop(&mut self) {
        for (_, slot) in std::mem::take(&mut self.lanes) {
            self.shared.lock().abandon(slot);
        }
    }
}

impl CallPort for InProcessCalls {
    fn is_ready(&self, lane: Lane) -> bool {
        self.may_add(lane) || self.free_slot(lane).is_some()
    }

    fn submit(&mut self, lane: Lane, call: u64, request: &[u8], deadline: Wall) -> Result<(), Busy> {
        let slot = match self.free_slot(lane) {
            Some(slot) => slot,
            None if self.may_add(lane) => {
                let slot = self.shared.lock().add_slot();
                self.lanes.push((LaneGroup::of(lane), slot));
                slot
            }
            None => return Err(Busy),
        };
        self.shared.lock().submit(slot, lane, call, request, deadline);
        Ok(())
    }

    fn poll(&mut self, now: Wall) -> CallEvent<'_> {
        let mut found = None;
        {
            let mut carrier = self.shared.lock();
            carrier.advance(now);
            let count = self.lanes.len();
            for step in 0..count {
                let index = (self.next_index + step) % count;
                if let Some(done) = carrier.finish(self.lanes[index].1) {
                    self.next_index = index + 1;
                    found = Some(done);
                    break;
                }
            }
        }
        match found {
            None => CallEvent::Idle,
            Some((lane, call, Ending::Fault(fault))) => CallEvent::Fault { lane, call, fault },
            Some((lane, call, Ending::Reply(reply))) => {
                self.current = reply.body;
                CallEvent::Reply {
                    lane,
                    call,
                    status: reply.status,
                    receive_ns: (self.mono)(),
                    body: self.current.as_bytes(),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::amount::Amount;
    use crate::exchange::{Exchange, ExchangeConfig, Generated, GeneratedOptions, Market};
    use crate::model::time::NS_PER_MS;
    use crate::venue::loopback::auth::sign;
    use crate::venue::loopback::session::IDLE_NS;
    use crate::venue::loopback::{Credential, Fault, FaultRule, Latency, LoopbackOptions, LoopbackVenue};
    use crate::venue::seam;

    const SEED: u64 = 3;
    const LATENCY: Latency = Latency {
        min_ns: 2 * NS_PER_MS,
        max_ns: 9 * NS_PER_MS,
    };

    /// A stepper in small: the ports, the clock, and what has been seen.
    struct Bench {
        shared: SharedVenue,
        frames: InProcessFrames,
        calls: InProcessCalls,
        now: Wall,
        nonce: u64,
    }

    #[derive(Debug, PartialEq)]
    enum Ended {
        Reply(u16, String),
        Fault(seam::Fault),
    }

    impl Bench {
        fn new() -> Self {
            Bench::with(ExchangeConfig::default(), LoopbackOptions::default())
        }

        fn with(config: ExchangeConfig, options: LoopbackOptions) -> Self {
            println!("seed {SEED}");
            let market = Market::Generated(Box::new(Generated::new(GeneratedOptions {
                seed: SEED,
                instruments: 8,
                ..GeneratedOptions::default()
            })));
            let exchange = Exchange::new(config, market);
            let now = exchange.start();
            let mut venue = LoopbackVenue::new(exchange, options);
            venue.add_account(Credential::new("key", "secret", "pass"), Amount::from(10_000));
            let shared = SharedVenue::new(venue, LATENCY, SEED);
            Bench {
                frames: InProcessFrames::new(shared.clone(), || 7),
                calls: InProcessCalls::new(shared.clone(), || 7),
                shared,
                now,
                nonce: 0,
            }
        }

        fn step(&mut self) {
            // Mail that nobody fetched lies in the past: time goes on all the same.
            let next = self.shared.next_event().filter(|next| *next > self.now);
            self.now = next.unwrap_or(Wall(self.now.0 + NS_PER_MS));
            self.shared.advance(self.now);
        }

        fn request(&mut self, method: &str, path: &str, body: &str) -> Vec<u8> {
            self.nonce += 1;
            let (stamp, nonce) = (self.now.ms().to_string(), format!("n{}", self.nonce));
            let parts = [path, method, &stamp, &nonce, body].map(str::as_bytes);
            let sign = sign("secret", &parts);
            format!(
                "{method} {path} HTTP/1.1\r\nHost: x\r\nACCESS-KEY: key\r\nACCESS-SIGN: {sign}\r\n\
                 ACCESS-TIMESTAMP: {stamp}\r\nACCESS-NONCE: {nonce}\r\nACCESS-PASSPHRASE: pass\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .into_bytes()
        }

        fn submit(&mut self, method: &str, path: &str, body: &str, wait_ns: u64) {
            let request = self.request(method, path, body);
            let deadline = Wall(self.now.0 + wait_ns);
            assert_eq!(self.calls.submit(Lane::Entry, 5, &request, deadline), Ok(()));
        }

        fn end(&mut self) -> Ended {
            for _ in 0..100_000 {
                match self.calls.poll(self.now) {
                    CallEvent::Idle => {}
                    CallEvent::Reply { status, body, .. } => {
                        return Ended::Reply(status, String::from_utf8_lossy(body).into_owned());
                    }
                    CallEvent::Fault { fault, .. } => return Ended::Fault(fault),
                }
                self.step();
            }
            panic!("the call never ended");
        }

        fn frame(&mut self) -> String {
            for _ in 0..100_000 {
                match self.frames.poll(self.now) {
                    FrameEvent::Idle => {}
                    FrameEvent::Text { bytes, .. } => return String::from_utf8_lossy(bytes).into_owned(),
                    FrameEvent::Opened { .. } => return "opened".to_owned(),
                    FrameEvent::Gone { why, .. } => return format!("gone: {why:?}"),
                    FrameEvent::Binary { .. } => return "binary".to_owned(),
                }
                self.step();
            }
            panic!("no frame ever came");
        }
    }

    const ORDER: &str = r#"{"instId":"BTC-USDT","marginMode":"cross","positionSide":"net","side":"buy","orderType":"market","size":"1","clientOrderId":"a1"}"#;
    const PATH: &str = "/api/v1/trade/order";
    const SECOND_NS: u64 = 1_000 * NS_PER_MS;

    #[test]
    fn a_call_takes_effect_and_comes_back_after_the_latency() {
        let mut bench = Bench::new();
        let start = bench.now;
        bench.submit("POST", PATH, ORDER, SECOND_NS);
        assert!(!bench.calls.is_ready(Lane::Entry) && bench.calls.is_ready(Lane::Protect));
        assert_eq!(bench.calls.poll(start), CallEvent::Idle);
        let Ended::Reply(200, body) = bench.end() else {
            panic!("a reply");
        };
        assert!(
            body.contains("\"code\":\"0\"") && body.contains("Order placed"),
            "{body}"
        );
        let took_ns = bench.now.since(start);
        assert!(
            (2 * LATENCY.min_ns..=2 * LATENCY.max_ns).contains(&took_ns),
            "{took_ns}"
        );
        assert!(bench.calls.is_ready(Lane::Entry));
    }

    #[test]
    fn faults_end_a_call_as_the_seam_says() {
        let mut bench = Bench::new();
        let mut with = |fault| {
            bench
                .shared
                .with(|venue| venue.add_fault(FaultRule::once(fault, "/trade/")));
            let body = ORDER.replace("a1", &format!("b{}", bench.nonce));
            bench.submit("POST", PATH, &body, SECOND_NS);
            let ended = bench.end();
            let orders = bench.shared.with(|venue| {
                let account = venue.accounts[0];
                let exchange = venue.exchange();
                exchange.orders_open(account).count() + exchange.orders_final(account).count()
            });
            (ended, orders)
        };
        assert_eq!(with(Fault::Unreachable), (Ended::Fault(seam::Fault::NotSent), 0));
        assert_eq!(with(Fault::DropBefore), (Ended::Fault(seam::Fault::MaybeSent), 0));
        assert_eq!(with(Fault::AckLost), (Ended::Fault(seam::Fault::MaybeSent), 1));
        let late = Fault::HoldReply { ns: 5 * SECOND_NS };
        assert_eq!(
            with(late),
            (Ended::Fault(seam::Fault::MaybeSent), 2),
            "past its deadline"
        );
        assert!(matches!(with(Fault::GatewayError), (Ended::Reply(500, _), 2)));
        assert!(matches!(with(Fault::Forbidden), (Ended::Reply(403, _), 2)));
    }

    #[test]
    fn a_port_that_is_gone_leaves_no_event_behind_and_its_call_still_arrives() {
        let mut bench = Bench::new();
        bench.submit("POST", PATH, ORDER, SECOND_NS);
        let other = InProcessCalls::new(bench.shared.clone(), || 7);
        drop(std::mem::replace(&mut bench.calls, other));
        for _ in 0..100 {
            let next = bench.shared.next_event().expect("the market goes on");
            assert!(next > bench.now, "an event in the past");
            bench.step();
        }
        let orders = bench.shared.with(|venue| {
            let account = venue.accounts[0];
            let exchange = venue.exchange();
            exchange.orders_open(account).count() + exchange.orders_final(account).count()
        });
        assert_eq!(orders, 1);
    }

    #[test]
    fn the_switches_change_the_wire() {
        let amend = ExchangeConfig {
            amend: true,
            ..ExchangeConfig::default()
        };
        let rows = LoopbackOptions {
            rejects_as_rows: true,
            ..LoopbackOptions::default()
        };
        for (config, options, is_on) in [
            (ExchangeConfig::default(), LoopbackOptions::default(), false),
            (amend, rows, true),
        ] {
            let mut bench = Bench::with(config, options);
            let mut call = |path: &str, body: &str| {
                bench.submit("POST", path, body, SECOND_NS);
                match bench.end() {
                    Ended::Reply(200, body) => serde_json::from_str(&body).expect("JSON"),
                    other => panic!("{other:?}"),
                }
            };
            let _: serde_json::Value = call(PATH, ORDER);
            let again: serde_json::Value = call(PATH, ORDER);
            assert_eq!(again["code"], if is_on { "1" } else { "102002" });
            assert_eq!(again["data"][0]["code"] == "102002", is_on);
            let stop = r#"{"instId":"BTC-USDT","marginMode":"cross","positionSide":"net","side":"sell","size":"-1","slTriggerPrice":"100","slOrderPrice":"-1","reduceOnly":"true"}"#;
            let placed: serde_json::Value = call("/api/v1/trade/order-tpsl", stop);
            let id = placed["data"]["tpslId"].as_str().expect("an id");
            let body = format!(r#"{{"instId":"BTC-USDT","tpslId":"{id}","newSlTriggerPrice":"200"}}"#);
            let amended: serde_json::Value = call("/api/v1/trade/amend-tpsl", &body);
            assert_eq!(amended["code"], if is_on { "0" } else { "404" }, "{amended}");
            let trigger = bench.shared.with(|venue| {
                let account = venue.accounts[0];
                let row = venue.exchange().brackets_open(account).next().copied();
                row.and_then(|row| row.stop_loss).map(|leg| leg.trigger.0)
            });
            assert_eq!(
                trigger,
                Some(if is_on { 2_000 } else { 1_000 }),
                "in ticks of 0.1"
            );
        }
    }

    #[test]
    fn sessions_open_speak_and_are_closed_when_silent() {
        let mut bench = Bench::new();
        bench.frames.open(3, Endpoint::Public);
        assert!(!bench.frames.send(3, b"ping"), "not open yet");
        assert_eq!(bench.frame(), "opened");
        assert!(bench.frames.send(3, b"ping"));
        assert_eq!(bench.frame(), "pong");
        let asked = bench.now;
        assert_eq!(bench.frame(), "gone: Closed");
        let silent_ns = bench.now.since(asked);
        assert!(
            (IDLE_NS - SECOND_NS..IDLE_NS + SECOND_NS).contains(&silent_ns),
            "{silent_ns}"
        );
        assert!(!bench.frames.send(3, b"ping"));
        bench
            .shared
            .with(|venue| venue.add_fault(FaultRule::once(Fault::Unreachable, "/ws/")));
        bench.frames.open(3, Endpoint::Public);
        assert_eq!(bench.frame(), "gone: NotOpened");
    }

    #[test]
    fn the_same_calls_give_the_same_bytes() {
        let run = || {
            let mut bench = Bench::new();
            bench.frames.open(1, Endpoint::Public);
            bench.frame();
            bench.frames.send(
                1,
                br#"{"op":"subscribe","args":[{"channel":"books","instId":"BTC-USDT"},{"channel":"candle1m","instId":"ETH-USDT"},{"channel":"trades","instId":"SOL-USDT"},{"channel":"mark-price-candle1m","instId":"BTC-USDT"},{"channel":"tickers","instId":"BTC-USDT"}]}"#,
            );
            let mut seen = Vec::new();
            for round in 0..200 {
                seen.push(bench.frame());
                if round % 50 == 0 {
                    bench.submit(
                        "POST",
                        PATH,
                        &ORDER.replace("a1", &format!("r{round}")),
                        SECOND_NS,
                    );
                    seen.push(format!("{:?}", bench.end()));
                }
            }
            seen
        };
        let first = run();
        assert!(
            first.iter().any(|frame| frame.contains("\"update\"")),
            "book updates came"
        );
        assert!(first.iter().any(|frame| frame.contains("mark-price-candle1m")));
        assert_eq!(first, run());
    }
}
