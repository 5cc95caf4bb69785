//! The core: an exchange, the keys that open its accounts, the sessions that listen to it.
//!
//! Everything comes in as calls with a venue time, and everything goes out as replies and frames.
//! It never reads a clock, opens a socket or sleeps; the same calls give the same bytes.

use super::auth::{Auth, Clocks, Credential, Stamp};
use super::clock::ScaledClock;
use super::envelope::{Reject, Reply};
use super::fault::{Fault, FaultRule, Faults, Moment};
use super::frames::{Frames, Outgoing, SessionId};
use super::limit::Limiter;
use super::params::{BODY_MAX_BYTES, Query, parse_body};
use super::price_candles::PriceCandles;
use super::route::Route;
use super::session::Sessions;
use super::tap::MarketTap;
use crate::exchange::amount::Amount;
use crate::exchange::{AccountId, Event, Exchange};
use crate::model::message::Tick;
use crate::model::time::{NS_PER_MS, NS_PER_SEC};
use crate::model::{Instrument, InstrumentId, Timeframe, Wall};
use crate::venue::seam::Endpoint;
use serde_json::Value;
use std::collections::BTreeMap;

/// Where the exchange tells its clock, as no real venue does: `{"anchor":"<ns>","speed":60}`.
pub const CLOCK_PATH: &str = "/embedded/clock";
use std::collections::VecDeque;

/// How this venue behaves where the real one leaves a choice.
#[derive(Clone, Debug)]
pub struct LoopbackOptions {
    pub clock: ScaledClock,
    /// Seed of the chances of fault rules.
    pub seed: u64,
    /// Whether calls are limited at all.
    pub call_limits: bool,
    /// Whether a refused single order or cancel comes as `{"code":"1","data":[{…}]}` instead of as
    /// a top-level code; the real venue was seen to do both.
    pub rejects_as_rows: bool,
    /// Venue time between repeated pushes of positions and balance; 0 = only on change.
    pub refresh_ns: u64,
}

impl Default for LoopbackOptions {
    fn default() -> Self {
        LoopbackOptions {
            clock: ScaledClock::real(),
            seed: 1,
            call_limits: true,
            rejects_as_rows: false,
            refresh_ns: 5 * NS_PER_SEC,
        }
    }
}

/// One HTTP call, headers already picked out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Call<'a> {
    pub method: &'a str,
    /// Path and query exactly as sent: they are signed.
    pub path_query: &'a str,
    pub stamp: Stamp<'a>,
    pub body: &'a [u8],
}

/// What a carrier must do with a call that just arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    Execute,
    /// Execute it this much later.
    Hold {
        ns: u64,
    },
    /// The connection cannot even be made.
    Unreachable,
    /// Execute it, and then the same bytes again.
    Twice,
    /// The connection drops; the call is not executed.
    Drop,
    /// This reply goes back; the call is not executed.
    Instead(Reply),
}

/// What became of an executed call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Reply {
        reply: Reply,
        /// Venue time to hold it back.
        hold_ns: u64,
    },
    /// The connection drops before the reply, though the call took effect.
    Lost,
}

/// What a handler gives back: the members of the envelope.
pub(super) struct Done {
    pub code: &'static str,
    pub text: &'static str,
    pub data: String,
}

impl Done {
    pub fn data(data: String) -> Self {
        Done {
            code: "0",
            text: "success",
            data,
        }
    }
}

/// Counts for `demo` and for tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub calls: u64,
    pub rejected: u64,
    pub limited: u64,
    /// Most calls under `/trade/` that one user had in ten seconds.
    pub trade_calls_10s_max: u64,
    pub frames: u64,
    pub faults: u64,
    pub sessions: u64,
    /// Of these on the private endpoint.
    pub private_sessions: u64,
    pub idle_closed: u64,
}

/// The embedded exchange with BloFin's wire.
pub struct LoopbackVenue {
    pub(super) exchange: Exchange,
    pub(super) options: LoopbackOptions,
    pub(super) auth: Auth,
    /// Account of each key, by the key's index in `auth`.
    pub(super) accounts: Vec<AccountId>,
    pub(super) faults: Faults,
    pub(super) sessions: Sessions,
    pub(super) frames: Frames,
    pub(super) now: Wall,
    pub(super) traffic: Traffic,
    pub(super) price_candles: PriceCandles,
    pub(super) refreshed: Wall,
    limiter: Limiter,
    query_lag_ms: i64,
    events: Vec<Event>,
    tap: Option<MarketTap>,
    /// When instruments are listed that are not always.
    listed: BTreeMap<InstrumentId, (Wall, Wall)>,
}

