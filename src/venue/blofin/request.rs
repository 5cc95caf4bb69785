//! Commands and reads to complete HTTP/1.1 requests, signed, in a buffer that is kept.
//!
//! Every byte is written here: request line, headers, compact JSON. Prices and sizes are exact
//! decimals of whole ticks and lots. Nothing is allocated after creation and nothing is sent.

mod read;
mod text;

use super::sign::{Credentials, LOGIN_PATH, NonceSource, Signer};
use crate::model::message::{CommandKind, FetchRequest, ListKind, OrderCommand};
use crate::model::{
    ClientOrderId, Decimal, Instrument, Lots, MarginMode, OrderType, PositionMode, PositionSide, Price, Side,
    TriggerType, Wall,
};
pub(crate) use read::page_rows;
use text::{Json, Query, decimal_text, json_text, key, write_u64};
use zeroize::Zeroize;

/// Room for a request: the longest (a bracketed order with a long passphrase) has about 1,100 bytes.
const REQUEST_BYTES: usize = 4096;
/// Most rows a page may have, by kind of list.
pub const CANDLES_PER_PAGE: u32 = 1440;
pub const ROWS_PER_PAGE: u32 = 100;

/// Why a command or read cannot be written. Nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    #[error("code {code} of {field} is not known; this is a fault of the sender of the record")]
    CodeUnknown { field: &'static str, code: u8 },
    #[error("{field} is missing; the venue refuses the call without it")]
    FieldMissing { field: &'static str },
    #[error("{field} = {value} is outside its range; send at least 1")]
    OutOfRange { field: &'static str, value: i64 },
}

/// Where in a list to go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Id, or ms of a candle, of the oldest row read so far; 0 for the first page.
    pub after: u64,
    /// Which of the calls that make up the list; only `Config` has more than one.
    pub part: u8,
}

/// Calls that `ListKind::Config` is made of: 0 position mode, 1 margin mode; with an instrument
/// also its leverage, 2 cross and 3 isolated.
pub const CONFIG_PARTS: u8 = 4;

/// Instruments of one `batch-leverage-info`; more are refused with 152015.
pub const LEVERAGE_PER_PAGE: usize = 20;

/// Market lists that no `FetchRequest` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublicList {
    Instruments,
    Tickers,
}

/// The writer of one stage's requests.
pub struct RequestWriter {
    signer: Signer,
    nonces: NonceSource,
    key: Vec<u8>,
    /// `\r\nHost: …` and the other headers that never change.
    constant_headers: Vec<u8>,
    passphrase: Vec<u8>,
    path: Vec<u8>,
    body: Vec<u8>,
    out: Vec<u8>,
}

impl std::fmt::Debug for RequestWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RequestWriter(redacted)")
    }
}

impl Drop for RequestWriter {
    fn drop(&mut self) {
        for secret in [&mut self.key, &mut self.passphrase, &mut self.out] {
            secret.zeroize();
        }
    }
}

impl RequestWriter {
    /// A writer for `host` (name, with port when it is not the scheme's). Headers cannot be broken
    /// out of: bytes outside printable ASCII are dropped from host, key and passphrase.
    pub fn new(credentials: &Credentials, host: &str, nonces: NonceSource) -> Self {
        let clean =
            |text: &str| -> Vec<u8> { text.bytes().filter(|byte| (b' '..=b'~').contains(byte)).collect() };
        let mut constant_headers = b" HTTP/1.1\r\nHost: ".to_vec();
        constant_headers.extend(clean(host));
        constant_headers.extend(b"\r\nUser-Agent: smart-scanner\r\nAccept: application/json\r\n");
        RequestWriter {
            signer: Signer::new(credentials.secret.as_bytes()),
            nonces,
            key: clean(&credentials.key),
            constant_headers,
            passphrase: clean(&credentials.passphrase),
            path: Vec::with_capacity(REQUEST_BYTES),
            body: Vec::with_capacity(REQUEST_BYTES),
            out: Vec::with_capacity(REQUEST_BYTES),
        }
    }

