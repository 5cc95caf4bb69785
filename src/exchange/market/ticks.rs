//! Recorded ticks: book levels, trades, quotes and marks of several instruments, streamed from disk
//! and merged by receive time. At most one row a file is in memory.
//!
//! Row: `recv_ns,exch_ms,type,side,price,qty,seq,last`; type S snapshot level, D level, T trade, Q
//! best bid then best ask, M mark (qty = funding rate).

use super::recorded::{RecordedError, Shape};
use super::rows::{bad_row, digits_of, open_csv};
use super::{MarketEvent, MarketKind, MarketSource};
use crate::model::{Decimal, Instrument, InstrumentId, Lots, Price, Side, Wall};
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

type Records = csv::StringRecordsIntoIter<MultiGzDecoder<BufReader<File>>>;

/// The files of a recording of ticks, checked.
#[derive(Debug)]
pub struct TickData {
    shift_ms: i64,
    first_ns: u64,
    last_ns: u64,
    files: Vec<(PathBuf, Scale)>,
}

/// What turns the decimals of a file into ticks and lots.
#[derive(Clone, Copy, Debug)]
struct Scale {
    tick: Decimal,
    lot_base: f64,
}

/// One parsed row.
#[derive(Clone, Copy, Debug)]
struct Row {
    recv_ns: u64,
    kind: u8,
    side: Option<Side>,
    price: Decimal,
    quantity: f64,
    seq: u64,
    last: bool,
}

fn parse(record: &csv::StringRecord) -> Result<Row, String> {
    let field = |at: usize| record.get(at).unwrap_or("");
    let whole = |at: usize| {
        field(at)
            .parse::<u64>()
            .map_err(|_| format!("{:?} is not a whole number", field(at)))
    };
    let kind = match field(2).as_bytes() {
        [kind @ (b'S' | b'D' | b'T' | b'Q' | b'M')] => *kind,
        _ => return Err(format!("type {:?} is not one of S D T Q M", field(2))),
    };
    let side = match field(3) {
        "b" => Some(Side::Buy),
        "a" | "s" => Some(Side::Sell),
        _ if kind == b'M' => None,
        other => return Err(format!("side {other:?} is not one of b a s")),
    };
    let price = Decimal::parse(field(4).as_bytes()).filter(|price| price.mantissa > 0);
    let quantity: Option<f64> = field(5).parse().ok();
    let quantity = quantity.filter(|quantity| quantity.is_finite() && (*quantity >= 0.0 || kind == b'M'));
    Ok(Row {
        recv_ns: whole(0)?,
        kind,
        side,
        price: price.ok_or_else(|| format!("price {:?} is not a positive decimal", field(4)))?,
        quantity: quantity.ok_or_else(|| format!("quantity {:?} is not a number from 0", field(5)))?,
        seq: if field(6).is_empty() { 0 } else { whole(6)? },
        last: field(7) == "1",
    })
}

