//! The embedded exchange behind its sockets, in the test's own process, with one account: `key`, `secret`,
//! `pass`.
#![allow(dead_code, reason = "each test target uses a part")]

use smart_scanner::app::exchange::{ExchangeOptions, serve};
use smart_scanner::exchange::{AttachPolicy, NewOrder, TwoStops};
use smart_scanner::model::client_id::ClientOrderId;
use smart_scanner::model::{InstrumentId, Lots, MarginMode, OrderType, PositionSide, Side};
use smart_scanner::venue::loopback::{Credential, LoopbackServer};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// The exchange with `instruments` of the generated market `seed`, `speed` times as fast as the wall clock.
pub fn venue(instruments: usize, seed: u64, speed: f64) -> LoopbackServer {
    serve(&ExchangeOptions {
        listen: "127.0.0.1:0".parse().expect("an address"),
        accounts: vec![Credential::new("key", "secret", "pass")],
        balance: 10_000.0,
        market: None,
        instruments,
        seed,
        speed,
        tls: false,
        ca_file: None,
        attach: AttachPolicy::FirstFill,
        two_stops: TwoStops::Allow,
        amend: false,
        listed_after: Vec::new(),
        delisted_after: Vec::new(),
    })
    .expect("the exchange serves")
}

/// Lets a run in `home` trade at `venue`.
pub fn point_at(command: &mut Command, venue: &LoopbackServer, home: &Path) {
    for pair in [
        format!("BLOFIN_BASE_URL={}", venue.rest_url()),
        format!("BLOFIN_WS_PUBLIC={}", venue.ws_url("public")),
        format!("BLOFIN_WS_PRIVATE={}", venue.ws_url("private")),
        format!("BUS_PATH={}", home.join("bus").display()),
    ] {
        command.args(["--set", &pair]);
    }
}

pub fn id_of(venue: &LoopbackServer, symbol: &str) -> InstrumentId {
    let id = venue.with(|venue| venue.exchange().instruments().id_of(symbol.as_bytes()));
    id.expect("listed")
}

/// The user buys a little by hand, without a stop.
pub fn buy(venue: &LoopbackServer, symbol: &str) {
    let order = NewOrder {
        instrument: id_of(venue, symbol),
        margin_mode: MarginMode::Cross,
        position_side: PositionSide::Net,
        side: Side::Buy,
        order_type: OrderType::Market,
        price: None,
        lots: Lots(20),
        reduce_only: false,
        client_id: ClientOrderId::default(),
        take_profit: None,
        stop_loss: None,
    };
    venue.with(|venue| {
        let now = venue.now();
        let account = venue.exchange().account_of("key").expect("the account");
        let placed = venue.exchange_mut().place(account, now, &order);
        placed.expect("a manual order")
    });
}

/// Waits until `look` sees what it wants.
pub fn wait(mut look: impl FnMut() -> bool, complaint: impl Fn() -> String) {
    let began = Instant::now();
    while !look() {
        assert!(began.elapsed() < Duration::from_secs(90), "{}", complaint());
        std::thread::sleep(Duration::from_millis(50));
    }
}
