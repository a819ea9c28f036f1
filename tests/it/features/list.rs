//! Checks `docs/reference/features.md`, which lists every feature with its tests, against the
//! sources. `KEYSWAP_WRITE_DOCS=1` rewrites the page.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The reason why a feature has no test.
enum Why {
    OwnKeys,
    ForeignIssuers,
    Libraries,
}

impl Why {
    const fn text(&self) -> &'static str {
        match self {
            Self::OwnKeys => "Not implemented yet: public keys of clients are a separate issue.",
            Self::ForeignIssuers => "Not implemented yet: tokens of other issuers are a separate issue.",
            Self::Libraries => "Not implemented yet: client libraries and components to embed are a separate issue.",
        }
    }
}

/// Features that are not implemented.
const LATER: &[(&str, Why)] =
    &[("a15", Why::OwnKeys), ("a17", Why::ForeignIssuers), ("a20", Why::Libraries), ("a21", Why::Libraries)];

/// Further tests of a feature, without a comment that names it.
const BESIDE: &[(&str, &str)] = &[
    ("a2", "tests/interop/test_curl.py"),
    ("i2", "tests/interop/test_one_path.py"),
    ("i3", "tests/interop/test_verify.py"),
    ("i4", "tests/interop/test_one_path.py"),
    ("i10", "tests/interop/test_ibm.py"),
    ("p12", "tests/interop/test_curl.py"),
    ("w27", "tests/interop/test_node.py"),
];

/// Every required feature.
const FEATURES: &[(&str, &str)] = &[
    ("a1", "Service clients that belong to users, to organizations and to the account"),
    ("a2", "One way to create a key for every type of owner"),
    ("a3", "Service clients are separate from their keys"),
    ("a4", "Permissions are scoped, and an exchange never exceeds them"),
    ("a5", "Roles, with four sample roles in a file"),
    ("a6", "Configuration as a file: plan and apply; a second apply changes nothing"),
    ("a7", "Access records"),
    ("a8", "Resources with wildcards; a statement never reaches the resources of another user"),
    ("a9", "The creator of an access record is its administrator"),
    ("a10", "Any number of service clients for a user"),
    ("a11", "A user selects roles and documents for a key"),
    ("a12", "A configurable form for keys"),
    ("a13", "A page to copy or download the key"),
    ("a14", "Several keys for one service client"),
    ("a15", "Public keys that clients provide"),
    ("a16", "A service accepts keys or tokens"),
    ("a17", "Tokens of other issuers"),
    ("a18", "A token yields an identity, or the response is 401"),
    ("a19", "The key as a bearer credential"),
    ("a20", "A client library that exchanges keys by itself"),
    ("a21", "Components to embed"),
    ("a22", "Management accepts administrative credentials only"),
    ("a23", "A back end acts on behalf of a user that it has verified"),
    ("a24", "Service client, access record and key in one request"),
    ("a25", "The product's own domain"),
    ("a26", "Keys come from a cryptographically secure random generator"),
    ("w1", "Users create and revoke their own keys"),
    ("w2", "Each key has the permissions that were selected for it"),
    ("w3", "The key of a user is limited by the user, and ends with the user"),
    ("w4", "The key of an organization outlives its creator"),
    ("w5", "Keys of users and keys of organizations at the same time"),
    ("w6", "A limit for the permissions that keys may have"),
    ("w7", "Built-in permissions to manage keys"),
    ("w8", "A widget to manage keys"),
    ("w9", "The provider of the widget"),
    ("w10", "The widget shows the keys of the organization by default"),
    ("w11", "The owner of a key follows from the session"),
    ("w12", "The states of the page"),
    ("w13", "The value is shown once, and only its encrypted digest is stored"),
    ("w14", "Validation of the credential in a request header"),
    ("w15", "Validation of a value"),
    ("w16", "403 names the missing permission"),
    ("w17", "One response with everything about a key"),
    ("w18", "A key has the assigned permissions and cannot raise them"),
    ("w19", "A revoked key is refused at once"),
    ("w20", "Last-used times, to find unused keys"),
    ("w21", "A prefix of the product's own"),
    ("w22", "The workflow: read 200, write 403, revoked 401"),
    ("w23", "Events on every path"),
    ("w24", "Events to follow, with time and actor"),
    ("w25", "An administrator of all keys sees and ends every key of the organization"),
    ("w26", "A list endpoint for custom pages"),
    ("w27", "Client credentials"),
    ("w28", "Permissions and management roles in one place"),
    ("d1", "Without the role, the page and the API are refused"),
    ("d2", "Permissions are assigned to roles"),
    ("d3", "Three permissions, two of which keys may have"),
    ("d4", "A complete interface to create, view and revoke keys"),
    ("d5", "An API to manage keys, with paging"),
    ("d6", "Validation returns the key"),
    ("d7", "Validation serves authentication and authorization"),
    ("d8", "All keys of an organization, with their last use"),
    ("d9", "Events of keys"),
    ("d10", "Refusals state what is wrong"),
    ("p1", "Personal keys become invalid with their user"),
    ("p2", "Organization keys become invalid with their organization or their creator"),
    ("p3", "Generic keys"),
    ("p4", "Types of keys can be enabled"),
    ("p5", "Hosted pages"),
    ("p6", "A preview of the hosted pages"),
    ("p7", "Users create keys, or the product creates keys for them"),
    ("p8", "Validation with or without the scheme `Bearer`"),
    ("p9", "Validation returns the user or the organization, and the metadata"),
    ("p10", "Validation returns the profile of the user, and refuses other types of keys"),
    ("p11", "Metadata can be changed, is returned, and can become a claim"),
    ("p12", "Every HTTP program is a client"),
    ("p13", "Archive, expiry, import, usage, rate limits and notifications"),
    ("i1", "One central service exchanges keys for tokens"),
    ("i2", "Services do not call the central service for each request"),
    ("i3", "Services verify tokens locally"),
    ("i4", "One verification path for tokens of browsers and of exchanged keys"),
    ("i5", "Each service decides by itself"),
    ("i6", "Keys are long-lived, tokens are short-lived"),
    ("i7", "A key becomes an identity"),
    ("i8", "Replicas"),
    ("i9", "One token for several services"),
    ("i10", "IBM's wire format"),
];

