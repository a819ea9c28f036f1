//! Checks `docs/features.md`, which lists every feature with its tests, against the sources.
//! `KEYSWAP_WRITE_DOCS=1` rewrites the page.

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
            Self::OwnKeys => "not yet: public keys of clients come with an issue of their own",
            Self::ForeignIssuers => "not yet: tokens of other issuers come with an issue of their own",
            Self::Libraries => "not yet: libraries for clients and components to embed come with an issue of their own",
        }
    }
}

/// Features that are not implemented.
const LATER: &[(&str, Why)] =
    &[("a15", Why::OwnKeys), ("a17", Why::ForeignIssuers), ("a20", Why::Libraries), ("a21", Why::Libraries)];

/// Further tests of a feature, without its id in their names.
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
    ("a1", "Service clients of users, organizations and the account"),
    ("a2", "One way to make a key, whoever owns it"),
    ("a3", "Service clients apart from their keys"),
    ("a4", "Permissions scoped up and down; an exchange never exceeds them"),
    ("a5", "Roles, and the four sample ones from a file"),
    ("a6", "Configuration as a file: plan, apply, and nothing to do the second time"),
    ("a7", "Access records"),
    ("a8", "Resources with wildcards; nothing reaches another user's"),
    ("a9", "Who makes a record is its administrator"),
    ("a10", "As many service clients as one wishes"),
    ("a11", "A user picks roles and documents"),
    ("a12", "A form that can be configured"),
    ("a13", "A page to copy or download the key"),
    ("a14", "Several keys for a client"),
    ("a15", "Public keys that clients bring"),
    ("a16", "A key or a token, as the service likes"),
    ("a17", "Tokens of other issuers"),
    ("a18", "A token becomes an identity, or the answer is 401"),
    ("a19", "The key as a bearer"),
    ("a20", "A library that swaps by itself"),
    ("a21", "Components to embed"),
    ("a22", "Management takes administrative credentials alone"),
    ("a23", "A back end acts for the user it has verified"),
    ("a24", "Client, record and key in one call"),
    ("a25", "The product's own domain"),
    ("a26", "Keys from a CSPRNG"),
    ("w1", "Users make and revoke their own keys"),
    ("w2", "Each key with the permissions that were chosen"),
    ("w3", "A user's key is bounded by the user, and ends with them"),
    ("w4", "An organization's key outlives its maker"),
    ("w5", "Both kinds at once"),
    ("w6", "What keys may carry at most"),
    ("w7", "Built-in permissions to manage keys"),
    ("w8", "A widget to manage keys"),
    ("w9", "The widget's provider"),
    ("w10", "The organization's keys unless asked otherwise"),
    ("w11", "Whose key it is follows from the session"),
    ("w12", "The states of the page"),
    ("w13", "Shown once, sealed at rest"),
    ("w14", "Validation from the header"),
    ("w15", "Validation of a value"),
    ("w16", "403 that names the missing permission"),
    ("w17", "One answer with all of a key"),
    ("w18", "A key has what was assigned, and cannot raise itself"),
    ("w19", "Revoked means refused at once"),
    ("w20", "Last use, to find stale keys"),
    ("w21", "A prefix of the product's own"),
    ("w22", "The story: read 200, write 403, revoked 401"),
    ("w23", "Events on every path"),
    ("w24", "Events to follow, with who and when"),
    ("w25", "Who manages all sees and ends every key"),
    ("w26", "A list for pages of one's own"),
    ("w27", "Client credentials"),
    ("w28", "Permissions, and roles that manage, in one place"),
    ("d1", "Without the role, neither page nor API"),
    ("d2", "Permissions are assigned to roles"),
    ("d3", "Three permissions, two of them for keys"),
    ("d4", "The whole interface"),
    ("d5", "An API to manage keys, in pages"),
    ("d6", "Validation answers the key"),
    ("d7", "To authenticate and to authorize"),
    ("d8", "All keys of an organization, with their use"),
    ("d9", "Events of keys"),
    ("d10", "Refusals that say what is wrong"),
    ("p1", "Personal keys, invalid with their user"),
    ("p2", "Organization keys, invalid with their organization or maker"),
    ("p3", "Generic keys"),
    ("p4", "Kinds of keys can be enabled"),
    ("p5", "Hosted pages"),
    ("p6", "A preview of them"),
    ("p7", "Keys made by users, or for them"),
    ("p8", "Validation with or without the scheme"),
    ("p9", "Validation answers user or organization, and metadata"),
    ("p10", "A user's profile; other kinds refused"),
    ("p11", "Metadata, changed, echoed, and in a claim"),
    ("p12", "Any program is a client"),
    ("p13", "Archive, end, import, use, limits, notices"),
    ("i1", "One place that swaps keys for tokens"),
    ("i2", "No call to the centre for each request"),
    ("i3", "Services verify alone"),
    ("i4", "One way for browser tokens and swapped keys"),
    ("i5", "Services decide by themselves"),
    ("i6", "Keys live long, tokens short"),
    ("i7", "A key becomes an identity"),
    ("i8", "Replicas"),
    ("i9", "One token, several services"),
    ("i10", "IBM's wire form"),
];

