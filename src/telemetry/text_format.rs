//! The text format 0.0.4 of Prometheus.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
};

/// Converts metrics from the OpenMetrics format. The formats differ in the names of counters and
/// info metrics, which OpenMetrics declares without the suffix of their samples, in the name of the
/// type `unknown`, and in the escapes of help texts.
pub fn from_open_metrics(open: &str) -> Result<String, fmt::Error> {
    let types: BTreeMap<_, _> = open.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let mut out = String::with_capacity(open.len());
    for line in open.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(what @ ("HELP" | "TYPE")), Some(name), Some(text)) => {
                let (suffix, kind) = match types.get(name) {
                    Some(&"counter") => ("_total", "counter"),
                    Some(&"info") => ("_info", "gauge"),
                    Some(&"unknown") => ("", "untyped"),
                    Some(kind) => ("", *kind),
                    None => ("", text),
                };
                // Quotes are not escaped in this format.
                let text = if what == "TYPE" { kind.to_owned() } else { text.replace("\\\"", "\"") };
                writeln!(out, "# {what} {name}{suffix} {text}")?;
            }
            // `# UNIT` and `# EOF`.
            (Some("#"), ..) => {}
            _ => writeln!(out, "{line}")?,
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_type_and_quotes_are_converted() {
        let open = "# HELP a says \\\"b\\\" \\\\.\n# TYPE a unknown\na 1\n# EOF\n";
        let expected = "# HELP a says \"b\" \\\\.\n# TYPE a untyped\na 1\n";
        assert_eq!(from_open_metrics(open).unwrap(), expected);
    }
}
