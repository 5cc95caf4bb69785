//! The user's calibration file: a logistic model over `MODEL_FEATURES`, `{"bias":…,"coef":{…}}`, with
//! optional winsor limits, stand-ins for absent features and an isotonic table; or, without
//! `feature_version`, over `LEGACY_FEATURES`. Parsing only; reading the file is the caller's.

use super::legacy::LEGACY_FEATURES;
use super::probability::{MODEL_FEATURES, ModelInputs, logistic};
use serde_json::{Map, Value};

/// Meaning of `MODEL_FEATURES` as files state it: 1 = directional features carry the side's sign. A
/// file without `feature_version` was made for the Python scanner.
pub const FEATURE_VERSION: u64 = 1;
/// Most points of an isotonic table.
pub const ISOTONIC_MAX: usize = 1024;
/// σ(bias + coef_score × SCORE_MIN) above this is hard to believe.
const SUSPICIOUS_PROBABILITY: f64 = 0.9;

/// Why a calibration file was refused as a whole.
#[derive(Debug, thiserror::Error)]
pub enum CalibrationError {
    #[error("calibration is not JSON: {0}; write {{\"bias\":0,\"coef\":{{\"score\":0.5}}}}")]
    NotJson(#[from] serde_json::Error),
    #[error("calibration key `{key}` must be {allowed}; correct or remove it")]
    BadValue { key: String, allowed: &'static str },
}

/// One feature's part of the model.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Term {
    index: usize,
    coefficient: f64,
    /// Values are clipped into these limits first.
    low: f64,
    high: f64,
    /// What counts when the feature does not exist: its mean in training; without it, nothing.
    absent: Option<f64>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    /// `None` in a file made for the Python scanner.
    feature_version: Option<u64>,
    bias: f64,
    terms: Vec<Term>,
    /// Recalibration: x ascending, y the observed rate; empty = none.
    isotonic: Vec<(f64, f64)>,
}

impl Calibration {
    /// Parses the text of a file. The second value lists what was odd but tolerated, one line each:
    /// unknown coefficients, and a model that promises too much at `score_min`.
    ///
    /// # Errors
    /// When the text is not JSON, or any number in it is missing or not finite.
    pub fn parse(text: &str, score_min: f64) -> Result<(Calibration, Vec<String>), CalibrationError> {
        let root: Value = serde_json::from_str(text)?;
        let root = root.as_object().ok_or_else(|| bad("(root)", "an object"))?;
        let bias = number(root.get("bias"), "bias")?;
        let empty = Map::new();
        let coefficients = object(root.get("coef"), "coef")?.ok_or_else(|| bad("coef", "an object"))?;
        let limits = object(root.get("clip"), "clip")?.unwrap_or(&empty);
        let stand_ins = object(root.get("absent"), "absent")?.unwrap_or(&empty);
        let feature_version = version(root.get("feature_version"))?;
        let names = features_of(feature_version);
        let (mut terms, mut warnings) = (Vec::new(), Vec::new());
        for (name, value) in coefficients {
            let key = format!("coef.{name}");
            let coefficient = number(Some(value), &key)?;
            let Some(index) = names.iter().position(|feature| *feature == name.as_str()) else {
                warnings.push(stranger(&key, name, feature_version));
                continue;
            };
            let (low, high) = clip_of(limits, name)?;
            terms.push(Term {
                index,
                coefficient,
                low,
                high,
                absent: stand_ins
                    .get(name)
                    .map(|value| number(Some(value), &format!("absent.{name}")))
                    .transpose()?,
            });
        }
        let calibration = Calibration {
            feature_version,
            bias,
            terms,
            isotonic: isotonic(root.get("iso"))?,
        };
        let at_score_min = calibration.at_score(score_min);
        if at_score_min > SUSPICIOUS_PROBABILITY {
            warnings.push(format!(
                "calibration gives {at_score_min:.3} at score {score_min}, above {SUSPICIOUS_PROBABILITY}; \
                 train it on your own outcomes"
            ));
        }
        Ok((calibration, warnings))
    }

    /// `feature_version` of the file, `None` for one made for the Python scanner.
    pub fn feature_version(&self) -> Option<u64> {
        self.feature_version
    }

    /// Whether `inputs` must be `legacy_inputs`: the file was made for the Python scanner.
    pub fn is_legacy(&self) -> bool {
        self.feature_version.is_none()
    }