impl TickData {
    pub(super) fn new(shift_ms: i64) -> TickData {
        TickData {
            shift_ms,
            first_ns: u64::MAX,
            last_ns: 0,
            files: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// Reads a file through once; the span of the recording grows by it.
    pub(super) fn check(&mut self, path: &Path) -> Result<Shape, RecordedError> {
        let mut shape: Option<Shape> = None;
        let mut before_ns = 0;
        for (index, record) in open_csv(path)?.records().enumerate() {
            let number = index as u64 + 2;
            let record = record.map_err(|error| bad_row(path, number, error.to_string()))?;
            let row = parse(&record).map_err(|what| bad_row(path, number, what))?;
            if row.recv_ns < before_ns {
                return Err(bad_row(path, number, "the row is earlier than the one before"));
            }
            before_ns = row.recv_ns;
            self.first_ns = self.first_ns.min(row.recv_ns);
            self.last_ns = self.last_ns.max(row.recv_ns);
            // Marks are finer than prices and do not set the tick.
            let digits = if row.kind == b'M' {
                0
            } else {
                digits_of(record.get(4).unwrap_or(""))
            };
            let price = row.price.to_f64();
            let known = shape.get_or_insert(Shape { digits, price });
            known.digits = known.digits.max(digits);
        }
        shape.ok_or_else(|| bad_row(path, 1, "no rows"))
    }

    pub(super) fn add(&mut self, path: PathBuf, instrument: &Instrument) {
        let scale = Scale {
            tick: instrument.tick_size,
            lot_base: instrument.lot_base_f64(),
        };
        self.files.push((path, scale));
    }

    pub(in crate::exchange) fn start(&self) -> Wall {
        self.shifted(self.first_ns)
    }

    pub(super) fn end(&self) -> Wall {
        Wall(self.shifted(self.last_ns).0 + 1)
    }

    fn shifted(&self, ns: u64) -> Wall {
        Wall(ns.saturating_add_signed(self.shift_ms.saturating_mul(1_000_000)))
    }

    /// All files merged by time, ties by instrument. A file that has changed since it was checked
    /// ends its part at the first row that can no longer be read.
    pub(in crate::exchange) fn into_events(self) -> MarketSource {
        let mut files: Vec<FileEvents> = Vec::with_capacity(self.files.len());
        for (index, (path, scale)) in self.files.iter().enumerate() {
            if let Ok(reader) = open_csv(path) {
                files.push(FileEvents {
                    instrument: InstrumentId(index as u16),
                    scale: *scale,
                    rows: reader.into_records(),
                    waiting: None,
                });
            }
        }
        let data = self;
        let mut heads: Vec<Option<(u64, MarketEvent)>> = files.iter_mut().map(Iterator::next).collect();
        Box::new(std::iter::from_fn(move || {
            let due = heads
                .iter()
                .enumerate()
                .filter_map(|(index, head)| Some((head.as_ref()?.0, index)));
            let (_, index) = due.min()?;
            let (ns, event) = heads[index].take()?;
            heads[index] = files[index].next();
            Some((data.shifted(ns), event))
        }))
    }
}

/// Events of one file.
struct FileEvents {
    instrument: InstrumentId,
    scale: Scale,
    rows: Records,
    /// The bid of a quote whose ask is still to come.
    waiting: Option<(Price, Lots)>,
}

impl FileEvents {
    fn lots(&self, quantity: f64) -> Lots {
        let lots = (quantity / self.scale.lot_base).round().clamp(0.0, 9.0e15) as i64;
        Lots(if quantity > 0.0 { lots.max(1) } else { 0 })
    }

    fn event(&mut self, row: &Row) -> Option<MarketKind> {
        let price = Price(row.price.floor_units_of(self.scale.tick)?);
        let lots = self.lots(row.quantity);
        match (row.kind, row.side) {
            (b'T', Some(side)) => Some(MarketKind::Trade {
                price,
                lots,
                side,
                id: row.seq,
            }),
            (b'Q', Some(Side::Buy)) => {
                self.waiting = Some((price, lots));
                None
            }
            (b'Q', _) => self.waiting.take().map(|(bid, bid_lots)| MarketKind::Quote {
                bid,
                bid_lots,
                ask: price,
                ask_lots: lots,
            }),
            (b'S' | b'D', Some(side)) => Some(MarketKind::Depth {
                side,
                price,
                lots,
                snapshot: row.kind == b'S',
                last: row.last,
            }),
            _ => Some(MarketKind::Mark {
                mark: row.price.to_f64(),
                index: row.price.to_f64(),
                funding_rate: Some(row.quantity),
            }),
        }
    }
}

impl Iterator for FileEvents {
    type Item = (u64, MarketEvent);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let record = self.rows.next()?.ok()?;
            let row = parse(&record).ok()?;
            if let Some(kind) = self.event(&row) {
                let event = MarketEvent {
                    instrument: self.instrument,
                    kind,
                };
                return Some((row.recv_ns, event));
            }
        }
    }
}
