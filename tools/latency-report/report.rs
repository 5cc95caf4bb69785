//! From histograms to what is shown: a table for people, JSON for programs, percentile files for
//! plotters. Pure, except for writing those files.

use std::fmt::Write;
use std::path::Path;

use hdrhistogram::Histogram;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use smart_scanner::bus::Bus;
use smart_scanner::bus::BusError;
use smart_scanner::metrics::Snapshot;
use smart_scanner::metrics::latency_file::LatencyFile;
use smart_scanner::metrics::meter::wait_name;
use smart_scanner::metrics::meter::work_name;
use smart_scanner::settings::STAGES;

/// Names under which the time from frame to order may stand.
const TICK_TO_ORDER: [&str; 2] = ["tick_to_order_ns", "tick_to_order"];

/// Steps between two halvings of the rest in a percentile file, as HDR histogram's own tools use.
const TICKS_PER_HALF_DISTANCE: u32 = 5;

/// One histogram with its name.
struct Named {
    name: String,
    counts: Histogram<u64>,
}

/// The two histograms of a stage.
struct Stage {
    name: String,
    wait: Histogram<u64>,
    work: Histogram<u64>,
}

/// Everything that is known of one daemon's latency.
pub struct Report {
    instance: String,
    started_wall_ns: u64,
    stages: Vec<Stage>,
    tick_to_order: Histogram<u64>,
    others: Vec<Named>,
}

impl Report {
    /// From a bus, as it is now.
    pub fn of_bus(bus: &Bus) -> Result<Report, BusError> {
        Ok(Report::of(
            bus.instance(),
            bus.started_wall_ns(),
            &bus.histogram_snapshots()?,
        ))
    }

    /// From a saved file.
    pub fn of_file(file: &LatencyFile) -> Report {
        Report::of(file.instance.clone(), file.started_wall_ns, &file.histograms)
    }

    /// Stages come in the order of the pipeline, then unknown ones by name.
    fn of(instance: String, started_wall_ns: u64, snapshots: &[Snapshot]) -> Report {
        let empty = || smart_scanner::metrics::Histogram::heap().snapshot("").to_hdr();
        let find = |name: &str| snapshots.iter().find(|snapshot| snapshot.name == name);
        let hdr = |name: &str| find(name).map_or_else(empty, Snapshot::to_hdr);
        let mut names: Vec<String> = STAGES.iter().map(|stage| (*stage).to_owned()).collect();
        let mut unknown: Vec<String> = snapshots
            .iter()
            .filter_map(|snapshot| snapshot.name.strip_suffix(&work_name("")).map(str::to_owned))
            .filter(|name| !names.contains(name))
            .collect();
        unknown.sort();
        names.append(&mut unknown);
        names.retain(|name| find(&wait_name(name)).is_some() || find(&work_name(name)).is_some());
        let is_shown = |name: &str| {
            TICK_TO_ORDER.contains(&name)
                || names
                    .iter()
                    .any(|stage| wait_name(stage) == name || work_name(stage) == name)
        };
        let others = snapshots
            .iter()
            .filter(|snapshot| !is_shown(&snapshot.name))
            .map(|snapshot| Named {
                name: snapshot.name.clone(),
                counts: snapshot.to_hdr(),
            })
            .collect();
        let tick_to_order = TICK_TO_ORDER
            .iter()
            .find_map(|name| find(name))
            .map_or_else(empty, Snapshot::to_hdr);
        let stages = names
            .into_iter()
            .map(|name| Stage {
                wait: hdr(&wait_name(&name)),
                work: hdr(&work_name(&name)),
                name,
            })
            .collect();
        Report {
            instance,
            started_wall_ns,
            stages,
            tick_to_order,
            others,
        }
    }

    /// Lines for people: one for each histogram.
    pub fn table(&self) -> String {
        let started = jiff::Timestamp::from_nanosecond(i128::from(self.started_wall_ns)).unwrap_or_default();
        let mut text = format!(
            "instance {}, started {started:.0}\n",
            self.instance.escape_debug()
        );
        let heads = ["", "count", "p50", "p90", "p99", "p99.9", "max"];
        row(&mut text, &heads.map(str::to_owned));
        for stage in &self.stages {
            let name = stage.name.escape_debug();
            row(&mut text, &cells(format!("{name} wait"), &stage.wait));
            row(&mut text, &cells(format!("{name} work"), &stage.work));
        }
        row(&mut text, &cells("tick to order".to_owned(), &self.tick_to_order));
        for other in &self.others {
            row(
                &mut text,
                &cells(other.name.escape_debug().to_string(), &other.counts),
            );
        }
        text
    }

