//! The private REST endpoints that change orders: place, cancel, amend, close.
//!
//! An ack says "accepted for processing"; fills follow as pushes. A batch is judged row by row, and
//! its outer code says whether all, some or none went through (reference §1.8).

use super::core::{Done, LoopbackVenue};
use super::envelope::{Reject, push_text};
use super::json::{Row, push_list};
use super::order_request::read_client_id;
use super::params::Fields;
use super::route::Route;
use crate::exchange::{AccountId, Ack, Code, NewOrder};
use crate::model::{ClientOrderId, MarginMode, PositionSide, Side};
use serde_json::Value;

/// Most rows of one batch call.
const BATCH_MAX: usize = 20;

/// What became of one row of a call.
struct RowResult {
    /// Id to show when it failed; the exchange's own when it went through.
    id: Option<u64>,
    client_id: String,
    reject: Option<Reject>,
}

impl LoopbackVenue {
    pub(super) fn answer_trade(&mut self, route: Route, key: usize, body: &Value) -> Result<Done, Reject> {
        let account = self.account(key)?;
        match route {
            Route::PlaceOrder => self.place_order(account, body),
            Route::PlaceBatch => self.place_batch(account, body),
            Route::PlaceTpsl => self.place_tpsl(account, body),
            Route::PlaceAlgo => self.place_algo(account, body),
            Route::CancelOrder => {
                let result = self.cancel_row(account, &Fields::of(body)?)?;
                self.single(result, "")
            }
            Route::CancelBatch => self.cancel_batch(account, body),
            Route::CancelTpsl => self.cancel_tpsl(account, body),
            Route::CancelAlgo => self.cancel_algo(account, body),
            Route::AmendTpsl => self.amend_tpsl(account, body),
            _ => self.close_position(account, body),
        }
    }

    /// A code of the exchange with its text; price bands name their ends.
    pub(super) fn reject_of(&self, code: Code) -> Reject {
        Reject::with(code.number(), code.text().replace(" {}", ""))
    }

    fn order_reject(&self, code: Code, order: &NewOrder) -> Reject {
        let band = match code {
            Code::BuyPriceOutOfBand => self.exchange.price_range(order.instrument, Side::Buy),
            Code::SellPriceOutOfBand => self.exchange.price_range(order.instrument, Side::Sell),
            _ => None,
        };
        match band {
            Some((min, max)) => Reject::with(
                code.number(),
                format!(
                    "{} (Minimum: {}; Maximum:{})",
                    code.text(),
                    min.normalize(),
                    max.normalize()
                ),
            ),
            None => self.reject_of(code),
        }
    }

    fn place_order(&mut self, account: AccountId, body: &Value) -> Result<Done, Reject> {
        let fields = Fields::of(body)?;
        let order = self.read_order(&fields)?;
        let result = self.place_row(account, &order);
        self.single(result, "Order placed")
    }

    fn place_row(&mut self, account: AccountId, order: &NewOrder) -> RowResult {
        let placed = self.exchange.place(account, self.now, order);
        RowResult {
            id: placed.ok().map(|ack| ack.id),
            client_id: order.client_id.as_str().to_owned(),
            reject: placed.err().map(|code| self.order_reject(code, order)),
        }
    }

    fn place_batch(&mut self, account: AccountId, body: &Value) -> Result<Done, Reject> {
        let items = batch_items(body)?;
        for item in &items {
            item.required("instId")?;
            item.required("marginMode")?;
        }
        let differs = |name| items.iter().any(|item| item.text(name) != items[0].text(name));
        if differs("instId") || differs("marginMode") {
            return Err(Reject::new(
                152_007,
                "Batch orders can only be placed with the same instId and marginMode.",
            ));
        }
        let mut results = Vec::with_capacity(items.len());
        for item in &items {
            results.push(match self.read_order(item) {
                Ok(order) => self.place_row(account, &order),
                Err(reject) => RowResult {
                    id: None,
                    client_id: item.text("clientOrderId").unwrap_or_default().into_owned(),
                    reject: Some(reject),
                },
            });
        }
        Ok(batch_done(&results, "Order placed"))
    }

    /// A call for one order: an array of one, or the reject as the options want it.
    fn single(&self, result: RowResult, text: &str) -> Result<Done, Reject> {
        match result.reject {
            Some(reject) if !self.options.rejects_as_rows => Err(reject),
            _ => Ok(batch_done(&[result], text)),
        }
    }

