//! Signed requests of commands that have no stages: what `doctor` asks, and what a run asks before it begins.

use super::{Finding, venue};
use crate::driver::DecisionClock;
use crate::settings::Venue;
use crate::venue::blofin::bans::Refusal;
use crate::venue::blofin::sign::{Credentials, NonceSource, Signer};
use serde_json::Value;

/// Why a read brought nothing.
#[derive(Debug)]
pub(in crate::app) struct ReadTrouble {
    pub fact: String,
    pub refusal: Option<Refusal>,
}

/// Signed requests, one at a time.
pub(in crate::app) struct Api {
    client: reqwest::Client,
    base_url: String,
    credentials: Credentials,
    signer: Signer,
    nonces: NonceSource,
    clock: DecisionClock,
}

impl Api {
    pub(in crate::app) fn new(
        venue: &Venue,
        credentials: &Credentials,
        clock: DecisionClock,
    ) -> Result<Self, Finding> {
        // The daemon's nonces begin with its run number; the clock's low half is none of them soon.
        let epoch = (clock.now().ms() as u32) | 1 << 31;
        Ok(Api {
            client: super::venue::client(venue.blofin_ca_file.as_deref())?,
            base_url: venue.blofin_base_url.clone(),
            credentials: Credentials {
                key: credentials.key.clone(),
                secret: credentials.secret.clone(),
                passphrase: credentials.passphrase.clone(),
            },
            signer: Signer::new(credentials.secret.as_bytes()),
            nonces: NonceSource::new(epoch, u32::MAX),
            clock,
        })
    }

    /// The venue's code and data; a finding when there was no answer to read.
    pub(super) async fn call(
        &mut self,
        name: &'static str,
        path: &str,
        body: Option<&str>,
    ) -> Result<(i64, Value), Finding> {
        let (status, value) = self.answer(name, path, body).await?;
        let advice = "try again; see the venue's status page";
        let value = value
            .ok_or_else(|| Finding::fail(name, format!("{path} answered {status} and no JSON"), advice))?;
        let code = number(&value["code"]).unwrap_or(i64::from(status));
        Ok((code, value["data"].clone()))
    }

    /// The status of the answer, and its JSON if it is any.
    async fn answer(
        &mut self,
        name: &'static str,
        path: &str,
        body: Option<&str>,
    ) -> Result<(u16, Option<Value>), Finding> {
        let method = if body.is_some() { "POST" } else { "GET" };
        let time = self.clock.now().ms().to_string();
        let nonce = self.nonces.next_nonce();
        let text = body.unwrap_or("");
        let sign = self.signer.sign(
            path.as_bytes(),
            method.as_bytes(),
            time.as_bytes(),
            &nonce,
            text.as_bytes(),
        );
        let url = format!("{}{path}", self.base_url);
        let request = match body {
            Some(text) => self.client.post(url).body(text.to_owned()),
            None => self.client.get(url),
        };
        let answer = request
            .header("ACCESS-KEY", &self.credentials.key)
            .header("ACCESS-PASSPHRASE", &self.credentials.passphrase)
            .header("ACCESS-TIMESTAMP", time)
            .header("ACCESS-NONCE", &nonce[..])
            .header("ACCESS-SIGN", &sign[..])
            .header("Content-Type", "application/json")
            .send()
            .await;
        let fail = |fault: String| Finding::fail(name, fault, "try again; see the venue's status page");
        let answer = answer.map_err(|fault| fail(venue::innermost(&fault)))?;
        let status = answer.status().as_u16();
        let bytes = answer
            .bytes()
            .await
            .map_err(|fault| fail(venue::innermost(&fault)))?;
        Ok((status, serde_json::from_slice(&bytes).ok()))
    }

    /// The data of a good answer, with what matters to a program that must go on: whether the venue refuses
    /// to serve us at all.
    pub(in crate::app) async fn read(&mut self, path: &str) -> Result<Value, ReadTrouble> {
        let trouble = |fact: String, refusal| ReadTrouble { fact, refusal };
        let (status, value) = match self.answer("read", path, None).await {
            Ok(answer) => answer,
            Err(finding) => return Err(trouble(finding.fact, None)),
        };
        let code = value.as_ref().and_then(|value| number(&value["code"]));
        if let Some(refusal) = Refusal::of(status, code) {
            let number = if refusal.is_ban() { 403 } else { 429 };
            return Err(trouble(format!("the venue answered {number}"), Some(refusal)));
        }
        match (status, code) {
            (200, Some(0)) => Ok(value.map_or(Value::Null, |mut value| value["data"].take())),
            (_, Some(code)) => Err(trouble(format!("the venue answered {code}"), None)),
            (status, None) => Err(trouble(format!("the venue answered {status} and no JSON"), None)),
        }
    }

    /// The data of a good answer.
    pub(super) async fn get(&mut self, name: &'static str, path: &str) -> Result<Value, Finding> {
        match self.call(name, path, None).await? {
            (0, data) => Ok(data),
            (code, _) => Err(Finding::fail(
                name,
                format!("the venue answered {code}"),
                advice_of(code),
            )),
        }
    }
}

/// A whole number, written as one or as text.
pub(super) fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

/// What to do about a code of the venue.
pub(super) fn advice_of(code: i64) -> &'static str {
    match code {
        152_401 => "check BLOFIN_API_KEY: the venue does not know it",
        152_402 => "the key has expired: make a new one, bound to this machine's address",
        152_405 => "set this machine's clock: start chrony or systemd-timesyncd",
        152_406 => "add this machine's address to the key's list",
        152_408 => "check BLOFIN_API_PASSPHRASE",
        401 | 152_409 => "check BLOFIN_API_SECRET",
        152_404 => "give the key the READ permission",
        429 => "too many requests from this address; wait",
        _ => "see the venue's list of codes",
    }
}
