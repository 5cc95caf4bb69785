//! The private REST endpoints about money and settings: balances, positions, modes, leverage.

use super::core::{Done, LoopbackVenue};
use super::envelope::Reject;
use super::json::{PlainAmount, Row, push_list};
use super::money_rows::{Face, end_text, push_asset, push_balance, push_position, push_position_history};
use super::page::Page;
use super::params::{Fields, Query};
use super::route::Route;
use crate::exchange::AccountId;
use crate::exchange::amount::Amount;
use crate::model::{InstrumentId, MarginMode, PositionMode, PositionSide};
use serde_json::Value;

/// Most instruments of one `batch-leverage-info`.
const LEVERAGE_SYMBOLS_MAX: usize = 20;
/// Most USDT of one `demo-apply-money`.
const DEMO_MONEY_MAX: i64 = 5_000_000;
const ACCOUNT_TYPES: [&str; 6] = [
    "funding",
    "futures",
    "copy_trading",
    "earn",
    "spot",
    "inverse_contract",
];

impl LoopbackVenue {
    pub(super) fn answer_account(
        &mut self,
        route: Route,
        key: usize,
        query: &Query,
        body: &Value,
    ) -> Result<Done, Reject> {
        let account = self.account(key)?;
        let mut out = String::with_capacity(1024);
        match route {
            Route::AssetBalances => self.show_assets(account, query, &mut out)?,
            Route::AssetCurrencies => push_currency(&mut out),
            // Nothing was ever moved to or from this exchange.
            Route::AssetBills | Route::AssetHistory => out.push_str("[]"),
            Route::DemoMoney => return self.apply_money(account, body),
            Route::AccountConfig => out.push_str("{\"accountLevel\":\"0\"}"),
            Route::AccountBalance => {
                let balance = self.exchange.balance(account);
                push_balance(&mut out, &balance, self.now.ms(), Face::Rest);
            }
            Route::Positions => self.list_positions(account, query, &mut out)?,
            Route::PositionsHistory => self.list_position_history(account, query, &mut out)?,
            Route::MarginMode => push_word(&mut out, "marginMode", self.exchange.margin_mode(account).text()),
            Route::PositionMode => {
                push_word(
                    &mut out,
                    "positionMode",
                    self.exchange.position_mode(account).text(),
                );
            }
            Route::SetMarginMode => {
                let mode = Fields::of(body)?.parsed_required("marginMode", MarginMode::parse)?;
                self.exchange
                    .set_margin_mode(account, mode)
                    .map_err(|code| self.reject_of(code))?;
                push_word(&mut out, "marginMode", mode.text());
            }
            Route::SetPositionMode => {
                let mode = Fields::of(body)?.parsed_required("positionMode", PositionMode::parse)?;
                self.exchange
                    .set_position_mode(account, mode)
                    .map_err(|code| self.reject_of(code))?;
                push_word(&mut out, "positionMode", mode.text());
            }
            Route::LeverageInfo => self.show_leverage(account, query, &mut out)?,
            Route::BatchLeverageInfo => self.list_leverage(account, query, &mut out)?,
            Route::SetLeverage => self.set_leverage(account, body, &mut out)?,
            Route::FundingFees => self.list_funding_fees(account, query, &mut out)?,
            _ => self.show_key(key, &mut out)?,
        }
        Ok(Done::data(out))
    }

    fn show_assets(&self, account: AccountId, query: &Query, out: &mut String) -> Result<(), Reject> {
        let kind = query.required("accountType")?;
        if !ACCOUNT_TYPES.contains(&kind) {
            return Err(Reject::bad("accountType"));
        }
        let is_ours = kind == "futures" && query.text("currency").is_none_or(|currency| currency == "USDT");
        let balance = is_ours.then(|| self.exchange.balance(account));
        push_list(out, balance, |out, balance| push_asset(out, &balance));
        Ok(())
    }

