//! `features`: every indicator of one file of candles, one CSV row a candle.
//!
//! The same `Board` as in a run fills the rows. Without `--talib` a hole is treated as a run treats
//! one that the venue cannot fill; with it the rows follow each other as TA-Lib sees them, and
//! formulas without movement give TA-Lib's 0 instead of our 50. Nothing fires here.

use super::candle_file::{self, CandleFile};
use super::exit::{Exit, Failure};
use super::params;
use super::whole_file::write_whole;
use crate::indicators::{Board, Builder, SeriesIndex, SeriesPlan, TaCompat, context_of};
use crate::model::message::tick_flag;
use crate::model::{Candle, Feature, FeatureRow, InstrumentId, Timeframe};
use crate::settings::Settings;
use clap::Args;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// `features`: what the strategies read, for a spreadsheet or another program.
#[derive(Debug, Args)]
pub struct FeaturesArgs {
    /// CSV file, plain or gzip, with columns ts_ms,open,high,low,close,volume
    #[arg(long, value_name = "FILE")]
    pub candles: PathBuf,
    /// Timeframe of the rows written; candles of a finer file are built up to it
    #[arg(long, default_value = "1m", value_parser = parse_timeframe, value_name = "1m|5m|1H|…")]
    pub timeframe: Timeframe,
    /// File to write; - for standard output
    #[arg(long, value_name = "FILE.csv")]
    pub out: PathBuf,
    /// TA-Lib's values where a formula divides nothing by nothing, and no regard for holes
    #[arg(long)]
    pub talib: bool,
    /// TOML file with other lengths, such as REGIME_ADX_LEN; environment and .env are not read
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Set one key, above every other source; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// Features that candles of one instrument do not tell: order flow, funding, the rest of the market.
const NOT_FROM_CANDLES: [Feature; 13] = [
    Feature::DepthImbalance,
    Feature::AggressorBuy,
    Feature::CvdNorm,
    Feature::SpreadBps,
    Feature::DepthUsd,
    Feature::TradesPerMin,
    Feature::NotionalPerMin,
    Feature::Funding8h,
    Feature::FundingZ,
    Feature::BtcRet5,
    Feature::Breadth,
    Feature::QuoteVolume24h,
    Feature::ContractValue,
];

/// What was written, for the last line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Written {
    pub row_count: u64,
    /// Holes between the rows, in places.
    pub hole_count: u64,
    /// Holes that were filled with made-up candles (not written).
    pub filled_count: u64,
    /// Times the series began anew after a hole that was too long to fill.
    pub reset_count: u64,
}

fn parse_timeframe(text: &str) -> Result<Timeframe, String> {
    Timeframe::parse(text).ok_or_else(|| {
        let all = Timeframe::ALL.map(Timeframe::text).join(", ");
        format!("allowed are {all}")
    })
}

/// Reads, computes, writes; the rows go to `--out`, the account of it to standard error.
pub fn run(args: &FeaturesArgs) -> Result<Exit, Failure> {
    let settings =
        Settings::research(args.config.as_deref(), &args.set, Path::new(".")).map_err(Failure::usage)?;
    let file = candle_file::read(&args.candles, args.timeframe)
        .map_err(|fault| Failure::usage(format!("--candles {fault}")))?;
    let run = FeatureRun {
        timeframe: args.timeframe,
        talib: args.talib,
        params: params::indicators(&settings),
        fill_max: i64::from(settings.scan.max_synth_gap),
    };
    let written = if args.out == Path::new("-") {
        let mut out = BufWriter::new(std::io::stdout().lock());
        let written = run.write(&file, &mut out).and_then(|written| {
            out.flush()?;
            Ok(written)
        });
        match written {
            // The reader has seen enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(Exit::Done),
            written => written.map_err(|error| Failure::usage(format!("standard output: {error}")))?,
        }
    } else {
        write_whole(&args.out, |out| run.write(&file, out))
            .map_err(|error| Failure::usage(format!("--out {}: {error}", args.out.display())))?
    };
    eprintln!("{}", account_of(&file, &written, args));
    Ok(Exit::Done)
}

fn account_of(file: &CandleFile, written: &Written, args: &FeaturesArgs) -> String {
    let mut text = format!(
        "{} rows of {} from {} candles of {} in {}",
        written.row_count,
        args.timeframe.text(),
        file.candles.len(),
        file.timeframe.text(),
        args.candles.display()
    );
    if file.forming_count > 0 {
        text += &format!("; {} rows had not closed and were left out", file.forming_count);
    }
    if written.hole_count > 0 {
        let rest = if args.talib {
            "the rows count as following each other".to_owned()
        } else {
            format!(
                "{} filled with flat candles, {} times the series began anew",
                written.filled_count, written.reset_count
            )
        };
        text += &format!("; {} holes: {rest}", written.hole_count);
    }
    text
}

/// How the rows of one file are computed.
#[derive(Clone, Copy, Debug)]
pub struct FeatureRun {
    pub timeframe: Timeframe,
    pub talib: bool,
    pub params: crate::indicators::Params,
    /// MAX_SYNTH_GAP: most missing candles that are made up.
    pub fill_max: i64,
}

