//! Where to connect: the three roots of the venue, read from their URLs.

/// One root, ready to be connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// TLS; decided by the scheme alone.
    pub secure: bool,
    /// Name or address, without brackets.
    pub host: String,
    pub port: u16,
    /// Begins with `/` or is empty; never ends with `/`.
    pub path: String,
}

/// A URL that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} {url:?} is not usable: {text}; write it as {example}")]
pub struct TargetFault {
    pub key: &'static str,
    pub url: String,
    pub text: &'static str,
    pub example: &'static str,
}

impl Target {
    /// Reads `http(s)://` or `ws(s)://host[:port][/path]`, named `key` in the settings.
    pub fn parse(key: &'static str, url: &str) -> Result<Target, TargetFault> {
        let fault = |text| TargetFault {
            key,
            url: url.to_owned(),
            text,
            example: "https://openapi.blofin.com or wss://openapi.blofin.com/ws/public",
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(|| fault("it has no scheme"))?;
        let secure = match scheme {
            "https" | "wss" => true,
            "http" | "ws" => false,
            _ => return Err(fault("the scheme is not https, http, wss or ws")),
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => (&rest[..at], rest[at..].trim_end_matches('/')),
            None => (rest, ""),
        };
        if authority.contains('@') {
            return Err(fault("it holds a user name, which would be sent to the venue"));
        }
        if path.contains(['?', '#', ' ']) || !path.is_ascii() {
            return Err(fault("its path has more than plain segments"));
        }
        let (host, port) = split_port(authority).ok_or_else(|| fault("its port is not a number"))?;
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':');
        if host.is_empty() || !host.bytes().all(allowed) {
            return Err(fault("it names no host"));
        }
        Ok(Target {
            secure,
            host: host.to_owned(),
            port: port.unwrap_or(if secure { 443 } else { 80 }),
            path: path.to_owned(),
        })
    }

    /// Host and port as they stand in a `Host` header; the port only when it is not the scheme's.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        match (self.secure, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }

    /// The URL with a websocket scheme.
    pub fn websocket_url(&self) -> String {
        let scheme = if self.secure { "wss" } else { "ws" };
        let path = if self.path.is_empty() { "/" } else { &self.path };
        format!("{scheme}://{}{path}", self.authority())
    }
}

/// Host and port of `host`, `host:1`, `[::1]` or `[::1]:1`; `None` for a port that is no number.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, rest.strip_prefix(':').or(rest.is_empty().then_some(""))?)
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, port),
            None => (authority, ""),
        },
    };
    if port.is_empty() {
        return Some((host, None));
    }
    Some((host, Some(port.parse().ok()?)))
}

/// The roots of one environment (live, demo, or the embedded exchange).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targets {
    pub rest: Target,
    pub ws_public: Target,
    pub ws_private: Target,
}

impl Targets {
    /// From BLOFIN_BASE_URL, and BLOFIN_WS_PUBLIC and BLOFIN_WS_PRIVATE where they are set.
    pub fn from_urls(
        base: &str,
        ws_public: Option<&str>,
        ws_private: Option<&str>,
    ) -> Result<Targets, TargetFault> {
        let rest = Target::parse("BLOFIN_BASE_URL", base)?;
        let below = |path: &str| Target {
            path: format!("{}{path}", rest.path),
            ..rest.clone()
        };
        let ws_public = match ws_public {
            Some(url) => Target::parse("BLOFIN_WS_PUBLIC", url)?,
            None => below("/ws/public"),
        };
        let ws_private = match ws_private {
            Some(url) => Target::parse("BLOFIN_WS_PRIVATE", url)?,
            None => below("/ws/private"),
        };
        Ok(Targets {
            rest,
            ws_public,
            ws_private,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn websocket_roots_follow_from_the_base() {
        let targets = Targets::from_urls("https://openapi.blofin.com/", None, None).expect("targets");
        assert_eq!(targets.rest.authority(), "openapi.blofin.com");
        assert_eq!(targets.rest.path, "");
        assert_eq!(
            targets.ws_public.websocket_url(),
            "wss://openapi.blofin.com/ws/public"
        );
        let local =
            Targets::from_urls("http://127.0.0.1:8085", None, Some("wss://[::1]:9/p")).expect("targets");
        assert_eq!(local.ws_public.websocket_url(), "ws://127.0.0.1:8085/ws/public");
        assert_eq!(local.ws_private.websocket_url(), "wss://[::1]:9/p");
        assert_eq!(local.ws_private.host, "::1");
    }

    #[test]
    fn bad_urls_are_refused_with_their_key() {
        for url in [
            "openapi.blofin.com",
            "ftp://a",
            "https://",
            "https://a:b",
            "https://a:70000",
            "https://user@a",
            "https://a/?x",
            "https://a b",
            "https://[::1",
        ] {
            let text = Target::parse("BLOFIN_BASE_URL", url).expect_err(url).to_string();
            assert!(text.starts_with("BLOFIN_BASE_URL"), "{text}");
        }
    }
}