impl LoopbackVenue {
    /// Puts `exchange` behind the wire, without any key yet.
    pub fn new(exchange: Exchange, options: LoopbackOptions) -> Self {
        let limiter = Limiter::new(options.call_limits);
        let now = exchange.now();
        LoopbackVenue {
            faults: Faults::new(options.seed),
            exchange,
            options,
            auth: Auth::default(),
            accounts: Vec::new(),
            sessions: Sessions::default(),
            frames: Frames::default(),
            now,
            traffic: Traffic::default(),
            price_candles: PriceCandles::default(),
            refreshed: now,
            limiter,
            query_lag_ms: 0,
            events: Vec::new(),
            tap: None,
            listed: BTreeMap::new(),
        }
    }

    /// From now on market events are also kept as ticks, for an owner that plays recordings
    /// without the market sockets. `timeframes` are the candles that are wanted; with `depth`, trades,
    /// marks and depth sums of so many levels are wanted too.
    pub fn open_tap(&mut self, timeframes: &[Timeframe], depth: Option<usize>) {
        let tap = MarketTap::open(&mut self.exchange, timeframes, depth);
        self.tap = Some(tap);
    }

    /// The ticks since the last call, oldest first.
    pub fn take_ticks(&mut self, ticks: &mut VecDeque<Tick>) {
        if let Some(tap) = self.tap.as_mut() {
            tap.take(ticks);
        }
    }

    /// Opens an account with `balance` USDT for a key.
    pub fn add_account(&mut self, credential: Credential, balance: Amount) -> AccountId {
        let account = self.exchange.add_account(&credential.key, balance);
        self.auth.insert(credential);
        self.accounts.push(account);
        account
    }

    pub fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    /// For what a test does behind the wire's back: suspensions, cancels by the system, deposits,
    /// market events. The frames that follow go out with the next `advance`.
    pub fn exchange_mut(&mut self) -> &mut Exchange {
        &mut self.exchange
    }

    /// The key's credential, to expire it or to take its permission away.
    pub fn credential_mut(&mut self, key_index: usize) -> Option<&mut Credential> {
        self.auth.credential_mut(key_index)
    }

    pub fn options(&self) -> &LoopbackOptions {
        &self.options
    }

    pub fn add_fault(&mut self, rule: FaultRule) {
        self.faults.add(rule);
    }

    pub fn clear_faults(&mut self) {
        self.faults.clear();
    }

    /// The faults that fired since this was last asked, at most 1,024.
    pub fn take_fault_log(&mut self) -> Vec<(Fault, String)> {
        self.faults.take_log()
    }

    /// From now on reads do not show what is younger than this: the venue's queries lag behind its
    /// matching. 0 = they do not.
    pub fn set_query_lag(&mut self, lag_ns: u64) {
        self.query_lag_ms = (lag_ns / NS_PER_MS) as i64;
    }

    /// Rows made after this are not shown by reads.
    pub(super) fn visible_ms(&self) -> i64 {
        self.now.ms() - self.query_lag_ms
    }

    /// Cuts every session of `endpoint`, and says how many there were.
    pub fn cut_sessions(&mut self, endpoint: Endpoint) -> usize {
        let sessions = self.sessions.iter();
        let cut: Vec<SessionId> = sessions
            .filter(|(_, session)| session.endpoint == endpoint)
            .map(|(id, _)| id)
            .collect();
        for id in &cut {
            self.frames.close(*id);
            self.ws_close(*id);
        }
        cut.len()
    }

    pub fn traffic(&self) -> Traffic {
        Traffic {
            frames: self.frames.sent_count(),
            faults: self.faults.fired_count(),
            trade_calls_10s_max: self.limiter.trade_most() as u64,
            ..self.traffic
        }
    }

