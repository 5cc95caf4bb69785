//! The private REST endpoints that read orders, TP/SL rows, trigger orders and fills.

use super::core::{Done, LoopbackVenue};
use super::envelope::Reject;
use super::json::{PaddedAmount, Row, push_list};
use super::page::Page;
use super::params::Query;
use super::route::Route;
use super::rows::{List, push_bracket, push_fill, push_order, push_trigger};
use crate::exchange::{AccountId, Bracket, Order, Trigger};
use crate::model::{ClientOrderId, InstrumentId, OrderState, OrderType, Side};

/// What a list was asked to leave out.
struct Filter {
    instrument: Option<InstrumentId>,
    state: Option<OrderState>,
    order_type: Option<OrderType>,
    /// tpslId or algoId.
    id: Option<i64>,
    client_id: Option<ClientOrderId>,
    page: Page,
    /// Rows made later are not shown yet.
    visible_ms: i64,
}

impl Filter {
    fn holds(&self, instrument: InstrumentId, state: OrderState, create_ms: i64) -> bool {
        self.instrument.is_none_or(|id| id == instrument)
            && self.state.is_none_or(|wanted| wanted == state)
            && self.page.holds_ms(create_ms)
            && create_ms <= self.visible_ms
    }

    fn holds_id(&self, id: u64, client_id: &ClientOrderId) -> bool {
        self.id.is_none_or(|wanted| wanted == id as i64)
            && self.client_id.is_none_or(|wanted| wanted == *client_id)
    }
}

impl LoopbackVenue {
    pub(super) fn answer_orders(&mut self, route: Route, key: usize, query: &Query) -> Result<Done, Reject> {
        let account = self.account(key)?;
        let mut out = String::with_capacity(4096);
        match route {
            Route::OrdersPending => {
                let filter = self.filter(query, "orderId")?;
                self.list_orders(
                    self.exchange.orders_open(account),
                    &filter,
                    List::Pending,
                    &mut out,
                );
            }
            Route::OrdersHistory => {
                let filter = self.filter(query, "orderId")?;
                self.list_orders(
                    self.exchange.orders_final(account),
                    &filter,
                    List::History,
                    &mut out,
                );
            }
            Route::TpslPending => {
                let filter = self.filter(query, "tpslId")?;
                self.list_brackets(
                    self.exchange.brackets_open(account),
                    &filter,
                    List::Pending,
                    &mut out,
                );
            }
            Route::TpslHistory => {
                let filter = self.filter(query, "tpslId")?;
                self.list_brackets(
                    self.exchange.brackets_final(account),
                    &filter,
                    List::History,
                    &mut out,
                );
            }
            Route::AlgoPending => {
                let filter = self.algo_filter(query)?;
                self.list_triggers(self.exchange.triggers_open(account), &filter, &mut out);
            }
            Route::AlgoHistory => {
                let filter = self.algo_filter(query)?;
                self.list_triggers(self.exchange.triggers_final(account), &filter, &mut out);
            }
            Route::FillsHistory => self.list_fills(account, query, &mut out)?,
            Route::OrderDetail => self.show_order(account, query, &mut out)?,
            Route::TpslDetail => self.show_bracket(account, query, &mut out)?,
            _ => self.show_price_range(query, &mut out)?,
        }
        Ok(Done::data(out))
    }

    fn filter(&self, query: &Query, id_name: &str) -> Result<Filter, Reject> {
        let parse_state = |text| OrderState::parse(text).ok_or_else(|| Reject::bad("state"));
        let parse_type = |text| OrderType::parse(text).ok_or_else(|| Reject::bad("orderType"));
        let parse_client =
            |text: &str| ClientOrderId::parse(text.as_bytes()).ok_or_else(|| Reject::bad("clientOrderId"));
        Ok(Filter {
            instrument: self.optional_instrument(query)?,
            state: query.text("state").map(parse_state).transpose()?,
            order_type: match query.text("orderType") {
                None | Some("trigger" | "conditional") => None,
                Some(text) => Some(parse_type(text)?),
            },
            id: if id_name == "orderId" {
                None
            } else {
                query.integer(id_name)?
            },
            client_id: query.text("clientOrderId").map(parse_client).transpose()?,
            page: Page::by_id(query)?,
            visible_ms: self.visible_ms(),
        })
    }

    /// Trigger lists must be told the kind, and there is one.
    fn algo_filter(&self, query: &Query) -> Result<Filter, Reject> {
        match query.required("orderType")? {
            "trigger" => self.filter(query, "algoId"),
            _ => Err(Reject::bad("orderType")),
        }
    }

