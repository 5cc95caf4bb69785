//! Asks the venue what it lists: two public requests over REST, before or beside the engine.
//!
//! It owns a client of its own on the trading connections' roots; it follows no redirect and uses no
//! proxy. Each request is tried a few times with growing pauses; while the venue serves nobody from this
//! address none leaves, and one that is refused is told and never repeated. No answer is believed that is not
//! whole: a body has a limit, a list that cannot be read is a fault and never an empty list.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use super::listing::Listing;
use crate::model::Reason;
use crate::venue::blofin::bans::{Bans, Refusal};
use crate::venue::blofin::codec::control::printable;
use crate::venue::blofin::codec::document::{Document, Element};
use crate::venue::blofin::tls::{TlsFault, client_config};

/// Largest body that is read; the list of 490 instruments has about 250 KiB.
pub const BODY_BYTES_MAX: usize = 16 << 20;

const INSTRUMENTS_PATH: &str = "/api/v1/market/instruments";
const TICKERS_PATH: &str = "/api/v1/market/tickers";

/// Where to ask.
#[derive(Clone, Copy, Debug)]
pub struct Source<'s> {
    /// BLOFIN_BASE_URL; plain http reaches the embedded exchange.
    pub base_url: &'s str,
    /// BLOFIN_CA_FILE.
    pub ca_file: Option<&'s Path>,
}

/// How long to try.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Tries of each request, at least 1.
    pub attempts: u32,
    /// Before the second try; each further pause is twice as long.
    pub first_pause: Duration,
    /// Longest wait for a connection.
    pub connect: Duration,
    /// Longest wait for a whole answer, connection included.
    pub answer: Duration,
}

impl Default for Patience {
    /// 3 tries, pauses of 0.5 and 1 s, 5 s to connect and 10 s in all: a start waits about a minute at most.
    fn default() -> Self {
        Patience {
            attempts: 3,
            first_pause: Duration::from_millis(500),
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(10),
        }
    }
}

/// Why the venue's list could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ListingFault {
    #[error(transparent)]
    Tls(#[from] TlsFault),
    #[error("no HTTP client can be made: {text}; raise the limit on open files")]
    Client { text: String },
    #[error(
        "the venue was not asked, as it serves nobody from this address for another {seconds} s (429 or 403)"
    )]
    NotAsked { seconds: u64 },
    #[error(
        "{path} was not answered: {text}; check BLOFIN_BASE_URL, the network and the venue's status page"
    )]
    NoAnswer { path: &'static str, text: String },
    #[error("{path} answered HTTP {status} (code {code}, {message:?}); {next}")]
    Refused {
        path: &'static str,
        status: u16,
        /// The venue's code, or `none`.
        code: String,
        message: String,
        next: &'static str,
    },
    #[error("{path} answered more than {limit_bytes} bytes; check that BLOFIN_BASE_URL is the venue")]
    TooLarge { path: &'static str, limit_bytes: usize },
    #[error(
        "{path} answered HTTP {status} without a list ({}): {excerpt:?}; check that BLOFIN_BASE_URL is the venue", .reason.text()
    )]
    NoList {
        path: &'static str,
        status: u16,
        reason: Reason,
        /// How the body begins, safe to print.
        excerpt: String,
    },
    #[error(
        "{path} lists nothing that can be read ({unreadable_count} rows cannot, the first for {first}); see the venue's status page"
    )]
    Empty {
        path: &'static str,
        unreadable_count: usize,
        first: String,
    },
}

impl ListingFault {
    /// Whether the same request may fare better a moment later. A venue that refuses to serve is not asked
    /// again: each request prolongs its ban.
    fn is_passing(&self) -> bool {
        match self {
            ListingFault::NoAnswer { .. } | ListingFault::NoList { .. } | ListingFault::Empty { .. } => true,
            ListingFault::Refused { status, code, .. } => {
                self.refusal().is_none() && (matches!(status, 408 | 500..) || code == "500")
            }
            ListingFault::Tls(_)
            | ListingFault::Client { .. }
            | ListingFault::NotAsked { .. }
            | ListingFault::TooLarge { .. } => false,
        }
    }

    /// How the venue refused to serve us, if that is what it did.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            ListingFault::Refused { status, code, .. } => Refusal::of(*status, code.parse().ok()),
            ListingFault::Tls(_)
            | ListingFault::Client { .. }
            | ListingFault::NotAsked { .. }
            | ListingFault::NoAnswer { .. }
            | ListingFault::TooLarge { .. }
            | ListingFault::NoList { .. }
            | ListingFault::Empty { .. } => None,
        }
    }

    /// Whether it is over with the ban: the venue refused, or was not asked because it had.
    pub fn is_by_ban(&self) -> bool {
        matches!(self, ListingFault::NotAsked { .. }) || self.refusal().is_some()
    }
}

