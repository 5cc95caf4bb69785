//! Candle history from the venue over REST, page by page into candle files.
//!
//! It owns an HTTP client of its own and a call budget that leaves room for a daemon on the same
//! address. Each page leads further back; what is read is written every so often, and what a file has
//! already is never asked for again, so a download that was stopped goes on where it was.

use super::candle_files::{CandleFileFault, missing, path_of, read_folder, write_file};
use crate::model::message::{FetchRequest, Lane, ListKind, tick_flag};
use crate::model::{Candle, Decimal, Instrument, Instruments, Lots, Symbol, Timeframe, Wall};
use crate::venue::blofin::budget::{BudgetLimits, CallBudget, SUSPENSION_NS};
use crate::venue::blofin::reply::ReplyReader;
use crate::venue::blofin::request::{CANDLES_PER_PAGE, Cursor};
use crate::venue::blofin::tls::{TlsFault, client_config};
use bytemuck::Zeroable;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// Pages between two writes of a file.
const PAGES_PER_WRITE: usize = 40;
/// Tries of one page, with pauses of 0.5, 1, 2 and 4 s between them.
const ATTEMPTS: u32 = 5;
const BODY_BYTES_MAX: usize = 4 << 20;

/// Where to ask.
#[derive(Clone, Copy, Debug)]
pub struct Source<'s> {
    /// BLOFIN_BASE_URL.
    pub base_url: &'s str,
    /// BLOFIN_CA_FILE.
    pub ca_file: Option<&'s Path>,
}

/// Why a download ended early. What was read before is in the files.
#[derive(Debug, thiserror::Error)]
pub enum DownloadFault {
    #[error(transparent)]
    Tls(#[from] TlsFault),
    #[error("no HTTP client can be made: {0}; raise the limit on open files")]
    Client(String),
    #[error(transparent)]
    File(#[from] CandleFileFault),
    #[error("{symbol}: {base_url} does not answer: {text}; check BLOFIN_BASE_URL and the network")]
    NoAnswer {
        symbol: Symbol,
        base_url: String,
        text: String,
    },
    #[error(
        "{symbol}: the venue answered HTTP {status}, code {code} ({reason}); check the symbol's spelling (such as BTC-USDT) and that it is listed"
    )]
    Refused {
        symbol: Symbol,
        status: u16,
        code: u32,
        reason: &'static str,
    },
    #[error("stopped; the same command goes on from here")]
    Stopped,
}

/// What a download did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Downloaded {
    pub calls: u64,
    /// New rows.
    pub rows: u64,
    /// Intervals that the venue has no believable candle for.
    pub holes: u64,
    /// Times the venue told us to slow down.
    pub throttled: u64,
    /// Symbols that the venue would not give, and why.
    pub refused: Vec<(Symbol, String)>,
}

/// What is told while it runs.
pub trait Watch {
    /// `done` of `total` intervals of all symbols are settled.
    fn progress(&mut self, done: u64, total: u64, symbol: &Symbol);
    /// The venue limits us; nothing is asked for so long.
    fn paused(&mut self, pause: Duration);
    fn is_stopped(&self) -> bool;
}

/// One series that is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    pub symbol: Symbol,
    pub from_ms: i64,
    pub to_ms: i64,
}

/// The connection and its budget.
struct Venue<'s> {
    client: reqwest::Client,
    source: Source<'s>,
    budget: CallBudget,
    reader: ReplyReader,
    /// One made-up instrument that the page reader needs to know.
    instruments: Instruments,
    clock: fn() -> u64,
    counts: Downloaded,
}

/// Brings the files of `folder` up to what is wanted. `clock` is the wall clock in Unix ns.
pub async fn download(
    source: Source<'_>,
    folder: &Path,
    timeframe: Timeframe,
    wanted: &[Wanted],
    clock: fn() -> u64,
    watch: &mut impl Watch,
) -> Result<Downloaded, DownloadFault> {
    let mut venue = Venue::new(source, clock)?;
    let mut plans = Vec::with_capacity(wanted.len());
    for want in wanted {
        let have = existing(folder, &want.symbol, timeframe)?;
        let gaps = missing(&have, timeframe, want.from_ms, want.to_ms);
        plans.push((want, have, gaps));
    }
    let total: i64 = plans
        .iter()
        .flat_map(|plan| &plan.2)
        .map(|(from, to)| (to - from) / timeframe.ms())
        .sum();
    let mut done = 0;
    for (want, have, gaps) in plans {
        let mut file = SeriesFile {
            folder,
            symbol: want.symbol,
            rows: have.into_iter().map(|row| (row.open_ms, row)).collect(),
            unwritten_pages: 0,
        };
        for (from_ms, to_ms) in gaps {
            let before = file.rows.len();
            let told = (done, total as u64);
            let read = venue
                .read_gap(&mut file, timeframe, (from_ms, to_ms), told, watch)
                .await;
            let written = file.write();
            match read {
                Err(fault @ DownloadFault::Refused { .. }) => {
                    venue.counts.refused.push((want.symbol, fault.to_string()));
                    break;
                }
                read => read?,
            }
            written?;
            let intervals = ((to_ms - from_ms) / timeframe.ms()) as u64;
            let new_rows = (file.rows.len() - before) as u64;
            venue.counts.rows += new_rows;
            venue.counts.holes += intervals.saturating_sub(new_rows);
            done += intervals;
            watch.progress(done, total as u64, &want.symbol);
        }
    }
    Ok(venue.counts)
}