    /// Asked once when a call arrives, before `http`; faults that prevent it speak here.
    pub fn admit(&mut self, path_query: &str) -> Admission {
        match self.faults.fire(Moment::Call, path_query) {
            Some(Fault::Unreachable) => Admission::Unreachable,
            Some(Fault::DropBefore) => Admission::Drop,
            Some(Fault::HoldCall { ns }) => Admission::Hold { ns },
            Some(Fault::Twice) => Admission::Twice,
            Some(Fault::TryAgain) => Admission::Instead(Reply::rejected(&Reject::try_again())),
            Some(Fault::GatewayError) => Admission::Instead(Reply::gateway_fault()),
            Some(Fault::TooMany) => Admission::Instead(Reply::too_many()),
            Some(Fault::Forbidden) => Admission::Instead(Reply::forbidden()),
            Some(Fault::InnerError) => Admission::Instead(Reply::success(
                "[{\"orderId\":null,\"tpslId\":null,\"clientOrderId\":null,\"code\":\"500\",\"msg\":\"Internal Server Error\"}]",
            )),
            _ => Admission::Execute,
        }
    }

    /// Executes one call that reached the venue at `now` from the address `peer`.
    pub fn http(&mut self, now: Wall, peer: u64, call: &Call<'_>) -> Answer {
        self.advance(now);
        self.traffic.calls += 1;
        let mut reply = self.execute(peer, call);
        self.drain();
        match self.faults.fire(Moment::Reply, call.path_query) {
            Some(Fault::AckLost) => return Answer::Lost,
            Some(Fault::HoldReply { ns }) => return Answer::Reply { reply, hold_ns: ns },
            Some(Fault::GatewayErrorAfter) => reply = Reply::gateway_fault(),
            Some(Fault::TryAgainAfter) => reply = Reply::rejected(&Reject::try_again()),
            Some(Fault::Truncated) => reply.body.truncate(reply.body.len() / 2),
            Some(Fault::DataAsObject) if call.method == "POST" => reply.body = unwrap_single(&reply.body),
            _ => {}
        }
        Answer::Reply { reply, hold_ns: 0 }
    }

