//! Bodies of REST replies to facts: what became of an order call, and the rows of every list.
//!
//! A call succeeded only when everything says so: HTTP 2xx, outer code 0, every inner code 0 or
//! absent, and the id that it must have given. A code that is not in the table below is ambiguous,
//! never a rejection: it may have happened. A list that cannot be read is a fault, never empty.

mod list;
mod market;

use super::codec::document::{Document, Element};
use super::codec::rows;
use crate::model::message::{AccountEvent, CommandKind, OrderCommand, Outcome, Tick};
use crate::model::{ClientOrderId, Instrument, Reason};

pub use list::Page;
pub use market::InstrumentList;
pub(crate) use market::contract_terms;

/// Longest body that is read; the instrument listing has about 250 KiB.
pub const BODY_BYTES_MAX: usize = 8 << 20;

/// What became of one order call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderReply {
    pub outcome: Outcome,
    /// Why it is not `Accepted`; also the name of its counter.
    pub reason: Option<Reason>,
    /// The venue's code, inner before outer; 0 when none was read or all is well.
    pub venue_code: u32,
    /// Id of the order or bracket; 0 when none was given.
    pub venue_id: u64,
}

/// Why a read gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadFault {
    pub reason: Reason,
    /// The venue's code; 0 when none was read.
    pub venue_code: u32,
}

impl From<Reason> for ReadFault {
    fn from(reason: Reason) -> Self {
        ReadFault {
            reason,
            venue_code: 0,
        }
    }
}

/// The reader of one stage's replies. Allocates at creation and for bodies larger than any before.
pub struct ReplyReader {
    document: Document,
    events: Vec<AccountEvent>,
    ticks: Vec<Tick>,
    instruments: Vec<Instrument>,
}

impl ReplyReader {
    pub fn new() -> Self {
        ReplyReader {
            document: Document::new(256 << 10, BODY_BYTES_MAX),
            events: Vec::with_capacity(256),
            ticks: Vec::with_capacity(2048),
            instruments: Vec::new(),
        }
    }

    /// What the reply to `command` means.
    pub fn classify(&mut self, status: u16, body: &[u8], command: &OrderCommand) -> OrderReply {
        match status {
            429 => return OrderReply::of(Outcome::RateLimited, Reason::ReplyRateLimited, 429),
            403 => return OrderReply::of(Outcome::Ambiguous, Reason::ReplyForbidden, 0),
            500.. => return OrderReply::of(Outcome::Ambiguous, Reason::ReplyServerError, 0),
            _ => {}
        }
        let Some(kind) = CommandKind::from_code(command.kind) else {
            return OrderReply::of(Outcome::Ambiguous, Reason::ReplyUnknownCode, 0);
        };
        let reply = self
            .document
            .read(body, |root| verdict(Envelope::of(root)?, kind, command))
            .unwrap_or(OrderReply::of(Outcome::Ambiguous, Reason::ReplyNotJson, 0));
        let good_status = (200..300).contains(&status);
        let is_doubtful = matches!(reply.outcome, Outcome::Accepted | Outcome::Ambiguous);
        if !good_status && is_doubtful {
            return OrderReply::of(Outcome::Ambiguous, Reason::ReplyServerError, reply.venue_code);
        }
        reply
    }
}

impl Default for ReplyReader {
    fn default() -> Self {
        ReplyReader::new()
    }
}

impl OrderReply {
    fn of(outcome: Outcome, reason: Reason, venue_code: u32) -> Self {
        OrderReply {
            outcome,
            reason: Some(reason),
            venue_code,
            venue_id: 0,
        }
    }

    /// The class of a code that is not 0.
    fn of_code(code: u32, kind: CommandKind) -> Self {
        let outcome = class_of(code, kind);
        let reason = match (outcome, code) {
            (Outcome::RateLimited, _) => Reason::ReplyRateLimited,
            (Outcome::Ambiguous, 500) => Reason::ReplyServerError,
            (Outcome::Ambiguous, _) => Reason::ReplyUnknownCode,
            _ => Reason::ReplyInnerError,
        };
        OrderReply::of(outcome, reason, code)
    }
}

/// What a venue code other than 0 says about an order call. Only codes that leave no doubt are
/// rejections; what a cancel or amendment answers when it came too late is for a lookup to settle.
pub fn class_of(code: u32, kind: CommandKind) -> Outcome {
    match code {
        429 => Outcome::RateLimited,
        // The client id is taken; or the nonce is, which means that the same bytes came before.
        102_002 | 150_003 | 152_407 => Outcome::Duplicate,
        // Signature, key, passphrase, IP, broker id, position mode.
        401 | 102_089 | 152_011..=152_013 | 152_401 | 152_402 | 152_406 | 152_408 | 152_409 => {
            Outcome::FatalAuth
        }
        // The path does not exist here: nothing was changed, and nothing will be.
        404 | 405 if kind == CommandKind::AmendBracket => Outcome::Rejected,
        // Nothing was open: the close has nothing to do.
        102_005 if kind == CommandKind::ClosePosition => Outcome::Rejected,
        // Parameters, sizes, prices, triggers, margin, permission, timestamp; account settings
        // that open orders or positions hold in place.
        542
        | 102_014
        | 102_015
        | 102_022
        | 102_037..=102_055
        | 102_064
        | 102_065
        | 103_003
        | 110_006
        | 110_019
        | 150_004
        | 152_001..=152_009
        | 152_014
        | 152_404
        | 152_405
        | 152_410 => Outcome::Rejected,
        _ => Outcome::Ambiguous,
    }
}

