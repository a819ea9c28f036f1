//! Fuzz targets for the parsers that read what strangers send, run by libFuzzer. A target fails if
//! Keyswap panics, answers 5xx, or answers an error that is not in its documented format.
//!
//! `KEYSWAP_FUZZ_TARGET` selects a target. `scripts/fuzz` builds the program and runs all of them.
#![no_main]

mod check;
mod connection;
mod coverage;
mod server;
mod targets;

use std::sync::OnceLock;

use libfuzzer_sys::{Corpus, fuzz_target};
use targets::Target;

static TARGET: OnceLock<&Target> = OnceLock::new();

fuzz_target!(
    init: {
        let name = std::env::var("KEYSWAP_FUZZ_TARGET").unwrap_or_default();
        let target = targets::ALL.iter().find(|target| target.name == name).unwrap_or_else(|| {
            let names: Vec<_> = targets::ALL.iter().map(|target| target.name).collect();
            eprintln!("set KEYSWAP_FUZZ_TARGET to one of: {}", names.join(" "));
            std::process::exit(2);
        });
        assert!(TARGET.set(target).is_ok());
        (target.start)();
        coverage::report_at_exit(target);
    },
    |data: &[u8]| -> Corpus {
        let target = TARGET.get().unwrap();
        let kept = (target.run)(data);
        coverage::record();
        if kept.is_some() { Corpus::Keep } else { Corpus::Reject }
    }
);