    fn execute(&mut self, peer: u64, call: &Call<'_>) -> Reply {
        if !self.limiter.admit_address(self.now, peer) {
            self.traffic.limited += 1;
            return Reply::too_many();
        }
        let (path, query) = call.path_query.split_once('?').unwrap_or((call.path_query, ""));
        if path == CLOCK_PATH {
            let clock = self.options.clock;
            let data = format!(r#"{{"anchor":"{}","speed":{}}}"#, clock.anchor().0, clock.speed());
            return Reply::enveloped("0", "success", &data);
        }
        let done = Route::find(call.method, path).and_then(|route| {
            let account = match route.permission(call.method, path) {
                None => None,
                Some(needs) => {
                    let clocks = self.clocks();
                    Some(self.auth.check(
                        clocks,
                        &call.stamp,
                        call.method,
                        call.path_query,
                        call.body,
                        needs,
                    )?)
                }
            };
            if let (Some(account), true) = (account, path.starts_with("/api/v1/trade/"))
                && !self.limiter.admit_trade(self.now, account)
            {
                self.traffic.limited += 1;
                return Ok(None);
            }
            let query = Query::parse(query);
            let body = match call.method {
                "POST" if call.body.len() > BODY_MAX_BYTES => return Err(Reject::syntax()),
                "POST" => parse_body(call.body)?,
                _ => Value::Null,
            };
            self.answer(route, account.unwrap_or(0), &query, &body).map(Some)
        });
        match done {
            Ok(Some(done)) => Reply::enveloped(done.code, done.text, &done.data),
            Ok(None) => Reply::too_many(),
            Err(reject) => {
                self.traffic.rejected += 1;
                Reply::rejected(&reject)
            }
        }
    }

    /// Plays the market and the sessions on to `now`; times that go back count as the last one.
    pub fn advance(&mut self, now: Wall) {
        self.now = self.now.max(now);
        let mut events = std::mem::take(&mut self.events);
        self.exchange.advance(self.now, &mut events);
        if let Some(tap) = self.tap.as_mut() {
            tap.keep(&events, &self.exchange, self.now);
        }
        self.push_events(&events);
        events.clear();
        self.events = events;
        self.refresh();
        self.close_idle();
    }

    /// Pushes what a command just changed, without playing on.
    pub(super) fn drain(&mut self) {
        let mut events = std::mem::take(&mut self.events);
        self.exchange.drain(&mut events);
        self.push_events(&events);
        events.clear();
        self.events = events;
    }

    /// The next venue time at which something happens without a call.
    pub fn next_event(&mut self) -> Option<Wall> {
        let idle = self
            .sessions
            .next_idle()
            .map(|wall| self.options.clock.venue_at(wall));
        [self.exchange.next_event(), idle, self.next_refresh()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Hands over every frame since the last call.
    pub fn take_frames(&mut self, take: &mut impl FnMut(SessionId, Outgoing<'_>)) {
        self.frames.drain(take);
    }

    pub fn now(&self) -> Wall {
        self.now
    }

    pub(super) fn clocks(&self) -> Clocks {
        Clocks {
            venue: self.now,
            wall: self.options.clock.wall_at(self.now),
        }
    }

    pub(super) fn instrument(&self, id: InstrumentId) -> Option<&Instrument> {
        self.exchange.instruments().get(id)
    }

    pub(super) fn account(&self, key_index: usize) -> Result<AccountId, Reject> {
        self.accounts
            .get(key_index)
            .copied()
            .ok_or(Reject::new(401, "Invalid signature."))
    }

    /// Lists `symbol` from `from` on and until `until`, instead of always; false for one that the
    /// market does not have.
    pub fn schedule(&mut self, symbol: &str, from: Option<Wall>, until: Option<Wall>) -> bool {
        let Some(id) = self.exchange.instruments().id_of(symbol.as_bytes()) else {
            return false;
        };
        let times = self.listed.entry(id).or_insert((Wall(0), Wall(u64::MAX)));
        *times = (from.unwrap_or(times.0), until.unwrap_or(times.1));
        true
    }

    /// Whether the venue shows the instrument now.
    pub(super) fn is_listed(&self, instrument: InstrumentId) -> bool {
        let times = self.listed.get(&instrument);
        times.is_none_or(|(from, until)| *from <= self.now && self.now < *until)
    }

    /// The instrument with this symbol, 152014 when there is none.
    pub(super) fn find_instrument(&self, symbol: &str) -> Result<(InstrumentId, Instrument), Reject> {
        let instruments = self.exchange.instruments();
        let id = instruments
            .id_of(symbol.as_bytes())
            .filter(|id| self.is_listed(*id))
            .ok_or_else(Reject::no_instrument)?;
        let instrument = instruments.get(id).ok_or_else(Reject::no_instrument)?;
        Ok((id, *instrument))
    }

    fn answer(&mut self, route: Route, key: usize, query: &Query, body: &Value) -> Result<Done, Reject> {
        use Route::*;
        match route {
            Instruments | Tickers | Books | Trades | MarkPrice | FundingRate | FundingRateHistory
            | Candles | IndexCandles | MarkPriceCandles | PositionTiers => self.answer_market(route, query),
            AssetBalances | AssetCurrencies | AssetBills | AssetHistory | DemoMoney | AccountConfig
            | AccountBalance | Positions | PositionsHistory | MarginMode | SetMarginMode | PositionMode
            | SetPositionMode | LeverageInfo | BatchLeverageInfo | SetLeverage | FundingFees
            | QueryApiKey => self.answer_account(route, key, query, body),
            PlaceOrder | PlaceBatch | PlaceTpsl | PlaceAlgo | CancelOrder | CancelBatch | CancelTpsl
            | CancelAlgo | AmendTpsl | ClosePosition => self.answer_trade(route, key, body),
            OrdersPending | OrdersHistory | OrderDetail | TpslPending | TpslHistory | TpslDetail
            | AlgoPending | AlgoHistory | FillsHistory | PriceRange => self.answer_orders(route, key, query),
        }
    }
}

/// `data` of one row as the row itself; anything else stays as it is.
fn unwrap_single(body: &str) -> String {
    let parsed = serde_json::from_str::<Value>(body).ok();
    let single = parsed.and_then(|mut value| match value.get_mut("data") {
        Some(Value::Array(rows)) if rows.len() == 1 => {
            let row = rows.remove(0);
            value["data"] = row;
            Some(value.to_string())
        }
        _ => None,
    });
    single.unwrap_or_else(|| body.to_owned())
}