/// The frame around every answer.
#[derive(Clone, Copy)]
struct Envelope<'t> {
    /// `None` when absent or not a number.
    code: Option<u32>,
    data: Option<Element<'t>>,
}

impl<'t> Envelope<'t> {
    fn of(root: Element<'t>) -> Result<Self, Reason> {
        let [code, data] = root.fields(&["code", "data"])?;
        Ok(Envelope {
            code: code.and_then(code_of),
            data,
        })
    }

    /// The data of a good reply to a read.
    fn read(self) -> Result<Option<Element<'t>>, ReadFault> {
        match self.code {
            Some(0) => Ok(self.data),
            Some(429) => Err(ReadFault {
                reason: Reason::ReplyRateLimited,
                venue_code: 429,
            }),
            code => Err(ReadFault {
                reason: Reason::ReplyInnerError,
                venue_code: code.unwrap_or(0),
            }),
        }
    }

    /// The one item that the answer to a single call has, as an object or an array of one.
    fn item(self) -> Option<Element<'t>> {
        let data = self.data?;
        if data.is_object() {
            return Some(data);
        }
        data.exactly::<1>().map(|[item]| item)
    }
}

fn code_of(element: Element<'_>) -> Option<u32> {
    element.as_u64().and_then(|code| u32::try_from(code).ok())
}

/// Refuses a read by its HTTP status alone.
fn check_status(status: u16) -> Result<(), ReadFault> {
    Err(ReadFault::from(match status {
        200..300 => return Ok(()),
        429 => Reason::ReplyRateLimited,
        403 => Reason::ReplyForbidden,
        _ => Reason::ReplyServerError,
    }))
}

fn verdict(envelope: Envelope<'_>, kind: CommandKind, command: &OrderCommand) -> Result<OrderReply, Reason> {
    let ambiguous = |reason, code| Ok(OrderReply::of(Outcome::Ambiguous, reason, code));
    let Some(outer) = envelope.code else {
        return ambiguous(Reason::ReplyUnknownCode, 0);
    };
    let item = envelope.item();
    let [inner, order_id, bracket_id, client_id] = match item {
        Some(item) if item.is_object() => item.fields(&["code", "orderId", "tpslId", "clientOrderId"])?,
        _ => [None; 4],
    };
    let inner = match inner {
        None => None,
        Some(code) => match code_of(code) {
            Some(code) => Some(code),
            None => return ambiguous(Reason::ReplyUnknownCode, outer),
        },
    };
    let id_of = |element| rows::id_of(element).map(|id| id.unwrap_or(0));
    let venue_id = match kind {
        CommandKind::Place | CommandKind::Cancel => id_of(order_id)?,
        CommandKind::PlaceBracket | CommandKind::CancelBracket | CommandKind::AmendBracket => {
            id_of(bracket_id)?
        }
        _ => 0,
    };
    let names_other = {
        let echoed = rows::client_id(client_id);
        !echoed.is_empty() && !command.client_id.is_empty() && echoed != command.client_id
    };
    match (outer, inner) {
        (0, None | Some(0)) => {
            let needs_id = !matches!(
                kind,
                CommandKind::ClosePosition
                    | CommandKind::SetLeverage
                    | CommandKind::SetMarginMode
                    | CommandKind::SetPositionMode
            );
            if item.is_none() || (needs_id && venue_id == 0) || names_other {
                return ambiguous(Reason::ReplyItemMissing, 0);
            }
            Ok(OrderReply {
                outcome: Outcome::Accepted,
                reason: None,
                venue_code: 0,
                venue_id,
            })
        }
        // Failure outside, success inside, or an id for something that failed: no telling.
        (_, Some(0)) => ambiguous(Reason::ReplyInnerError, outer),
        (_, Some(code))
            if venue_id != 0 && matches!(kind, CommandKind::Place | CommandKind::PlaceBracket) =>
        {
            ambiguous(Reason::ReplyInnerError, code)
        }
        (_, Some(code)) => Ok(OrderReply::of_code(code, kind)),
        // "All failed" and "some failed" refer to items.
        (1 | 2, None) => ambiguous(Reason::ReplyItemMissing, outer),
        (code, None) => Ok(OrderReply::of_code(code, kind)),
    }
}

/// Whether a row that answers a lookup is the one that was asked for.
fn is_asked_for(event: &AccountEvent, client_id: &ClientOrderId, venue_id: u64) -> bool {
    if venue_id != 0 {
        event.venue_id == venue_id
    } else {
        event.client_id == *client_id
    }
}
