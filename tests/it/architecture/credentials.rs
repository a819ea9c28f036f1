//! Every credential is verified in one way (structure rule S2): what limits, delays and records a
//! verification is called from one place.

use super::source::Sources;

const VERIFY: &str = "service/credentials/verify.rs";

/// Functions, with the file that declares each. Others than `VERIFY` call them for the given reason.
const PARTS: &[(&str, &str, &[(&str, &str)])] = &[
    ("admit_source", "service/credentials/brute_force.rs", &[]),
    ("admit_credential", "service/credentials/brute_force.rs", &[]),
    ("admit_failure", "service/credentials/brute_force.rs", &[]),
    ("record_failure", "service/credentials/brute_force.rs", &[]),
    ("record_credential_use", "service/credentials/use_buffer.rs", &[]),
    ("record_exchange", "telemetry/metrics.rs", &[]),
    (
        "wait_for_deadline",
        VERIFY,
        &[(
            "service/introspection/revoke.rs",
            "a verified key that the caller may not revoke takes as long as another",
        )],
    ),
];

#[test]
fn credentials_are_verified_in_one_way() {
    let sources = Sources::read();
    for (function, declared_in, others) in PARTS {
        let used_in = sources.files.values().filter(|file| file.identifiers.contains(*function));
        let mut used_in: Vec<_> = used_in.map(|file| file.name.as_str()).collect();
        let mut expected: Vec<_> =
            [VERIFY, declared_in].into_iter().chain(others.iter().map(|(file, _)| *file)).collect();
        for files in [&mut used_in, &mut expected] {
            files.sort_unstable();
            files.dedup();
        }
        assert_eq!(used_in, expected, "{function}");
    }
}
