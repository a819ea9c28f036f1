//! Retired names and words: each was private to this project and has a standard term instead. Code,
//! tests, benchmarks, documents, migrations, configuration and pages are searched.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{TokenStream, TokenTree};

/// Retired identifiers: the directory in which the name is retired (empty: everywhere), the name,
/// and the term that replaced it. A name that ends with `*` stands for all names that begin so.
const IDENTIFIERS: &[(&str, &str, &str)] = &[
    ("", "AT_ONCE", "BATCH_SIZE or MAX_…"),
    ("", "Asked", "PendingLookup, or what was requested"),
    ("", "Attempt", "PresentedCredential"),
    ("", "Begun", "Started…"),
    ("", "Behind", "Principals"),
    ("", "Census", "KeyStatisticsCache"),
    ("", "ClockWatch", "ClockMonitor"),
    ("", "Courier", "DeliveryWorker"),
    ("", "Dead", "InactiveReason or RevokedCredential"),
    ("", "Denied", "AuthError"),
    ("", "FACTS", "CredentialQuery"),
    ("", "FEW", "SAMPLE_…"),
    ("", "Facts", "KeyContext"),
    ("", "Gather", "BatchLoader"),
    ("", "Holdings", "GrantablePermissions"),
    ("", "Home", "OwnerScope"),
    ("", "Incarnation", "GenerationId"),
    ("", "Kept", "Cached…"),
    ("", "KeyFault", "CredentialError"),
    ("", "KeyRing", "KeyCache"),
    ("", "Listed", "…Item"),
    ("", "Look", "CredentialQuery"),
    ("", "MANY", "a flush threshold or MAX_…"),
    ("", "MOST", "MAX_…"),
    ("", "Made", "Created…"),
    ("", "Maker", "Creator, or the shared Services"),
    ("", "Means", "Services"),
    ("", "Minter", "TokenSigner"),
    ("", "Moment", "ClockReading"),
    ("", "Outfit*", "NewClientBundle"),
    ("", "Packed", "EncodedDocument"),
    ("", "Place", "TenantScope"),
    ("", "Presented", "ParsedCredential"),
    ("", "Press", "Services"),
    ("", "Question", "PendingLookup"),
    ("", "Refusal", "DenyReason"),
    ("", "Shift", "LookupWorker"),
    ("", "Shown", "a noun for what is returned"),
    ("", "Spoilt", "Corrupt"),
    ("", "Standing", "OwnerStatus"),
    ("", "Takes", "AcceptedPermissions"),
    ("", "Told", "…Status"),
    ("", "TokenShape", "TokenProfile"),
    ("", "Unkept", "NotPersisted"),
    ("", "Verdict", "the result of verify_credential"),
    ("", "WHOLE", "CredentialQuery"),
    ("", "Wanted", "LookupDetail"),
    ("", "Wants", "LookupDetail"),
    ("", "Ways", "CredentialQuery"),
    ("", "Whole", "KeyDetails"),
    ("", "WishedShape", "TokenProfilePatch"),
    ("", "Witness", "RollbackGuard"),
    ("", "acts_as", "on_behalf_of"),
    ("", "bookkeeping", "without_event"),
    ("", "catch_up", "refresh_if_stale"),
    ("", "foreign", "imported"),
    ("", "forget_old", "delete_expired"),
    ("", "gather*", "batch loader"),
    ("", "give_places", "allocate_indexes"),
    ("", "handing_out", "can_grant"),
    ("", "incarnation*", "generation id"),
    ("", "is_silent", "is_unresponsive"),
    ("", "judge*", "verify_credential"),
    ("", "may_be_kept", "is_cacheable"),
    ("", "patience", "timeout"),
    ("", "refusal_tick", "refusal_deadline"),
    ("", "shaped", "with a token profile"),
    ("", "stand_in", "fallback_key"),
    ("", "standing", "owner_status"),
    ("", "told_until", "event_cursor"),
    ("benches", "floor", "baseline"),
    ("benches", "ruler", "benchmark"),
    ("src", "Document", "CachedDocument"),
    ("src", "Found", "a noun for what was found"),
    ("src", "Line", "BatchLoader"),
    ("src", "Loaded", "KeyRecord"),
    ("src", "View", "KeySnapshot"),
    ("src", "World", "a noun for what it contains"),
    ("src", "bare", "strip_bearer"),
    ("src", "everywhere", "Global"),
    ("src", "holder", "owner"),
    ("src", "look", "refresh or find"),
    ("src", "marks", "revoked credentials"),
    ("src", "notices", "expiry notifications"),
    ("src", "overview", "key statistics"),
    ("src", "pace", "clock monitor"),
    ("src", "shape", "token profile or format"),
    ("src", "steady", "stable_since"),
    ("src", "timed", "deadline"),
    ("src", "verdict", "result"),
    ("src/domain", "Gone", "Deleted"),
    ("src/domain", "Good", "Active"),
    ("src/domain/access", "inside", "Tenant"),
    ("src/service", "Part", "ReplicaRegistration"),
    ("src/service/credentials", "tick", "constant-time deadline"),
    ("src/service/replicas", "up", "live"),
    ("src/service/webhooks", "claim", "lease"),
    ("src/store", "Gone", "Deleted"),
    ("src/store", "head", "chain head"),
    ("src/store", "places", "indexes"),
    ("src/store", "renew", "replace_pool"),
    ("src/store", "silent", "unresponsive"),
    ("src/store", "up", "live"),
    ("src/store/webhooks", "claim", "lease"),
    ("tests", "actors", "privilege_model"),
    ("tests", "herd", "thundering_herd"),
    ("tests", "walls", "tenant_isolation"),
    ("tests", "world", "model"),
];

