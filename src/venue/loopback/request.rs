//! Reading the bytes of one complete HTTP/1.1 request, as an in-process client writes them.

use super::auth::Stamp;
use super::core::Call;

/// Most headers of a request; a signed one has nine.
const HEADERS_MAX: usize = 32;

/// One request, borrowed from its bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct ParsedCall<'a> {
    pub method: &'a str,
    pub path_query: &'a str,
    pub stamp: Stamp<'a>,
    pub body: &'a [u8],
}

impl<'a> ParsedCall<'a> {
    pub fn call(&self) -> Call<'a> {
        Call {
            method: self.method,
            path_query: self.path_query,
            stamp: self.stamp,
            body: self.body,
        }
    }
}

/// The request in `bytes`; `None` when it is no complete HTTP/1.1 request, or its body is not as long
/// as `Content-Length` says.
pub fn parse_request(bytes: &[u8]) -> Option<ParsedCall<'_>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(head_bytes) = request.parse(bytes).ok()? else {
        return None;
    };
    let mut parsed = ParsedCall {
        method: request.method?,
        path_query: request.path?,
        ..ParsedCall::default()
    };
    let mut length_bytes = 0usize;
    for header in request.headers.iter() {
        let value = std::str::from_utf8(header.value).ok()?;
        if header.name.eq_ignore_ascii_case("content-length") {
            length_bytes = value.trim().parse().ok()?;
        } else {
            set_stamp(&mut parsed.stamp, header.name, value);
        }
    }
    parsed.body = bytes.get(head_bytes..)?;
    (parsed.body.len() == length_bytes).then_some(parsed)
}

/// Takes one of the five signing headers; any other is ignored.
pub fn set_stamp<'a>(stamp: &mut Stamp<'a>, name: &str, value: &'a str) {
    let slot = match name {
        _ if name.eq_ignore_ascii_case("access-key") => &mut stamp.key,
        _ if name.eq_ignore_ascii_case("access-sign") => &mut stamp.sign,
        _ if name.eq_ignore_ascii_case("access-timestamp") => &mut stamp.timestamp,
        _ if name.eq_ignore_ascii_case("access-nonce") => &mut stamp.nonce,
        _ if name.eq_ignore_ascii_case("access-passphrase") => &mut stamp.passphrase,
        _ => return,
    };
    *slot = value;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complete_request_is_read_and_a_cut_one_refused() {
        let text = b"POST /api/v1/trade/order?a=1 HTTP/1.1\r\nHost: x\r\naccess-key: k\r\nACCESS-NONCE: n\r\nContent-Length: 2\r\n\r\n{}";
        let parsed = parse_request(text).expect("a request");
        assert_eq!(
            (parsed.method, parsed.path_query),
            ("POST", "/api/v1/trade/order?a=1")
        );
        assert_eq!((parsed.stamp.key, parsed.stamp.nonce), ("k", "n"));
        assert_eq!(parsed.body, b"{}");
        for cut in 0..text.len() {
            assert!(parse_request(&text[..cut]).is_none(), "cut at {cut}");
        }
    }
}
