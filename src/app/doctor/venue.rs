//! Can the venue be reached? Name, connection, encryption and one public request, each in turn, so
//! that the first thing that fails is the one that is named.

use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::Finding;
use crate::driver::DecisionClock;
use crate::settings::Venue;

/// Longest wait for one step.
const STEP_TIMEOUT: Duration = Duration::from_secs(5);

/// Largest answer that is read: several times the venue's list of instruments.
const BODY_BYTES_MAX: usize = 16 << 20;

/// A request signed further off than this is rejected; the header it is read from is whole seconds.
const CLOCK_OFFSET_MS_MAX: i64 = 3_000;
/// The venue rejects what is signed 60 s off; half of that leaves room for drift.
const CLOCK_OFFSET_MS_FAIL: i64 = 30_000;

/// Looks up the host, connects, and reads the public list of instruments. `clock` is the one that the
/// venue's date is held against: the wall, or that of an exchange that runs faster.
pub(super) fn examine(venue: &Venue, clock: &DecisionClock) -> Vec<Finding> {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(fault) => {
            return vec![Finding::fail(
                "venue",
                fault.to_string(),
                "raise the limit on open files",
            )];
        }
    };
    runtime.block_on(examine_in_turn(venue, clock))
}

async fn examine_in_turn(venue: &Venue, clock: &DecisionClock) -> Vec<Finding> {
    let mut findings = Vec::new();
    let address = match resolve(&venue.blofin_base_url).await {
        Ok((finding, address)) => {
            findings.push(finding);
            address
        }
        Err(finding) => return vec![finding],
    };
    match connect(address).await {
        Ok(finding) => findings.push(finding),
        Err(finding) => {
            findings.push(finding);
            return findings;
        }
    }
    match client(venue.blofin_ca_file.as_deref()) {
        Ok(client) => findings.extend(request(&client, &venue.blofin_base_url, clock).await),
        Err(finding) => findings.push(finding),
    }
    findings
}

async fn resolve(base_url: &str) -> Result<(Finding, SocketAddr), Finding> {
    let advice = "check BLOFIN_BASE_URL and the name servers of this machine";
    let url =
        reqwest::Url::parse(base_url).map_err(|fault| Finding::fail("resolve", fault.to_string(), advice))?;
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or(443);
    let start = Instant::now();
    // An IPv6 host stands in brackets in a URL and without them in a look-up.
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let fault = match tokio::time::timeout(STEP_TIMEOUT, tokio::net::lookup_host((bare, port))).await {
        Ok(Ok(mut addresses)) => match addresses.next() {
            Some(address) => {
                let fact = format!("{host} is {} ({} ms)", address.ip(), start.elapsed().as_millis());
                return Ok((Finding::ok("resolve", fact), address));
            }
            None => "no address".to_owned(),
        },
        Ok(Err(fault)) => fault.to_string(),
        Err(_) => format!("no answer in {} s", STEP_TIMEOUT.as_secs()),
    };
    Err(Finding::fail("resolve", format!("{host}: {fault}"), advice))
}

async fn connect(address: SocketAddr) -> Result<Finding, Finding> {
    let start = Instant::now();
    let fault = match tokio::time::timeout(STEP_TIMEOUT, tokio::net::TcpStream::connect(address)).await {
        Ok(Ok(_)) => {
            return Ok(Finding::ok(
                "connect",
                format!("{address} in {} ms", start.elapsed().as_millis()),
            ));
        }
        Ok(Err(fault)) => fault.to_string(),
        Err(_) => format!("no answer in {} s", STEP_TIMEOUT.as_secs()),
    };
    let advice = "let this machine through its firewall to that address, or start the exchange there";
    Err(Finding::fail("connect", format!("{address}: {fault}"), advice))
}

/// A client on ring with the public roots and BLOFIN_CA_FILE; it follows no redirect and uses no
/// proxy, as the trading connections do.
pub(super) fn client(ca_file: Option<&Path>) -> Result<reqwest::Client, Finding> {
    let mut roots = rustls::RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    if let Some(path) = ca_file {
        let fail = |fault: String| {
            Finding::fail(
                "tls",
                format!("{}: {fault}", path.display()),
                "correct BLOFIN_CA_FILE",
            )
        };
        let certificates = CertificateDer::pem_file_iter(path).map_err(|fault| fail(fault.to_string()))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|fault| fail(fault.to_string()))?;
            roots.add(certificate).map_err(|fault| fail(fault.to_string()))?;
        }
        if roots.len() == webpki_roots::TLS_SERVER_ROOTS.len() {
            return Err(fail("it holds no certificate".to_owned()));
        }
    }
    let advice = "report this as a fault of the program";
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|fault| Finding::fail("tls", fault.to_string(), advice))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(config)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(STEP_TIMEOUT)
        .timeout(STEP_TIMEOUT * 2)
        .build()
        .map_err(|fault| Finding::fail("tls", innermost(&fault), advice))
}