#[test]
fn features_page_lists_a_test_or_a_reason_for_each_feature() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tests = tests_by_feature(root);
    let is_later = |id: &str| LATER.iter().any(|(later, _)| *later == id);
    let missing: Vec<_> =
        FEATURES.iter().map(|(id, _)| *id).filter(|id| !tests.contains_key(*id) && !is_later(id)).collect();
    let settled: Vec<_> = LATER.iter().map(|(id, _)| *id).filter(|id| tests.contains_key(*id)).collect();
    assert!(settled.is_empty(), "these features have tests and are listed as not implemented: {settled:?}");
    for (_, path) in BESIDE {
        assert!(root.join(path).is_file(), "{path} does not exist");
    }
    let path = root.join("docs/reference/features.md");
    let wanted = page(&tests);
    if std::env::var_os("KEYSWAP_WRITE_DOCS").is_some() {
        fs::write(&path, &wanted).unwrap();
    }
    assert!(missing.is_empty(), "no test names these features: {missing:?}");
    assert!(
        fs::read_to_string(&path).unwrap() == wanted,
        "docs/reference/features.md is out of date: run this test with KEYSWAP_WRITE_DOCS=1"
    );
}

#[test]
fn tests_of_features_are_not_ignored() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (all, ignored) = (listed(&[]), listed(&["--ignored"]));
    assert!(all.len() > ignored.len(), "the test binary lists its tests");
    for (name, file) in tests_by_feature(root).into_values().flatten() {
        let Some(module) = file.strip_prefix("tests/it/").and_then(|file| file.strip_suffix(".rs")) else {
            // pytest collects a test by its name. A skip mark is a decorator
            // directly above the test.
            let text = fs::read_to_string(root.join(&file)).unwrap();
            let lines: Vec<_> = text.lines().map(str::trim_start).collect();
            let at = lines.iter().position(|line| line.starts_with(&format!("def test_{name}("))).unwrap();
            let marks = lines[..at].iter().rev().take_while(|line| line.starts_with('@'));
            assert!(marks.into_iter().all(|mark| !mark.contains("skip")), "{file}: {name} may be skipped");
            continue;
        };
        let module = format!("{}::", module.trim_end_matches("/mod").replace('/', "::"));
        let is_it = |test: &&String| test.starts_with(&module) && test.split("::").any(|part| part == name);
        assert!(all.iter().any(|test| is_it(&test)), "{file}: {name} is not a test");
        assert_eq!(ignored.iter().find(is_it), None, "{file}: {name} is ignored");
    }
}