/// Every instrument and ticker that the venue lists. Both lists have at least one row that can be
/// read; rows that cannot are named in `unreadable`. `bans` is asked before every request, and told of a 429
/// or 403.
pub async fn read(
    source: &Source<'_>,
    patience: &Patience,
    bans: &dyn Bans,
) -> Result<Listing, ListingFault> {
    let client = client(source.ca_file, patience)?;
    let base_url = source.base_url.trim_end_matches('/');
    let mut listing = Listing::default();
    for path in [INSTRUMENTS_PATH, TICKERS_PATH] {
        let part = read_patiently(&client, base_url, path, patience, bans).await?;
        listing.instruments.extend(part.instruments);
        listing.tickers.extend(part.tickers);
        listing.unreadable.extend(part.unreadable);
    }
    Ok(listing)
}

fn client(ca_file: Option<&Path>, patience: &Patience) -> Result<reqwest::Client, ListingFault> {
    let config = client_config(ca_file)?;
    reqwest::Client::builder()
        .tls_backend_preconfigured((*config).clone())
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(patience.connect)
        .timeout(patience.answer)
        .build()
        .map_err(|fault| ListingFault::Client { text: causes(&fault) })
}

async fn read_patiently(
    client: &reqwest::Client,
    base_url: &str,
    path: &'static str,
    patience: &Patience,
    bans: &dyn Bans,
) -> Result<Listing, ListingFault> {
    let mut pause = patience.first_pause;
    let mut attempt = 1;
    loop {
        if let Some(seconds) = bans.seconds_left() {
            return Err(ListingFault::NotAsked { seconds });
        }
        let result = read_once(client, base_url, path).await;
        if let Some(refusal) = result.as_ref().err().and_then(ListingFault::refusal) {
            bans.tell(refusal);
        }
        match result {
            Err(fault) if fault.is_passing() && attempt < patience.attempts => {
                tokio::time::sleep(pause).await;
                pause = pause.saturating_mul(2);
                attempt += 1;
            }
            result => return result,
        }
    }
}

async fn read_once(
    client: &reqwest::Client,
    base_url: &str,
    path: &'static str,
) -> Result<Listing, ListingFault> {
    let no_answer = |fault: reqwest::Error| ListingFault::NoAnswer {
        path,
        text: causes(&fault),
    };
    let too_large = ListingFault::TooLarge {
        path,
        limit_bytes: BODY_BYTES_MAX,
    };
    let request = client.get(format!("{base_url}{path}"));
    let mut response = request.send().await.map_err(no_answer)?;
    let status = response.status().as_u16();
    // The claim is checked before anything is read, and what comes is counted all the same.
    if response
        .content_length()
        .is_some_and(|bytes| bytes > BODY_BYTES_MAX as u64)
    {
        return Err(too_large);
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(no_answer)? {
        if body.len() + chunk.len() > BODY_BYTES_MAX {
            return Err(too_large);
        }
        body.extend_from_slice(&chunk);
    }
    interpret(path, status, &body)
}

/// What the frame around the rows says.
#[derive(Default)]
struct Envelope {
    /// The venue's code as text; empty when there is none.
    code: String,
    message: String,
}

/// The rows of an answer; a fault unless status, code and shape all say that it is a list.
fn interpret(path: &'static str, status: u16, body: &[u8]) -> Result<Listing, ListingFault> {
    let mut listing = Listing::default();
    let mut envelope = Envelope::default();
    let mut document = Document::new(body.len(), BODY_BYTES_MAX);
    let is_good_status = (200..300).contains(&status);
    let taken = document.read(body, |root| {
        let [code, message, data] = root.fields(&["code", "msg", "data"])?;
        envelope = Envelope {
            code: code.map(code_text).unwrap_or_default(),
            message: word(message),
        };
        if !is_good_status || envelope.code != "0" {
            return Ok(());
        }
        let data = data.ok_or(Reason::ReplyItemMissing)?;
        match path {
            TICKERS_PATH => listing.take_tickers(data),
            _ => listing.take_instruments(data),
        }
    });
    let has_code = !envelope.code.is_empty();
    if !is_good_status || (has_code && envelope.code != "0") {
        return Err(ListingFault::Refused {
            path,
            status,
            next: next_step(status, &envelope.code),
            code: if has_code {
                envelope.code
            } else {
                "none".to_owned()
            },
            message: envelope.message,
        });
    }
    let taken = if has_code || taken.is_err() {
        taken
    } else {
        Err(Reason::ReplyUnknownCode)
    };
    taken.map_err(|reason| ListingFault::NoList {
        path,
        status,
        reason,
        excerpt: printable(&String::from_utf8_lossy(&body[..body.len().min(80)])).to_string(),
    })?;
    if listing.instruments.is_empty() && listing.tickers.is_empty() {
        return Err(nothing_readable(path, &listing));
    }
    Ok(listing)
}

fn nothing_readable(path: &'static str, listing: &Listing) -> ListingFault {
    let first = listing.unreadable.first();
    ListingFault::Empty {
        path,
        unreadable_count: listing.unreadable.len(),
        first: first.map_or("nothing".to_owned(), |row| row.reason.text().to_owned()),
    }
}

fn next_step(status: u16, code: &str) -> &'static str {
    match (status, code) {
        (403, _) => "the venue's firewall blocks this address: wait, or run from a country that it serves",
        (429, _) | (_, "429") => "too many requests from this address: wait",
        (300..400, _) | (404, _) => "check BLOFIN_BASE_URL: the venue's REST root does not redirect",
        (500.., _) | (_, "500") => "see the venue's status page and try again",
        _ => "check BLOFIN_BASE_URL and the venue's status page",
    }
}