/// The words of the last cause: the outer ones only repeat the address.
pub(super) fn innermost(fault: &dyn Error) -> String {
    let mut cause = fault;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

async fn request(client: &reqwest::Client, base_url: &str, clock: &DecisionClock) -> Vec<Finding> {
    let start = Instant::now();
    let mut response = match client
        .get(format!("{base_url}/api/v1/market/instruments"))
        .send()
        .await
    {
        Ok(response) => response,
        // The connection itself has just worked, so a connect fault is the handshake's.
        Err(fault) if fault.is_connect() => {
            let advice = "check the date of this machine, and BLOFIN_CA_FILE when a proxy or the embedded exchange answers";
            return vec![Finding::fail("tls", innermost(&fault), advice)];
        }
        Err(fault) => {
            return vec![Finding::fail(
                "venue",
                innermost(&fault),
                "try again; see the venue's status page",
            )];
        }
    };
    let status = response.status();
    let date = response
        .headers()
        .get("date")
        .and_then(|date| date.to_str().ok())
        .map(str::to_owned);
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= BODY_BYTES_MAX => body.extend_from_slice(&chunk),
            Ok(Some(_)) => {
                return vec![Finding::fail(
                    "venue",
                    "the answer does not end",
                    "check BLOFIN_BASE_URL",
                )];
            }
            Ok(None) => break,
            Err(fault) => return vec![Finding::fail("venue", innermost(&fault), "try again")],
        }
    }
    let mut findings = vec![judge_answer(status.as_u16(), &body, start.elapsed())];
    let now_ms = clock.now().ms();
    findings.extend(date.and_then(|date| judge_date(&date, now_ms)));
    findings
}

fn judge_answer(status: u16, body: &[u8], elapsed: Duration) -> Finding {
    let path = "/api/v1/market/instruments";
    let advice = match status {
        403 => "the venue's firewall blocks this address; wait, or trade from a country it serves",
        429 => "too many requests from this address; wait",
        _ => "check BLOFIN_BASE_URL and the venue's status page",
    };
    if status != 200 {
        return Finding::fail("venue", format!("{path} answered {status}"), advice);
    }
    let answer: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let rows = answer
        .as_ref()
        .filter(|answer| answer["code"] == "0")
        .and_then(|answer| answer["data"].as_array());
    match rows.map(Vec::len) {
        Some(count) if count > 0 => Finding::ok(
            "venue",
            format!("{count} instruments in {} ms", elapsed.as_millis()),
        ),
        Some(_) => Finding::fail("venue", format!("{path} lists no instruments"), advice),
        None => Finding::fail(
            "venue",
            format!("{path} did not answer with a list of instruments"),
            advice,
        ),
    }
}

