//! Path and query of every read.

use super::text::Query;
use super::{CANDLES_PER_PAGE, CONFIG_PARTS, Cursor, EncodeError, LEVERAGE_PER_PAGE, ROWS_PER_PAGE};
use crate::model::message::{FetchRequest, ListKind};
use crate::model::{Instrument, MarginMode, Timeframe};

/// Writes the path of one page of `request`, query included.
pub(super) fn write_path(
    query: &mut Query<'_>,
    list: ListKind,
    request: &FetchRequest,
    cursor: Cursor,
    instrument: Option<&Instrument>,
) -> Result<(), EncodeError> {
    query.path(path_of(list, cursor.part)?);
    if let Some(row) = instrument
        && !matches!(list, ListKind::Balance)
        && !(list == ListKind::Config && cursor.part < 2)
    {
        query.text("instId", row.symbol.as_bytes());
    }
    match list {
        ListKind::Candles => candles(query, request, cursor, instrument),
        ListKind::OrderDetail => detail(query, "orderId", request, instrument),
        ListKind::BracketDetail => detail(query, "tpslId", request, instrument),
        ListKind::Config => {
            if cursor.part >= 2 {
                required(instrument)?;
                let mode = if cursor.part == 2 { "cross" } else { "isolated" };
                query.text("marginMode", mode.as_bytes());
            }
            Ok(())
        }
        ListKind::Positions | ListKind::Balance => Ok(()),
        // It is about many instruments: `write_leverage` has them.
        ListKind::Leverage => Err(EncodeError::FieldMissing { field: "instruments" }),
        ListKind::Suspend => Err(EncodeError::CodeUnknown {
            field: "list",
            code: request.list,
        }),
        ListKind::AlgosPending => {
            query.text("orderType", b"trigger");
            page(query, request, cursor)
        }
        ListKind::OrdersPending | ListKind::BracketsPending | ListKind::BracketsHistory => {
            page(query, request, cursor)
        }
        ListKind::Fills | ListKind::OrdersHistory => {
            if list == ListKind::Fills && request.venue_id != 0 {
                query.number("orderId", request.venue_id);
            }
            if request.from_ms > 0 {
                query.number("begin", request.from_ms as u64);
            }
            if request.to_ms > 0 {
                query.number("end", request.to_ms as u64);
            }
            page(query, request, cursor)
        }
    }
}

/// Writes the path that reads the leverage of `page`, at least one instrument.
pub(super) fn write_leverage<'i>(
    path: &mut Vec<u8>,
    margin_mode: MarginMode,
    page: impl Iterator<Item = &'i Instrument>,
) -> Result<(), EncodeError> {
    path.extend(path_of(ListKind::Leverage, 0)?.as_bytes());
    path.extend(b"?instId=");
    let mut count = 0;
    for row in page.take(LEVERAGE_PER_PAGE) {
        if count > 0 {
            // As the venue was seen to be asked: a comma is written as its escape, and signed so.
            path.extend(b"%2C");
        }
        path.extend(row.symbol.as_bytes());
        count += 1;
    }
    if count == 0 {
        return Err(EncodeError::FieldMissing { field: "instruments" });
    }
    path.extend(b"&marginMode=");
    path.extend(margin_mode.text().as_bytes());
    Ok(())
}

fn path_of(list: ListKind, part: u8) -> Result<&'static str, EncodeError> {
    Ok(match list {
        ListKind::Candles => "/api/v1/market/candles",
        ListKind::OrderDetail => "/api/v1/trade/order-detail",
        ListKind::OrdersPending => "/api/v1/trade/orders-pending",
        ListKind::OrdersHistory => "/api/v1/trade/orders-history",
        ListKind::BracketsPending => "/api/v1/trade/orders-tpsl-pending",
        ListKind::BracketsHistory => "/api/v1/trade/orders-tpsl-history",
        ListKind::BracketDetail => "/api/v1/trade/order-tpsl-detail",
        ListKind::AlgosPending => "/api/v1/trade/orders-algo-pending",
        ListKind::Positions => "/api/v1/account/positions",
        ListKind::Balance => "/api/v1/account/balance",
        ListKind::Fills => "/api/v1/trade/fills-history",
        ListKind::Leverage => "/api/v1/account/batch-leverage-info",
        ListKind::Suspend => {
            return Err(EncodeError::CodeUnknown {
                field: "list",
                code: list as u8,
            });
        }
        ListKind::Config => match part {
            0 => "/api/v1/account/position-mode",
            1 => "/api/v1/account/margin-mode",
            2..CONFIG_PARTS => "/api/v1/account/batch-leverage-info",
            code => {
                return Err(EncodeError::CodeUnknown {
                    field: "cursor.part",
                    code,
                });
            }
        },
    })
}

/// Open times `from_ms..=to_ms`, newest first; the venue's bounds are exclusive on both ends.
fn candles(
    query: &mut Query<'_>,
    request: &FetchRequest,
    cursor: Cursor,
    instrument: Option<&Instrument>,
) -> Result<(), EncodeError> {
    required(instrument)?;
    let timeframe = Timeframe::from_code(request.timeframe).ok_or(EncodeError::CodeUnknown {
        field: "timeframe",
        code: request.timeframe,
    })?;
    query.text("bar", timeframe.text().as_bytes());
    if cursor.after > 0 {
        query.number("after", cursor.after);
    } else if request.to_ms > 0 {
        query.number("after", request.to_ms.saturating_add(1) as u64);
    }
    if request.from_ms > 0 {
        query.number("before", request.from_ms as u64 - 1);
    }
    query.number("limit", u64::from(page_rows(request, ListKind::Candles)));
    Ok(())
}

fn detail(
    query: &mut Query<'_>,
    id: &str,
    request: &FetchRequest,
    instrument: Option<&Instrument>,
) -> Result<(), EncodeError> {
    required(instrument)?;
    if request.venue_id != 0 {
        query.number(id, request.venue_id);
    } else if !request.client_id.is_empty() {
        query.text("clientOrderId", request.client_id.as_bytes());
    } else {
        return Err(EncodeError::FieldMissing {
            field: "venue_id or client_id",
        });
    }
    Ok(())
}

fn page(query: &mut Query<'_>, request: &FetchRequest, cursor: Cursor) -> Result<(), EncodeError> {
    if cursor.after > 0 {
        query.number("after", cursor.after);
    }
    query.number("limit", u64::from(page_rows(request, ListKind::OrdersPending)));
    Ok(())
}

/// Rows that a page of `list` is asked for: the request's limit, or the venue's when that is less or
/// the request names none.
pub(crate) fn page_rows(request: &FetchRequest, list: ListKind) -> u32 {
    let most = match list {
        ListKind::Candles => CANDLES_PER_PAGE,
        _ => ROWS_PER_PAGE,
    };
    match request.limit {
        0 => most,
        limit => limit.min(most),
    }
}

fn required(instrument: Option<&Instrument>) -> Result<(), EncodeError> {
    match instrument {
        Some(_) => Ok(()),
        None => Err(EncodeError::FieldMissing { field: "instrument" }),
    }
}