    /// The request that carries out `command`, signed for `now`. `instrument` is the command's.
    pub fn write_command(
        &mut self,
        command: &OrderCommand,
        instrument: &Instrument,
        now: Wall,
    ) -> Result<&[u8], EncodeError> {
        let kind = CommandKind::from_code(command.kind).ok_or(EncodeError::CodeUnknown {
            field: "kind",
            code: command.kind,
        })?;
        self.body.clear();
        let mut body = Json::new(&mut self.body);
        let path = match kind {
            CommandKind::Place => place(&mut body, command, instrument)?,
            CommandKind::Cancel => cancel(&mut body, command, instrument)?,
            CommandKind::PlaceBracket => place_bracket(&mut body, command, instrument)?,
            CommandKind::CancelBracket => cancel_bracket(&mut body, command, instrument)?,
            CommandKind::AmendBracket => amend_bracket(&mut body, command, instrument)?,
            CommandKind::ClosePosition => close_position(&mut body, command, instrument)?,
            CommandKind::SetLeverage => set_leverage(&mut body, command, instrument)?,
            CommandKind::SetMarginMode => set_margin_mode(&mut body, command)?,
            CommandKind::SetPositionMode => set_position_mode(&mut body, command)?,
        };
        self.path.clear();
        self.path.extend(path);
        Ok(self.signed_request(b"POST", now))
    }

    /// The request for one page of `request`. Lists about everything take no `instrument`; candles,
    /// details and the leverage part of `Config` need theirs.
    pub fn write_fetch(
        &mut self,
        request: &FetchRequest,
        cursor: Cursor,
        instrument: Option<&Instrument>,
        now: Wall,
    ) -> Result<&[u8], EncodeError> {
        let list = ListKind::from_code(request.list).ok_or(EncodeError::CodeUnknown {
            field: "list",
            code: request.list,
        })?;
        self.body.clear();
        self.path.clear();
        read::write_path(&mut Query::new(&mut self.path), list, request, cursor, instrument)?;
        if list == ListKind::Candles {
            return Ok(self.open_request());
        }
        Ok(self.signed_request(b"GET", now))
    }

