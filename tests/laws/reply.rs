//! Every kind of reply: two bytes choose the status and the kind, the rest is the body. Nothing but a
//! complete success is `Accepted`.

use super::{NOW_MS, instruments};
use bytemuck::Zeroable;
use smart_scanner::model::Instruments;
use smart_scanner::model::message::{AccountEvent, FetchRequest, OrderCommand, Outcome};
use smart_scanner::venue::blofin::codec::Window;
use smart_scanner::venue::blofin::codec::rows;
use smart_scanner::venue::blofin::reply::ReplyReader;
use smart_scanner::venue::blofin::request::Cursor;
use std::cell::RefCell;

thread_local! {
    static STATE: RefCell<(ReplyReader, Instruments)> = RefCell::new((ReplyReader::new(), instruments()));
}

pub fn check(bytes: &[u8]) {
    let Some(([status, kind], body)) = bytes.split_first_chunk() else {
        return;
    };
    let status = [200, 200, 200, 201, 400, 403, 429, 500][usize::from(status % 8)];
    STATE.with_borrow_mut(|(reader, instruments)| {
        let reply = reader.classify(status, body, &command(kind % 10));
        assert_eq!(reply.outcome == Outcome::Accepted, reply.reason.is_none());
        if reply.outcome == Outcome::Accepted {
            assert!(
                status < 300 && is_success(body),
                "{}",
                String::from_utf8_lossy(body)
            );
        }
        let cursor = Cursor {
            after: u64::from(*kind) * 7,
            part: kind % 4,
        };
        let request = request(kind % 13);
        let _ = reader.read_list(status, body, &request, cursor, instruments, NOW_MS);
        let _ = reader.read_instruments(status, body);
        let window = Window::around(NOW_MS);
        let _ = reader.read_tickers(status, body, instruments, &window);
    });
}

/// Whether a reader of JSON that is not ours finds a complete success: the code 0 outside, and in every row
/// that has one.
fn is_success(body: &[u8]) -> bool {
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(body) else {
        return false;
    };
    let is_zero = |code: &serde_json::Value| code == "0" || code == 0;
    let rows = match &value["data"] {
        serde_json::Value::Array(rows) => rows.as_slice(),
        row => std::slice::from_ref(row),
    };
    is_zero(&value["code"]) && rows.iter().filter_map(|row| row.get("code")).all(is_zero)
}

fn command(kind: u8) -> OrderCommand {
    let empty: AccountEvent = rows::event(smart_scanner::model::message::AccountKind::Order);
    OrderCommand {
        header: empty.header,
        call: 1,
        signal: 0,
        kind,
        lane: 1,
        side: 1,
        order_type: 1,
        position_side: 1,
        margin_mode: 1,
        reduce_only: 0,
        trigger_type: 0,
        instrument: 0,
        leverage: 1,
        zero: 0,
        price_ticks: 1,
        size_lots: 1,
        tp_ticks: 0,
        sl_ticks: 0,
        venue_id: 0,
        client_id: empty.client_id,
        expires_ns: 0,
        zero_2: [0; 14],
    }
}

fn request(list: u8) -> FetchRequest {
    let command = command(1);
    FetchRequest {
        header: command.header,
        list,
        lane: 1,
        token: 1,
        limit: 2,
        client_id: command.client_id,
        ..FetchRequest::zeroed()
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let bodies = [
        r#"{"code":"0","msg":"","data":[{"orderId":"1000147281717","clientOrderId":"","code":"0","msg":"Order placed"}]}"#,
        r#"{"code":"1","msg":"All operations failed","data":[{"orderId":"0","clientOrderId":"","msg":"x","code":"102014"}]}"#,
        r#"{"code":500,"data":{},"detailMsg":"","error_code":"500","msg":"Internal Server Error"}"#,
        r#"{"code":"0","data":[["1771372800000","10","12","9","11","5","5","55","1"]]}"#,
        "<html>502</html>",
    ];
    let heads = (0..13).map(|kind| [kind % 8, kind]);
    heads
        .flat_map(|head| bodies.map(|body| [head.as_slice(), body.as_bytes()].concat()))
        .collect()
}
