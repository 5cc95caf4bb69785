//! The body of an alert is read the same way twice, its token is gone without a trace in what is read, and
//! a refusal is fit to be told.

use super::{check_told, texts};
use smart_scanner::gateway::body::{Body, BodyFault};
use smart_scanner::gateway::fields::Fields;

pub fn check(bytes: &[u8]) {
    let body = match (Body::read(bytes), Body::read(bytes)) {
        (Ok(body), Ok(again)) => {
            assert_eq!(format!("{body:?}"), format!("{again:?}"));
            body
        }
        (Err(fault), Err(again)) => {
            assert_eq!(fault, again);
            check_told(&fault.to_string());
            return;
        }
        (one, other) => panic!("{one:?} or {other:?}"),
    };
    assert!(body.unknown.len() <= body.unknown_count as usize);
    body.unknown
        .iter()
        .for_each(|name| assert!(!name.chars().any(char::is_control)));
    let fields = read(&body);
    let bare = body.without_token(bytes);
    assert!(
        body.token.is_some() || bare == bytes,
        "there was no token to cut out"
    );
    let without = Body::read(&bare).expect("what was a body is one without its token");
    assert_eq!(without.token.is_some(), body.token.is_some());
    assert!(
        without.token.as_deref().unwrap_or("").is_empty(),
        "the token is still there"
    );
    assert_eq!(without.without_token(&bare), bare, "it is cut out once");
    assert_eq!(read(&without), fields, "nothing else was cut out");
    assert_eq!(
        (without.unknown_count, &without.unknown),
        (body.unknown_count, &body.unknown)
    );
}

fn read(body: &Body) -> Result<Fields, String> {
    let fields = Fields::read(body);
    match &fields {
        Ok(fields) => {
            assert!(fields.price.is_finite() && fields.price >= 0.0);
            assert!(fields.score.abs() <= 1e3 && (0.0..=1.0).contains(&fields.probability));
            assert!(fields.components.len() <= 16 && fields.tags.len() <= 16);
            let texts = fields.components.iter().chain(&fields.tags).chain(&fields.id);
            texts.for_each(|text| assert!(text.len() <= 128 && !text.chars().any(char::is_control)));
            assert!(fields.time_ms.is_none_or(|time| time > 0));
        }
        Err(fault) => check_told(&fault.to_string()),
    }
    fields.map_err(|fault| fault.to_string())
}

pub fn seeds() -> Vec<Vec<u8>> {
    assert_eq!(Body::read(b" ").err(), Some(BodyFault::Empty));
    texts(&[
        r#"{"symbol":"BTCUSDT","side":"buy","timeframe":"15","price":"65000.5","score":70,"prob":0.66,"components":["a","b"],"tags":"x","id":"n-1","time":"2026-01-31T12:00:00Z","token":"se\"cret"}"#,
        r#"{"ticker":"BINANCE:BTCUSDT","side":"short","time":1771416000,"qty":1e99,"leverage":{"a":[1,2]},"score":null,"tok\u0065n" : {"b":"x"} }"#,
        "\u{feff}{\"symbol\":\"BTC-USDT\",\"side\":\"sell\",\"id\":7,\"token\":\"x\"}",
        r#"{"symbol":"{{ticker}}","side":"buy","price":{{close}}}"#,
        r#"{"symbol":"BTCUSDT","side":"Ьuy","price":1e999,"id":"\ud800"}"#,
        r#"{"symbol":"BTCUSDT","side":"buy","a":[[[[[[{"b":{"c":null}}]]]]]],"token":null}"#,
    ])
}