    /// The request for the leverage of one page of instruments, at most `LEVERAGE_PER_PAGE`.
    pub fn write_leverage<'i>(
        &mut self,
        margin_mode: MarginMode,
        page: impl Iterator<Item = &'i Instrument>,
        now: Wall,
    ) -> Result<&[u8], EncodeError> {
        self.body.clear();
        self.path.clear();
        read::write_leverage(&mut self.path, margin_mode, page)?;
        Ok(self.signed_request(b"GET", now))
    }

    /// The unsigned request for a market list as a whole.
    pub fn write_public(&mut self, list: PublicList) -> &[u8] {
        self.path.clear();
        self.path.extend(match list {
            PublicList::Instruments => b"/api/v1/market/instruments".as_slice(),
            PublicList::Tickers => b"/api/v1/market/tickers",
        });
        self.open_request()
    }

    /// The websocket frame that logs in, signed for `now`.
    pub fn write_login(&mut self, now: Wall) -> &[u8] {
        let mut time = [0u8; 20];
        let time = decimal_text(now.ms().max(0) as u64, &mut time);
        let nonce = self.nonces.next_nonce();
        let sign = self.signer.sign(LOGIN_PATH.as_bytes(), b"GET", time, &nonce, b"");
        let out = &mut self.out;
        out.clear();
        out.extend(br#"{"op":"login","args":[{"apiKey":""#);
        json_text(&self.key, out);
        out.extend(br#"","passphrase":""#);
        json_text(&self.passphrase, out);
        out.extend(br#"","timestamp":""#);
        out.extend(time);
        out.extend(br#"","sign":""#);
        out.extend(sign);
        out.extend(br#"","nonce":""#);
        out.extend(nonce);
        out.extend(br#""}]}"#);
        &self.out
    }

    fn signed_request(&mut self, method: &[u8], now: Wall) -> &[u8] {
        let mut time = [0u8; 20];
        let time = decimal_text(now.ms().max(0) as u64, &mut time);
        let nonce = self.nonces.next_nonce();
        let sign = self.signer.sign(&self.path, method, time, &nonce, &self.body);
        let out = &mut self.out;
        out.clear();
        out.extend(method);
        out.push(b' ');
        out.extend(&self.path);
        out.extend(&self.constant_headers);
        out.extend(b"ACCESS-KEY: ");
        out.extend(&self.key);
        out.extend(b"\r\nACCESS-SIGN: ");
        out.extend(sign);
        out.extend(b"\r\nACCESS-TIMESTAMP: ");
        out.extend(time);
        out.extend(b"\r\nACCESS-NONCE: ");
        out.extend(nonce);
        out.extend(b"\r\nACCESS-PASSPHRASE: ");
        out.extend(&self.passphrase);
        if !self.body.is_empty() {
            out.extend(b"\r\nContent-Type: application/json\r\nContent-Length: ");
            write_u64(self.body.len() as u64, out);
        }
        out.extend(b"\r\n\r\n");
        out.extend(&self.body);
        &self.out
    }

    fn open_request(&mut self) -> &[u8] {
        let out = &mut self.out;
        out.clear();
        out.extend(b"GET ");
        out.extend(&self.path);
        out.extend(&self.constant_headers);
        out.extend(b"\r\n");
        &self.out
    }
}

fn place(
    body: &mut Json<'_>,
    command: &OrderCommand,
    row: &Instrument,
) -> Result<&'static [u8], EncodeError> {
    body.open(b"{");
    target(body, command, row)?;
    body.text(key!("side"), side(command)?.text().as_bytes());
    let order_type = OrderType::from_code(command.order_type).ok_or(EncodeError::CodeUnknown {
        field: "order_type",
        code: command.order_type,
    })?;
    body.text(key!("orderType"), order_type.text().as_bytes());
    if order_type != OrderType::Market {
        body.decimal(key!("price"), price(row, "price_ticks", command.price_ticks)?);
    }
    body.decimal(key!("size"), size(row, command.size_lots)?);
    if command.reduce_only != 0 {
        body.text(key!("reduceOnly"), b"true");
    }
    client_id(body, &command.client_id)?;
    legs(body, command, row, &LEGS)?;
    body.close(b"}");
    Ok(b"/api/v1/trade/order")
}

fn cancel(
    body: &mut Json<'_>,
    command: &OrderCommand,
    row: &Instrument,
) -> Result<&'static [u8], EncodeError> {
    body.open(b"{");
    body.text(key!("instId"), row.symbol.as_bytes());
    id_or_client_id(body, key!("orderId"), command)?;
    body.close(b"}");
    Ok(b"/api/v1/trade/cancel-order")
}

fn place_bracket(
    body: &mut Json<'_>,
    command: &OrderCommand,
    row: &Instrument,
) -> Result<&'static [u8], EncodeError> {
    body.open(b"{");
    target(body, command, row)?;
    body.text(key!("side"), side(command)?.text().as_bytes());
    if command.size_lots == -1 {
        body.text(key!("size"), b"-1");
    } else {
        body.decimal(key!("size"), size(row, command.size_lots)?);
    }
    if command.tp_ticks == 0 && command.sl_ticks == 0 {
        return Err(EncodeError::FieldMissing {
            field: "tp_ticks or sl_ticks",
        });
    }
    legs(body, command, row, &LEGS)?;
    if command.reduce_only != 0 {
        body.text(key!("reduceOnly"), b"true");
    }
    client_id(body, &command.client_id)?;
    body.close(b"}");
    Ok(b"/api/v1/trade/order-tpsl")
}

fn cancel_bracket(
    body: &mut Json<'_>,
    command: &OrderCommand,
    row: &Instrument,
) -> Result<&'static [u8], EncodeError> {
    body.open(b"[{");
    body.text(key!("instId"), row.symbol.as_bytes());
    id_or_client_id(body, key!("tpslId"), command)?;
    body.close(b"}]");
    Ok(b"/api/v1/trade/cancel-tpsl")
}

fn amend_bracket(
    body: &mut Json<'_>,
    command: &OrderCommand,
    row: &Instrument,
) -> Result<&'static [u8], EncodeError> {
    body.open(b"{");
    body.text(key!("instId"), row.symbol.as_bytes());
    id_or_client_id(body, key!("tpslId"), command)?;
    match command.size_lots {
        0 => {}
        -1 => body.text(key!("newSize"), b"-1"),
        lots => body.decimal(key!("newSize"), size(row, lots)?),
    }
    if command.tp_ticks == 0 && command.sl_ticks == 0 {
        return Err(EncodeError::FieldMissing {
            field: "tp_ticks or sl_ticks",
        });
    }
    legs(body, command, row, &NEW_LEGS)?;
    body.close(b"}");
    Ok(b"/api/v1/trade/amend-tpsl")
}

