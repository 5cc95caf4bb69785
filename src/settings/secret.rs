//! Credentials in memory: wiped when dropped, invisible to every formatter.
//!
//! A `Secret` cannot be cloned, compared or serialised; the only way to its text is `expose`, so
//! that one search finds every place that uses one.

use std::fmt;
use zeroize::Zeroize;

/// A credential. Its bytes are overwritten when it is dropped.
pub struct Secret {
    text: String,
}

impl Secret {
    /// Takes the text over without copying it.
    pub fn new(text: String) -> Self {
        Self { text }
    }

    /// The text itself, for signing and for comparing tokens. Never log or store it.
    pub fn expose(&self) -> &str {
        &self.text
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.text.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// What the venue needs to sign a request; all three or none.
#[derive(Debug)]
pub struct Credentials {
    /// BLOFIN_API_KEY.
    pub api_key: Secret,
    /// BLOFIN_API_SECRET.
    pub api_secret: Secret,
    /// BLOFIN_API_PASSPHRASE.
    pub api_passphrase: Secret,
}

/// Every credential that the settings gave.
#[derive(Debug, Default)]
pub struct Secrets {
    /// The venue account; `None` unless all three parts are set.
    pub credentials: Option<Credentials>,
    /// WEBHOOK_SECRET.
    pub webhook_secret: Option<Secret>,
    /// WEBHOOK_SECRET_NEXT, accepted beside the first while senders change over.
    pub webhook_secret_next: Option<Secret>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_formatter_shows_a_secret() {
        let secret = Secret::new("canary-8f1d".to_owned());
        let shown = format!("{secret} {secret:?} {secret:#?} {secret:>40}");
        assert!(!shown.contains("canary"), "{shown}");
        assert!(shown.contains("[redacted]"));
        assert_eq!(secret.expose(), "canary-8f1d");
    }
}
