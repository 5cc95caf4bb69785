//! The signature of an order: keyed state kept (ours), key set up each time, and ring. All give
//! the same text, which is checked first. `order_request` is the whole way from a command to the
//! bytes of the signed request.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytemuck::Zeroable;
use criterion::{Criterion, criterion_group, criterion_main};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use smart_scanner::model::message::{CommandKind, OrderCommand};
use smart_scanner::model::{
    ClientOrderId, Decimal, Instrument, Lots, MarginMode, OrderType, PositionSide, Side, Symbol, Wall,
};
use smart_scanner::venue::blofin::request::RequestWriter;
use smart_scanner::venue::blofin::sign::{Credentials, NonceSource, Signer};
use std::hint::black_box;

const SECRET: &str = "s3cr3t-TEST-0123456789abcdef";
const PATH: &[u8] = b"/api/v1/trade/order";
const TIME: &[u8] = b"1700000000000";
const NONCE: &[u8] = b"0000000700000003000000000000002a";
const BODY: &[u8] = br#"{"instId":"BTC-USDT","marginMode":"cross","positionSide":"net","side":"buy","orderType":"limit","price":"35000","size":"0.1","clientOrderId":"ssc0a000001E000000001"}"#;

/// Hex, then base64, as the venue wants it.
fn text(digest: &[u8]) -> [u8; 88] {
    let mut hex = [0u8; 64];
    for (pair, byte) in hex.chunks_exact_mut(2).zip(digest) {
        pair[0] = b"0123456789abcdef"[usize::from(byte >> 4)];
        pair[1] = b"0123456789abcdef"[usize::from(byte & 15)];
    }
    let mut out = [0u8; 88];
    STANDARD.encode_slice(hex, &mut out).expect("88 characters");
    out
}

fn rekeyed() -> [u8; 88] {
    let mut mac = Hmac::<Sha256>::new_from_slice(black_box(SECRET).as_bytes()).expect("a key");
    for part in [PATH, b"POST", TIME, NONCE, BODY] {
        mac.update(black_box(part));
    }
    text(&mac.finalize().into_bytes())
}

fn by_ring(key: &ring::hmac::Key) -> [u8; 88] {
    let mut context = ring::hmac::Context::with_key(key);
    for part in [PATH, b"POST", TIME, NONCE, BODY] {
        context.update(black_box(part));
    }
    text(context.sign().as_ref())
}

fn command() -> (OrderCommand, Instrument) {
    let decimal = |text: &str| Decimal::parse(text.as_bytes()).expect("a decimal");
    let instrument = Instrument {
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
    };
    let command = OrderCommand {
        kind: CommandKind::Place as u8,
        side: Side::Buy as u8,
        order_type: OrderType::Limit as u8,
        position_side: PositionSide::Net as u8,
        margin_mode: MarginMode::Cross as u8,
        price_ticks: 350_000,
        size_lots: 15,
        tp_ticks: 360_000,
        sl_ticks: 345_000,
        client_id: ClientOrderId::parse(b"ssc0a000001E000000001").expect("an id"),
        ..OrderCommand::zeroed()
    };
    (command, instrument)
}

fn sign(criterion: &mut Criterion) {
    let signer = Signer::new(SECRET.as_bytes());
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET.as_bytes());
    let expected = signer.sign(PATH, b"POST", TIME, NONCE, BODY);
    assert_eq!(rekeyed(), expected);
    assert_eq!(by_ring(&key), expected);

    let mut group = criterion.benchmark_group("sign");
    group.bench_function("keyed_state", |bencher| {
        bencher.iter(|| signer.sign(black_box(PATH), b"POST", TIME, NONCE, black_box(BODY)));
    });
    group.bench_function("key_each_time", |bencher| bencher.iter(rekeyed));
    group.bench_function("ring", |bencher| bencher.iter(|| by_ring(black_box(&key))));
    group.bench_function("order_request", |bencher| {
        let credentials = Credentials {
            key: "0123456789abcdef0123456789abcdef".into(),
            secret: SECRET.into(),
            passphrase: "passphrase".into(),
        };
        let mut writer = RequestWriter::new(&credentials, "openapi.blofin.com", NonceSource::new(1, 1));
        let (command, instrument) = command();
        let now = Wall::from_ms(1_700_000_000_000);
        bencher.iter(|| {
            let request = writer.write_command(black_box(&command), &instrument, now);
            black_box(request.map(<[u8]>::len))
        });
    });
    group.finish();
}

criterion_group!(benches, sign);
criterion_main!(benches);
