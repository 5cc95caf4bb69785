//! Frames of the private socket to account events.

use super::FRAME_BYTES_MAX;
use super::control::{self, Channel, Control};
use super::document::{Document, Element};
use super::{rows, untrusted};
use crate::model::message::{AccountEvent, AccountKind, ListKind};
use crate::model::{Instruments, Reason};

/// Most rows a private frame may carry.
const ROWS_MAX: usize = 4096;

/// What a private frame was.
#[derive(Clone, Copy, Debug)]
pub enum AccountFrame<'d> {
    /// Events in the order of the frame; header and token are zero, and so is the list but for rows
    /// that cannot be believed. A complete list of positions ends with `PositionsComplete`.
    Events {
        events: &'d [AccountEvent],
        /// Rows about instruments that this run does not know; each that says something of now is an
        /// `Untrusted`.
        unknown_count: u32,
    },
    Control(Control),
}

/// The reader of private frames. Allocates at creation and for frames larger than any before.
pub struct AccountDecoder {
    document: Document,
    events: Vec<AccountEvent>,
}

impl AccountDecoder {
    pub fn new() -> Self {
        AccountDecoder {
            document: Document::new(16 << 10, FRAME_BYTES_MAX),
            events: Vec::with_capacity(128),
        }
    }

    /// What `bytes`, one text frame of the private socket, says. A row that cannot be read
    /// is an `Untrusted`; a frame that cannot is an error, and state has to be read by REST.
    pub fn decode(&mut self, bytes: &[u8], instruments: &Instruments) -> Result<AccountFrame<'_>, Reason> {
        if control::is_pong(bytes) {
            return Ok(AccountFrame::Control(Control::Pong));
        }
        let events = &mut self.events;
        events.clear();
        let mut unknown_count = 0;
        let control = self
            .document
            .read(bytes, |root| frame(root, instruments, events, &mut unknown_count))?;
        Ok(match control {
            Some(control) => AccountFrame::Control(control),
            None => AccountFrame::Events {
                events: &self.events,
                unknown_count,
            },
        })
    }
}

impl Default for AccountDecoder {
    fn default() -> Self {
        AccountDecoder::new()
    }
}

/// Reads a whole frame into `events`, unless it is about the connection.
fn frame(
    root: Element<'_>,
    instruments: &Instruments,
    events: &mut Vec<AccountEvent>,
    unknown_count: &mut u32,
) -> Result<Option<Control>, Reason> {
    let [event, arg, data, code, message] = root.fields(&["event", "arg", "data", "code", "msg"])?;
    if let Some(event) = event {
        return control::control(event, arg, code, message).map(Some);
    }
    let topic = control::topic(arg)?;
    let data = data.ok_or(Reason::FieldMissing)?;
    if topic.channel == Channel::Account {
        events.push(rows::balance(data)?);
        return Ok(None);
    }
    type ReadRow = fn(Element<'_>, &Instruments) -> rows::Row;
    let (read, list): (ReadRow, ListKind) = match topic.channel {
        Channel::Orders => (rows::order, ListKind::OrdersPending),
        Channel::OrdersAlgo => (rows::bracket, ListKind::BracketsPending),
        Channel::Positions => (rows::position, ListKind::Positions),
        _ => return Err(Reason::ChannelUnknown),
    };
    if !data.is_array() {
        return Err(Reason::FieldMissing);
    }
    for row in data.items() {
        if events.len() == ROWS_MAX {
            return Err(Reason::FrameTooLarge);
        }
        let result = read(row, instruments);
        *unknown_count += u32::from(matches!(result, Ok(None)));
        events.extend(untrusted::event_of(row, result, list, instruments));
    }
    if topic.channel == Channel::Positions && topic.symbol.is_none() {
        events.push(rows::event(AccountKind::PositionsComplete));
    }
    Ok(None)
}
