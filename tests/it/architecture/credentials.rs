//! Every credential is verified in one way (structure rule S2): what limits, delays and records a
//! verification is called from one place.

use super::source::Sources;

const VERIFY: &str = "service/credentials/verify.rs";

/// Functions, with the other file that names each: mostly the one that declares it.
const PARTS: [(&str, &str); 4] = [
    ("record_failure", "service/credentials/brute_force.rs"),
    ("record_credential_use", "service/credentials/use_buffer.rs"),
    ("record_exchange", "telemetry/metrics.rs"),
    // `VERIFY` declares it. A verified key that the caller may not revoke takes as long as an unknown one.
    ("wait_for_deadline", "service/introspection/revoke.rs"),
];

#[test]
fn credentials_are_verified_in_one_way() {
    let sources = Sources::read();
    for (function, file) in PARTS {
        let used_in = sources.files.values().filter(|file| file.identifiers.contains(function));
        let used_in: Vec<_> = used_in.map(|file| file.name.as_str()).collect();
        let mut expected = [VERIFY, file];
        expected.sort_unstable();
        assert_eq!(used_in, expected, "{function}");
    }
}
