//! Pages of lists about the account, and candle history, to events and ticks.

use super::{Envelope, ReadFault, ReplyReader, check_status, is_asked_for};
use crate::model::message::{AccountEvent, AccountKind, FetchRequest, ListKind, Tick, tick_flag};
use crate::model::{InstrumentId, Instruments, Reason, Timeframe};
use crate::venue::blofin::codec::check::{self, Window};
use crate::venue::blofin::codec::document::Element;
use crate::venue::blofin::codec::number::parse_ms;
use crate::venue::blofin::codec::{rows, untrusted};
use crate::venue::blofin::request::{Cursor, page_rows};

/// Most rows that a page is believed to have.
const ROWS_MAX: usize = 100_000;

/// One page of a list.
#[derive(Clone, Copy, Debug)]
pub struct Page<'r> {
    /// Rows as events, newest first, with list and token set; a lookup that found nothing is one
    /// `NotFound`.
    pub events: &'r [AccountEvent],
    /// Candles, oldest first, each open time once, flagged as backfill.
    pub ticks: &'r [Tick],
    /// Where the next page begins; `None` after the last. `Config` goes from part 0 to 1 and from
    /// 2 to 3; its leverage parts have to be asked for.
    pub next: Option<Cursor>,
    /// Rows about instruments that this run does not know; each that says something of now is an
    /// `Untrusted`.
    pub unknown_count: u32,
    /// Candles that cannot be believed, left out: the venue has bars of zeros in old history.
    pub invalid_count: u32,
}

/// What a page holds besides its rows.
#[derive(Clone, Copy, Default)]
struct Count {
    next: Option<Cursor>,
    unknown: u32,
    invalid: u32,
}

impl ReplyReader {
    /// The page that answers `request` at `cursor`; `now_ms` is decision time.
    ///
    /// A page that does not lead further back than the last one is a fault: reading on would never
    /// end, and stopping would take a part for the whole.
    pub fn read_list(
        &mut self,
        status: u16,
        body: &[u8],
        request: &FetchRequest,
        cursor: Cursor,
        instruments: &Instruments,
        now_ms: i64,
    ) -> Result<Page<'_>, ReadFault> {
        check_status(status)?;
        let list = ListKind::from_code(request.list).ok_or(Reason::ReplyUnknownCode)?;
        self.events.clear();
        self.ticks.clear();
        let (events, ticks) = (&mut self.events, &mut self.ticks);
        let count = self
            .document
            .read(body, |root| {
                let envelope = Envelope::of(root)?;
                let data = match envelope.read() {
                    Err(fault) if is_absence(list, fault) => Ok(None),
                    data => data,
                };
                Ok(data.and_then(|data| match list {
                    ListKind::Candles => candles(data, request, cursor, instruments, now_ms, ticks),
                    _ => account(data, list, request, cursor, instruments, events),
                }))
            })
            .unwrap_or(Err(ReadFault::from(Reason::ReplyNotJson)))?;
        for event in &mut self.events {
            event.list = list as u8;
            event.token = request.token;
        }
        Ok(Page {
            events: &self.events,
            ticks: &self.ticks,
            next: count.next,
            unknown_count: count.unknown,
            invalid_count: count.invalid,
        })
    }
}

/// Whether an error of the venue answers a lookup by id: no such thing. Not so when it is about us (key,
/// signature, clock, permission), about the path, about how often we ask, or about the venue's own state:
/// those say nothing of the order.
fn is_absence(list: ListKind, fault: ReadFault) -> bool {
    let is_lookup = matches!(list, ListKind::OrderDetail | ListKind::BracketDetail);
    let says_nothing = matches!(
        fault.venue_code,
        0 | 400..600 | 102_089 | 103_013 | 150_003 | 152_011..=152_013 | 152_400..=152_499
    );
    is_lookup && fault.reason == Reason::ReplyInnerError && !says_nothing
}

