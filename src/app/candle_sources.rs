//! Where a research command finds candles: a folder it is given, or else the daemon's own history,
//! the download cache and the venue, symbol by symbol.
//!
//! It says which it used. What the venue had to be asked for lands in the cache, so the next run
//! needs no network.

use super::exit::{Exit, Failure};
use super::history;
use super::signals;
use crate::model::{Symbol, Timeframe};
use crate::research::candle_download::{self, Downloaded, Source, Wanted, Watch};
use crate::research::candle_files::{path_of, read_folder};
use crate::research::candles::{CandleBook, Series};
use crate::settings::Settings;
use crate::sys;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Folder of downloaded 1m candles.
pub fn cache_folder(settings: &Settings) -> PathBuf {
    settings.daemon.state_dir.join("candles").join("1m")
}

/// Candles, and in words where they came from.
pub struct Found {
    pub book: CandleBook,
    pub origin: String,
    /// What a reader of the result should know.
    pub notes: Vec<String>,
}

/// The candles of a folder that was named.
pub fn from_folder(folder: &Path, wanted: &[Wanted]) -> Result<Found, Failure> {
    let symbols: Vec<Symbol> = wanted.iter().map(|want| want.symbol).collect();
    let book = read_folder(folder, &symbols)
        .map_err(|fault| Failure::usage(format!("--candles {}: {fault}", folder.display())))?;
    let found = book.symbols().count();
    if found == 0 {
        let names: Vec<&str> = symbols.iter().take(5).map(Symbol::as_str).collect();
        return Err(Failure::usage(format!(
            "--candles {} has no file for any of the {} symbols ({} …); files are named like BTCUSDT.csv.gz",
            folder.display(),
            symbols.len(),
            names.join(", ")
        )));
    }
    Ok(Found {
        notes: hole_notes(&book),
        origin: format!("{} of {} symbols from {}", found, symbols.len(), folder.display()),
        book,
    })
}

/// Candles without a folder: what the cache has, and the rest from the venue, by way of the cache.
pub fn find(settings: &Settings, wanted: &[Wanted]) -> Result<Found, Failure> {
    let folder = cache_folder(settings);
    let mut origins = Vec::new();
    let mut notes = Vec::new();
    let mut book = CandleBook::default();
    let mut asked = Vec::new();
    let kept = history::read(&settings.daemon.state_dir).unwrap_or_else(|fault| {
        notes.push(fault.to_string());
        CandleBook::default()
    });
    let mut from_history = 0;
    for want in wanted {
        let own = kept.get(&want.symbol, Timeframe::M1);
        if let Some(series) = own.filter(|series| series.covers(want.from_ms, want.to_ms)) {
            book.insert(want.symbol, series.clone());
            from_history += 1;
            continue;
        }
        match cached(&folder, &want.symbol)? {
            Some(series) if series.covers(want.from_ms, want.to_ms) => book.insert(want.symbol, series),
            _ => asked.push(*want),
        }
    }
    if from_history > 0 {
        let path = history::path_of(&settings.daemon.state_dir);
        origins.push(format!(
            "{from_history} symbols from the daemon's own history ({})",
            path.display()
        ));
    }
    let from_cache = wanted.len() - asked.len() - from_history;
    if from_cache > 0 {
        origins.push(format!(
            "{from_cache} symbols from the download cache ({})",
            folder.display()
        ));
    }
    if !asked.is_empty() {
        let gone = fetch(settings, &folder, &asked);
        let mut had = 0;
        for want in &asked {
            if let Some(series) = cached(&folder, &want.symbol)? {
                book.insert(want.symbol, series);
                had += 1;
            }
        }
        match gone {
            Ok(downloaded) => {
                origins.push(format!(
                    "{had} symbols from {} over REST ({} calls, {} new rows, kept in {})",
                    settings.venue.blofin_base_url,
                    downloaded.calls,
                    downloaded.rows,
                    folder.display()
                ));
                notes.extend(downloaded.refused.into_iter().map(|(_, why)| why));
            }
            Err(failure) if book.symbols().next().is_none() => {
                return Err(Failure::new(
                    failure.exit,
                    format!(
                        "no candles: {}; or name a folder with --candles DIR",
                        failure.text
                    ),
                ));
            }
            Err(failure) => notes.push(format!("not all candles could be read: {}", failure.text)),
        }
    }
    notes.extend(hole_notes(&book));
    Ok(Found {
        origin: origins.join(", "),
        notes,
        book,
    })
}

/// The cached series of a symbol; `None` without a file.
fn cached(folder: &Path, symbol: &Symbol) -> Result<Option<Series>, Failure> {
    if !path_of(folder, symbol).is_file() {
        return Ok(None);
    }
    let book = read_folder(folder, &[*symbol]).map_err(Failure::state)?;
    Ok(book.get(symbol, Timeframe::M1).cloned())
}

fn hole_notes(book: &CandleBook) -> Vec<String> {
    let holed: Vec<String> = book
        .series()
        .filter(|(_, series)| series.hole_count() > 0)
        .map(|(symbol, series)| format!("{symbol} {} ({})", series.timeframe.text(), series.hole_count()))
        .collect();
    if holed.is_empty() {
        return Vec::new();
    }
    let shown = holed.iter().take(8).cloned().collect::<Vec<_>>().join(", ");
    let more = holed.len().saturating_sub(8);
    let rest = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    vec![format!(
        "candles are missing in {shown}{rest}; signals that meet a hole are dropped"
    )]
}

/// Downloads what is missing, with a progress bar.
fn fetch(settings: &Settings, folder: &Path, wanted: &[Wanted]) -> Result<Downloaded, Failure> {
    let source = Source {
        base_url: &settings.venue.blofin_base_url,
        ca_file: settings.venue.blofin_ca_file.as_deref(),
    };
    download(source, folder, Timeframe::M1, wanted)
}

/// Brings a folder up to what is wanted, with a progress bar on standard error.
pub fn download(
    source: Source<'_>,
    folder: &Path,
    timeframe: Timeframe,
    wanted: &[Wanted],
) -> Result<Downloaded, Failure> {
    std::fs::create_dir_all(folder)
        .map_err(|error| Failure::state(format!("{}: {error}; name another folder", folder.display())))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::venue)?;
    let mut watch = Bar {
        bar: bar(),
        stop: signals::Stop::listen().map_err(Failure::venue)?,
    };
    let done = runtime.block_on(candle_download::download(
        source,
        folder,
        timeframe,
        wanted,
        sys::clock::wall_ns,
        &mut watch,
    ));
    watch.bar.finish_and_clear();
    done.map_err(|fault| match fault {
        candle_download::DownloadFault::Stopped => Failure::new(Exit::CheckFailed, fault),
        candle_download::DownloadFault::File(_) => Failure::state(fault),
        candle_download::DownloadFault::Tls(_) => Failure::usage(fault),
        _ => Failure::venue(fault),
    })
}

struct Bar {
    bar: ProgressBar,
    stop: signals::Stop,
}

impl Watch for Bar {
    fn progress(&mut self, done: u64, total: u64, symbol: &Symbol) {
        self.bar.set_length(total);
        self.bar.set_position(done);
        self.bar.set_message(symbol.to_string());
    }

    fn paused(&mut self, pause: Duration) {
        self.bar.println(format!(
            "the rate limit is reached: going on in {} s",
            pause.as_secs()
        ));
    }

    fn is_stopped(&self) -> bool {
        self.stop.is_set()
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{msg:16} {bar:36} {pos}/{len} candles, {eta} to go");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}
