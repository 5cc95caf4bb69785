//! What a calibration came to, as text and as one HTML file that needs nothing else.

use super::measures::Measures;
use super::rows::Read;
use super::train::Trained;
use super::verdict::{Part, Verdict};
use crate::research::plots;
use crate::research::report_html::{STYLE, escaped};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Names of the columns of measures.
const COLUMNS: [&str; 8] = ["n", "won", "mean p", "Brier", "skill", "log-loss", "AUC", "ECE"];

/// Everything that a report tells.
pub struct Page<'a> {
    pub title: String,
    pub read: &'a Read,
    pub trained: &'a Trained,
    pub verdict: &'a Verdict,
    /// Lines about the input and the old file.
    pub notes: &'a [String],
    /// What was done in the end.
    pub outcome: String,
}

/// A table of words: a title, columns, rows.
struct Table {
    title: &'static str,
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
    /// Sentences rather than numbers.
    is_words: bool,
}

fn cells(measures: &Measures) -> [String; 8] {
    [
        measures.n.to_string(),
        format!("{:.3}", measures.base_rate),
        format!("{:.3}", measures.mean_prob),
        format!("{:.4}", measures.brier),
        format!("{:+.4}", measures.brier_skill),
        format!("{:.4}", measures.log_loss),
        format!("{:.3}", measures.auc),
        format!("{:.4}", measures.ece),
    ]
}

fn of_parts(title: &'static str, first: &str, parts: &[Part]) -> Table {
    let row = |part: &Part| {
        let measures = cells(&part.measures);
        std::iter::once(part.name.clone()).chain(measures).collect()
    };
    Table {
        title,
        columns: std::iter::once(first).chain(COLUMNS).map(str::to_owned).collect(),
        rows: parts.iter().map(row).collect(),
        is_words: false,
    }
}

