//! A strict reader of what a scraper gets: the text format 0.0.4 and `OpenMetrics` 1.0. It takes nothing that the formats
//! forbid, so that what it has read is what any scraper reads.

use std::collections::{BTreeMap, BTreeSet};

use super::daemon::Daemon;

/// How a scraper asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `text/plain; version=0.0.4`.
    Plain,
    /// `application/openmetrics-text; version=1.0.0`.
    OpenMetrics,
}

/// The labels of a sample.
pub type Labels = BTreeMap<String, String>;

/// One line with a number.
#[derive(Debug, Clone)]
pub struct Sample {
    pub name: String,
    pub labels: Labels,
    pub value: f64,
}

/// A whole text.
#[derive(Debug)]
pub struct Exposition {
    /// The kind of each family, by its name without what its samples have behind it.
    pub kinds: BTreeMap<String, String>,
    pub samples: Vec<Sample>,
}

/// What the daemon tells the holder of the admin token. Panics when it is not well-formed.
pub fn scrape(daemon: &Daemon) -> Exposition {
    let (text, _) = fetch(daemon, daemon.token(), Format::Plain);
    Exposition::read(&text, Format::Plain).unwrap_or_else(|why| panic!("{why}\n{text}"))
}

/// The text and its content type.
pub fn fetch(daemon: &Daemon, token: &str, format: Format) -> (String, String) {
    let accept = match format {
        Format::Plain => "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
        Format::OpenMetrics => {
            "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
        }
    };
    let mut answer = ureq::get(format!("{}/metrics", daemon.url()))
        .header("Authorization", format!("Bearer {token}"))
        .header("Accept", accept)
        .call()
        .unwrap_or_else(|why| panic!("no metrics: {why}\n{}", daemon.log()));
    let kind = answer.headers().get("content-type").and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or_default().to_owned();
    (answer.body_mut().read_to_string().expect("the answer is text"), kind)
}

impl Exposition {
    /// Reads a text to its end.
    pub fn read(text: &str, format: Format) -> Result<Exposition, String> {
        let body = match format {
            Format::Plain => text.strip_suffix('\n').ok_or("the last line has no end")?,
            Format::OpenMetrics => text.strip_suffix("\n# EOF\n").ok_or("the end is not said")?,
        };
        let mut read = Exposition { kinds: BTreeMap::new(), samples: Vec::new() };
        let (mut helped, mut family) = (String::new(), (String::new(), String::new()));
        for line in body.split('\n') {
            let slip = |why: &str| format!("{why}: {line}");
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').ok_or_else(|| slip("no help"))?;
                if help.is_empty() || read.kinds.contains_key(name) {
                    return Err(slip("an empty help, or a second one"));
                }
                name.clone_into(&mut helped);
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').ok_or_else(|| slip("no type"))?;
                let is_known = match format {
                    Format::Plain => ["counter", "gauge", "histogram"].contains(&kind),
                    Format::OpenMetrics => ["counter", "gauge", "histogram", "info"].contains(&kind),
                };
                if !is_known || name != helped || !is_name(name) {
                    return Err(slip("an unknown type, or not that of the help"));
                }
                family = (name.to_owned(), kind.to_owned());
                if read.kinds.insert(name.to_owned(), kind.to_owned()).is_some() {
                    return Err(slip("a family comes twice"));
                }
            } else if line.starts_with('#') {
                return Err(slip("an unknown comment"));
            } else {
                let sample = Sample::read(line).ok_or_else(|| slip("not a sample"))?;
                let (name, kind) = &family;
                let behind = sample.name.strip_prefix(name.as_str()).ok_or_else(|| slip("not its family"))?;
                let fits = match (kind.as_str(), format) {
                    ("counter", Format::OpenMetrics) => behind == "_total",
                    ("counter", Format::Plain) => behind.is_empty() && name.ends_with("_total"),
                    ("info", _) => behind == "_info" && sample.value.to_bits() == 1.0_f64.to_bits(),
                    ("histogram", _) => ["_bucket", "_sum", "_count"].contains(&behind),
                    _ => behind.is_empty(),
                };
                if !fits || (kind == "counter" && sample.value < 0.0) {
                    return Err(slip("not a sample of its type"));
                }
                read.samples.push(sample);
            }
        }
        read.check()?;
        Ok(read)
    }

    fn check(&self) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        for sample in &self.samples {
            if !seen.insert((&sample.name, &sample.labels)) {
                return Err(format!("{sample:?} comes twice"));
            }
        }
        for (name, _) in self.kinds.iter().filter(|(_, kind)| *kind == "histogram") {
            self.check_histogram(name)?;
        }
        Ok(())
    }

    /// The buckets of one set of labels rise in bounds and numbers, and the last one has them all.
    fn check_histogram(&self, name: &str) -> Result<(), String> {
        let mut series: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
        for sample in self.samples.iter().filter(|sample| sample.name == format!("{name}_bucket")) {
            let mut labels = sample.labels.clone();
            let bound = labels.remove("le").and_then(|bound| number(&bound));
            let bound = bound.ok_or_else(|| format!("a bucket without a bound: {sample:?}"))?;
            series.entry(labels).or_default().push((bound, sample.value));
        }
        for (labels, buckets) in &series {
            let of = |what: &str| self.find(&format!("{name}{what}"), labels);
            let rises = buckets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
            let last = buckets.last().copied();
            let is_whole = last.is_some_and(|(bound, count)| {
                bound.is_infinite() && of("_count").is_some_and(|all| all.to_bits() == count.to_bits())
            });
            if !rises || !is_whole || of("_sum").is_none() {
                return Err(format!("{name} {labels:?} is no histogram: {buckets:?}"));
            }
        }
        Ok(())
    }

    fn find(&self, name: &str, labels: &Labels) -> Option<f64> {
        let mut samples = self.samples.iter();
        samples.find(|sample| sample.name == name && sample.labels == *labels).map(|sample| sample.value)
    }

    /// The sum of the samples of a name that have these labels, among others.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let fits = |sample: &&Sample| {
            sample.name == name
                && labels.iter().all(|(key, value)| sample.labels.get(*key).is_some_and(|own| own == value))
        };
        self.samples.iter().filter(fits).map(|sample| sample.value).sum()
    }

    /// The names of all samples.
    pub fn names(&self) -> BTreeSet<&str> {
        self.samples.iter().map(|sample| sample.name.as_str()).collect()
    }
}

