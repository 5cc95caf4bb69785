//! `score.snapshot` in STATE_DIR: bytes to what is pending and back. Reading and replacing the file are
//! the caller's.
//!
//! ```text
//! magic | version, layout u32 | crc32 of the rest u32, zero u32 | close_ms | signal_count
//! counts of symbols, labels, crowds, sent, forms u32, zero u32 | symbols, each 32 bytes, zero-padded
//! labels | crowds | sent | forms
//! ```
//! Instrument ids differ from run to run, so entries name instruments by their place among the symbols.
//! A file that cannot be believed is refused as a whole.

use super::labels::{Crowd, Label};
use super::pending::{Pending, Sent};
use crate::model::InstrumentId;
use crate::model::message::SignalLabel;
use bytemuck::{Pod, Zeroable};

const MAGIC: u64 = u64::from_le_bytes(*b"SSPENDNG");
/// Raised when the meaning of a field changes; sizes are in `LAYOUT`.
const VERSION: u32 = 1;
const LAYOUT: u32 =
    (size_of::<Label>() + size_of::<Crowd>() * 3 + size_of::<Sent>() * 5 + size_of::<SignalLabel>() * 7)
        as u32;
const SYMBOL_BYTES: usize = 32;
/// More of anything than this was not written by this program.
const COUNT_MAX: usize = 1 << 20;
const NOBODY: u16 = u16::MAX;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Head {
    magic: u64,
    version: u32,
    layout: u32,
    crc: u32,
    zero: u32,
    close_ms: i64,
    signal_count: u64,
    symbol_count: u32,
    label_count: u32,
    crowd_count: u32,
    sent_count: u32,
    form_count: u32,
    zero_2: u32,
}

/// Why a file was not used.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum PendingFileError {
    #[error(
        "it is no snapshot of this version of the program; virtual trades begin anew, and it is replaced with the next save"
    )]
    OtherVersion,
    #[error("it is damaged ({0}); virtual trades begin anew, and it is replaced with the next save")]
    Damaged(&'static str),
}

/// The bytes of a file; `symbol_of` names the instruments of this run. What belongs to an instrument
/// without a name is left out.
pub fn save<'s>(pending: &Pending, symbol_of: impl Fn(InstrumentId) -> Option<&'s str>) -> Vec<u8> {
    let mut symbols = Vec::new();
    let mut places = vec![NOBODY; usize::from(u16::MAX) + 1];
    let mut place = |instrument: u32| -> Option<u16> {
        let instrument = u16::try_from(instrument).ok()?;
        let place = &mut places[usize::from(instrument)];
        if *place == NOBODY {
            let symbol = symbol_of(InstrumentId(instrument)).filter(|symbol| symbol.len() <= SYMBOL_BYTES)?;
            let mut field = [0u8; SYMBOL_BYTES];
            field[..symbol.len()].copy_from_slice(symbol.as_bytes());
            *place = symbols.len() as u16;
            symbols.push(field);
        }
        Some(*place)
    };
    let labels: Vec<Label> = (pending.labels.iter())
        .filter_map(|label| {
            Some(Label {
                series: u32::from(place(label.series)?),
                next: 0,
                ..*label
            })
        })
        .collect();
    let sent: Vec<Sent> = (pending.sent.iter())
        .filter_map(|sent| {
            Some(Sent {
                series: u32::from(place(sent.series)?),
                ..*sent
            })
        })
        .collect();
    let forms: Vec<SignalLabel> = (pending.forms.iter())
        .filter_map(|form| {
            Some(SignalLabel {
                instrument: place(u32::from(form.instrument))?,
                ..*form
            })
        })
        .collect();
    let mut head = Head {
        magic: MAGIC,
        version: VERSION,
        layout: LAYOUT,
        crc: 0,
        zero: 0,
        close_ms: pending.close_ms,
        signal_count: pending.signal_count,
        symbol_count: symbols.len() as u32,
        label_count: labels.len() as u32,
        crowd_count: pending.crowds.len() as u32,
        sent_count: sent.len() as u32,
        form_count: forms.len() as u32,
        zero_2: 0,
    };
    let mut body: Vec<u8> = Vec::new();
    symbols.iter().for_each(|symbol| body.extend_from_slice(symbol));
    body.extend_from_slice(bytemuck::cast_slice(&labels));
    body.extend_from_slice(bytemuck::cast_slice(&pending.crowds));
    body.extend_from_slice(bytemuck::cast_slice(&sent));
    body.extend_from_slice(bytemuck::cast_slice(&forms));
    head.crc = crc_of(&head, &body);
    let mut bytes = bytemuck::bytes_of(&head).to_vec();
    bytes.append(&mut body);
    bytes
}