    fn place_tpsl(&mut self, account: AccountId, body: &Value) -> Result<Done, Reject> {
        let bracket = self.read_bracket(&Fields::of(body)?)?;
        let ack = self
            .exchange
            .place_bracket(account, self.now, &bracket)
            .map_err(|code| self.reject_of(code))?;
        Ok(placed("tpslId", &ack))
    }

    fn place_algo(&mut self, account: AccountId, body: &Value) -> Result<Done, Reject> {
        let trigger = self.read_trigger(&Fields::of(body)?)?;
        let ack = self
            .exchange
            .place_trigger(account, self.now, &trigger)
            .map_err(|code| self.reject_of(code))?;
        Ok(placed("algoId", &ack))
    }

    fn cancel_row(&mut self, account: AccountId, fields: &Fields<'_>) -> Result<RowResult, Reject> {
        let id = fields.id("orderId")?;
        let client_id = read_client_id(fields)?;
        let cancelled = match id {
            Some(id) => self.exchange.cancel(account, self.now, id),
            None if client_id.is_empty() => return Err(Reject::either("orderId", "clientOrderId")),
            None => self.exchange.cancel_by_client(account, self.now, &client_id),
        };
        Ok(self.cancelled(id, &client_id, cancelled))
    }

    fn cancelled(&self, id: Option<u64>, client_id: &ClientOrderId, result: Result<Ack, Code>) -> RowResult {
        match result {
            Ok(ack) => RowResult {
                id: Some(ack.id),
                client_id: ack.client_id.as_str().to_owned(),
                reject: None,
            },
            Err(code) => RowResult {
                id,
                client_id: client_id.as_str().to_owned(),
                reject: Some(self.reject_of(code)),
            },
        }
    }

    fn cancel_batch(&mut self, account: AccountId, body: &Value) -> Result<Done, Reject> {
        let items = batch_items(body)?;
        let with_id = items.iter().filter(|item| item.text("orderId").is_some()).count();
        if with_id != 0 && with_id != items.len() {
            return Err(Reject::new(
                152_008,
                "Only the same field is allowed for bulk cancellation of orders, orderId is preferred.",
            ));
        }
        let results: Vec<RowResult> = items
            .iter()
            .map(|item| {
                self.cancel_row(account, item).unwrap_or_else(|reject| RowResult {
                    id: None,
                    client_id: String::new(),
                    reject: Some(reject),
                })
            })
            .collect();
        Ok(batch_done(&results, ""))
    }

    /// An array of rows; a row that fails has code 500 under an outer 0, as the venue documents it.
    fn cancel_tpsl(&mut self, account: AccountId, body: &Value) -> Result<Done, Reject> {
        let items = batch_items(body)?;
        let mut out = String::new();
        let mut results = Vec::with_capacity(items.len());
        for item in &items {
            let client_id = read_client_id(item)?;
            let id = match item.id("tpslId")? {
                Some(id) => Some(id),
                None if client_id.is_empty() => return Err(Reject::either("tpslId", "clientOrderId")),
                None => self
                    .exchange
                    .bracket_by_client(account, &client_id)
                    .map(|row| row.id),
            };
            let cancelled = match id {
                Some(id) => self.exchange.cancel_bracket(account, self.now, id),
                None => Err(Code::CancelFailed),
            };
            results.push(self.cancelled(id, &client_id, cancelled));
        }
        push_list(&mut out, &results, |out, result| {
            push_algo_row(out, "tpslId", result)
        });
        Ok(Done::data(out))
    }

    /// One object; a failure has code 500 inside, under an outer 0.
    fn cancel_algo(&mut self, account: AccountId, body: &Value) -> Result<Done, Reject> {
        let fields = Fields::of(body)?;
        let client_id = read_client_id(&fields)?;
        let id = match fields.id("algoId")? {
            Some(id) => Some(id),
            None if client_id.is_empty() => return Err(Reject::either("algoId", "clientOrderId")),
            None => self
                .exchange
                .trigger_by_client(account, &client_id)
                .map(|row| row.id),
        };
        let cancelled = match id {
            Some(id) => self.exchange.cancel_trigger(account, self.now, id),
            None => Err(Code::CancelFailed),
        };
        let result = self.cancelled(id, &client_id, cancelled);
        let mut out = String::new();
        push_algo_row(&mut out, "algoId", &result);
        Ok(Done::data(out))
    }

