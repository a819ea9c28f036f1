//! Architecture rules that the compiler does not enforce: the permitted dependencies between
//! modules, and the modules that may use each library.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Each module and its permitted dependencies.
const ROOMS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("crypto", &["domain"]),
    ("store", &["domain"]),
    ("outbound", &["domain"]),
    ("telemetry", &[]),
    ("config", &["domain"]),
    ("service", &["domain", "crypto", "store", "outbound", "telemetry"]),
    ("jobs", &["domain", "service", "store", "telemetry"]),
    ("http", &["domain", "crypto", "service", "store", "telemetry", "ui"]),
    ("ui", &[]),
    ("cli", &["domain", "crypto", "store", "outbound", "telemetry", "config", "service", "jobs", "http", "ui"]),
];

/// Libraries that only some modules may use.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("diesel", &["store"]),
    ("diesel_migrations", &["store"]),
    ("ring", &["crypto"]),
    ("aws_lc_rs", &["crypto"]),
    ("jsonwebtoken", &["crypto"]),
    ("actix_web", &["http", "cli"]),
    ("actix_cors", &["http"]),
    ("reqwest", &["outbound", "cli"]),
    ("figment", &["config"]),
    ("utoipa", &["http"]),
    ("utoipa_swagger_ui", &["http"]),
    ("toml", &["service"]),
    ("flate2", &["service"]),
    ("serde_saphyr", &["service"]),
    ("clap", &["cli"]),
    ("prometheus_client", &["telemetry"]),
    ("tracing_subscriber", &["telemetry", "config"]),
];

/// Libraries that `domain` may use: the standard library and crates that perform only computation.
const DOMAIN_LIBRARIES: &[&str] = &[
    "std",
    "serde",
    "serde_json",
    "chrono",
    "thiserror",
    "crc32fast",
    "ulid",
    "humantime",
    "url",
    "zeroize",
    "crate",
    "super",
    "self",
];

#[test]
fn dependencies_point_inward() {
    let mut faults = Vec::new();
    for (room, file, text) in sources() {
        let allowed = ROOMS.iter().find(|(name, _)| *name == room).map(|(_, allowed)| *allowed);
        let Some(allowed) = allowed else {
            faults.push(format!("{file}: the room {room} is not in the plan of the house"));
            continue;
        };
        for named in rooms_named(&text) {
            if named != room && !allowed.contains(&named.as_str()) {
                faults.push(format!("{file}: {room} leans on {named}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn libraries_stay_in_their_rooms() {
    let mut faults = Vec::new();
    for (room, file, text) in sources() {
        for (library, rooms) in LIBRARIES {
            if names(&text, library) && !rooms.contains(&room.as_str()) {
                faults.push(format!("{file}: {library} belongs to {}", rooms.join(", ")));
            }
        }
        if room == "domain" {
            for line in text.lines().map(str::trim).filter(|line| line.starts_with("use ")) {
                let first = line["use ".len()..].split([':', ';', ' ']).next().unwrap_or_default();
                if !DOMAIN_LIBRARIES.contains(&first) {
                    faults.push(format!("{file}: the domain names {first}"));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn urls_stand_in_routes_and_nowhere_else_in_http() {
    for (room, file, text) in sources() {
        let makes_routes = ["web::resource(", "web::scope(", ".route("].iter().any(|call| text.contains(call));
        assert!(!makes_routes || file.ends_with("http/routes.rs"), "{file} makes a route ({room})");
    }
}

#[test]
fn the_readme_shows_the_examples_as_they_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let examples: Vec<_> =
        fs::read_dir(root.join("examples/verify")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(examples.len(), 5, "five languages");
    for example in examples {
        let text = fs::read_to_string(&example).unwrap();
        assert!(readme.contains(text.trim_end()), "the README shows another {}", example.display());
    }
}

#[test]
fn the_guard_sees_what_it_should() {
    let text = "use crate::{\n    store::{self, Store},\n    domain::id::KeyId,\n};\nuse crate::http::server;";
    assert_eq!(rooms_named(text), ["domain", "http", "store"]);
    assert!(names("let x = diesel::select(1);", "diesel"));
    assert!(names("rustls::crypto::aws_lc_rs::default_provider()", "aws_lc_rs"), "by another's name as well");
    assert!(!names("use my_diesel::x;", "diesel"));
}

/// The module, file name and code of every source file inside a module, without
/// comments and unit tests.
fn sources() -> Vec<(String, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    let in_rooms = files.into_iter().filter_map(|path| {
        let relative = path.strip_prefix(&root).unwrap().to_owned();
        let room = relative.components().next()?.as_os_str().to_str()?.to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        let code: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        (!room.ends_with(".rs")).then(|| (room, relative.display().to_string(), code.join("\n")))
    });
    let all: Vec<_> = in_rooms.collect();
    assert!(all.len() > 50, "the house was not found");
    all
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The modules that a text names after `crate::`, in a path or at the first level of a `use` tree.
fn rooms_named(text: &str) -> Vec<String> {
    let mut found = BTreeMap::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        let heads = if let Some(tree) = rest.strip_prefix('{') { first_level(tree) } else { vec![head(rest)] };
        for head in heads {
            if ROOMS.iter().any(|(room, _)| *room == head) {
                found.insert(head, ());
            }
        }
    }
    found.into_keys().collect()
}

/// The first path segment of each branch of a `use` tree.
fn first_level(tree: &str) -> Vec<String> {
    let (mut depth, mut branches, mut current) = (0_i32, Vec::new(), String::new());
    for c in tree.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => branches.push(std::mem::take(&mut current)),
            _ if depth == 0 => current.push(c),
            _ => {}
        }
    }
    branches.push(current);
    branches.iter().map(|branch| head(branch.trim())).collect()
}

fn head(path: &str) -> String {
    path.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Whether the text contains a path that begins with the library's name.
fn names(text: &str, library: &str) -> bool {
    text.match_indices(&format!("{library}::")).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}
