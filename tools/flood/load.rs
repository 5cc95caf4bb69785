//! The load: posts on a fixed schedule over kept-alive connections, and how they were answered.
//!
//! Each connection has its share of the schedule and one post under way at a time. Times are taken from
//! when a post was due, not from when it could be sent, so a server that stalls is not flattered.

use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What is sent where.
pub struct Plan {
    address: String,
    request: Vec<u8>,
    connections: u32,
    rate: u32,
    length: Duration,
}

impl Plan {
    /// Posts to `url` with `token`, `rate` a second in all.
    pub fn new(url: &str, token: &str, connections: u32, rate: u32, seconds: u32) -> Result<Plan, String> {
        let rest = url
            .strip_prefix("http://")
            .ok_or("the address begins with http://")?;
        let (address, path) = rest
            .split_once('/')
            .ok_or("the address ends with /signal or /webhook")?;
        let body = r#"{"symbol":"BTCUSDT","side":"buy","score":4.2,"prob":0.66,"components":["tv_signal"]}"#;
        let request = format!(
            "POST /{path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nX-Webhook-Token: {token}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Ok(Plan {
            address: address.to_owned(),
            request: request.into_bytes(),
            connections,
            rate,
            length: Duration::from_secs(u64::from(seconds)),
        })
    }
}

/// What came back.
pub struct Load {
    statuses: BTreeMap<u16, u64>,
    reconnects: u64,
    seconds: f64,
    times_us: Histogram<u64>,
}

impl std::fmt::Display for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count: u64 = self.statuses.values().sum();
        write!(f, "{count} replies, {:.0} a second", count as f64 / self.seconds)?;
        for (status, count) in &self.statuses {
            write!(f, ", {status}: {count}")?;
        }
        let at = |part: f64| self.times_us.value_at_quantile(part) as f64 / 1e3;
        write!(
            f,
            "; from due to answered p50 {:.2} ms, p99 {:.2} ms; {} connections made anew",
            at(0.5),
            at(0.99),
            self.reconnects
        )
    }
}

/// Runs the whole schedule.
pub fn run(plan: &Plan) -> Result<Load, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let began = Instant::now();
        let tasks: Vec<_> = (0..plan.connections)
            .map(|number| {
                let (address, request) = (plan.address.clone(), plan.request.clone());
                let step = Duration::from_secs_f64(f64::from(plan.connections) / f64::from(plan.rate));
                let first = began + step.mul_f64(f64::from(number) / f64::from(plan.connections));
                let end = began + plan.length;
                tokio::task::spawn_local(async move { one(&address, &request, first, step, end).await })
            })
            .collect();
        let mut load = empty()?;
        for task in tasks {
            let part = task.await.map_err(|error| error.to_string())??;
            load.times_us
                .add(&part.times_us)
                .map_err(|error| error.to_string())?;
            load.reconnects += part.reconnects;
            for (status, count) in part.statuses {
                *load.statuses.entry(status).or_default() += count;
            }
        }
        load.seconds = began.elapsed().as_secs_f64();
        Ok(load)
    })
}

fn empty() -> Result<Load, String> {
    Ok(Load {
        statuses: BTreeMap::new(),
        reconnects: 0,
        seconds: 0.0,
        times_us: Histogram::new(3).map_err(|error| error.to_string())?,
    })
}

async fn one(
    address: &str,
    request: &[u8],
    first: Instant,
    step: Duration,
    end: Instant,
) -> Result<Load, String> {
    let mut load = empty()?;
    let mut stream = connect(address).await?;
    let mut due = first;
    while due < end {
        tokio::time::sleep_until(due.into()).await;
        match post(&mut stream, request).await {
            Some(status) => {
                *load.statuses.entry(status).or_default() += 1;
                let _ = load.times_us.record(due.elapsed().as_micros() as u64);
            }
            None if Instant::now() >= end => break,
            None => {
                load.reconnects += 1;
                stream = connect(address).await?;
            }
        }
        due += step;
    }
    Ok(load)
}

async fn connect(address: &str) -> Result<TcpStream, String> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| format!("{address}: {error}"))?;
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// The status of one post; `None` when the connection ended.
async fn post(stream: &mut TcpStream, request: &[u8]) -> Option<u16> {
    stream.write_all(request).await.ok()?;
    let mut reply = Vec::with_capacity(1024);
    loop {
        if stream.read_buf(&mut reply).await.ok()? == 0 {
            return None;
        }
        let Some(head) = reply.windows(4).position(|end| end == b"\r\n\r\n") else {
            continue;
        };
        let text = std::str::from_utf8(&reply[..head]).ok()?;
        let length: usize = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
            .unwrap_or(0);
        if reply.len() >= head + 4 + length {
            return text.split(' ').nth(1)?.parse().ok();
        }
    }
}
