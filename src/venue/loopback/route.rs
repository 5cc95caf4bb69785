//! Which endpoint a method and a path name, and what it takes to call it.

use super::auth::Permission;
use super::envelope::Reject;

/// Every endpoint of the venue's futures API that the exchange serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    Instruments,
    Tickers,
    Books,
    Trades,
    MarkPrice,
    FundingRate,
    FundingRateHistory,
    Candles,
    IndexCandles,
    MarkPriceCandles,
    PositionTiers,
    AssetBalances,
    AssetCurrencies,
    AssetBills,
    AssetHistory,
    DemoMoney,
    AccountConfig,
    AccountBalance,
    Positions,
    PositionsHistory,
    MarginMode,
    SetMarginMode,
    PositionMode,
    SetPositionMode,
    LeverageInfo,
    BatchLeverageInfo,
    SetLeverage,
    FundingFees,
    PlaceOrder,
    PlaceBatch,
    PlaceTpsl,
    PlaceAlgo,
    CancelOrder,
    CancelBatch,
    CancelTpsl,
    CancelAlgo,
    AmendTpsl,
    ClosePosition,
    OrdersPending,
    OrdersHistory,
    OrderDetail,
    TpslPending,
    TpslHistory,
    TpslDetail,
    AlgoPending,
    AlgoHistory,
    FillsHistory,
    PriceRange,
    QueryApiKey,
}

const GET: &str = "GET";
const POST: &str = "POST";

/// Every route: method, path below `/api/v1/`, route.
const TABLE: [(&str, &str, Route); 50] = [
    (GET, "market/instruments", Route::Instruments),
    (GET, "market/tickers", Route::Tickers),
    (GET, "market/books", Route::Books),
    (GET, "market/trades", Route::Trades),
    (GET, "market/mark-price", Route::MarkPrice),
    (GET, "market/funding-rate", Route::FundingRate),
    (GET, "market/funding-rate-history", Route::FundingRateHistory),
    (GET, "market/candles", Route::Candles),
    (GET, "market/index-candles", Route::IndexCandles),
    (GET, "market/mark-price-candles", Route::MarkPriceCandles),
    (GET, "market/position-tiers", Route::PositionTiers),
    (GET, "asset/balances", Route::AssetBalances),
    (GET, "asset/currencies", Route::AssetCurrencies),
    (GET, "asset/bills", Route::AssetBills),
    (GET, "asset/withdrawal-history", Route::AssetHistory),
    (GET, "asset/deposit-history", Route::AssetHistory),
    (POST, "asset/demo-apply-money", Route::DemoMoney),
    (GET, "account/config", Route::AccountConfig),
    (GET, "account/balance", Route::AccountBalance),
    (GET, "account/positions", Route::Positions),
    (GET, "account/positions-history", Route::PositionsHistory),
    (GET, "account/margin-mode", Route::MarginMode),
    (POST, "account/set-margin-mode", Route::SetMarginMode),
    (GET, "account/position-mode", Route::PositionMode),
    (POST, "account/set-position-mode", Route::SetPositionMode),
    (GET, "account/leverage-info", Route::LeverageInfo),
    (GET, "account/batch-leverage-info", Route::BatchLeverageInfo),
    (POST, "account/set-leverage", Route::SetLeverage),
    (GET, "account/funding-fees", Route::FundingFees),
    (POST, "trade/order", Route::PlaceOrder),
    (POST, "trade/batch-orders", Route::PlaceBatch),
    (POST, "trade/order-tpsl", Route::PlaceTpsl),
    (POST, "trade/order-algo", Route::PlaceAlgo),
    (POST, "trade/cancel-order", Route::CancelOrder),
    (POST, "trade/cancel-batch-orders", Route::CancelBatch),
    (POST, "trade/cancel-tpsl", Route::CancelTpsl),
    (POST, "trade/cancel-algo", Route::CancelAlgo),
    (POST, "trade/amend-tpsl", Route::AmendTpsl),
    (POST, "trade/close-position", Route::ClosePosition),
    (GET, "trade/orders-pending", Route::OrdersPending),
    (GET, "trade/orders-history", Route::OrdersHistory),
    (GET, "trade/order-detail", Route::OrderDetail),
    (GET, "trade/orders-tpsl-pending", Route::TpslPending),
    (GET, "trade/orders-tpsl-history", Route::TpslHistory),
    (GET, "trade/order-tpsl-detail", Route::TpslDetail),
    (GET, "trade/orders-algo-pending", Route::AlgoPending),
    (GET, "trade/orders-algo-history", Route::AlgoHistory),
    (GET, "trade/fills-history", Route::FillsHistory),
    (GET, "trade/order/price-range", Route::PriceRange),
    (GET, "user/query-apikey", Route::QueryApiKey),
];

impl Route {
    /// The route, or 404 for an unknown path and 405 for a known one with another method.
    pub fn find(method: &str, path: &str) -> Result<Route, Reject> {
        let not_found = || Reject::new(404, "not found");
        let below = path.strip_prefix("/api/v1/").ok_or_else(not_found)?;
        let mut known_path = false;
        for (its_method, its_path, route) in TABLE {
            if its_path == below {
                if its_method == method {
                    return Ok(route);
                }
                known_path = true;
            }
        }
        Err(if known_path {
            Reject::new(405, "Method Not Allowed")
        } else {
            not_found()
        })
    }

    /// What a key needs to call it, `None` for public market data.
    pub fn permission(self, method: &str, path: &str) -> Option<Permission> {
        if path.starts_with("/api/v1/market/") {
            None
        } else if method == POST {
            Some(Permission::Trade)
        } else {
            Some(Permission::Read)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_paths_and_wrong_verbs_have_their_codes() {
        let code = |method, path| Route::find(method, path).map_err(|reject| reject.code);
        assert_eq!(code("GET", "/api/v1/market/tickers"), Ok(Route::Tickers));
        assert_eq!(code("POST", "/api/v1/market/tickers"), Err(405));
        assert_eq!(code("GET", "/api/v1/market/ticker"), Err(404));
        assert_eq!(code("GET", "/"), Err(404));
    }
}