/// What a file holds. `id_of` finds the instruments of this run; what belongs to one that it does not
/// have is counted and left out.
///
/// # Errors
/// When it is not whole, or of another version.
pub fn load(
    bytes: &[u8],
    id_of: impl Fn(&str) -> Option<InstrumentId>,
) -> Result<(Pending, usize), PendingFileError> {
    let (head, body) = bytes
        .split_at_checked(size_of::<Head>())
        .ok_or(PendingFileError::Damaged("shorter than its head"))?;
    let head: Head = bytemuck::pod_read_unaligned(head);
    if head.magic != MAGIC || (head.version, head.layout) != (VERSION, LAYOUT) {
        return Err(PendingFileError::OtherVersion);
    }
    let mut rest = Reader(body);
    let symbols: Vec<[u8; SYMBOL_BYTES]> = rest.take(head.symbol_count)?;
    let labels: Vec<Label> = rest.take(head.label_count)?;
    let crowds: Vec<Crowd> = rest.take(head.crowd_count)?;
    let sent: Vec<Sent> = rest.take(head.sent_count)?;
    let forms: Vec<SignalLabel> = rest.take(head.form_count)?;
    if !rest.0.is_empty() {
        return Err(PendingFileError::Damaged("longer than its counts say"));
    }
    if crc_of(&head, body) != head.crc {
        return Err(PendingFileError::Damaged("its check sum is another"));
    }
    let ids: Vec<Option<InstrumentId>> = (symbols.iter())
        .map(|field| {
            let length = field.iter().position(|byte| *byte == 0).unwrap_or(SYMBOL_BYTES);
            id_of(std::str::from_utf8(&field[..length]).ok()?)
        })
        .collect();
    let id = |place: u32| ids.get(place as usize).copied().flatten();
    let written = labels.len() + sent.len() + forms.len();
    let pending = Pending {
        close_ms: head.close_ms,
        signal_count: head.signal_count,
        labels: (labels.into_iter())
            .filter(Label::is_plausible)
            .filter_map(|label| {
                let series = u32::from(id(label.series)?.0);
                Some(Label { series, ..label })
            })
            .collect(),
        crowds,
        sent: (sent.into_iter())
            .filter(Sent::is_plausible)
            .filter_map(|sent| {
                let series = u32::from(id(sent.series)?.0);
                Some(Sent { series, ..sent })
            })
            .collect(),
        forms: (forms.into_iter())
            .filter_map(|form| {
                let instrument = id(u32::from(form.instrument))?.0;
                Some(SignalLabel { instrument, ..form })
            })
            .collect(),
    };
    let kept = pending.labels.len() + pending.sent.len() + pending.forms.len();
    Ok((pending, written - kept))
}

/// The check sum of everything but itself.
fn crc_of(head: &Head, body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(bytemuck::bytes_of(&Head { crc: 0, ..*head }));
    crc.update(body);
    crc.finalize()
}

struct Reader<'b>(&'b [u8]);

impl Reader<'_> {
    /// The next `count` records.
    fn take<T: Pod>(&mut self, count: u32) -> Result<Vec<T>, PendingFileError> {
        let count = count as usize;
        let length = size_of::<T>() * count;
        if count > COUNT_MAX || self.0.len() < length {
            return Err(PendingFileError::Damaged("shorter than its counts say"));
        }
        let (records, rest) = self.0.split_at(length);
        self.0 = rest;
        Ok(records
            .chunks_exact(size_of::<T>())
            .map(bytemuck::pod_read_unaligned)
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(series: u32, open_ms: i64) -> Label {
        Label {
            series,
            open_ms,
            sl_distance: 1.0,
            tp_distance: 2.0,
            side: 1,
            ..Label::zeroed()
        }
    }

    fn pending() -> Pending {
        Pending {
            close_ms: 1_000,
            signal_count: 7,
            labels: vec![label(3, 60_000), label(9, 120_000), label(3, 180_000)],
            crowds: vec![Crowd::zeroed()],
            sent: vec![Sent {
                signal: 5,
                series: 9,
                side: 2,
                ..Sent::zeroed()
            }],
            forms: vec![SignalLabel {
                signal: 5,
                instrument: 9,
                ..SignalLabel::zeroed()
            }],
        }
    }

    fn symbol_of(id: InstrumentId) -> Option<&'static str> {
        [(3, "BTC-USDT"), (9, "ETH-USDT")]
            .iter()
            .find(|(known, _)| *known == id.0)
            .map(|(_, symbol)| *symbol)
    }

    #[test]
    fn entries_come_back_under_the_ids_of_the_next_run() {
        let bytes = save(&pending(), symbol_of);
        let swapped = |symbol: &str| Some(InstrumentId(if symbol == "BTC-USDT" { 40 } else { 2 }));
        let (loaded, stranger_count) = load(&bytes, swapped).expect("our own file");
        assert_eq!(stranger_count, 0);
        let mut expected = pending();
        for (label, id) in expected.labels.iter_mut().zip([40, 2, 40]) {
            label.series = id;
        }
        (expected.sent[0].series, expected.forms[0].instrument) = (2, 2);
        assert_eq!(loaded, expected);
        let only_btc = |symbol: &str| (symbol == "BTC-USDT").then_some(InstrumentId(1));
        let (loaded, stranger_count) = load(&bytes, only_btc).expect("our own file");
        assert_eq!(
            (loaded.labels.len(), loaded.sent.len(), stranger_count),
            (2, 0, 3)
        );
    }

    #[test]
    fn a_damaged_file_is_refused_whatever_byte_it_is() {
        let bytes = save(&pending(), symbol_of);
        let load = |bytes: &[u8]| load(bytes, |_| Some(InstrumentId(0)));
        for length in 0..bytes.len() {
            assert!(load(&bytes[..length]).is_err(), "{length} bytes");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            assert!(load(&changed).is_err(), "byte {at}");
        }
        assert_eq!(load(&[0; 200]).err(), Some(PendingFileError::OtherVersion));
    }
}