fn account(
    data: Option<Element<'_>>,
    list: ListKind,
    request: &FetchRequest,
    cursor: Cursor,
    instruments: &Instruments,
    events: &mut Vec<AccountEvent>,
) -> Result<Count, ReadFault> {
    match list {
        ListKind::Balance => {
            events.push(rows::balance(data.ok_or(Reason::ReplyItemMissing)?)?);
            Ok(Count::default())
        }
        ListKind::OrderDetail => detail(data, request, instruments, rows::order, events),
        ListKind::BracketDetail => detail(data, request, instruments, rows::bracket, events),
        ListKind::Config => config(data, cursor, instruments, events),
        ListKind::Leverage => {
            let leverage_part = Cursor { after: 0, part: 3 };
            let count = config(data, leverage_part, instruments, events)?;
            Ok(Count { next: None, ..count })
        }
        ListKind::Positions => {
            let count = pages(
                data,
                None,
                request,
                cursor,
                instruments,
                (list, rows::position),
                events,
            )?;
            Ok(Count { next: None, ..count })
        }
        ListKind::Fills => {
            let id = Some("tradeId");
            pages(data, id, request, cursor, instruments, (list, rows::fill), events)
        }
        ListKind::OrdersPending | ListKind::OrdersHistory => {
            let id = Some("orderId");
            pages(
                data,
                id,
                request,
                cursor,
                instruments,
                (list, rows::order),
                events,
            )
        }
        ListKind::BracketsPending | ListKind::BracketsHistory => {
            let id = Some("tpslId");
            pages(
                data,
                id,
                request,
                cursor,
                instruments,
                (list, rows::bracket),
                events,
            )
        }
        ListKind::AlgosPending => {
            let id = Some("algoId");
            pages(
                data,
                id,
                request,
                cursor,
                instruments,
                (list, rows::bracket),
                events,
            )
        }
        ListKind::Candles | ListKind::Suspend => Err(ReadFault::from(Reason::ReplyUnknownCode)),
    }
}

type ReadRow = fn(Element<'_>, &Instruments) -> rows::Row;

fn detail(
    data: Option<Element<'_>>,
    request: &FetchRequest,
    instruments: &Instruments,
    read: ReadRow,
    events: &mut Vec<AccountEvent>,
) -> Result<Count, ReadFault> {
    let row = match data {
        Some(data) if data.is_array() => match data.items().next() {
            None => None,
            Some(_) => data
                .exactly::<1>()
                .map(|[row]| Some(row))
                .ok_or(Reason::ReplyItemMissing)?,
        },
        data => data,
    };
    let row = row.filter(|row| !row.is_null() && !row.is_empty());
    let Some(row) = row else {
        let mut event = rows::event(AccountKind::NotFound);
        event.client_id = request.client_id;
        event.venue_id = request.venue_id;
        event.instrument = request.instrument;
        events.push(event);
        return Ok(Count::default());
    };
    match read(row, instruments)? {
        Some(event) if is_asked_for(&event, &request.client_id, request.venue_id) => events.push(event),
        Some(_) => return Err(ReadFault::from(Reason::ReplyItemMissing)),
        None => return Err(ReadFault::from(Reason::InstrumentUnknown)),
    }
    Ok(Count::default())
}

fn config(
    data: Option<Element<'_>>,
    cursor: Cursor,
    instruments: &Instruments,
    events: &mut Vec<AccountEvent>,
) -> Result<Count, ReadFault> {
    let data = data.ok_or(Reason::ReplyItemMissing)?;
    let mut count = Count {
        next: cursor.part.is_multiple_of(2).then_some(Cursor {
            after: 0,
            part: cursor.part.saturating_add(1),
        }),
        ..Count::default()
    };
    let mut take = |row: Element<'_>| -> Result<(), ReadFault> {
        match rows::config(row, instruments)? {
            Some(event) => {
                // The leverage answer has a margin mode of its own: not the account's.
                if cursor.part >= 2 && event.leverage == 0 {
                    return Err(ReadFault::from(Reason::FieldMissing));
                }
                events.push(event);
            }
            None => count.unknown += 1,
        }
        Ok(())
    };
    if data.is_array() {
        data.items().try_for_each(&mut take)?;
    } else {
        take(data)?;
    }
    Ok(count)
}