fn close_position(
    body: &mut Json<'_>,
    command: &OrderCommand,
    row: &Instrument,
) -> Result<&'static [u8], EncodeError> {
    body.open(b"{");
    target(body, command, row)?;
    if !command.client_id.is_empty() {
        client_id(body, &command.client_id)?;
    }
    body.close(b"}");
    Ok(b"/api/v1/trade/close-position")
}

fn set_leverage(
    body: &mut Json<'_>,
    command: &OrderCommand,
    row: &Instrument,
) -> Result<&'static [u8], EncodeError> {
    if command.leverage == 0 {
        return Err(EncodeError::OutOfRange {
            field: "leverage",
            value: 0,
        });
    }
    body.open(b"{");
    body.text(key!("instId"), row.symbol.as_bytes());
    body.integer(key!("leverage"), u64::from(command.leverage));
    body.text(key!("marginMode"), margin_mode(command)?.text().as_bytes());
    // Only the two sides of an isolated hedge have leverages of their own.
    if let Some(side @ (PositionSide::Long | PositionSide::Short)) =
        PositionSide::from_code(command.position_side)
    {
        body.text(key!("positionSide"), side.text().as_bytes());
    }
    body.close(b"}");
    Ok(b"/api/v1/account/set-leverage")
}

fn set_margin_mode(body: &mut Json<'_>, command: &OrderCommand) -> Result<&'static [u8], EncodeError> {
    body.open(b"{");
    body.text(key!("marginMode"), margin_mode(command)?.text().as_bytes());
    body.close(b"}");
    Ok(b"/api/v1/account/set-margin-mode")
}

/// The command's position side says which mode: net for one-way, long or short for hedge.
fn set_position_mode(body: &mut Json<'_>, command: &OrderCommand) -> Result<&'static [u8], EncodeError> {
    let mode = match position_side(command)? {
        PositionSide::Net => PositionMode::Net,
        PositionSide::Long | PositionSide::Short => PositionMode::LongShort,
    };
    body.open(b"{");
    body.text(key!("positionMode"), mode.text().as_bytes());
    body.close(b"}");
    Ok(b"/api/v1/account/set-position-mode")
}

/// Instrument, margin mode and position side: what every order is about.
fn target(body: &mut Json<'_>, command: &OrderCommand, row: &Instrument) -> Result<(), EncodeError> {
    body.text(key!("instId"), row.symbol.as_bytes());
    body.text(key!("marginMode"), margin_mode(command)?.text().as_bytes());
    body.text(key!("positionSide"), position_side(command)?.text().as_bytes());
    Ok(())
}

/// Keys of one leg of a bracket.
struct LegKeys {
    trigger: &'static [u8],
    order: &'static [u8],
    trigger_type: &'static [u8],
}

macro_rules! leg_keys {
    ($prefix:literal) => {
        LegKeys {
            trigger: key!($prefix "TriggerPrice"),
            order: key!($prefix "OrderPrice"),
            trigger_type: key!($prefix "TriggerPriceType"),
        }
    };
}

/// Keys of the target and of the stop, for an order and for an amendment.
const LEGS: [LegKeys; 2] = [leg_keys!("tp"), leg_keys!("sl")];
const NEW_LEGS: [LegKeys; 2] = [leg_keys!("newTp"), leg_keys!("newSl")];

/// Triggers of both legs that are set; each executes at market (order price −1).
fn legs(
    body: &mut Json<'_>,
    command: &OrderCommand,
    row: &Instrument,
    keys: &'static [LegKeys; 2],
) -> Result<(), EncodeError> {
    let trigger = match command.trigger_type {
        0 => None,
        code => Some(TriggerType::from_code(code).ok_or(EncodeError::CodeUnknown {
            field: "trigger_type",
            code,
        })?),
    };
    for (keys, field, ticks) in [
        (&keys[0], "tp_ticks", command.tp_ticks),
        (&keys[1], "sl_ticks", command.sl_ticks),
    ] {
        if ticks == 0 {
            continue;
        }
        body.decimal(keys.trigger, price(row, field, ticks)?);
        body.text(keys.order, b"-1");
        if let Some(trigger) = trigger {
            body.text(keys.trigger_type, trigger.text().as_bytes());
        }
    }
    Ok(())
}

fn side(command: &OrderCommand) -> Result<Side, EncodeError> {
    Side::from_code(command.side).ok_or(EncodeError::CodeUnknown {
        field: "side",
        code: command.side,
    })
}

fn margin_mode(command: &OrderCommand) -> Result<MarginMode, EncodeError> {
    MarginMode::from_code(command.margin_mode).ok_or(EncodeError::CodeUnknown {
        field: "margin_mode",
        code: command.margin_mode,
    })
}

fn position_side(command: &OrderCommand) -> Result<PositionSide, EncodeError> {
    PositionSide::from_code(command.position_side).ok_or(EncodeError::CodeUnknown {
        field: "position_side",
        code: command.position_side,
    })
}

fn price(row: &Instrument, field: &'static str, ticks: i64) -> Result<Decimal, EncodeError> {
    let out_of_range = EncodeError::OutOfRange { field, value: ticks };
    if ticks <= 0 {
        return Err(out_of_range);
    }
    row.price_decimal(Price(ticks)).ok_or(out_of_range)
}

fn size(row: &Instrument, lots: i64) -> Result<Decimal, EncodeError> {
    let out_of_range = EncodeError::OutOfRange {
        field: "size_lots",
        value: lots,
    };
    if lots <= 0 {
        return Err(out_of_range);
    }
    row.size_decimal(Lots(lots)).ok_or(out_of_range)
}

/// An order without an id of ours could not be found again after a lost answer.
fn client_id(body: &mut Json<'_>, id: &ClientOrderId) -> Result<(), EncodeError> {
    if id.is_empty() || ClientOrderId::parse(id.as_bytes()).is_none() {
        return Err(EncodeError::FieldMissing { field: "client_id" });
    }
    body.text(key!("clientOrderId"), id.as_bytes());
    Ok(())
}

fn id_or_client_id(
    body: &mut Json<'_>,
    key: &'static [u8],
    command: &OrderCommand,
) -> Result<(), EncodeError> {
    if command.venue_id == 0 {
        return client_id(body, &command.client_id);
    }
    body.integer(key, command.venue_id);
    Ok(())
}