#[test]
fn every_feature_has_a_test_or_a_reason_and_the_page_says_which() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tests = tests_by_feature(root);
    let is_later = |id: &str| LATER.iter().any(|(later, _)| *later == id);
    let missing: Vec<_> =
        FEATURES.iter().map(|(id, _)| *id).filter(|id| !tests.contains_key(*id) && !is_later(id)).collect();
    let settled: Vec<_> = LATER.iter().map(|(id, _)| *id).filter(|id| tests.contains_key(*id)).collect();
    assert!(settled.is_empty(), "these have tests, and are still said to come later: {settled:?}");
    for (_, path) in BESIDE {
        assert!(root.join(path).is_file(), "{path} is not there");
    }
    let path = root.join("docs/features.md");
    let wanted = page(&tests);
    if std::env::var_os("KEYSWAP_WRITE_DOCS").is_some() {
        fs::write(&path, &wanted).unwrap();
    }
    assert!(missing.is_empty(), "no test carries these ids: {missing:?}");
    assert!(
        fs::read_to_string(&path).unwrap() == wanted,
        "docs/features.md is not as the tests are: run this with KEYSWAP_WRITE_DOCS=1"
    );
}

#[test]
fn what_carries_an_id_is_a_test_that_runs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (all, ignored) = (listed(&[]), listed(&["--ignored"]));
    assert!(all.len() > ignored.len(), "the tests are listed by the test binary itself");
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
        assert!(all.iter().any(|test| is_it(&test)), "{file}: {name} is no test");
        assert_eq!(ignored.iter().find(is_it), None, "{file}: {name} does not run");
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
fn a_name_carries_its_ids_in_front() {
    assert_eq!(ids("w14_w17_one_call_tells_all"), ["w14", "w17"]);
    assert_eq!(ids("a_key_lives"), Vec::<String>::new());
    assert_eq!(ids("w99_no_such_feature"), Vec::<String>::new());
    assert_eq!(ids("i10"), Vec::<String>::new(), "a name says something");
}

fn page(tests: &BTreeMap<String, Vec<(String, String)>>) -> String {
    let mut text = "# Features, and the tests that show them\n\n\
        Each id is that of a feature that was asked for. A test carries its id in front of its name, and runs on both databases. This page is\n\
        written from the sources, and a test holds it to them: `KEYSWAP_WRITE_DOCS=1 scripts/with-postgres cargo nextest run -E 'test(/^features::list/)'`.\n\n\
        | id | feature | shown by |\n|---|---|---|\n"
        .to_owned();
    for (id, what) in FEATURES {
        let mut shown: Vec<_> = tests
            .get(*id)
            .into_iter()
            .flatten()
            .map(|(name, file)| {
                let short = file.trim_start_matches("tests/").trim_start_matches("it/");
                format!("`{name}` ([{short}](../{file}))")
            })
            .collect();
        let beside = BESIDE.iter().filter(|(beside, _)| beside == id);
        shown.extend(beside.map(|(_, path)| format!("[{}](../{path})", path.trim_start_matches("tests/"))));
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
        for line in text.lines().map(str::trim_start).filter(|line| !line.starts_with("//")) {
            let declared = ["fn ", "async fn ", "def test_"].iter().find_map(|start| line.strip_prefix(start));
            let Some(declared) = declared else { continue };
            let name: String = declared.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            for id in ids(&name) {
                all.entry(id).or_default().push((name.clone(), file.clone()));
            }
        }
    }
    all
}

/// The feature ids at the beginning of a name.
fn ids(name: &str) -> Vec<String> {
    let parts: Vec<_> = name.split('_').collect();
    let known = |part: &&&str| FEATURES.iter().any(|(id, _)| *id == **part);
    let ids: Vec<_> = parts.iter().take_while(known).map(|id| (*id).to_owned()).collect();
    if ids.len() == parts.len() { Vec::new() } else { ids }
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