/// Rows of a list whose pages are walked by the id `id`. A row that cannot be read is an `Untrusted`
/// among the others: it must not hide them.
fn pages(
    data: Option<Element<'_>>,
    id: Option<&str>,
    request: &FetchRequest,
    cursor: Cursor,
    instruments: &Instruments,
    (list, read): (ListKind, ReadRow),
    events: &mut Vec<AccountEvent>,
) -> Result<Count, ReadFault> {
    let data = data
        .filter(|data| data.is_array())
        .ok_or(Reason::ReplyItemMissing)?;
    let mut count = Count::default();
    let mut row_count = 0;
    let mut last = 0;
    for row in data.items() {
        row_count += 1;
        if row_count > ROWS_MAX {
            return Err(ReadFault::from(Reason::FrameTooLarge));
        }
        if let Some(id) = id {
            // A row without an id leaves the walk where the row before it was.
            let value = row.fields(&[id]).ok().and_then(|[value]| value);
            last = rows::id_of(value).ok().flatten().unwrap_or(last);
            if cursor.after != 0 && last >= cursor.after {
                return Err(ReadFault::from(Reason::ReplyItemMissing));
            }
        }
        let result = read(row, instruments);
        count.unknown += u32::from(matches!(result, Ok(None)));
        events.extend(untrusted::event_of(row, result, list, instruments));
    }
    if row_count >= page_rows(request, ListKind::OrdersPending) as usize {
        if id.is_some() && last == 0 {
            // Not one id on the page: nothing says where the next one begins.
            return Err(ReadFault::from(Reason::FieldMissing));
        }
        count.next = Some(Cursor {
            after: last,
            part: cursor.part,
        });
    }
    Ok(count)
}

fn candles(
    data: Option<Element<'_>>,
    request: &FetchRequest,
    cursor: Cursor,
    instruments: &Instruments,
    now_ms: i64,
    ticks: &mut Vec<Tick>,
) -> Result<Count, ReadFault> {
    let data = data
        .filter(|data| data.is_array())
        .ok_or(Reason::ReplyItemMissing)?;
    let instrument = InstrumentId(request.instrument);
    if instruments.get(instrument).is_none() {
        return Err(ReadFault::from(Reason::InstrumentUnknown));
    }
    let timeframe = Timeframe::from_code(request.timeframe).ok_or(Reason::FieldMissing)?;
    let window = Window::history(now_ms);
    let mut count = Count::default();
    let mut row_count = 0;
    let mut oldest_ms = i64::MAX;
    for row in data.items() {
        row_count += 1;
        if row_count > ROWS_MAX {
            return Err(ReadFault::from(Reason::FrameTooLarge));
        }
        let fields = row.exactly::<9>().ok_or(Reason::FieldMissing)?;
        let open_ms = fields[0]
            .as_text()
            .and_then(|text| parse_ms(text.as_bytes()))
            .ok_or(Reason::TimestampInvalid)?;
        oldest_ms = oldest_ms.min(open_ms);
        match candle(&fields, open_ms, instrument, timeframe, &window) {
            Ok(mut tick) => {
                tick.flags |= tick_flag::BACKFILL;
                ticks.push(tick);
            }
            Err(_) => count.invalid += 1,
        }
    }
    ticks.sort_unstable_by_key(|tick| tick.venue_ms);
    ticks.dedup_by_key(|tick| tick.venue_ms);
    // A venue may give fewer rows than were asked for (BloFin's own documents say 1,440, and elsewhere
    // 100): only a page without rows, or one that reaches the first candle, is the last.
    let wanted = page_rows(request, ListKind::Candles) as usize;
    let is_open = request.from_ms > 0 || row_count >= wanted;
    if row_count > 0 && is_open && oldest_ms > request.from_ms.max(0) {
        let after = oldest_ms as u64;
        if cursor.after != 0 && after >= cursor.after {
            if row_count < wanted {
                // The row of the cursor again: that venue's bound is inclusive, and nothing is older.
                return Ok(count);
            }
            return Err(ReadFault::from(Reason::ReplyItemMissing));
        }
        count.next = Some(Cursor {
            after,
            part: cursor.part,
        });
    }
    Ok(count)
}

fn candle(
    fields: &[Element<'_>; 9],
    open_ms: i64,
    instrument: InstrumentId,
    timeframe: Timeframe,
    window: &Window,
) -> Result<Tick, Reason> {
    let mut values = [0.0; 7];
    for (value, field) in values.iter_mut().zip(&fields[1..8]) {
        *value = field.as_f64().ok_or(Reason::NumberInvalid)?;
    }
    let confirmed = match fields[8].as_u64() {
        Some(0) => false,
        Some(1) => true,
        _ => return Err(Reason::CandleInvalid),
    };
    check::candle(instrument, timeframe, open_ms, &values, confirmed, window)
}
