//! The decision clock of `run`: the wall, or the clock of an embedded exchange that runs faster.
//!
//! `exchange --speed 60` tells its clock at `/embedded/clock`. Only an address of this machine is
//! asked; BloFin never is, and any answer but a whole one means the wall clock.

use crate::driver::DecisionClock;
use crate::model::Wall;
use crate::settings::Settings;
use crate::sys::clock::Stamp;
use crate::venue::blofin::target::Target;
use crate::venue::blofin::tls::client_config;
use std::time::Duration;

/// How long the exchange may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The clock to run by; it says so when that is not the wall.
pub fn of(settings: &Settings) -> DecisionClock {
    match ask(settings) {
        Some((anchor, speed)) => {
            eprintln!("clock: the embedded exchange's, {speed} times as fast as the wall");
            DecisionClock::scaled(Stamp::process(), anchor, speed)
        }
        None => DecisionClock::wall(Stamp::process()),
    }
}

fn ask(settings: &Settings) -> Option<(Wall, f64)> {
    let venue = &settings.venue;
    let target = Target::parse("BLOFIN_BASE_URL", &venue.blofin_base_url).ok()?;
    if !matches!(target.host.as_str(), "127.0.0.1" | "localhost" | "::1") {
        return None;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .ok()?;
    let url = format!("{}/embedded/clock", venue.blofin_base_url);
    let config = client_config(venue.blofin_ca_file.as_deref()).ok()?;
    let body = runtime.block_on(async {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured((*config).clone())
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(PATIENCE)
            .build()
            .ok()?;
        client.get(url).send().await.ok()?.text().await.ok()
    })?;
    read(&body)
}

/// Anchor and speed of the answer; `None` for real time and for anything else.
fn read(body: &str) -> Option<(Wall, f64)> {
    let answer: serde_json::Value = serde_json::from_str(body).ok()?;
    let anchor = answer["data"]["anchor"].as_str()?.parse().ok()?;
    let speed = answer["data"]["speed"].as_f64()?;
    let is_scaled = speed.is_finite() && speed > 0.0 && speed != 1.0;
    is_scaled.then_some((Wall(anchor), speed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_answer_is_another_clock() {
        let answer = |speed: &str| {
            format!(
                r#"{{"code":"0","msg":"success","data":{{"anchor":"1700000000000000000","speed":{speed}}}}}"#
            )
        };
        assert_eq!(read(&answer("60")), Some((Wall(1_700_000_000_000_000_000), 60.0)));
        for body in [
            answer("1").as_str(),
            answer("0").as_str(),
            answer("\"60\"").as_str(),
            r#"{"code":"404","msg":"not found"}"#,
            "<html>",
            "",
        ] {
            assert_eq!(read(body), None, "{body}");
        }
    }
}