    fn apply_money(&mut self, account: AccountId, body: &Value) -> Result<Done, Reject> {
        let fields = Fields::of(body)?;
        let is_take = match fields.text("adjustType").as_deref() {
            None | Some("0") => false,
            Some("1") => true,
            Some(_) => return Err(Reject::bad("adjustType")),
        };
        let item = fields
            .first_of("demoApplyMoney")?
            .ok_or_else(|| Reject::empty("demoApplyMoney"))?;
        if item.required("currency")? != "USDT" {
            return Err(Reject::bad("currency"));
        }
        let amount: Amount = item
            .required("amountStr")?
            .parse()
            .map_err(|_| Reject::bad("amountStr"))?;
        if amount <= Amount::ZERO || amount > Amount::from(DEMO_MONEY_MAX) {
            return Err(Reject::bad("amountStr"));
        }
        self.exchange
            .deposit(account, if is_take { -amount } else { amount });
        Ok(Done::data("{}".to_owned()))
    }

    fn list_positions(&self, account: AccountId, query: &Query, out: &mut String) -> Result<(), Reject> {
        let filter = self.optional_instrument(query)?;
        let rows = self.exchange.positions(account);
        let rows = rows
            .iter()
            .filter(|row| filter.is_none_or(|id| id == row.instrument))
            .filter(|row| row.create_ms <= self.visible_ms());
        let rows = rows.filter_map(|row| Some((row, self.instrument(row.instrument)?)));
        push_list(out, rows, |out, (row, instrument)| {
            push_position(out, row, instrument, Face::Rest);
        });
        Ok(())
    }

    fn list_position_history(
        &self,
        account: AccountId,
        query: &Query,
        out: &mut String,
    ) -> Result<(), Reject> {
        let filter = self.optional_instrument(query)?;
        let page = Page::by_id(query)?;
        let position = query.integer("positionId")?;
        let state = query.text("state");
        let rows = self
            .exchange
            .position_history(account)
            .filter(|row| filter.is_none_or(|id| id == row.instrument))
            .filter(|row| position.is_none_or(|id| id == row.position_id as i64))
            .filter(|row| state.is_none_or(|state| state == end_text(row.end)))
            .filter(|row| page.holds_ms(row.update_ms));
        let rows = page.take(rows, |row| row.id as i64);
        let rows = rows
            .into_iter()
            .filter_map(|row| Some((row, self.instrument(row.instrument)?)));
        push_list(out, rows, |out, (row, instrument)| {
            push_position_history(out, row, instrument);
        });
        Ok(())
    }

    fn list_funding_fees(&self, account: AccountId, query: &Query, out: &mut String) -> Result<(), Reject> {
        let filter = self.optional_instrument(query)?;
        let page = Page::by_id(query)?;
        let rows = self
            .exchange
            .funding_payments(account)
            .filter(|row| filter.is_none_or(|id| id == row.instrument))
            .filter(|row| page.holds_ms(row.time_ms));
        let rows = page.take(rows, |row| row.id as i64);
        let rows = rows
            .into_iter()
            .filter_map(|row| Some((row, self.instrument(row.instrument)?)));
        push_list(out, rows, |out, (row, instrument)| {
            Row::open(out)
                .shown("billId", row.id)
                .shown("instId", instrument.symbol)
                .shown("currency", "USDT")
                .shown("fundingFee", PlainAmount(row.amount))
                .shown("ts", row.time_ms)
                .close();
        });
        Ok(())
    }

    fn show_leverage(&self, account: AccountId, query: &Query, out: &mut String) -> Result<(), Reject> {
        let (id, instrument) = self.find_instrument(query.required("instId")?)?;
        let mode = margin_mode_of(query)?;
        let leverage = self.exchange.leverage(account, id, mode, PositionSide::Net);
        Row::open(out)
            .shown("leverage", leverage)
            .shown("marginMode", mode.text())
            .shown("instId", instrument.symbol)
            .close();
        Ok(())
    }

