//! Values that are each in range and still do not fit each other.
//!
//! A conflict is refused when the program would do something else than the settings say, or
//! nothing at all; it is a warning when it only does less than one may expect.

use super::Settings;
use super::fault::SettingsFault;
use super::sections::BanditExplore;
use super::sections::{Gateway, PositionMode};

/// What the checks found.
#[derive(Default)]
pub(super) struct Findings {
    pub faults: Vec<SettingsFault>,
    pub warnings: Vec<String>,
}

impl Findings {
    fn refuse_if(&mut self, is_wrong: bool, text: impl FnOnce() -> String) {
        if is_wrong {
            self.faults.push(SettingsFault::Conflict(text()));
        }
    }

    fn warn_if(&mut self, is_odd: bool, text: impl FnOnce() -> String) {
        if is_odd {
            self.warnings.push(text());
        }
    }
}

/// Checks that hold for every command.
pub(super) fn numbers(settings: &Settings) -> Findings {
    let mut found = Findings::default();
    let (scan, score, trade, bracket) = (
        &settings.scan,
        &settings.score,
        &settings.trade,
        &settings.bracket,
    );
    found.refuse_if(score.regime_chop_adx_max > score.regime_trend_adx_min, || {
        format!(
            "REGIME_CHOP_ADX_MAX={} is above REGIME_TREND_ADX_MIN={}; it is the lower edge of the hysteresis band",
            score.regime_chop_adx_max, score.regime_trend_adx_min
        )
    });
    found.refuse_if(score.score_min > score.score_max, || {
        format!(
            "SCORE_MIN={} is above SCORE_MAX={}; no signal could ever pass",
            score.score_min, score.score_max
        )
    });
    found.refuse_if(
        trade.enable_autotrade && trade.trade_min_score > score.score_max,
        || {
            let (wanted, most) = (trade.trade_min_score, score.score_max);
            format!("TRADE_MIN_SCORE={wanted} is above SCORE_MAX={most}; no signal could ever trade")
        },
    );
    found.refuse_if(scan.bluechip_only && scan.bluechip_bases.is_empty(), || {
        "BLUECHIP_ONLY=1 with an empty BLUECHIP_BASES leaves no instrument; name bases or set BLUECHIP_ONLY=0"
            .to_owned()
    });
    found.refuse_if(trade.trade_notional_usd > trade.trade_max_exposure_usd, || {
        format!(
            "TRADE_NOTIONAL_USD={} is above TRADE_MAX_EXPOSURE_USD={}; no trade would fit",
            trade.trade_notional_usd, trade.trade_max_exposure_usd
        )
    });
    let leverage = f64::from(trade.trading_leverage);
    // A stop must stand inside liquidation, with 40 % to spare for maintenance margin and slippage.
    let stop_bps_max = 0.6 / leverage * 1e4;
    found.refuse_if(bracket.sl_bps > stop_bps_max, || {
        format!(
            "SL_BPS={} at TRADING_LEVERAGE={leverage} stands beyond liquidation; allowed there is at most {stop_bps_max:.0} bps",
            bracket.sl_bps
        )
    });
    let fees_bps = 2.0 * settings.venue.taker_fee_bps;
    found.refuse_if(bracket.tp_bps <= fees_bps, || {
        format!(
            "TP_BPS={} does not exceed two taker fees of {fees_bps} bps; every target would lose",
            bracket.tp_bps
        )
    });
    let margin_usd_max = trade.trade_notional_usd * trade.upsize_max_mult / leverage;
    found.warn_if(trade.enable_autotrade && margin_usd_max < trade.min_initial_margin_usd, || {
        format!(
            "no trade reaches MIN_INITIAL_MARGIN_USD={}: TRADE_NOTIONAL_USD={} raised {} times at TRADING_LEVERAGE={leverage} needs {margin_usd_max:.2} USD",
            trade.min_initial_margin_usd, trade.trade_notional_usd, trade.upsize_max_mult
        )
    });
    found.warn_if(trade.enable_autotrade && !bracket.enable_tpsl, || {
        "ENABLE_TPSL=0: positions are opened without a stop".to_owned()
    });
    let is_net = trade.trading_position_mode == PositionMode::Net;
    found.warn_if(!trade.single_position_per_symbol && is_net, || {
        "SINGLE_POSITION_PER_SYMBOL=0 does nothing with TRADING_POSITION_MODE=net, where an instrument has one position; set long_short for one a side".to_owned()
    });
    found
}