/// Rows that the file of `symbol` has; none when there is no file.
fn existing(folder: &Path, symbol: &Symbol, timeframe: Timeframe) -> Result<Vec<Candle>, DownloadFault> {
    if !path_of(folder, symbol).is_file() {
        return Ok(Vec::new());
    }
    let book = read_folder(folder, &[*symbol])?;
    Ok(book
        .get(symbol, timeframe)
        .map_or_else(Vec::new, |series| series.candles().to_vec()))
}

/// The rows of one symbol on their way to its file.
struct SeriesFile<'a> {
    folder: &'a Path,
    symbol: Symbol,
    rows: BTreeMap<i64, Candle>,
    unwritten_pages: usize,
}

impl SeriesFile<'_> {
    fn take(&mut self, rows: &[Candle]) -> Result<(), CandleFileFault> {
        self.rows.extend(rows.iter().map(|row| (row.open_ms, *row)));
        self.unwritten_pages += 1;
        if self.unwritten_pages >= PAGES_PER_WRITE {
            self.write()?;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), CandleFileFault> {
        // One row alone has no timeframe that a reader could find.
        if self.unwritten_pages == 0 || self.rows.len() < 2 {
            return Ok(());
        }
        self.unwritten_pages = 0;
        let rows: Vec<Candle> = self.rows.values().copied().collect();
        write_file(&path_of(self.folder, &self.symbol), &rows)
    }
}

/// One page: its rows, oldest first, and where the next one begins.
struct Page {
    rows: Vec<Candle>,
    next: Option<Cursor>,
}

