//! Owns the text that a scraper reads, in the two formats that are in use.

use std::fmt::Write as _;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// How a scraper wants the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextFormat {
    /// `application/openmetrics-text`, version 1.0.0.
    OpenMetrics,
    /// `text/plain`, version 0.0.4: for everybody who does not ask for the other.
    Plain,
}

impl TextFormat {
    /// As the `Content-Type` of an answer.
    pub fn content_type(self) -> &'static str {
        match self {
            TextFormat::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            TextFormat::Plain => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// One label: name and value.
pub type Label = (&'static str, String);

/// Numbers that are looked up at the moment of a scrape.
#[derive(Debug)]
pub struct Sheet(Registry);

impl Sheet {
    /// An empty one; every name on it gets `prefix_` in front.
    pub fn new(prefix: &str) -> Sheet {
        Sheet(Registry::with_prefix(prefix))
    }

    /// A number that goes up and down.
    pub fn gauge(&mut self, name: &str, help: &str, value: f64) {
        let gauge = Gauge::<f64, AtomicU64>::default();
        gauge.set(value);
        self.0.register(name, help, gauge);
    }

    /// The same by labels. The number of rows must be bounded.
    pub fn gauges(&mut self, name: &str, help: &str, rows: impl IntoIterator<Item = (Vec<Label>, f64)>) {
        let family = Family::<Vec<Label>, Gauge<f64, AtomicU64>>::default();
        for (labels, value) in rows {
            family.get_or_create(&labels).inc_by(value);
        }
        self.0.register(name, help, family);
    }

    /// A number that only goes up while the daemon runs; its name gets `_total` behind it.
    pub fn counter(&mut self, name: &str, help: &str, value: f64) {
        let counter = Counter::<f64, AtomicU64>::default();
        counter.inc_by(value);
        self.0.register(name, help, counter);
    }

    /// The same by labels. The number of rows must be bounded.
    pub fn counters(&mut self, name: &str, help: &str, rows: impl IntoIterator<Item = (Vec<Label>, f64)>) {
        let family = Family::<Vec<Label>, Counter<f64, AtomicU64>>::default();
        for (labels, value) in rows {
            family.get_or_create(&labels).inc_by(value);
        }
        self.0.register(name, help, family);
    }

    /// What does not change; its name gets `_info` behind it.
    pub fn info(&mut self, name: &str, help: &str, labels: Vec<Label>) {
        self.0.register(name, help, Info::new(labels));
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.0
    }
}

/// The registries as one text.
pub(super) fn written<'a>(registries: impl IntoIterator<Item = &'a Registry>, format: TextFormat) -> String {
    let mut text = String::new();
    for registry in registries {
        encode_registry(&mut text, registry).expect("a string can always be written to");
    }
    encode_eof(&mut text).expect("a string can always be written to");
    match format {
        TextFormat::OpenMetrics => text,
        TextFormat::Plain => plain(&text),
    }
}

/// The older format names a counter and an info by its sample, has no type `info`, and no units and end.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut help = "";
    for line in text.lines() {
        let mut write = |line: std::fmt::Arguments<'_>| {
            writeln!(plain, "{line}").expect("a string can always be written to");
        };
        if let Some(rest) = line.strip_prefix("# HELP ") {
            // Its name depends on the type, which stands in the next line.
            help = rest;
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", kind),
                "info" => ("_info", "gauge"),
                _ => ("", kind),
            };
            let (_, help) = help.split_once(' ').unwrap_or((help, ""));
            write(format_args!("# HELP {name}{suffix} {help}"));
            write(format_args!("# TYPE {name}{suffix} {kind}"));
        } else if !line.starts_with("# ") {
            write(format_args!("{line}"));
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_format_names_what_the_newer_one_implies() {
        let mut sheet = Sheet::new("a");
        sheet.counter("seconds", "How long", 1.5);
        sheet.gauges("sizes", "How \"large\"", [(vec![("what", "a\"b\\c\nd".to_owned())], 2.0)]);
        sheet.info("build", "Which one", vec![("version", "1".to_owned())]);
        let open = written([sheet.registry()], TextFormat::OpenMetrics);
        assert!(open.contains("# TYPE a_seconds counter\na_seconds_total 1.5\n"), "{open}");
        assert!(open.contains("# TYPE a_build info\na_build_info{version=\"1\"} 1\n"), "{open}");
        assert!(open.ends_with("# EOF\n"), "{open}");
        let plain = written([sheet.registry()], TextFormat::Plain);
        let wanted = "# HELP a_seconds_total How long.\n# TYPE a_seconds_total counter\na_seconds_total 1.5\n\
                      # HELP a_sizes How \"large\".\n# TYPE a_sizes gauge\na_sizes{what=\"a\\\"b\\\\c\\nd\"} 2.0\n\
                      # HELP a_build_info Which one.\n# TYPE a_build_info gauge\na_build_info{version=\"1\"} 1\n";
        assert_eq!(plain, wanted);
    }
}
