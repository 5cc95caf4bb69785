//! What is checked of a request before its body is looked at, in this order: method, address, size,
//! framing, who sends it, how often.
//!
//! It reads the head only and keeps nothing but the budget of each source.

use super::BODY_BYTES_MAX;
use super::reply::Refusal;
use super::sources::Sources;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, ORIGIN, TRANSFER_ENCODING};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use std::net::IpAddr;

/// What the head of a request says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// `?dry=1`.
    pub is_dry: bool,
    pub source: IpAddr,
}

/// Checks everything about `head` that needs neither budget nor body. `has_token` is whether a token
/// is asked for.
pub fn check(head: &Parts, peer: IpAddr, sources: &Sources, has_token: bool) -> Result<Head, Refusal> {
    if head.method != Method::POST {
        return Err(Refusal::Method);
    }
    let is_dry = match head.uri.query() {
        None | Some("" | "dry=0") => false,
        Some("dry=1") => true,
        Some(_) => return Err(Refusal::Query),
    };
    let headers = &head.headers;
    // An alert has one length. A request with both lengths comes here with the encoding alone, because
    // the HTTP library drops the other, and a proxy before us may have believed that one.
    if headers.contains_key(TRANSFER_ENCODING) {
        return Err(Refusal::LengthRequired);
    }
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(Refusal::Encoding);
    }
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if length
        .and_then(|text| text.parse().ok())
        .is_some_and(|bytes: u64| bytes > BODY_BYTES_MAX as u64)
    {
        return Err(Refusal::TooLarge);
    }
    // Only browsers send it. A page that a user of this machine happens to open must not trade.
    if headers.contains_key(ORIGIN) {
        return Err(Refusal::Forbidden("browsers are not served"));
    }
    if !has_token && !is_local_host(headers) {
        return Err(Refusal::Forbidden(
            "without WEBHOOK_SECRET only localhost is served",
        ));
    }
    let forwarded = headers.get_all("x-forwarded-for");
    let source = sources.source(peer, forwarded.iter().filter_map(|value| value.to_str().ok()));
    if !sources.allows(source) {
        return Err(Refusal::Forbidden("this source is not in WEBHOOK_ALLOW"));
    }
    Ok(Head { is_dry, source })
}

/// Whether the request means this machine by name: a foreign name that was pointed here does not.
fn is_local_host(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST) else {
        return true;
    };
    let Ok(host) = host.to_str() else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// What may be said of the body's kind before it is read: JSON, text, or nothing. `curl -d` says form
/// of everything, so a form is looked at, and refused unless it is JSON after all.
pub fn check_media_type(headers: &HeaderMap, body: &[u8]) -> Result<(), Refusal> {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Ok(());
    };
    let text = value.to_str().map_err(|_| Refusal::MediaType)?;
    let kind = text.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    match kind.as_str() {
        "application/json" | "text/json" | "text/plain" | "" => Ok(()),
        // An empty one goes on to be refused as empty: senders post nothing under this name.
        "application/x-www-form-urlencoded"
            if matches!(body.trim_ascii_start().first(), None | Some(b'{')) =>
        {
            Ok(())
        }
        other if other.starts_with("application/") && other.ends_with("+json") => Ok(()),
        _ => Err(Refusal::MediaType),
    }
}

/// The token of the header: `Ok(None)` when there is no such header, refused when there are two.
pub fn header_token(headers: &HeaderMap) -> Result<Option<&[u8]>, Refusal> {
    let mut tokens = headers.get_all("x-webhook-token").iter();
    match (tokens.next(), tokens.next()) {
        (None, _) => Ok(None),
        (Some(token), None) => Ok(Some(token.as_bytes())),
        (Some(_), Some(_)) => Err(Refusal::Unauthorized),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    fn head(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    fn asked(method: &str, uri: &str, headers: &[(&str, &str)]) -> Result<Head, u16> {
        let peer = "127.0.0.1".parse().expect("an address");
        check(&head(method, uri, headers), peer, &Sources::default(), true)
            .map_err(|refusal| refusal.status().as_u16())
    }

    #[test]
    fn the_head_is_checked_in_order() {
        assert_eq!(asked("POST", "/signal", &[]).map(|head| head.is_dry), Ok(false));
        assert_eq!(
            asked("POST", "/signal?dry=1", &[]).map(|head| head.is_dry),
            Ok(true)
        );
        for (method, uri, headers, status) in [
            ("GET", "/signal", &[][..], 405),
            ("POST", "/signal?token=x", &[], 400),
            ("POST", "/signal?dry=1&token=x", &[], 400),
            ("POST", "/signal?dry=yes", &[], 400),
            ("POST", "/signal", &[("content-length", "16385")], 413),
            (
                "POST",
                "/signal",
                &[("content-length", "5"), ("transfer-encoding", "chunked")],
                411,
            ),
            ("POST", "/signal", &[("transfer-encoding", "gzip, chunked")], 411),
            ("POST", "/signal", &[("content-encoding", "gzip")], 415),
            ("POST", "/signal", &[("origin", "null")], 403),
        ] {
            assert_eq!(
                asked(method, uri, headers),
                Err(status),
                "{method} {uri} {headers:?}"
            );
        }
        assert!(asked("POST", "/signal", &[("content-length", "16384")]).is_ok());
    }

    #[test]
    fn without_a_token_only_names_of_this_machine_are_served() {
        let peer = "127.0.0.1".parse().expect("an address");
        for (host, is_served) in [
            ("localhost:8080", true),
            ("127.0.0.1:8080", true),
            ("[::1]:8080", true),
            ("evil.example", false),
            ("localhost.evil.example:8080", false),
            ("10.0.0.1", false),
        ] {
            let head = head("POST", "/signal", &[("host", host)]);
            assert_eq!(
                check(&head, peer, &Sources::default(), false).is_ok(),
                is_served,
                "{host}"
            );
        }
    }

    #[test]
    fn json_is_taken_under_every_name_that_senders_give_it() {
        let is_taken = |kind: &str, body: &[u8]| {
            check_media_type(&head("POST", "/signal", &[("content-type", kind)]).headers, body).is_ok()
        };
        for kind in [
            "application/json; charset=utf-8",
            "text/plain",
            "application/cloudevents+json",
        ] {
            assert!(is_taken(kind, b"{}"), "{kind}");
        }
        assert!(is_taken("application/x-www-form-urlencoded", b" {\"symbol\":1}"));
        assert!(
            is_taken("application/x-www-form-urlencoded", b"\r\n"),
            "empty is refused as empty"
        );
        assert!(!is_taken(
            "application/x-www-form-urlencoded",
            b"symbol=BTCUSDT&side=buy"
        ));
        for kind in ["multipart/form-data", "application/xml", "image/png"] {
            assert!(!is_taken(kind, b"{}"), "{kind}");
        }
    }
}