    /// P(net R > 0) in 0.01..=0.99, for inputs of the file's own kind. A feature that is absent contributes what the file's `absent` says,
    /// or else nothing.
    pub fn probability(&self, inputs: &ModelInputs) -> f64 {
        let z = self.terms.iter().fold(self.bias, |z, term| {
            let value = inputs.get(term.index).or(term.absent);
            z + value.map_or(0.0, |value| term.coefficient * value.clamp(term.low, term.high))
        });
        self.recalibrated(logistic(z)).clamp(0.01, 0.99)
    }

    /// Before recalibration, for a signal of which nothing but the score is known.
    fn at_score(&self, score: f64) -> f64 {
        logistic(self.terms.iter().fold(self.bias, |z, term| {
            let is_score = features_of(self.feature_version)[term.index] == "score";
            let value = if is_score { Some(score) } else { term.absent };
            z + value.map_or(0.0, |value| term.coefficient * value)
        }))
    }

    /// Linear between the points of the isotonic table, flat beyond its ends.
    fn recalibrated(&self, probability: f64) -> f64 {
        let (Some(first), Some(last)) = (self.isotonic.first(), self.isotonic.last()) else {
            return probability;
        };
        let above = self.isotonic.partition_point(|(x, _)| *x <= probability);
        if above == 0 {
            return first.1;
        }
        if above == self.isotonic.len() {
            return last.1;
        }
        let ((x0, y0), (x1, y1)) = (self.isotonic[above - 1], self.isotonic[above]);
        y0 + (y1 - y0) * (probability - x0) / (x1 - x0)
    }
}

fn bad(key: &str, allowed: &'static str) -> CalibrationError {
    CalibrationError::BadValue {
        key: key.to_owned(),
        allowed,
    }
}

fn number(value: Option<&Value>, key: &str) -> Result<f64, CalibrationError> {
    value
        .and_then(Value::as_f64)
        .filter(|number| number.is_finite())
        .ok_or_else(|| bad(key, "a finite number"))
}

fn object<'a>(
    value: Option<&'a Value>,
    key: &str,
) -> Result<Option<&'a Map<String, Value>>, CalibrationError> {
    match value {
        None => Ok(None),
        Some(Value::Object(map)) => Ok(Some(map)),
        Some(_) => Err(bad(key, "an object")),
    }
}

fn version(value: Option<&Value>) -> Result<Option<u64>, CalibrationError> {
    let known = |value: &Value| {
        value
            .as_u64()
            .filter(|version| (1..=FEATURE_VERSION).contains(version))
    };
    value
        .map(|value| known(value).ok_or_else(|| bad("feature_version", "1, or absent")))
        .transpose()
}

/// The features that a file of this version is about.
fn features_of(version: Option<u64>) -> &'static [&'static str] {
    match version {
        Some(_) => &MODEL_FEATURES,
        None => &LEGACY_FEATURES,
    }
}

/// What to say of a coefficient that belongs to no feature.
fn stranger(key: &str, name: &str, version: Option<u64>) -> String {
    if version.is_none() && MODEL_FEATURES.contains(&name) {
        return format!(
            "calibration key `{key}` is a feature of this scanner, but without \"feature_version\": 1 the file \
             is read as the Python scanner's, which had none of that name; it is ignored"
        );
    }
    format!("calibration key `{key}` is no feature of this model; it is ignored")
}

fn clip_of(limits: &Map<String, Value>, name: &str) -> Result<(f64, f64), CalibrationError> {
    let Some(limit) = limits.get(name) else {
        return Ok((f64::NEG_INFINITY, f64::INFINITY));
    };
    let key = format!("clip.{name}");
    let low = number(limit.get(0), &key)?;
    let high = number(limit.get(1), &key)?;
    if low > high {
        return Err(bad(&key, "two numbers, the lower first"));
    }
    Ok((low, high))
}