    fn list_leverage(&self, account: AccountId, query: &Query, out: &mut String) -> Result<(), Reject> {
        let symbols: Vec<&str> = query.required("instId")?.split(',').collect();
        if symbols.len() > LEVERAGE_SYMBOLS_MAX {
            return Err(Reject::new(
                152_015,
                "Number of instId values exceeds the maximum limit of 20",
            ));
        }
        let mode = margin_mode_of(query)?;
        let is_split = self.exchange.position_mode(account) == PositionMode::LongShort;
        let sides: &[PositionSide] = if is_split && mode == MarginMode::Isolated {
            &[PositionSide::Long, PositionSide::Short]
        } else {
            &[PositionSide::Net]
        };
        let mut rows = Vec::with_capacity(symbols.len() * sides.len());
        for symbol in symbols {
            let (id, instrument) = self.find_instrument(symbol)?;
            rows.extend(sides.iter().map(|side| (id, instrument.symbol, *side)));
        }
        push_list(out, rows, |out, (id, symbol, side)| {
            let leverage = self.exchange.leverage(account, id, mode, side);
            push_leverage(out, leverage, mode, symbol.as_str(), side);
        });
        Ok(())
    }

    fn set_leverage(&mut self, account: AccountId, body: &Value, out: &mut String) -> Result<(), Reject> {
        let fields = Fields::of(body)?;
        let (id, instrument) = self.find_instrument(&fields.required("instId")?)?;
        let mode = fields.parsed_required("marginMode", MarginMode::parse)?;
        let leverage: u16 = fields.parsed_required("leverage", |text| text.parse().ok())?;
        if leverage == 0 || leverage > instrument.max_leverage {
            return Err(Reject::bad("leverage"));
        }
        let side = fields.parsed("positionSide", PositionSide::parse)?;
        let is_split = self.exchange.position_mode(account) == PositionMode::LongShort;
        let side = match side {
            None if is_split && mode == MarginMode::Isolated => return Err(Reject::empty("positionSide")),
            None => PositionSide::Net,
            Some(side) => side,
        };
        self.exchange
            .set_leverage(account, self.now, id, mode, side, leverage)
            .map_err(|code| self.reject_of(code))?;
        push_leverage(out, leverage, mode, instrument.symbol.as_str(), side);
        Ok(())
    }

    fn show_key(&self, key: usize, out: &mut String) -> Result<(), Reject> {
        let credential = self.auth.credential(key).ok_or_else(|| Reject::bad("apiKey"))?;
        Row::open(out)
            .shown("uid", 10_000 + key)
            .text("apiName", "loopback")
            .text("apiKey", &credential.key)
            .raw("readOnly", u8::from(credential.read_only))
            .raw("ips", "[]")
            .raw("type", 1)
            // Keys without bound addresses live for 90 days.
            .shown(
                "expireTime",
                self.exchange.start().ms() + 90 * crate::model::time::MS_PER_DAY,
            )
            .shown("createTime", self.exchange.start().ms())
            .shown("referralCode", "")
            .shown("parentUid", "0")
            .close();
        Ok(())
    }

    pub(super) fn optional_instrument(&self, query: &Query) -> Result<Option<InstrumentId>, Reject> {
        match query.text("instId") {
            None => Ok(None),
            Some(symbol) => self.find_instrument(symbol).map(|(id, _)| Some(id)),
        }
    }
}

fn margin_mode_of(query: &Query) -> Result<MarginMode, Reject> {
    MarginMode::parse(query.required("marginMode")?).ok_or_else(|| Reject::bad("marginMode"))
}

fn push_word(out: &mut String, name: &str, word: &str) {
    Row::open(out).shown(name, word).close();
}

fn push_leverage(out: &mut String, leverage: u16, mode: MarginMode, symbol: &str, side: PositionSide) {
    Row::open(out)
        .shown("leverage", leverage)
        .shown("marginMode", mode.text())
        .shown("instId", symbol)
        .shown("positionSide", side.text())
        .close();
}

/// The one currency; it cannot be moved in or out.
fn push_currency(out: &mut String) {
    push_list(out, [()], |out, ()| {
        Row::open(out)
            .shown("currency", "USDT")
            .shown("chain", "TRC20")
            .shown("depositMinAmount", "1")
            .raw("depositUnsafeConfirmation", 1)
            .raw("depositConfirmation", 1)
            .shown("withdrawMinAmount", "1")
            .shown("withdrawFee", "0")
            .raw("withdrawPrecision", 8)
            .raw("supportMemo", 0)
            .raw("isDepositAvailable", 0)
            .raw("isWithdrawAvailable", 0)
            .raw("recoveryEtaDeposit", 0)
            .raw("recoveryEtaWithdraw", 0)
            .shown("logo", "")
            .close();
    });
}