/// Retired words of code, comments, messages, pages and documents, with what to write instead. A
/// word is a whole word; words of code count as well.
const WORDS: &[(&str, &str)] = &[
    ("anew", "again, or re-…"),
    ("census", "key statistics"),
    ("courier", "delivery worker"),
    ("departures", "owner deletions"),
    ("guessing", "brute force"),
    ("house", "architecture"),
    ("incarnation", "generation id"),
    ("incarnations", "generation ids"),
    ("leftovers", "retention"),
    ("mint", "sign or issue"),
    ("minted", "signed or issued"),
    ("minter", "signer"),
    ("minters", "signers"),
    ("nobody", "the subject that does not"),
    ("outfit", "client bundle"),
    ("placeless", "unallocated"),
    ("reseal", "re-encrypt"),
    ("resealed", "re-encrypted"),
    ("ruler", "benchmark"),
    ("seal", "encrypt"),
    ("sealed", "encrypted"),
    ("spoilt", "corrupt"),
    ("stands", "is"),
    ("swapped", "exchanged"),
    ("swaps", "exchanges"),
    ("told", "reported, returned or notified"),
    ("trail", "audit log"),
    ("unseal", "decrypt"),
    ("whoever", "the caller"),
    ("witness", "rollback guard"),
];

/// Retired phrases, in lower case.
const PHRASES: &[(&str, &str)] = &[
    ("another make", "imported key"),
    ("as good as", "equivalent to"),
    ("as is written on", "by stored state"),
    ("fn join(", "register"),
    ("fn keep(", "verb and object"),
    ("fn look(", "verb and object"),
    ("fn shown(", "verb and object"),
    ("fn some(", "verb and object"),
    ("fn swap(", "exchange"),
    ("foreign_key_import", "imported keys"),
    ("hand out", "grant or return"),
    ("hands out", "grants or returns"),
    ("handed out", "granted or returned"),
    ("have kept it", "Done"),
    ("lifts its own limits", "changes its own limits"),
    ("last-used times wait", "failed to flush last-used times"),
    ("nothing fits", "No keys match."),
    ("old backup", "rollback"),
    ("stand on", "be on"),
    ("the file speaks of", "present in the file"),
    ("waits count since", "propagation delays counted from"),
    ("without a word", "without a message"),
];