impl Sample {
    fn read(line: &str) -> Option<Sample> {
        let end = line.find(['{', ' '])?;
        let name = line[..end].to_owned();
        let (labels, rest) = match line[end..].strip_prefix('{') {
            Some(rest) => labels(rest)?,
            None => (Labels::new(), &line[end..]),
        };
        let value = number(rest.strip_prefix(' ')?)?;
        is_name(&name).then_some(Sample { name, labels, value })
    }
}

/// The labels up to the closing brace, and what stands behind it.
fn labels(mut text: &str) -> Option<(Labels, &str)> {
    let mut labels = Labels::new();
    loop {
        let (name, rest) = text.split_once("=\"")?;
        let mut value = String::new();
        let mut signs = rest.char_indices();
        let end = loop {
            match signs.next()? {
                (at, '"') => break at,
                (_, '\\') => value.push(match signs.next()?.1 {
                    'n' => '\n',
                    sign @ ('"' | '\\') => sign,
                    _ => return None,
                }),
                (_, sign) => value.push(sign),
            }
        };
        if !is_name(name) || name.contains(':') || labels.insert(name.to_owned(), value).is_some() {
            return None;
        }
        text = &rest[end + 1..];
        match text.strip_prefix(',') {
            Some(next) => text = next,
            None => return Some((labels, text.strip_prefix('}')?)),
        }
    }
}

fn is_name(name: &str) -> bool {
    let is_sign = |sign: char| sign.is_ascii_alphanumeric() || sign == '_' || sign == ':';
    name.chars().all(is_sign) && name.starts_with(|first: char| !first.is_ascii_digit())
}

fn number(text: &str) -> Option<f64> {
    match text {
        "+Inf" => Some(f64::INFINITY),
        text if text.starts_with(|first: char| first.is_ascii_digit() || first == '-') => text.parse().ok(),
        _ => None,
    }
}

/// Guards the reader itself.
mod self_test {
    use super::*;

    const GOOD: &str = "# HELP a_total Some.\n# TYPE a_total counter\na_total{q=\"x\\\"\\n\"} 1\n\
                        # HELP h A.\n# TYPE h histogram\nh_sum 2.5\nh_count 2\nh_bucket{le=\"1.0\"} 1\nh_bucket{le=\"+Inf\"} 2\n";

    #[test]
    fn only_what_is_well_formed_is_taken() {
        let read = Exposition::read(GOOD, Format::Plain).expect("it is well-formed");
        assert_eq!(read.samples[0].labels["q"], "x\"\n");
        assert!((read.sum("h_sum", &[]) - 2.5).abs() < 1e-9);
        for (from, to) in [
            ("a_total{", "b_total{"),
            ("} 1\n#", "} -1\n#"),
            ("\\n", "\\x"),
            ("h_count 2", "h_count 3"),
            ("1.0\"} 1", "1.0\"} 3"),
            ("+Inf\"} 2\n", "+Inf\"} 2"),
            (" counter", " number"),
            ("# TYPE h ", "# TYPE g "),
            ("h_sum 2.5\n", ""),
        ] {
            let bad = GOOD.replacen(from, to, 1);
            assert_ne!(bad, GOOD);
            assert!(Exposition::read(&bad, Format::Plain).is_err(), "{bad}");
        }
        assert!(Exposition::read(GOOD, Format::OpenMetrics).is_err(), "it has no end");
    }
}