/// Checks of what leaves the machine: orders, credentials.
pub(super) fn outside(settings: &Settings, missing_credentials: &[&'static str]) -> Findings {
    let mut found = Findings::default();
    let trade = &settings.trade;
    let is_live = !trade.paper_trading;
    found.refuse_if(is_live && !trade.live_trading, || {
        "PAPER_TRADING=0 asks for real orders: also set LIVE_TRADING=1 or pass --live, or set PAPER_TRADING=1"
            .to_owned()
    });
    found.refuse_if(is_live && !missing_credentials.is_empty(), || {
        format!(
            "PAPER_TRADING=0 needs {}: set it in the environment or in .env",
            missing_credentials.join(", ")
        )
    });
    let some_missing = (1..3).contains(&missing_credentials.len());
    found.warn_if(!is_live && some_missing, || {
        format!(
            "credentials are incomplete and not used: {} is missing",
            missing_credentials.join(", ")
        )
    });
    found.warn_if(trade.live_trading && trade.paper_trading, || {
        "live trading is allowed, but PAPER_TRADING=1: fills are simulated".to_owned()
    });
    found.refuse_if(
        is_live && settings.score.bandit_explore == BanditExplore::Thompson,
        || "BANDIT_EXPLORE=thompson is for paper only; set mean".to_owned(),
    );
    for (key, url) in [
        ("BLOFIN_BASE_URL", &settings.venue.blofin_base_url),
        ("BLOFIN_WS_PUBLIC", &settings.venue.blofin_ws_public),
        ("BLOFIN_WS_PRIVATE", &settings.venue.blofin_ws_private),
    ] {
        found.refuse_if(is_live && is_plain_and_remote(url), || {
            format!("{key}={url} is not encrypted; real orders need https and wss, except to this machine")
        });
    }
    found
}

/// Checks of the listener for alerts.
pub(super) fn gateway(settings: &Settings) -> Findings {
    let mut found = Findings::default();
    let gateway = &settings.gateway;
    let has_token = settings.secrets.webhook_secret.is_some();
    found.refuse_if(
        gateway.enable_gateway && !has_token && !gateway.webhook_host.is_loopback(),
        || {
            format!(
                "WEBHOOK_HOST={} needs WEBHOOK_SECRET: without one only loopback is bound",
                gateway.webhook_host
            )
        },
    );
    found.refuse_if(
        settings.secrets.webhook_secret_next.is_some() && !has_token,
        || {
            "WEBHOOK_SECRET_NEXT is set without WEBHOOK_SECRET; it is the second token while rotating"
                .to_owned()
        },
    );
    for (key, token) in [
        ("WEBHOOK_SECRET", &settings.secrets.webhook_secret),
        ("WEBHOOK_SECRET_NEXT", &settings.secrets.webhook_secret_next),
    ] {
        let is_short = token.as_ref().is_some_and(|token| token.expose().len() < 32);
        found.warn_if(gateway.enable_gateway && is_short, || {
            format!("{key} is shorter than 32 characters and can be guessed; use 32 random bytes")
        });
    }
    found.warn_if(
        gateway.enable_gateway && has_token && gateway.webhook_host.is_unspecified(),
        || {
            format!(
                "WEBHOOK_HOST={} listens to the whole network without encryption; put a proxy with TLS in front and set WEBHOOK_HOST=127.0.0.1",
                gateway.webhook_host
            )
        },
    );
    for (key, words) in [
        ("WEBHOOK_ALLOW", &gateway.webhook_allow),
        ("WEBHOOK_PROXIES", &gateway.webhook_proxies),
    ] {
        if let Err(word) = Gateway::addresses(words) {
            found.faults.push(SettingsFault::Conflict(format!(
                "{key} holds {word:?}, which is no address; write such as 203.0.113.7 or 2001:db8::7"
            )));
        }
    }
    found
}

/// True for `http` and `ws` addresses that leave this machine.
fn is_plain_and_remote(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://").or_else(|| url.strip_prefix("ws://")) else {
        return false;
    };
    let authority = rest.split('/').next().unwrap_or(rest);
    let (host, _) = super::value::split_port(authority);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_loopback =
        bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    !is_loopback
}