/// How far this machine's clock is from the venue's, when its date header can be read.
fn judge_date(date: &str, now_ms: i64) -> Option<Finding> {
    let venue_ms = jiff::fmt::rfc2822::parse(date).ok()?.timestamp().as_millisecond();
    // The header is cut to whole seconds: half a second is the middle of what it may mean.
    let offset_ms = now_ms - venue_ms - 500;
    let fact = format!(
        "this machine is {:.1} s from the venue's date",
        offset_ms as f64 / 1e3
    );
    if offset_ms.abs() <= CLOCK_OFFSET_MS_MAX {
        return Some(Finding::ok("date", fact));
    }
    let advice = "start chrony or systemd-timesyncd: requests signed with a wrong time are rejected";
    Some(if offset_ms.abs() <= CLOCK_OFFSET_MS_FAIL {
        Finding::warn("date", fact, advice)
    } else {
        Finding::fail("date", fact, advice)
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::io::Write;
    use std::net::TcpListener;

    use super::super::Verdict;
    use super::*;
    use crate::settings::Settings;
    use crate::sys::clock::Stamp;

    /// A server on a port of its own that answers one request after another with `answer`.
    fn serve(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = [0; 4096];
                // The first connection only knocks and closes.
                if stream.read(&mut request).is_ok_and(|count| count > 0) {
                    stream.write_all(answer.as_bytes()).unwrap();
                }
            }
        });
        format!("http://{address}")
    }

    fn examine_at(base_url: &str) -> Vec<Finding> {
        let mut settings = Settings::research(None, &[], Path::new("unused")).unwrap();
        settings.venue.point_at(base_url);
        examine(&settings.venue, &DecisionClock::wall(Stamp::process()))
    }

    fn verdicts(findings: &[Finding]) -> Vec<(&str, Verdict)> {
        findings
            .iter()
            .map(|finding| (finding.name, finding.verdict))
            .collect()
    }

    #[test]
    fn a_venue_that_answers_is_ok_step_by_step() {
        let base_url = serve(
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 51\r\n\r\n\
             {\"code\":\"0\",\"data\":[{\"instId\":\"A\"},{\"instId\":\"B\"}]}",
        );
        let findings = examine_at(&base_url);
        let ok = Verdict::Ok;
        assert_eq!(
            verdicts(&findings),
            [("resolve", ok), ("connect", ok), ("venue", ok)],
            "{findings:?}"
        );
        assert!(findings[2].fact.contains("2 instruments"));
    }

    #[test]
    fn a_closed_port_and_a_proxy_page_are_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let closed = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let findings = examine_at(&closed);
        assert_eq!(
            verdicts(&findings),
            [("resolve", Verdict::Ok), ("connect", Verdict::Fail)]
        );
        let page = serve("HTTP/1.1 502 Bad Gateway\r\nconnection: close\r\ncontent-length: 6\r\n\r\n<html>");
        let findings = examine_at(&page);
        assert_eq!(findings[2].verdict, Verdict::Fail);
        assert!(
            findings[2].fact.contains("502") && !findings[2].advice.is_empty(),
            "{findings:?}"
        );
    }

    #[test]
    fn a_server_that_does_not_speak_tls_fails_at_tls() {
        let plain = serve("HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n");
        let findings = examine_at(&plain.replace("http://", "https://"));
        assert_eq!(verdicts(&findings)[2], ("tls", Verdict::Fail), "{findings:?}");
    }

    /// As `serve`, with TLS; also returns its certificate as PEM.
    fn serve_tls(answer: &'static str) -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = rustls::StreamOwned::new(connection, stream.unwrap());
                // Knocks and refused certificates end here.
                if stream.read(&mut [0; 4096]).is_ok_and(|count| count > 0) {
                    stream.write_all(answer.as_bytes()).unwrap();
                    stream.conn.send_close_notify();
                    stream.flush().unwrap();
                }
            }
        });
        (format!("https://{address}"), made.cert.pem())
    }

    #[test]
    fn a_certificate_counts_only_when_blofin_ca_file_names_it() {
        let (base_url, certificate) = serve_tls(
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 36\r\n\r\n{\"code\":\"0\",\"data\":[{\"instId\":\"A\"}]}",
        );
        let findings = examine_at(&base_url);
        assert_eq!(verdicts(&findings)[2], ("tls", Verdict::Fail), "{findings:?}");
        let directory = tempfile::tempdir().unwrap();
        let mut settings = Settings::research(None, &[], directory.path()).unwrap();
        settings.venue.point_at(&base_url);
        let ca_file = directory.path().join("ca.pem");
        std::fs::write(&ca_file, certificate).unwrap();
        settings.venue.blofin_ca_file = Some(ca_file.clone());
        let findings = examine(&settings.venue, &DecisionClock::wall(Stamp::process()));
        assert_eq!(verdicts(&findings)[2], ("venue", Verdict::Ok), "{findings:?}");
        for broken in ["", "-----BEGIN CERTIFICATE-----\n%%\n"] {
            std::fs::write(&ca_file, broken).unwrap();
            let findings = examine(&settings.venue, &DecisionClock::wall(Stamp::process()));
            assert_eq!(verdicts(&findings)[2], ("tls", Verdict::Fail), "{findings:?}");
            assert!(findings[2].advice.contains("BLOFIN_CA_FILE"));
        }
    }

    #[test]
    fn answers_that_are_no_list_fail() {
        let elapsed = Duration::from_millis(5);
        for body in [
            "",
            "null",
            "[]",
            "{\"code\":\"0\",\"data\":[]}",
            "{\"code\":\"500\",\"data\":[1]}",
            "<html>",
        ] {
            assert_eq!(
                judge_answer(200, body.as_bytes(), elapsed).verdict,
                Verdict::Fail,
                "{body}"
            );
        }
        assert_eq!(
            judge_answer(200, b"{\"code\":\"0\",\"data\":[{}]}", elapsed).verdict,
            Verdict::Ok
        );
        assert!(judge_answer(403, b"", elapsed).advice.contains("firewall"));
    }

    #[test]
    fn a_clock_that_is_off_is_warned_of() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let at_ms = 784_111_777_000;
        assert_eq!(judge_date(date, at_ms + 900).unwrap().verdict, Verdict::Ok);
        assert_eq!(judge_date(date, at_ms + 20_000).unwrap().verdict, Verdict::Warn);
        assert_eq!(judge_date(date, at_ms - 60_000).unwrap().verdict, Verdict::Fail);
        assert_eq!(judge_date("yesterday", at_ms), None);
    }
}