/// What is searched, relative to the root of the repository.
const SEARCHED: &[&str] = &[
    "benches",
    "clients",
    "config",
    "docs",
    "examples",
    "keys",
    "migrations",
    "scripts",
    "src",
    "tests",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.toml",
    "README.md",
    "SECURITY.md",
];

/// Generated or third-party files, and the list of retired names itself.
const NOT_SEARCHED: &[&str] = &[
    "docs/openapi.json",
    "tests/fuzz/corpus",
    "tests/interop/package-lock.json",
    "tests/it/architecture/words.rs",
    "tests/vectors",
];

#[test]
fn retired_names_are_not_used() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    SEARCHED.iter().for_each(|path| find_text_files(&root.join(path), &mut paths));
    assert!(paths.len() > 500, "only {} files were found", paths.len());
    let mut faults = Vec::new();
    for path in paths {
        let name = path.strip_prefix(root).unwrap().display().to_string();
        if NOT_SEARCHED.iter().any(|skipped| name.starts_with(skipped)) {
            continue;
        }
        let Ok(text) = fs::read_to_string(&path) else { continue };
        faults.extend(find_retired(&name, &text).iter().map(|(word, term)| format!("{name}: {word} is {term}")));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn retired_name_is_reported() {
    let names = |file: &str, text: &str| find_retired(file, text).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(names("src/x.rs", "struct Witness; fn f() { g!(KeyRing::new()); }"), ["KeyRing", "Witness", "witness"]);
    assert_eq!(names("src/x.rs", "fn judge_token() {} // Begins anew."), ["judge*", "anew"]);
    assert_eq!(names("src/standing.rs", "fn f() {}"), ["standing"]);
    assert_eq!(
        names("docs/x.md", "Kept without a word, by whoever\nsealed it."),
        ["sealed", "whoever", "without a word"]
    );
    assert_eq!(names("src/x.rs", "fn marks() {}"), ["marks"]);
    assert_eq!(names("tests/x.rs", "fn marks() { \"Made\".trim(); }"), Vec::<&str>::new());
}

/// The retired names in a file, with their terms.
fn find_retired(file: &str, text: &str) -> Vec<(&'static str, &'static str)> {
    let mut identifiers = BTreeSet::new();
    if file.ends_with(".rs") {
        identifiers.extend(file.split(['/', '.']).map(str::to_owned));
        let tokens: TokenStream = text.parse().unwrap_or_else(|error| panic!("{file}: {error}"));
        add_identifiers(tokens, &mut identifiers);
    }
    let text = text.to_lowercase();
    let words: BTreeSet<_> = text.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let uses = |name: &str| match name.strip_suffix('*') {
        Some(start) => identifiers.iter().any(|identifier| identifier.starts_with(start)),
        None => identifiers.contains(name),
    };
    let identifiers = IDENTIFIERS.iter().filter(|(dir, name, _)| file.starts_with(dir) && uses(name));
    let words = WORDS.iter().filter(|(word, _)| words.contains(word));
    let phrases = PHRASES.iter().filter(|(phrase, _)| text.contains(phrase));
    identifiers.map(|(_, name, term)| (*name, *term)).chain(words.chain(phrases).copied()).collect()
}

fn add_identifiers(tokens: TokenStream, identifiers: &mut BTreeSet<String>) {
    for token in tokens {
        match token {
            TokenTree::Ident(identifier) => {
                identifiers.insert(identifier.to_string());
            }
            TokenTree::Group(group) => add_identifiers(group.stream(), identifiers),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

fn find_text_files(path: &Path, files: &mut Vec<PathBuf>) {
    const BINARY: &[&str] = &["ico", "png", "svg", "woff2"];
    if !path.is_dir() {
        if path.extension().is_none_or(|extension| BINARY.iter().all(|binary| extension != *binary)) {
            files.push(path.to_owned());
        }
        return;
    }
    if path.file_name().is_some_and(|name| name != "node_modules" && name != "target" && name != "__pycache__") {
        for entry in fs::read_dir(path).unwrap() {
            find_text_files(&entry.unwrap().path(), files);
        }
    }
}
