//! What goes back over HTTP: the envelope `{"code","msg","data"}`, the rejections that fill it,
//! and the answers that break its rules as the real gateway does.
//!
//! Texts are the venue's own, because clients match on them.

use std::borrow::Cow;

/// A complete HTTP reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    /// JSON, except the firewall's 403, which is HTML.
    pub body: String,
}

/// Why the venue says no: its code and the text beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    pub code: u32,
    pub text: Cow<'static, str>,
}

impl Reject {
    pub const fn new(code: u32, text: &'static str) -> Self {
        Reject {
            code,
            text: Cow::Borrowed(text),
        }
    }

    pub fn with(code: u32, text: String) -> Self {
        Reject {
            code,
            text: Cow::Owned(text),
        }
    }

    /// 152001: a required parameter is missing.
    pub fn empty(name: &str) -> Self {
        Reject::with(152_001, format!("Parameter {name} cannot be empty."))
    }

    /// 152002: a parameter has a value that the venue does not take.
    pub fn bad(name: &str) -> Self {
        Reject::with(152_002, format!("Parameter {name} error."))
    }

    /// 152003: one of two parameters must be there.
    pub fn either(one: &str, other: &str) -> Self {
        Reject::with(152_003, format!("Either parameter {one} or {other} is required."))
    }

    /// 152004: an array where an object is due, the other way round, or no JSON at all.
    pub fn syntax() -> Self {
        Reject::new(
            152_004,
            "JSON syntax error, Please check if the parameter should be an array or an object.",
        )
    }

    /// 152014: no instrument has this symbol.
    pub fn no_instrument() -> Self {
        Reject::new(152_014, "Instrument ID does not exist")
    }

    /// 103013: the venue lost its way; whether the call took effect is not said.
    pub fn try_again() -> Self {
        Reject::new(
            103_013,
            "Internal error; unable to process your request. Please try again.",
        )
    }
}

impl Reply {
    /// `data` is JSON text, put in as it is.
    pub fn success(data: &str) -> Self {
        Reply::enveloped("0", "success", data)
    }

    /// An envelope with any code and text; `data` is JSON text.
    pub fn enveloped(code: &str, text: &str, data: &str) -> Self {
        let mut body = String::with_capacity(data.len() + 48);
        body.push_str("{\"code\":\"");
        body.push_str(code);
        body.push_str("\",\"msg\":");
        push_text(&mut body, text);
        body.push_str(",\"data\":");
        body.push_str(data);
        body.push('}');
        Reply { status: 200, body }
    }

    /// A rejection of the whole call: HTTP 200 and no data.
    pub fn rejected(reject: &Reject) -> Self {
        let mut body = format!("{{\"code\":\"{}\",\"msg\":", reject.code);
        push_text(&mut body, &reject.text);
        body.push('}');
        Reply { status: 200, body }
    }

    pub fn too_many() -> Self {
        Reply {
            status: 429,
            body: "{\"code\":\"429\",\"msg\":\"Too Many Requests\"}".to_owned(),
        }
    }

    /// The gateway's own failure: the code is a number and there are extra members.
    pub fn gateway_fault() -> Self {
        Reply {
            status: 500,
            body: concat!(
                "{\"code\":500,\"data\":{},\"detailMsg\":\"\",\"error_code\":\"500\",",
                "\"error_message\":\"Internal Server Error\",\"msg\":\"Internal Server Error\"}"
            )
            .to_owned(),
        }
    }

    /// What was sent is no HTTP request.
    pub fn bad_request() -> Self {
        Reply {
            status: 400,
            body: "{\"code\":\"400\",\"msg\":\"Bad Request\"}".to_owned(),
        }
    }

    /// The firewall's answer, which is not JSON.
    pub fn forbidden() -> Self {
        Reply {
            status: 403,
            body: "<html><head><title>403 Forbidden</title></head><body><h1>403 Forbidden</h1></body></html>"
                .to_owned(),
        }
    }

    pub fn is_json(&self) -> bool {
        self.body.starts_with('{')
    }
}

/// Appends `text` as a JSON string with its quotes.
pub fn push_text(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            other if u32::from(other) < 0x20 => out.push_str(&format!("\\u{:04x}", u32::from(other))),
            other => out.push(other),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reply_but_the_firewalls_is_json() {
        let replies = [
            Reply::success("[]"),
            Reply::rejected(&Reject::with(60_012, "a \"quoted\"\n text\u{1}".to_owned())),
            Reply::too_many(),
            Reply::gateway_fault(),
        ];
        for reply in replies {
            assert!(reply.is_json());
            serde_json::from_str::<serde_json::Value>(&reply.body).expect("valid JSON");
        }
        assert!(!Reply::forbidden().is_json());
        assert_eq!(
            Reply::rejected(&Reject::bad("bar")).body,
            "{\"code\":\"152002\",\"msg\":\"Parameter bar error.\"}"
        );
    }
}