    /// One object; times in ns.
    pub fn json(&self) -> Value {
        let stages: Map<String, Value> = self
            .stages
            .iter()
            .map(|stage| {
                let mut fields = Map::new();
                // A record is counted when its work is done.
                fields.insert("count".to_owned(), json!(stage.work.len()));
                fields.insert("wait_count".to_owned(), json!(stage.wait.len()));
                for (kind, histogram) in [("wait", &stage.wait), ("work", &stage.work)] {
                    for (percentile, value_ns) in percentiles(histogram) {
                        fields.insert(format!("{kind}_{percentile}_ns"), json!(value_ns));
                    }
                }
                (stage.name.clone(), Value::Object(fields))
            })
            .collect();
        let others: Map<String, Value> = self
            .others
            .iter()
            .map(|other| (other.name.clone(), summary(&other.counts)))
            .collect();
        json!({
            "instance": self.instance,
            "started_ms": self.started_wall_ns / 1_000_000,
            "stages": stages,
            "tick_to_order_ns": summary(&self.tick_to_order),
            "others_ns": others,
        })
    }

    /// Writes `<name>.hgrm` for each histogram into `directory`, which is made when missing.
    pub fn write_hgrm(&self, directory: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(directory)?;
        let stages = self.stages.iter().flat_map(|stage| {
            [
                (wait_name(&stage.name), &stage.wait),
                (work_name(&stage.name), &stage.work),
            ]
        });
        let whole = [(TICK_TO_ORDER[0].to_owned(), &self.tick_to_order)];
        let others = self
            .others
            .iter()
            .map(|other| (other.name.clone(), &other.counts));
        for (name, histogram) in stages.chain(whole).chain(others) {
            // A name comes from a file; it must not lead out of the directory.
            let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            let name: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
            std::fs::write(directory.join(format!("{name}.hgrm")), hgrm(histogram))?;
        }
        Ok(())
    }
}

/// The percentiles that are shown, by their JSON names.
fn percentiles(histogram: &Histogram<u64>) -> [(&'static str, u64); 5] {
    [
        ("p50", histogram.value_at_quantile(0.5)),
        ("p90", histogram.value_at_quantile(0.9)),
        ("p99", histogram.value_at_quantile(0.99)),
        ("p999", histogram.value_at_quantile(0.999)),
        ("max", histogram.max()),
    ]
}

fn summary(histogram: &Histogram<u64>) -> Value {
    let mut fields = Map::new();
    fields.insert("count".to_owned(), json!(histogram.len()));
    for (percentile, value_ns) in percentiles(histogram) {
        fields.insert(percentile.to_owned(), json!(value_ns));
    }
    Value::Object(fields)
}

fn cells(name: String, histogram: &Histogram<u64>) -> [String; 7] {
    if histogram.is_empty() {
        return [
            name,
            "0".to_owned(),
            "-".into(),
            "-".into(),
            "-".into(),
            "-".into(),
            "-".into(),
        ];
    }
    let [p50, p90, p99, p999, max] = percentiles(histogram).map(|(_, value_ns)| time_words(value_ns));
    [name, histogram.len().to_string(), p50, p90, p99, p999, max]
}

fn row(text: &mut String, cells: &[String; 7]) {
    let [name, count, p50, p90, p99, p999, max] = cells;
    let line = format!("{name:<18} {count:>12} {p50:>10} {p90:>10} {p99:>10} {p999:>10} {max:>10}");
    text.push_str(line.trim_end());
    text.push('\n');
}

/// A time in the largest unit that keeps it above one, with three digits.
fn time_words(value_ns: u64) -> String {
    let value = value_ns as f64;
    match value_ns {
        0..1_000 => format!("{value_ns} ns"),
        1_000..1_000_000 => format!("{:.2} us", value / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2} ms", value / 1e6),
        _ => format!("{:.2} s", value / 1e9),
    }
}

/// The percentile distribution in the text form of HDR histogram, values in ns.
fn hgrm(histogram: &Histogram<u64>) -> String {
    let mut text = format!(
        "{:>12} {:>14} {:>10} {:>14}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    let mut total: u64 = 0;
    for step in histogram.iter_quantiles(TICKS_PER_HALF_DISTANCE) {
        total += step.count_since_last_iteration();
        let quantile = step.quantile_iterated_to();
        let value = step.value_iterated_to() as f64;
        // Writing to a String cannot fail.
        let _ = if quantile < 1.0 {
            writeln!(
                text,
                "{value:>12.3} {quantile:>14.12} {total:>10} {:>14.2}",
                1.0 / (1.0 - quantile)
            )
        } else {
            writeln!(text, "{value:>12.3} {quantile:>14.12} {total:>10}")
        };
    }
    let (mean, deviation) = (histogram.mean(), histogram.stdev());
    let (max, count) = (histogram.max() as f64, histogram.len());
    let (buckets, values) = (histogram.buckets(), histogram.distinct_values());
    let _ = writeln!(
        text,
        "#[Mean    = {mean:>12.3}, StdDeviation   = {deviation:>12.3}]"
    );
    let _ = writeln!(text, "#[Max     = {max:>12.3}, Total count    = {count:>12}]");
    let _ = writeln!(
        text,
        "#[Buckets = {buckets:>12}, SubBuckets     = {:>12}]",
        sub_buckets(buckets, values)
    );
    text
}

/// Sub-buckets of one bucket: all values but the first half are halves of buckets.
fn sub_buckets(buckets: u8, distinct_values: usize) -> usize {
    2 * distinct_values / (usize::from(buckets) + 1)
}