impl<'s> Venue<'s> {
    fn new(source: Source<'s>, clock: fn() -> u64) -> Result<Self, DownloadFault> {
        let config = client_config(source.ca_file)?;
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured((*config).clone())
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(15))
            .build()
            .map_err(|fault| DownloadFault::Client(fault.to_string()))?;
        let mut instruments = Instruments::new();
        instruments.insert(placeholder());
        Ok(Venue {
            client,
            source,
            budget: CallBudget::new(BudgetLimits::READS),
            reader: ReplyReader::new(),
            instruments,
            clock,
            counts: Downloaded::default(),
        })
    }

    /// Reads `from_ms..to_ms` from its newest page to its oldest.
    async fn read_gap(
        &mut self,
        file: &mut SeriesFile<'_>,
        timeframe: Timeframe,
        (from_ms, to_ms): (i64, i64),
        (done, total): (u64, u64),
        watch: &mut impl Watch,
    ) -> Result<(), DownloadFault> {
        let request = FetchRequest {
            list: ListKind::Candles as u8,
            timeframe: timeframe as u8,
            limit: CANDLES_PER_PAGE,
            from_ms,
            to_ms: to_ms - timeframe.ms(),
            ..FetchRequest::zeroed()
        };
        let mut cursor = Cursor::default();
        loop {
            let page = self.page(&request, cursor, &file.symbol, watch).await?;
            file.take(&page.rows)?;
            let oldest_ms = page.rows.first().map_or(from_ms, |row| row.open_ms);
            let settled = ((to_ms - oldest_ms) / timeframe.ms()).max(0) as u64;
            watch.progress(done + settled, total, &file.symbol);
            match page.next {
                Some(next) if oldest_ms > from_ms => cursor = next,
                _ => return Ok(()),
            }
        }
    }

    async fn page(
        &mut self,
        request: &FetchRequest,
        cursor: Cursor,
        symbol: &Symbol,
        watch: &mut impl Watch,
    ) -> Result<Page, DownloadFault> {
        let mut attempt = 0;
        loop {
            self.wait_for_budget(watch).await?;
            attempt += 1;
            let pause = match self.ask(request, cursor, symbol).await {
                Ok(page) => return Ok(page),
                Err(
                    fault @ (DownloadFault::NoAnswer { .. } | DownloadFault::Refused { status: 500.., .. }),
                ) => {
                    if attempt >= ATTEMPTS {
                        return Err(fault);
                    }
                    Duration::from_millis(250 << attempt)
                }
                Err(
                    DownloadFault::Refused {
                        status: 429 | 403, ..
                    }
                    | DownloadFault::Refused { code: 429, .. },
                ) if attempt < ATTEMPTS => {
                    self.counts.throttled += 1;
                    Duration::from_nanos(SUSPENSION_NS)
                }
                Err(fault) => return Err(fault),
            };
            sleep(pause, watch).await?;
        }
    }

    async fn wait_for_budget(&mut self, watch: &mut impl Watch) -> Result<(), DownloadFault> {
        loop {
            if watch.is_stopped() {
                return Err(DownloadFault::Stopped);
            }
            let now = Wall((self.clock)());
            match self.budget.take(Lane::Market, false, now) {
                Ok(()) => return Ok(()),
                Err(over) => {
                    sleep(
                        Duration::from_nanos(over.retry_at.since(now).max(1_000_000)),
                        watch,
                    )
                    .await?
                }
            }
        }
    }

    async fn ask(
        &mut self,
        request: &FetchRequest,
        cursor: Cursor,
        symbol: &Symbol,
    ) -> Result<Page, DownloadFault> {
        let no_answer = |text: String| DownloadFault::NoAnswer {
            symbol: *symbol,
            base_url: self.source.base_url.to_owned(),
            text,
        };
        let timeframe = Timeframe::from_code(request.timeframe).unwrap_or(Timeframe::M1);
        // The venue's bounds are exclusive on both ends.
        let after = if cursor.after > 0 {
            cursor.after
        } else {
            request.to_ms as u64 + 1
        };
        let url = format!(
            "{}/api/v1/market/candles?instId={symbol}&bar={}&after={after}&before={}&limit={}",
            self.source.base_url.trim_end_matches('/'),
            timeframe.text(),
            (request.from_ms - 1).max(0),
            request.limit
        );
        self.counts.calls += 1;
        let mut response = self
            .client
            .get(url)
            .send()
            .await
            .map_err(|fault| no_answer(causes(&fault)))?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|fault| no_answer(causes(&fault)))?
        {
            if body.len() + chunk.len() > BODY_BYTES_MAX {
                return Err(no_answer(format!(
                    "more than {BODY_BYTES_MAX} bytes for one page"
                )));
            }
            body.extend_from_slice(&chunk);
        }
        let now_ms = Wall((self.clock)()).ms();
        let page = self
            .reader
            .read_list(status, &body, request, cursor, &self.instruments, now_ms)
            .map_err(|fault| DownloadFault::Refused {
                symbol: *symbol,
                status,
                code: fault.venue_code,
                reason: fault.reason.text(),
            })?;
        let inside = |row: &Candle| row.open_ms >= request.from_ms && row.open_ms <= request.to_ms;
        Ok(Page {
            rows: page
                .ticks
                .iter()
                .filter(|tick| tick.has_flag(tick_flag::CONFIRMED))
                .filter_map(|tick| tick.candle())
                .filter(|row| row.is_valid() && inside(row))
                .collect(),
            next: page.next,
        })
    }
}

/// Sleeps in short steps, so that a stop is heard.
async fn sleep(pause: Duration, watch: &mut impl Watch) -> Result<(), DownloadFault> {
    if pause > Duration::from_secs(2) {
        watch.paused(pause);
    }
    let mut left = pause;
    while !left.is_zero() {
        if watch.is_stopped() {
            return Err(DownloadFault::Stopped);
        }
        let step = left.min(Duration::from_millis(200));
        tokio::time::sleep(step).await;
        left -= step;
    }
    Ok(())
}

/// An error with what caused it.
fn causes(fault: &dyn std::error::Error) -> String {
    let mut text = fault.to_string();
    let mut source = fault.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Terms that no candle depends on.
fn placeholder() -> Instrument {
    let one = Decimal {
        mantissa: 1,
        scale: 0,
    };
    Instrument {
        symbol: Symbol::parse("ANY").expect("letters are a symbol"),
        tick_size: one,
        lot_size: one,
        contract_value: one,
        min_lots: Lots(1),
        max_limit_lots: Lots(1),
        max_market_lots: Lots(1),
        max_leverage: 1,
        live: false,
        list_ms: 0,
    }
}