/// The full names of the tests in this binary.
fn listed(more: &[&str]) -> BTreeSet<String> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args(["--list", "--format", "terse"]).args(more).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}

#[test]
fn feature_ids_are_read_from_comments() {
    assert_eq!(ids("// Features: W14, W17."), Some(vec!["w14".to_owned(), "w17".to_owned()]));
    assert_eq!(ids("# Features: I10."), Some(vec!["i10".to_owned()]));
    assert_eq!(ids("// A comment."), None);
}

fn page(tests: &BTreeMap<String, Vec<(String, String)>>) -> String {
    let mut text = "# Features and their tests\n\
        \n\
        Each id names a requested feature. A comment above a test, `Features: …`, names the features that it shows, and the\n\
        test runs on both databases. This page is generated from the sources, and a test compares it with them. To generate\n\
        it:\n\
        \n\
        ```text\n\
        KEYSWAP_WRITE_DOCS=1 scripts/with-postgres cargo nextest run -E 'test(/^features::list/)'\n\
        ```\n\
        \n\
        | id | feature | tests |\n\
        |---|---|---|\n"
        .to_owned();
    for (id, what) in FEATURES {
        let mut shown: Vec<_> = tests
            .get(*id)
            .into_iter()
            .flatten()
            .map(|(name, file)| {
                let short = file.trim_start_matches("tests/").trim_start_matches("it/");
                format!("`{name}` ([{short}](../../{file}))")
            })
            .collect();
        let beside = BESIDE.iter().filter(|(beside, _)| beside == id);
        shown.extend(beside.map(|(_, path)| format!("[{}](../../{path})", path.trim_start_matches("tests/"))));
        if let Some((_, why)) = LATER.iter().find(|(later, _)| later == id) {
            shown = vec![why.text().to_owned()];
        }
        let _ = writeln!(text, "| {} | {what} | {} |", id.to_uppercase(), shown.join("<br>"));
    }
    text
}

/// Maps each feature id to the names and files of its tests.
fn tests_by_feature(root: &Path) -> BTreeMap<String, Vec<(String, String)>> {
    let mut files = Vec::new();
    test_files(&root.join("tests"), &mut files);
    files.sort();
    let mut all = BTreeMap::<String, Vec<_>>::new();
    for path in files {
        let file = path.strip_prefix(root).unwrap().display().to_string();
        let text = fs::read_to_string(&path).unwrap();
        let mut features = Vec::new();
        for line in text.lines().map(str::trim_start) {
            if let Some(named) = ids(line) {
                features = named;
            }
            let declared = ["fn ", "async fn ", "def test_"].iter().find_map(|start| line.strip_prefix(start));
            let Some(declared) = declared else { continue };
            let name: String = declared.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            for id in features.drain(..) {
                all.entry(id).or_default().push((name.clone(), file.clone()));
            }
        }
    }
    all
}

/// The feature ids of a comment such as `// Features: W14, W17.`
fn ids(line: &str) -> Option<Vec<String>> {
    let named = line.trim_start_matches(['/', '#', ' ']).strip_prefix("Features: ")?;
    let ids: Vec<_> = named.trim_end_matches('.').split(", ").map(str::to_lowercase).collect();
    let unknown: Vec<_> = ids.iter().filter(|id| FEATURES.iter().all(|(known, _)| known != id)).collect();
    assert!(unknown.is_empty(), "unknown features {unknown:?}: {line}");
    Some(ids)
}

fn test_files(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_none_or(|name| name != "node_modules") {
            test_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "py") {
            files.push(path);
        }
    }
}