impl Page<'_> {
    /// One line for each fact about rows and fit.
    fn facts(&self) -> Vec<(&'static str, String)> {
        let (read, trained) = (self.read, self.trained);
        let split = &trained.split;
        let tried: Vec<String> = trained
            .tried
            .iter()
            .map(|(lambda, loss)| format!("{lambda}: {loss:.5}"))
            .collect();
        vec![
            (
                "labelled signals",
                format!(
                    "{} ({} train, {} validate, {} test; {} purged, {} embargoed)",
                    read.rows.len(),
                    split.train.len(),
                    split.validation.len(),
                    split.test.len(),
                    split.purged_count,
                    split.embargoed_count
                ),
            ),
            (
                "left out",
                format!(
                    "{} signals without an end, {} labels without their signal, {} without R and {} signals without \
                     features (lines of the Python scanner), {} webhook alerts",
                    read.unlabelled_count,
                    read.orphan_count,
                    read.resultless_count,
                    read.featureless_count,
                    read.alert_count
                ),
            ),
            (
                "penalty λ",
                format!("{} (validation log-loss {})", trained.lambda, tried.join(", ")),
            ),
            ("recalibration", trained.recalibration.to_owned()),
            (
                "slope",
                self.verdict
                    .slope
                    .map_or("none".to_owned(), |slope| format!("{slope:.3}")),
            ),
        ]
    }

    fn tables(&self) -> Vec<Table> {
        let (trained, verdict) = (self.trained, self.verdict);
        let number = |value: f64| format!("{value:.6}");
        let reliability = verdict.reliability.iter().map(|bin| {
            vec![
                bin.trades.to_string(),
                format!("{:.3}", bin.mean_prob),
                format!("{:.3}", bin.observed),
                format!("{:.3} … {:.3}", bin.low, bin.high),
            ]
        });
        let coefficients = trained.chosen.iter().map(|(chosen, coefficient)| {
            vec![
                chosen.name().to_owned(),
                number(*coefficient),
                number(chosen.low),
                number(chosen.high),
                number(chosen.mean),
            ]
        });
        let mut left_out: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, why) in &trained.left_out {
            left_out.entry(why).or_default().push(name);
        }
        let left_out = left_out
            .into_iter()
            .map(|(why, names)| vec![why.to_owned(), names.join(", ")]);
        let checks = verdict.checks.iter().map(|check| {
            let passed = if check.passed { "yes" } else { "NO" };
            vec![passed.to_owned(), check.rule.to_owned(), check.found.clone()]
        });
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        vec![
            Table {
                title: "Rules of acceptance, on the test rows",
                columns: names(&["passed", "rule", "found"]),
                rows: checks.collect(),
                is_words: true,
            },
            of_parts("Models on the test rows", "model", &verdict.models),
            Table {
                title: "Reliability on the test rows",
                columns: names(&["n", "mean p", "observed", "Wilson 95 %"]),
                rows: reliability.collect(),
                is_words: false,
            },
            of_parts("By timeframe", "timeframe", &verdict.by_timeframe),
            of_parts("By regime", "regime", &verdict.by_regime),
            Table {
                title: "Coefficients",
                columns: names(&["feature", "coefficient", "1 %", "99 %", "mean"]),
                rows: coefficients.collect(),
                is_words: false,
            },
            Table {
                title: "Features left out",
                columns: names(&["why", "features"]),
                rows: left_out.collect(),
                is_words: true,
            },
        ]
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n\n", self.title);
        for (name, value) in self.facts() {
            let _ = writeln!(text, "{name:18} {value}");
        }
        for note in self.notes {
            let _ = writeln!(text, "note: {note}");
        }
        for table in self.tables().iter().filter(|table| !table.rows.is_empty()) {
            let _ = writeln!(text, "\n{}", table.title);
            let widths: Vec<usize> = (0..table.columns.len())
                .map(|at| {
                    let cells = table.rows.iter().map(|row| row[at].chars().count());
                    cells
                        .chain([table.columns[at].chars().count()])
                        .max()
                        .unwrap_or(0)
                })
                .collect();
            for row in std::iter::once(&table.columns).chain(&table.rows) {
                let padded: Vec<String> = row
                    .iter()
                    .zip(&widths)
                    .map(|(cell, width)| format!("{cell:width$}"))
                    .collect();
                let _ = writeln!(text, "  {}", padded.join("  ").trim_end());
            }
        }
        let _ = write!(text, "\n{}", self.outcome);
        text
    }

    /// For a browser.
    pub fn html(&self) -> String {
        let mut page = String::with_capacity(1 << 16);
        let title = escaped(&self.title);
        let _ = write!(
            page,
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style></head>\
             <body><h1>{title}</h1><p class=\"note\">{}</p><table class=\"words\">",
            escaped(&self.outcome)
        );
        for (name, value) in self.facts() {
            let _ = write!(
                page,
                "<tr><td>{}</td><td>{}</td></tr>",
                escaped(name),
                escaped(&value)
            );
        }
        page.push_str("</table>");
        for note in self.notes {
            let _ = write!(page, "<p class=\"note\">{}</p>", escaped(note));
        }
        let _ = write!(
            page,
            "<h2>Reliability</h2><div class=\"plot\">{}</div>",
            plots::reliability(&self.verdict.reliability)
        );
        for table in self.tables().iter().filter(|table| !table.rows.is_empty()) {
            let class = if table.is_words { " class=\"words\"" } else { "" };
            let _ = write!(
                page,
                "<h2>{}</h2><div class=\"wide\"><table{class}>",
                escaped(table.title)
            );
            row_of(&mut page, "th", &table.columns);
            for row in &table.rows {
                row_of(&mut page, "td", row);
            }
            page.push_str("</table></div>");
        }
        page.push_str("</body></html>\n");
        page
    }
}

fn row_of(page: &mut String, tag: &str, cells: &[String]) {
    page.push_str("<tr>");
    for cell in cells {
        let _ = write!(page, "<{tag}>{}</{tag}>", escaped(cell));
    }
    page.push_str("</tr>");
}
