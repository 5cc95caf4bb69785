//! The report as one HTML file that needs nothing else: styles and plots are inside it.

use super::plots;
use super::report::{COLUMNS, Report, cells, extra_cells, extra_columns};
use super::tables::Table;
use std::fmt::Write as _;

/// Styles of every report.
pub(super) const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;color:#222;background:#fff;max-width:900px;margin:24px auto;padding:0 16px}\
h1{font-size:22px;margin:0 0 4px}h2{font-size:17px;margin:28px 0 6px}\
table{border-collapse:collapse;font-variant-numeric:tabular-nums;margin:4px 0 12px}\
td,th{padding:2px 10px;text-align:right;border-bottom:1px solid #e8e8e8;white-space:nowrap}\
th{font-weight:600;color:#555}td:first-child,th:first-child{text-align:left}\
.words td{text-align:left;white-space:normal}.words td:first-child{color:#555;white-space:nowrap}\
.pair{display:flex;flex-wrap:wrap;gap:16px}.plot svg{max-width:100%;height:auto;display:block}\
.note{background:#fff6e0;border-left:3px solid #d9a400;padding:4px 10px;margin:4px 0}.wide{overflow-x:auto}";

/// The whole document.
pub fn html(report: &Report) -> String {
    let mut page = String::with_capacity(1 << 18);
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style></head>\
         <body><h1>{title}</h1>",
        title = escaped(&report.title)
    );
    words(
        &mut page,
        report
            .facts
            .iter()
            .map(|(name, value)| (name.as_str(), value.clone())),
    );
    for note in &report.notes {
        let _ = write!(page, "<p class=\"note\">{}</p>", escaped(note));
    }
    page.push_str("<h2>Result</h2>");
    words(&mut page, report.summary().into_iter());
    let curves = &report.curves;
    plot(&mut page, "Equity", &plots::equity(curves));
    plot(&mut page, "Drawdown", &plots::drawdown(curves));
    page.push_str("<div class=\"pair\"><div>");
    plot(
        &mut page,
        "Reliability of the stated probability",
        &plots::reliability(&report.reliability.bins),
    );
    page.push_str("</div><div>");
    plot(&mut page, "Results, R", &plots::results(&curves.results));
    page.push_str("</div></div>");
    for table in &report.tables {
        table_of(&mut page, table);
    }
    page.push_str("</body></html>\n");
    page
}

fn plot(page: &mut String, title: &str, svg: &str) {
    let _ = write!(page, "<h2>{}</h2><div class=\"plot\">{svg}</div>", escaped(title));
}

fn words<'a>(page: &mut String, rows: impl Iterator<Item = (&'a str, String)>) {
    page.push_str("<table class=\"words\">");
    for (name, value) in rows {
        let _ = write!(
            page,
            "<tr><td>{}</td><td>{}</td></tr>",
            escaped(name),
            escaped(&value)
        );
    }
    page.push_str("</table>");
}

fn table_of(page: &mut String, table: &Table) {
    let _ = write!(
        page,
        "<h2>By {}</h2><div class=\"wide\"><table><tr><th>{}</th>",
        escaped(table.by),
        escaped(table.by)
    );
    for name in COLUMNS.iter().chain(extra_columns(table)) {
        let _ = write!(page, "<th>{}</th>", escaped(name));
    }
    page.push_str("</tr>");
    for row in &table.rows {
        let _ = write!(page, "<tr><td>{}</td>", escaped(&row.key));
        for cell in cells(&row.part).iter().chain(&extra_cells(table, row)) {
            let _ = write!(page, "<td>{}</td>", escaped(cell));
        }
        page.push_str("</tr>");
    }
    page.push_str("</table></div>");
}

/// Names come from files that others write.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::trade::Names;
    use super::*;

    #[test]
    fn names_from_files_cannot_become_markup() {
        let title = "<script>alert(1)</script>".to_owned();
        let report = Report::new("backtest", title, Vec::new(), &Names::default(), 1);
        let page = html(&report);
        assert!(!page.contains("<script") && page.contains("&lt;script"));
        assert!(!page.contains("http://") && !page.contains("https://") || page.contains("www.w3.org"));
    }
}