    fn list_orders<'a>(
        &self,
        orders: impl Iterator<Item = &'a Order>,
        filter: &Filter,
        list: List,
        out: &mut String,
    ) {
        let rows = orders
            .filter(|order| filter.holds(order.instrument, order.state, order.create_ms))
            .filter(|order| filter.order_type.is_none_or(|wanted| wanted == order.order_type));
        let rows = filter.page.take(rows, |order| order.id as i64);
        let rows = rows
            .into_iter()
            .filter_map(|order| Some((order, self.instrument(order.instrument)?)));
        push_list(out, rows, |out, (order, instrument)| {
            push_order(out, order, instrument, list)
        });
    }

    fn list_brackets<'a>(
        &self,
        brackets: impl Iterator<Item = &'a Bracket>,
        filter: &Filter,
        list: List,
        out: &mut String,
    ) {
        let rows = brackets
            .filter(|row| filter.holds(row.instrument, row.state, row.create_ms))
            .filter(|row| filter.holds_id(row.id, &row.client_id));
        let rows = filter.page.take(rows, |row| row.id as i64);
        let rows = rows
            .into_iter()
            .filter_map(|row| Some((row, self.instrument(row.instrument)?)));
        push_list(out, rows, |out, (row, instrument)| {
            push_bracket(out, row, instrument, list)
        });
    }

    fn list_triggers<'a>(
        &self,
        triggers: impl Iterator<Item = &'a Trigger>,
        filter: &Filter,
        out: &mut String,
    ) {
        let rows = triggers
            .filter(|row| filter.holds(row.instrument, row.state, row.create_ms))
            .filter(|row| filter.holds_id(row.id, &row.client_id));
        let rows = filter.page.take(rows, |row| row.id as i64);
        let rows = rows
            .into_iter()
            .filter_map(|row| Some((row, self.instrument(row.instrument)?)));
        push_list(out, rows, |out, (row, instrument)| {
            push_trigger(out, row, instrument)
        });
    }

    fn list_fills(&self, account: AccountId, query: &Query, out: &mut String) -> Result<(), Reject> {
        let instrument = self.optional_instrument(query)?;
        let order_id = query.integer("orderId")?;
        let page = Page::by_id(query)?;
        let rows = self
            .exchange
            .fills(account)
            .filter(|fill| instrument.is_none_or(|id| id == fill.instrument))
            .filter(|fill| order_id.is_none_or(|id| id == fill.order_id as i64))
            .filter(|fill| page.holds_ms(fill.time_ms))
            .filter(|fill| fill.time_ms <= self.visible_ms());
        let rows = page.take(rows, |fill| fill.trade_id as i64);
        let rows = rows
            .into_iter()
            .filter_map(|fill| Some((fill, self.instrument(fill.instrument)?)));
        push_list(out, rows, |out, (fill, instrument)| {
            push_fill(out, fill, instrument)
        });
        Ok(())
    }

    /// One order in any state; orderId wins over clientOrderId over algoClientOrderId.
    fn show_order(&self, account: AccountId, query: &Query, out: &mut String) -> Result<(), Reject> {
        let instrument = self.optional_instrument(query)?;
        let client_id = |name: &str| -> Result<Option<ClientOrderId>, Reject> {
            let parse = |text: &str| ClientOrderId::parse(text.as_bytes()).ok_or_else(|| Reject::bad(name));
            query.text(name).map(parse).transpose()
        };
        let order = match (query.integer("orderId")?, client_id("clientOrderId")?) {
            (Some(id), _) => self.exchange.order(account, id as u64),
            (None, Some(id)) => self.exchange.order_by_client(account, &id),
            (None, None) => match client_id("algoClientOrderId")? {
                Some(id) => self.exchange.order_by_algo_client(account, &id),
                None => return Err(Reject::either("orderId", "clientOrderId")),
            },
        };
        let found = order
            .filter(|order| instrument.is_none_or(|id| id == order.instrument))
            .filter(|order| order.create_ms <= self.visible_ms());
        match found.and_then(|order| Some((order, self.instrument(order.instrument)?))) {
            Some((order, instrument)) => push_order(out, order, instrument, List::Pending),
            None => out.push_str("null"),
        }
        Ok(())
    }

    fn show_bracket(&self, account: AccountId, query: &Query, out: &mut String) -> Result<(), Reject> {
        let instrument = self.optional_instrument(query)?;
        let bracket = match (query.integer("tpslId")?, query.text("clientOrderId")) {
            (Some(id), _) => self.exchange.bracket(account, id as u64),
            (None, Some(text)) => {
                let id = ClientOrderId::parse(text.as_bytes()).ok_or_else(|| Reject::bad("clientOrderId"))?;
                self.exchange.bracket_by_client(account, &id)
            }
            (None, None) => return Err(Reject::either("tpslId", "clientOrderId")),
        };
        let found = bracket
            .filter(|row| instrument.is_none_or(|id| id == row.instrument))
            .filter(|row| row.create_ms <= self.visible_ms());
        match found.and_then(|row| Some((row, self.instrument(row.instrument)?))) {
            Some((row, instrument)) => push_bracket(out, row, instrument, List::Pending),
            None => out.push_str("null"),
        }
        Ok(())
    }

    fn show_price_range(&self, query: &Query, out: &mut String) -> Result<(), Reject> {
        let (id, _) = self.find_instrument(query.required("instId")?)?;
        let side = Side::parse(query.required("side")?).ok_or_else(|| Reject::bad("side"))?;
        match self.exchange.price_range(id, side) {
            Some((min, max)) => Row::open(out)
                .shown("maxPrice", PaddedAmount(max))
                .shown("minPrice", PaddedAmount(min))
                .close(),
            None => out.push_str("null"),
        }
        Ok(())
    }
}