fn isotonic(value: Option<&Value>) -> Result<Vec<(f64, f64)>, CalibrationError> {
    const ALLOWED: &str =
        "{\"x\":[…],\"y\":[…]} of equal length, x strictly and y weakly rising, at most 1024";
    let Some(value) = value else {
        return Ok(Vec::new());
    };
    let list = |key: &str| {
        value
            .get(key)
            .and_then(Value::as_array)
            .ok_or_else(|| bad("iso", ALLOWED))
    };
    let (x, y) = (list("x")?, list("y")?);
    let points: Vec<(f64, f64)> = x
        .iter()
        .zip(y)
        .map(|(x, y)| Ok((number(Some(x), "iso.x")?, number(Some(y), "iso.y")?)))
        .collect::<Result<_, CalibrationError>>()?;
    let rises = points
        .windows(2)
        .all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
    if x.len() != y.len() || x.len() > ISOTONIC_MAX || !rises {
        return Err(bad("iso", ALLOWED));
    }
    Ok(points)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(score: Option<f64>) -> ModelInputs {
        let mut inputs = ModelInputs::default();
        if let Some(score) = score {
            inputs.present = 1;
            inputs.values[0] = score;
        }
        inputs
    }

    fn parse(text: &str) -> Calibration {
        Calibration::parse(text, 3.0).expect("a good file").0
    }

    #[test]
    fn the_users_plain_file_works_and_a_promising_one_warns() {
        let text = r#"{"bias": 0.0, "coef": {"score": 0.8, "moon_phase": 1.0}}"#;
        let (calibration, warnings) = Calibration::parse(text, 3.0).expect("a good file");
        assert!((calibration.probability(&inputs(Some(3.0))) - 0.916_827).abs() < 1e-6);
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].contains("coef.moon_phase") && warnings[1].contains("0.917"));
        assert_eq!(calibration.probability(&inputs(Some(100.0))), 0.99);
    }

    #[test]
    fn an_absent_feature_contributes_nothing_even_with_limits() {
        let calibration = parse(r#"{"bias": 0.4, "coef": {"score": 0.8}, "clip": {"score": [2, 5]}}"#);
        let sigma = |z: f64| 1.0 / (1.0 + (-z).exp());
        assert!((calibration.probability(&inputs(None)) - sigma(0.4)).abs() < 1e-15);
        assert!((calibration.probability(&inputs(Some(0.0))) - sigma(0.4 + 1.6)).abs() < 1e-15);
    }

    #[test]
    fn an_absent_feature_counts_as_the_file_says() {
        let text = r#"{"bias": 0.4, "coef": {"score": 0.8}, "absent": {"score": 3.0}, "feature_version": 1}"#;
        let calibration = parse(text);
        assert_eq!(
            calibration.probability(&inputs(None)),
            calibration.probability(&inputs(Some(3.0)))
        );
        assert_eq!(calibration.feature_version(), Some(1));
        assert_eq!(parse(r#"{"bias": 0, "coef": {}}"#).feature_version(), None);
    }

    #[test]
    fn the_isotonic_table_is_linear_inside_and_flat_outside() {
        let text = r#"{"bias": 0, "coef": {"score": 1}, "iso": {"x": [0.4, 0.6], "y": [0.2, 0.3]}}"#;
        let calibration = parse(text);
        assert!((calibration.probability(&inputs(Some(0.0))) - 0.25).abs() < 1e-12);
        assert_eq!(calibration.probability(&inputs(Some(-9.0))), 0.2);
        assert_eq!(calibration.probability(&inputs(Some(9.0))), 0.3);
    }

    #[test]
    fn a_file_with_one_bad_number_is_refused_whole() {
        for (text, word) in [
            ("{", "not JSON"),
            ("[]", "(root)"),
            (r#"{"coef": {}}"#, "bias"),
            (r#"{"bias": 0}"#, "coef"),
            (r#"{"bias": 0, "coef": {"score": "high"}}"#, "coef.score"),
            (r#"{"bias": 0, "coef": {"score": 1e999}}"#, "not JSON"),
            (
                r#"{"bias": 0, "coef": {"score": 1}, "clip": {"score": [2, 1]}}"#,
                "clip.score",
            ),
            (
                r#"{"bias": 0, "coef": {"score": 1}, "feature_version": 2}"#,
                "feature_version",
            ),
            (
                r#"{"bias": 0, "coef": {"score": 1}, "absent": {"score": null}}"#,
                "absent.score",
            ),
            (
                r#"{"bias": 0, "coef": {"score": 1}, "iso": {"x": [0.5, 0.4], "y": [0, 1]}}"#,
                "iso",
            ),
            (
                r#"{"bias": 0, "coef": {"score": 1}, "iso": {"x": [0.5], "y": [0, 1]}}"#,
                "iso",
            ),
        ] {
            let error = Calibration::parse(text, 3.0).expect_err(text).to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