impl FeatureRun {
    /// Writes the header and one row for each candle of the run's timeframe.
    pub fn write(&self, file: &CandleFile, out: &mut impl Write) -> std::io::Result<Written> {
        let columns: Vec<Feature> = Feature::ALL
            .iter()
            .filter(|feature| !NOT_FROM_CANDLES.contains(feature))
            .copied()
            .collect();
        let names: Vec<&str> = columns.iter().map(|feature| feature.text()).collect();
        writeln!(out, "ts_ms,{}", names.join(","))?;
        let mut fault = None;
        let written = self.each(file, |row| {
            if fault.is_none() {
                fault = write_row(out, row, &columns).err();
            }
        });
        match fault {
            Some(error) => Err(error),
            None => Ok(written),
        }
    }

    /// Hands the row of each candle to `take`.
    pub fn each(&self, file: &CandleFile, mut take: impl FnMut(&FeatureRow)) -> Written {
        let compat = if self.talib {
            TaCompat::TaLib
        } else {
            TaCompat::Neutral
        };
        let params = crate::indicators::Params {
            compat,
            ..self.params
        };
        let mut ladder = Ladder::new(params, file.timeframe, self.timeframe);
        let mut written = Written::default();
        let step = file.timeframe.ms();
        let mut before: Option<Candle> = None;
        let mut row_count = 0;
        let mut on_row = |row: &FeatureRow| {
            row_count += 1;
            take(row);
        };
        for candle in &file.candles {
            let missing = before.map_or(0, |before| (candle.open_ms - before.open_ms) / step - 1);
            written.hole_count += u64::from(missing > 0);
            if missing > 0 && !self.talib {
                if missing <= self.fill_max {
                    let close = before.map_or(candle.open, |before| before.close);
                    for number in (1..=missing).rev() {
                        let flat = Candle::flat(candle.open_ms - number * step, close);
                        ladder.push(&flat, tick_flag::SYNTHETIC, &mut on_row);
                    }
                    written.filled_count += 1;
                } else {
                    ladder.reset();
                    written.reset_count += 1;
                }
            }
            ladder.push(candle, 0, &mut on_row);
            before = Some(*candle);
        }
        written.row_count = row_count;
        written
    }
}

/// The series asked for and those that give it its context, on one board.
struct Ladder {
    board: Board,
    /// Each planned timeframe with its builder (`None` = the rows of the file), widest first, so
    /// that a context that closes with a candle is there for it.
    steps: Vec<(SeriesIndex, Option<Builder>)>,
    asked: SeriesIndex,
    row: FeatureRow,
}

impl Ladder {
    fn new(params: crate::indicators::Params, base: Timeframe, asked: Timeframe) -> Self {
        let mut timeframes: Vec<Timeframe> = context_of(asked).into_iter().flatten().collect();
        timeframes.push(asked);
        timeframes.sort_by(|one, other| other.cmp(one));
        let plans: Vec<SeriesPlan> = timeframes
            .iter()
            .map(|timeframe| SeriesPlan {
                timeframe: *timeframe,
                warmup: 0,
                context_only: *timeframe != asked,
            })
            .collect();
        let board = Board::new(params, 1, &plans);
        let series = |timeframe| {
            board
                .series(InstrumentId(0), timeframe)
                .expect("every timeframe of the list was planned")
        };
        let steps = timeframes
            .iter()
            .filter_map(|timeframe| {
                if *timeframe == base {
                    return Some((series(*timeframe), None));
                }
                // A context that rows of this base cannot make stays absent.
                let builder = Builder::from_rows_of(base, *timeframe)?;
                Some((series(*timeframe), Some(builder)))
            })
            .collect();
        Ladder {
            asked: series(asked),
            board,
            steps,
            row: FeatureRow::default(),
        }
    }

    /// Takes a candle of the base with its `tick_flag` bits; `take` gets the row when a candle of the
    /// asked timeframe closed that is not made up as a whole.
    fn push(&mut self, candle: &Candle, flags: u16, take: &mut impl FnMut(&FeatureRow)) {
        for (series, builder) in &mut self.steps {
            let closed = match builder {
                None => Some((*candle, flags)),
                Some(builder) => builder.push(candle, flags),
            };
            let Some((closed, flags)) = closed else { continue };
            let taken = self.board.commit(*series, &closed, 0, &mut self.row);
            if taken.is_ok() && *series == self.asked && flags & tick_flag::SYNTHETIC == 0 {
                take(&self.row);
            }
        }
    }

    /// Forgets everything, as after a hole that is too long.
    fn reset(&mut self) {
        for (series, _) in &self.steps {
            self.board.reset(*series);
        }
    }
}

fn write_row(out: &mut impl Write, row: &FeatureRow, columns: &[Feature]) -> std::io::Result<()> {
    write!(out, "{}", row.candle.open_ms)?;
    for feature in columns {
        match row.get(*feature) {
            // The shortest text that reads back as the same number.
            Some(value) => write!(out, ",{value}")?,
            None => out.write_all(b",")?,
        }
    }
    out.write_all(b"\n")
}