    /// Offered only when the exchange's options switch amending on; else the path is unknown.
    fn amend_tpsl(&mut self, account: AccountId, body: &Value) -> Result<Done, Reject> {
        if !self.exchange.config().amend {
            return Err(Reject::new(404, "not found"));
        }
        let fields = Fields::of(body)?;
        let (_, instrument) = self.find_instrument(&fields.required("instId")?)?;
        let client_id = read_client_id(&fields)?;
        let id = match fields.id("tpslId")? {
            Some(id) => id,
            None => match self.exchange.bracket_by_client(account, &client_id) {
                Some(row) => row.id,
                None if client_id.is_empty() => return Err(Reject::either("tpslId", "clientOrderId")),
                None => return Err(self.reject_of(Code::AmendFailed)),
            },
        };
        let amend = self.read_amend(&fields, &instrument)?;
        let ack = self
            .exchange
            .amend_bracket(account, self.now, id, &amend)
            .map_err(|code| self.reject_of(code))?;
        let mut out = String::new();
        Row::open(&mut out)
            .shown("tpslId", ack.id)
            .shown("clientOrderId", ack.client_id.as_str())
            .shown("code", "0")
            .shown("msg", "Order modified")
            .close();
        Ok(Done::data(out))
    }

    fn close_position(&mut self, account: AccountId, body: &Value) -> Result<Done, Reject> {
        let fields = Fields::of(body)?;
        let symbol = fields.required("instId")?;
        let mode = fields.parsed_required("marginMode", MarginMode::parse)?;
        let side = fields
            .parsed("positionSide", PositionSide::parse)?
            .unwrap_or(PositionSide::Net);
        let client_id = read_client_id(&fields)?;
        let (id, instrument) = self.find_instrument(&symbol)?;
        self.exchange
            .close_position(account, self.now, id, mode, side, client_id)
            .map_err(|code| self.reject_of(code))?;
        let mut out = String::new();
        Row::open(&mut out)
            .shown("instId", instrument.symbol)
            .shown("positionSide", side.text())
            .shown("clientOrderId", client_id.as_str())
            .close();
        Ok(Done::data(out))
    }
}

/// The objects of an array body: 152004 when it is none, 152006 over twenty, 152001 when empty.
fn batch_items(body: &Value) -> Result<Vec<Fields<'_>>, Reject> {
    let items = body.as_array().ok_or_else(Reject::syntax)?;
    if items.len() > BATCH_MAX {
        return Err(Reject::new(
            152_006,
            "Batch orders can be placed for up to 20 at once.",
        ));
    }
    if items.is_empty() {
        return Err(Reject::new(152_005, "Parameter error: wrong or empty"));
    }
    items.iter().map(Fields::of).collect()
}

/// The answer of a call with rows: outer code 0 all, 2 some, 1 none.
fn batch_done(results: &[RowResult], text: &str) -> Done {
    let failed = results.iter().filter(|result| result.reject.is_some()).count();
    let (code, outer) = match failed {
        0 => ("0", "success"),
        all if all == results.len() => ("1", "All operations failed"),
        _ => ("2", "Batch operation partially succeeded."),
    };
    let mut data = String::new();
    push_list(&mut data, results, |out, result| {
        let mut row = Row::open(out);
        row.shown("orderId", result.id.unwrap_or(0))
            .text("clientOrderId", &result.client_id);
        match &result.reject {
            None => row.shown("code", "0").text("msg", text),
            Some(reject) => row.shown("code", reject.code).text("msg", &reject.text),
        };
        row.close();
    });
    Done {
        code,
        text: outer,
        data,
    }
}

/// The object of an accepted TP/SL or trigger order.
fn placed(id_name: &str, ack: &Ack) -> Done {
    let client_id = Some(ack.client_id.as_str()).filter(|id| !id.is_empty());
    let mut data = String::new();
    Row::open(&mut data)
        .shown(id_name, ack.id)
        .or_null("clientOrderId", client_id)
        .null("msg")
        .shown("code", "0")
        .close();
    Done {
        code: "0",
        text: "success",
        data,
    }
}

fn push_algo_row(out: &mut String, id_name: &str, result: &RowResult) {
    let client_id = Some(result.client_id.as_str()).filter(|id| !id.is_empty());
    let mut row = Row::open(out);
    row.or_null(id_name, result.id)
        .or_null("clientOrderId", client_id);
    match &result.reject {
        None => row.shown("code", "0").null("msg"),
        Some(reject) => row
            .shown("code", if reject.code == 102_068 { 500 } else { reject.code })
            .nested("msg", |out| push_text(out, &reject.text)),
    };
    row.close();
}