/// A code as the venue wrote it: text, or at gateway faults a number.
fn code_text(element: Element<'_>) -> String {
    match element.as_u64() {
        Some(code) => code.to_string(),
        None => match element.as_text() {
            Some(text) if !text.is_empty() => printable(text).to_string(),
            _ => "unreadable".to_owned(),
        },
    }
}

fn word(element: Option<Element<'_>>) -> String {
    element
        .and_then(Element::as_text)
        .map_or(String::new(), |text| printable(text).to_string())
}

/// The words of every cause, outermost first; the address that they repeat is left out.
fn causes(fault: &dyn Error) -> String {
    let mut words = Vec::new();
    let mut cause = fault.source();
    while let Some(next) = cause {
        words.push(next.to_string());
        cause = next.source();
    }
    if words.is_empty() {
        words.push(fault.to_string());
    }
    words.dedup();
    words.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICKER: &str = r#"{"instId":"A-USDT","last":"1","volCurrency24h":"1"}"#;

    fn fault(status: u16, body: &str) -> ListingFault {
        interpret(TICKERS_PATH, status, body.as_bytes()).expect_err(body)
    }

    #[test]
    fn a_code_may_be_text_or_number_and_must_be_zero() {
        for code in [r#""0""#, "0"] {
            let body = format!(r#"{{"code":{code},"msg":null,"data":[{TICKER}],"more":{{}}}}"#);
            let listing = interpret(TICKERS_PATH, 200, body.as_bytes()).expect("a list");
            assert_eq!(listing.tickers.len(), 1);
        }
        for (code, said) in [
            ("500", "code 500"),
            (r#""152002""#, "code 152002"),
            ("true", "code unreadable"),
        ] {
            let text = fault(
                200,
                &format!(r#"{{"code":{code},"msg":"bad","data":[{TICKER}]}}"#),
            )
            .to_string();
            assert!(
                text.contains(said) && text.contains("bad") && text.contains(TICKERS_PATH),
                "{text}"
            );
        }
        // A gateway says it below a status of 200.
        for code in [r#""429""#, "429"] {
            let fault = fault(200, &format!(r#"{{"code":{code},"msg":"slow down"}}"#));
            assert_eq!(fault.refusal(), Some(Refusal::TooMany), "{fault}");
            assert!(!fault.is_passing(), "{fault}");
        }
    }

    #[test]
    fn what_is_no_list_is_a_fault_and_never_an_empty_list() {
        for body in [
            "",
            "null",
            "[]",
            "{}",
            "<html>busy</html>",
            r#"{"code":"0"}"#,
            r#"{"code":"0","data":null}"#,
            r#"{"code":"0","data":{}}"#,
            r#"{"data":[]}"#,
            r#"{"code":null,"data":[{"instId":"A-USDT","last":"1","volCurrency24h":"1"}]}"#,
            r#"{"code":"0","code":"0","data":[]}"#,
            r#"{"code":"0","data":[{"instId":"A-U"#,
        ] {
            assert!(
                matches!(fault(200, body), ListingFault::NoList { .. }),
                "{body}: {}",
                fault(200, body)
            );
        }
        for body in [r#"{"code":"0","data":[]}"#, r#"{"code":"0","data":[{},7]}"#] {
            assert!(matches!(fault(200, body), ListingFault::Empty { .. }), "{body}");
        }
    }

    #[test]
    fn a_bad_status_is_a_refusal_whatever_the_body_says() {
        let good = format!(r#"{{"code":"0","data":[{TICKER}]}}"#);
        for (status, passing, next) in [
            (301, false, "BLOFIN_BASE_URL"),
            (403, false, "firewall"),
            (404, false, "BLOFIN_BASE_URL"),
            (429, false, "too many"),
            (502, true, "status page"),
        ] {
            for body in [good.as_str(), "<html>"] {
                let fault = fault(status, body);
                assert_eq!(fault.is_passing(), passing, "{fault}");
                assert_eq!(fault.is_by_ban(), matches!(status, 403 | 429), "{fault}");
                let text = fault.to_string();
                assert!(
                    text.contains(&status.to_string()) && text.contains(next),
                    "{text}"
                );
            }
        }
    }
}
