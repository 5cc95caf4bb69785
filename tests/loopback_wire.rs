//! The embedded exchange speaks BloFin's wire to clients that share no code with it: reqwest for
//! REST, tokio-tungstenite for websockets, over real loopback sockets.

use base64::Engine;
use futures_util::{SinkExt, StreamExt};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use smart_scanner::exchange::amount::Amount;
use smart_scanner::exchange::{Exchange, ExchangeConfig, Generated, GeneratedOptions, Market};
use smart_scanner::venue::loopback::server::{clock_from_now, wall_now};
use smart_scanner::venue::loopback::{
    Credential, Fault, FaultRule, LoopbackOptions, LoopbackServer, LoopbackVenue, ServerOptions,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

const SEED: u64 = 7;
const KEY: &str = "key";
const SECRET: &str = "secret";
const PASSPHRASE: &str = "pass";

fn server_at(speed: f64, tls: bool) -> LoopbackServer {
    let clock = clock_from_now(speed).expect("a possible speed");
    let market = Market::Generated(Box::new(Generated::new(GeneratedOptions {
        seed: SEED,
        instruments: 8,
        start: clock.anchor(),
        ..GeneratedOptions::default()
    })));
    let options = LoopbackOptions {
        clock,
        seed: SEED,
        ..LoopbackOptions::default()
    };
    let mut venue = LoopbackVenue::new(Exchange::new(ExchangeConfig::default(), market), options);
    venue.add_account(Credential::new(KEY, SECRET, PASSPHRASE), Amount::from(10_000));
    let mut reader = Credential::new("reader", SECRET, PASSPHRASE);
    reader.read_only = true;
    venue.add_account(reader, Amount::from(10));
    let ca_file = tls.then(|| {
        let number = NONCE.fetch_add(1, Ordering::Relaxed);
        std::env::temp_dir().join(format!("loopback-wire-{}-{number}.pem", std::process::id()))
    });
    let listen = "127.0.0.1:0".parse().expect("an address");
    LoopbackServer::start(venue, ServerOptions { listen, ca_file }).expect("a free port")
}

fn server() -> LoopbackServer {
    println!("seed {SEED}");
    server_at(60.0, false)
}

static NONCE: AtomicU64 = AtomicU64::new(1);

fn sign(secret: &str, text: &str) -> String {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
    mac.update(text.as_bytes());
    let hex: String = mac
        .finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    base64::engine::general_purpose::STANDARD.encode(hex)
}

fn now_ms() -> u64 {
    wall_now().0 / 1_000_000
}

/// A signed REST client; its fields can be spoiled one by one.
#[derive(Clone)]
struct Client {
    http: reqwest::Client,
    base: String,
    key: String,
    secret: String,
    passphrase: String,
    timestamp: Option<String>,
    nonce: Option<String>,
}

impl Client {
    fn new(server: &LoopbackServer) -> Self {
        // Installed once; every later try finds it there.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Client {
            http: reqwest::Client::new(),
            base: server.rest_url(),
            key: KEY.into(),
            secret: SECRET.into(),
            passphrase: PASSPHRASE.into(),
            timestamp: None,
            nonce: None,
        }
    }

    async fn send(&self, method: &str, path: &str, body: &str) -> Result<(u16, Value), reqwest::Error> {
        let timestamp = self.timestamp.clone().unwrap_or_else(|| now_ms().to_string());
        let nonce = self
            .nonce
            .clone()
            .unwrap_or_else(|| format!("n{}", NONCE.fetch_add(1, Ordering::Relaxed)));
        let sign = sign(&self.secret, &format!("{path}{method}{timestamp}{nonce}{body}"));
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let reply = self
            .http
            .request(method, format!("{}{path}", self.base))
            .header("ACCESS-KEY", &self.key)
            .header("ACCESS-SIGN", sign)
            .header("ACCESS-TIMESTAMP", timestamp)
            .header("ACCESS-NONCE", nonce)
            .header("ACCESS-PASSPHRASE", &self.passphrase)
            .header("Content-Type", "application/json")
            .body(body.to_owned())
            .send()
            .await?;
        let status = reply.status().as_u16();
        let text = reply.text().await?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    async fn get(&self, path: &str) -> Value {
        self.send("GET", path, "").await.expect("a reply").1
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.send("POST", path, &body.to_string())
            .await
            .expect("a reply")
            .1
    }

    async fn last(&self, symbol: &str) -> f64 {
        let reply = self.get(&format!("/api/v1/market/tickers?instId={symbol}")).await;
        number(&reply["data"][0]["last"])
    }
}

fn number(value: &Value) -> f64 {
    value.as_str().expect("a text").parse().expect("a number")
}

fn code(reply: &Value) -> &str {
    reply["code"].as_str().unwrap_or("no text code")
}

type Socket = WebSocketStream<TcpStream>;

async fn connect(server: &LoopbackServer, endpoint: &str) -> Socket {
    let stream = TcpStream::connect(server.address()).await.expect("a connection");
    let (socket, _) = tokio_tungstenite::client_async(server.ws_url(endpoint), stream)
        .await
        .expect("a websocket");
    socket
}

async fn say(socket: &mut Socket, value: &Value) {
    socket
        .send(Message::text(value.to_string()))
        .await
        .expect("an open socket");
}

/// The next JSON frame; the wait is long enough for any machine and ends a hung test.
async fn hear(socket: &mut Socket) -> Value {
    loop {
        let message = tokio::time::timeout(Duration::from_secs(30), socket.next())
            .await
            .expect("a frame in time")
            .expect("an open socket")
            .expect("a good frame");
        if let Message::Text(text) = message {
            return serde_json::from_str(&text).expect("JSON");
        }
    }
}

async fn login(socket: &mut Socket) {
    let (timestamp, nonce) = (
        now_ms().to_string(),
        format!("w{}", NONCE.fetch_add(1, Ordering::Relaxed)),
    );
    let sign = sign(SECRET, &format!("/users/self/verifyGET{timestamp}{nonce}"));
    say(
        socket,
        &json!({"op": "login", "args": [{"apiKey": KEY, "passphrase": PASSPHRASE,
            "timestamp": timestamp, "sign": sign, "nonce": nonce}]}),
    )
    .await;
    assert_eq!(
        hear(socket).await,
        json!({"event": "login", "code": "0", "msg": ""})
    );
}

/// Subscribes a logged-in socket to every private channel and takes acks and first pushes away.
async fn listen_privately(socket: &mut Socket) {
    login(socket).await;
    let channels = ["orders", "orders-algo", "positions", "account"];
    let args: Vec<Value> = channels
        .iter()
        .map(|channel| json!({"channel": channel}))
        .collect();
    say(socket, &json!({"op": "subscribe", "args": args})).await;
    let mut acks = 0;
    let mut first = Vec::new();
    while acks < 4 || first.len() < 2 {
        let frame = hear(socket).await;
        if frame["event"] == "subscribe" {
            acks += 1;
        } else {
            first.push(frame["arg"]["channel"].as_str().expect("a channel").to_owned());
        }
    }
    assert_eq!(first, ["positions", "account"], "orders start without a push");
}

fn market_buy(size: &str) -> Value {
    json!({"instId": "BTC-USDT", "marginMode": "cross", "positionSide": "net", "side": "buy",
        "orderType": "market", "size": size})
}

fn resting_buy(price: f64) -> Value {
    json!({"instId": "BTC-USDT", "marginMode": "cross", "positionSide": "net", "side": "buy",
        "orderType": "limit", "price": format!("{price:.1}"), "size": "0.1"})
}

#[tokio::test]
async fn every_auth_fault_has_its_code() {
    let server = server();
    let good = Client::new(&server);
    let path = "/api/v1/account/balance";
    let stale = (now_ms() - 61_000).to_string();
    let spoiled = |spoil: &dyn Fn(&mut Client)| {
        let mut client = good.clone();
        spoil(&mut client);
        client
    };
    let cases = [
        ("152001", spoiled(&|client| client.key.clear())),
        ("152401", spoiled(&|client| client.key = "nobody".into())),
        ("152408", spoiled(&|client| client.passphrase = "no".into())),
        ("152409", spoiled(&|client| client.secret = "no".into())),
        (
            "152405",
            spoiled(&|client| client.timestamp = Some(stale.clone())),
        ),
        (
            "152410",
            spoiled(&|client| client.timestamp = Some("1700000000".into())),
        ),
    ];
    for (expected, client) in cases {
        let (status, reply) = client.send("GET", path, "").await.expect("a reply");
        assert_eq!((status, code(&reply)), (200, expected), "{reply}");
    }
    let again = Client {
        nonce: Some("again".into()),
        ..good.clone()
    };
    assert_eq!(code(&again.get(path).await), "0");
    assert_eq!(code(&again.get(path).await), "152407");
    let reader = Client {
        key: "reader".into(),
        ..good.clone()
    };
    assert_eq!(code(&reader.get(path).await), "0");
    let refused = reader.post("/api/v1/trade/order", market_buy("1")).await;
    assert_eq!(code(&refused), "152404");
    assert_eq!(
        good.get(path).await["data"]["details"][0]["equity"],
        "10000",
        "the good one works"
    );
}

#[tokio::test]
async fn an_entry_with_a_bracket_fills_and_closes_in_the_order_the_pushes_say() {
    let server = server();
    let client = Client::new(&server);
    let mut socket = connect(&server, "private").await;
    listen_privately(&mut socket).await;
    let last = client.last("BTC-USDT").await;
    let mut order = market_buy("2");
    order["tpTriggerPrice"] = format!("{:.1}", last * 1.2).into();
    order["tpOrderPrice"] = "-1".into();
    order["slTriggerPrice"] = format!("{:.1}", last * 0.8).into();
    order["slOrderPrice"] = "-1".into();
    let ack = client.post("/api/v1/trade/order", order).await;
    assert_eq!(code(&ack), "0", "{ack}");
    let order_id = ack["data"][0]["orderId"].as_str().expect("an id").to_owned();

    let mut states = Vec::new();
    let mut channels = Vec::new();
    let mut bracket = Value::Null;
    loop {
        let frame = hear(&mut socket).await;
        let channel = frame["arg"]["channel"].as_str().expect("a channel").to_owned();
        match channel.as_str() {
            "orders" if frame["data"][0]["orderId"] == order_id.as_str() => {
                states.push(frame["data"][0]["state"].as_str().expect("a state").to_owned());
            }
            "orders-algo" => bracket = frame["data"][0].clone(),
            _ => {}
        }
        let is_last = channel == "account" && states.last().is_some_and(|state| state == "filled");
        channels.push(channel);
        if is_last {
            break;
        }
    }
    assert_eq!(states.first().map(String::as_str), Some("live"), "{states:?}");
    let at = |channel: &str| channels.iter().rposition(|name| name == channel).expect("pushed");
    assert!(
        at("orders") < at("positions") && at("positions") < at("account"),
        "{channels:?}"
    );
    assert_eq!(
        (&bracket["state"], &bracket["size"]),
        (&json!("live"), &json!("2")),
        "{bracket}"
    );
    assert_eq!(bracket["reduceOnly"], "true");

    let close = json!({"instId": "BTC-USDT", "marginMode": "cross", "positionSide": "net"});
    let closed = client.post("/api/v1/trade/close-position", close.clone()).await;
    assert_eq!(
        closed["data"],
        json!({"instId": "BTC-USDT", "positionSide": "net", "clientOrderId": ""})
    );
    loop {
        let frame = hear(&mut socket).await;
        if frame["arg"]["channel"] == "positions" && frame["data"] == json!([]) {
            break;
        }
    }
    assert_eq!(
        code(&client.post("/api/v1/trade/close-position", close).await),
        "102005"
    );
    let row = client
        .get(&format!(
            "/api/v1/trade/order-detail?instId=BTC-USDT&orderId={order_id}"
        ))
        .await;
    assert_eq!(row["data"]["state"], "filled");
    assert_eq!(
        row["data"]["size"], "2.000000000000000000",
        "REST pads to 18 digits"
    );
    server
        .with(|venue| venue.exchange().check_invariants())
        .expect("the ledger balances");
}

#[tokio::test]
async fn lists_are_paged_by_twenty_and_nothing_is_lost() {
    // At speed 1000 the 30 calls in 10 s are over in an instant of the wall clock.
    let server = server_at(1000.0, false);
    let client = Client::new(&server);
    let price = client.last("BTC-USDT").await * 0.85;
    for _ in 0..3 {
        let batch: Vec<Value> = (0..15).map(|_| resting_buy(price)).collect();
        assert_eq!(
            code(&client.post("/api/v1/trade/batch-orders", batch.into()).await),
            "0"
        );
    }
    let mut seen: Vec<u64> = Vec::new();
    let mut sizes = Vec::new();
    loop {
        let cursor = seen.last().map_or(String::new(), |id| format!("?after={id}"));
        let page = client.get(&format!("/api/v1/trade/orders-pending{cursor}")).await;
        let rows = page["data"].as_array().expect("rows").clone();
        sizes.push(rows.len());
        if rows.is_empty() {
            break;
        }
        seen.extend(rows.iter().map(|row| number(&row["orderId"]) as u64));
    }
    assert_eq!(sizes, [20, 20, 5, 0]);
    assert!(
        seen.windows(2).all(|pair| pair[0] > pair[1]),
        "newest first, each once"
    );
    let most = client.get("/api/v1/trade/orders-pending?limit=500").await;
    assert_eq!(most["data"].as_array().map(Vec::len), Some(45), "at most 100");
}

#[tokio::test]
async fn too_many_calls_lock_the_address_out() {
    let server = server_at(1.0, false);
    let client = Client::new(&server);
    let path = "/api/v1/market/mark-price?instId=BTC-USDT";
    for call in 1..=500 {
        let (status, reply) = client.send("GET", path, "").await.expect("a reply");
        assert_eq!((status, code(&reply)), (200, "0"), "call {call}");
    }
    let (status, reply) = client.send("GET", path, "").await.expect("a reply");
    assert_eq!((status, code(&reply)), (429, "429"));
    let (status, _) = client
        .send("GET", "/api/v1/account/balance", "")
        .await
        .expect("a reply");
    assert_eq!(status, 429, "everything is locked out");
    assert_eq!(server.with(|venue| venue.traffic().limited), 2);
}

#[tokio::test]
async fn too_many_trade_calls_are_refused_for_the_user_only() {
    let server = server_at(1.0, false);
    let client = Client::new(&server);
    for call in 1..=30 {
        let reply = client.get("/api/v1/trade/orders-pending").await;
        assert_eq!(code(&reply), "0", "call {call}");
    }
    assert_eq!(code(&client.get("/api/v1/trade/orders-pending").await), "429");
    assert_eq!(code(&client.get("/api/v1/account/balance").await), "0");
    let other = Client {
        key: "reader".into(),
        ..client
    };
    assert_eq!(code(&other.get("/api/v1/trade/orders-pending").await), "0");
}

#[tokio::test]
async fn book_updates_join_on_the_snapshot_and_a_lost_one_shows() {
    let server = server();
    let mut socket = connect(&server, "public").await;
    let arg = json!({"channel": "books", "instId": "BTC-USDT"});
    say(&mut socket, &json!({"op": "subscribe", "args": [arg]})).await;
    assert_eq!(hear(&mut socket).await, json!({"event": "subscribe", "arg": arg}));
    let snapshot = hear(&mut socket).await;
    assert_eq!(
        (&snapshot["action"], &snapshot["arg"]),
        (&json!("snapshot"), &arg)
    );
    let book = &snapshot["data"];
    assert_eq!(book["prevSeqId"], "0");
    assert!(book["asks"][0][0].is_number() && book["bids"][0][1].is_number());
    assert!(book["asks"].as_array().is_some_and(|levels| levels.len() > 100));
    let mut sequence = number(&book["seqId"]);
    for _ in 0..30 {
        let update = hear(&mut socket).await;
        assert_eq!(update["action"], "update");
        assert_eq!(number(&update["data"]["prevSeqId"]), sequence);
        assert!(number(&update["data"]["seqId"]) > sequence);
        sequence = number(&update["data"]["seqId"]);
    }
    server.with(|venue| venue.add_fault(FaultRule::once(Fault::SkipSequence, "books")));
    for _ in 0..60 {
        let update = hear(&mut socket).await;
        if number(&update["data"]["prevSeqId"]) != sequence {
            return;
        }
        sequence = number(&update["data"]["seqId"]);
    }
    panic!("the lost update never showed");
}

#[tokio::test]
async fn a_lost_ack_leaves_the_order_behind() {
    let server = server();
    let client = Client::new(&server);
    let price = client.last("BTC-USDT").await * 0.85;
    server.with(|venue| venue.add_fault(FaultRule::once(Fault::AckLost, "/trade/order")));
    let mut order = resting_buy(price);
    order["clientOrderId"] = "lost1".into();
    let sent = client
        .send("POST", "/api/v1/trade/order", &order.to_string())
        .await;
    assert!(sent.is_err(), "{sent:?}");
    let found = client
        .get("/api/v1/trade/order-detail?instId=BTC-USDT&clientOrderId=lost1")
        .await;
    assert_eq!(found["data"]["state"], "live");
    assert_eq!(
        code(&client.post("/api/v1/trade/order", order).await),
        "102002",
        "the copy is refused"
    );
}

#[tokio::test]
async fn the_gateway_breaks_its_own_envelope_when_told_to() {
    let server = server();
    let client = Client::new(&server);
    let path = "/api/v1/account/balance";
    for (fault, status) in [
        (Fault::GatewayError, 500),
        (Fault::TooMany, 429),
        (Fault::Forbidden, 403),
    ] {
        server.with(|venue| venue.add_fault(FaultRule::once(fault, "/account/balance")));
        let (got, reply) = client.send("GET", path, "").await.expect("a reply");
        assert_eq!(got, status, "{reply}");
        match fault {
            Fault::GatewayError => assert_eq!(reply["code"], 500, "a number"),
            Fault::Forbidden => assert!(reply.is_string(), "a page, no JSON"),
            _ => assert_eq!(code(&reply), "429"),
        }
    }
    server.with(|venue| venue.add_fault(FaultRule::once(Fault::InnerError, "/trade/cancel")));
    let reply = client
        .post(
            "/api/v1/trade/cancel-tpsl",
            json!([{"instId": "BTC-USDT", "tpslId": "1"}]),
        )
        .await;
    assert_eq!((code(&reply), &reply["data"][0]["code"]), ("0", &json!("500")));
    let price = client.last("BTC-USDT").await * 0.85;
    let placed = client.post("/api/v1/trade/order", resting_buy(price)).await;
    server.with(|venue| venue.add_fault(FaultRule::once(Fault::DataAsObject, "/trade/cancel-order")));
    let id = placed["data"][0]["orderId"].clone();
    let reply = client
        .post(
            "/api/v1/trade/cancel-order",
            json!({"instId": "BTC-USDT", "orderId": id}),
        )
        .await;
    assert_eq!(reply["data"]["orderId"], id, "an object this time: {reply}");
    assert_eq!(server.with(|venue| venue.traffic().faults), 5);
}

#[tokio::test]
async fn a_private_push_can_come_twice_or_cut_the_session() {
    let server = server();
    let client = Client::new(&server);
    let mut socket = connect(&server, "private").await;
    login(&mut socket).await;
    say(
        &mut socket,
        &json!({"op": "subscribe", "args": [{"channel": "orders"}]}),
    )
    .await;
    hear(&mut socket).await;
    let price = client.last("BTC-USDT").await * 0.85;
    server.with(|venue| venue.add_fault(FaultRule::once(Fault::DuplicatePush, "")));
    client.post("/api/v1/trade/order", resting_buy(price)).await;
    assert_eq!(hear(&mut socket).await, hear(&mut socket).await);
    server.with(|venue| venue.add_fault(FaultRule::once(Fault::CutSession, "")));
    client.post("/api/v1/trade/order", resting_buy(price)).await;
    while let Some(Ok(message)) = socket.next().await {
        assert!(!message.is_text(), "nothing more is pushed: {message}");
    }
}

#[tokio::test]
async fn tls_is_trusted_through_the_authority_it_writes() {
    let server = server_at(60.0, true);
    assert!(server.rest_url().starts_with("https://"));
    let path = server.ca_file().expect("an authority").to_owned();
    let pem = std::fs::read(&path).expect("the file is there");
    let mut roots = rustls::RootCertStore::empty();
    use rustls::pki_types::pem::PemObject;
    let authority = rustls::pki_types::CertificateDer::from_pem_slice(&pem).expect("PEM");
    roots.add(authority).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    for name in ["localhost", "127.0.0.1"] {
        let stream = TcpStream::connect(server.address()).await.expect("a connection");
        let name = rustls::pki_types::ServerName::try_from(name).expect("a name");
        let stream = connector
            .connect(name, stream)
            .await
            .expect("a trusted handshake");
        let (mut socket, _) = tokio_tungstenite::client_async("wss://localhost/ws/public", stream)
            .await
            .expect("a websocket");
        socket.send(Message::text("ping")).await.expect("open");
        let answer = socket.next().await.expect("open").expect("a frame");
        assert_eq!(answer, Message::text("pong"));
    }
    std::fs::remove_file(path).expect("the file can go");
}
