//! Which module may import which: layers, capabilities within a layer, and single files.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{File, Module, Sources};

/// Each layer, and the layers that it may import. A module within a layer may have a row of its own.
const LAYERS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("crypto", &["domain"]),
    ("store", &["domain"]),
    ("outbound", &["domain"]),
    ("telemetry", &[]),
    ("config", &["domain", "crypto", "store", "outbound"]),
    ("service", &["domain", "crypto", "store", "outbound", "telemetry", "config"]),
    ("http", &["domain", "crypto", "config", "service", "telemetry", "ui"]),
    ("ui", &[]),
    ("app::jobs", &["domain", "service"]),
    ("app", &["domain", "crypto", "store", "outbound", "telemetry", "config", "service"]),
    ("cli", &["domain", "crypto", "store", "outbound", "telemetry", "config", "service", "http", "ui", "app"]),
];

/// The capabilities of each layer in the order of their imports: a folder imports only folders before it.
/// What is in the root of a layer is not a capability.
const CAPABILITIES: &[(&str, &[&str])] = &[
    (
        "domain",
        &[
            "common",
            "signing",
            "events",
            "access",
            "credentials",
            "directory",
            "status_lists",
            "exchange",
            "webhooks",
            "portal",
        ],
    ),
    (
        "store",
        &[
            "common",
            "exchange_counts",
            "access",
            "api_keys",
            "directory",
            "status_lists",
            "credentials",
            "encryption",
            "signing",
            "events",
            "webhooks",
            "portal",
        ],
    ),
    (
        "service",
        &[
            "common",
            "replicas",
            "encryption",
            "signing",
            "access",
            "credentials",
            "status_lists",
            "api_keys",
            "directory",
            "exchange",
            "introspection",
            "events",
            "webhooks",
            "portal",
            "provisioning",
        ],
    ),
    (
        "http",
        &[
            "credentials",
            "access",
            "api_keys",
            "exchange",
            "introspection",
            "directory",
            "signing",
            "status_lists",
            "events",
            "webhooks",
            "portal",
        ],
    ),
];

/// Each library that only some layers may name.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("diesel", &["store"]),
    ("diesel_migrations", &["store"]),
    ("ring", &["crypto"]),
    ("aws_lc_rs", &["crypto"]),
    ("jsonwebtoken", &["crypto"]),
    ("actix_web", &["http", "cli"]),
    ("h2", &["http"]),
    ("reqwest", &["outbound", "cli"]),
    ("figment", &["config"]),
    ("utoipa", &["domain", "crypto", "service", "http"]),
    ("utoipa_swagger_ui", &["http"]),
    ("toml", &["service"]),
    ("flate2", &["service"]),
    ("serde_saphyr", &["service"]),
    ("clap", &["cli"]),
    ("prometheus_client", &["telemetry"]),
    ("tracing_subscriber", &["telemetry", "config"]),
];

/// What the domain may import: the standard library and crates that only compute.
const DOMAIN_LIBRARIES: &[&str] = &[
    "std",
    "serde",
    "serde_json",
    "chrono",
    "ipnet",
    "thiserror",
    "crc32fast",
    "ulid",
    "humantime",
    "percent_encoding",
    "unicode_properties",
    "url",
    "utoipa",
    "zeroize",
];

#[test]
fn layers_import_inward() {
    let faults = outward_imports(&Sources::read().imports);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn capabilities_import_in_order() {
    let faults = out_of_order(&Sources::read().imports);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn file_imports_have_no_cycle() {
    let circles = circles(&Sources::read().imports);
    assert!(circles.is_empty(), "each of these imports the next, and the last the first:\n{}", circles.join("\n"));
}

#[test]
fn libraries_stay_in_their_layers() {
    let mut faults = Vec::new();
    let sources = Sources::read();
    for (module, file) in &sources.files {
        let Some(layer) = module.first().map(String::as_str) else { continue };
        let is_child = |name: &str| sources.files.contains_key(&[module.as_slice(), &[name.to_owned()]].concat());
        faults.extend(libraries_misplaced(layer, file, &is_child));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn routes_are_declared_in_one_file() {
    for (module, file) in &Sources::read().files {
        let declares = file.identifiers.contains("resource") || file.identifiers.contains("scope");
        let uses_actix = file.roots.contains("actix_web");
        assert!(
            !(declares && uses_actix && file.identifiers.contains("web") && file.identifiers.contains("route"))
                || module.join("::") == "http::routes",
            "{} declares a route",
            file.name
        );
    }
}

#[test]
fn each_rule_reports_a_planted_fault() {
    let module = |name: &str| name.split("::").map(str::to_owned).collect::<Module>();
    let imports = |edges: &[(&str, &str)]| {
        let mut all = BTreeMap::<Module, BTreeSet<Module>>::new();
        for (from, to) in edges {
            all.entry(module(from)).or_default().insert(module(to));
        }
        all
    };
    assert_eq!(circles(&imports(&[("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")])), ["a, b, c"]);
    assert!(circles(&imports(&[("a", "b"), ("b", "c"), ("a", "c")])).is_empty());
    let outward =
        imports(&[("http::routes", "store::pool"), ("app::jobs::webhooks", "store"), ("app::startup", "store")]);
    assert_eq!(outward_imports(&outward), ["app::jobs::webhooks imports store", "http::routes imports store::pool"]);
    let backward = imports(&[("service::access::roles", "service::portal::page")]);
    assert_eq!(out_of_order(&backward), ["service::access::roles imports service::portal::page"]);
    assert!(out_of_order(&imports(&[("service::portal::page", "service::access::roles")])).is_empty());
    let file = File::parse("x.rs".to_owned(), "fn f() { diesel::select(1); my_diesel::x(); }");
    assert_eq!(libraries_misplaced("http", &file, &|_| false), ["x.rs: diesel belongs to store"]);
    let file = File::parse("x.rs".to_owned(), "use rand::random;");
    assert_eq!(libraries_misplaced("domain", &file, &|_| false), ["x.rs: the domain imports rand"]);
}

/// `is_child` says whether a name is that of a module below the file.
fn libraries_misplaced(layer: &str, file: &File, is_child: &dyn Fn(&str) -> bool) -> Vec<String> {
    let named = |library: &str| file.roots.contains(library);
    let mut faults: Vec<_> = LIBRARIES
        .iter()
        .filter(|(library, layers)| named(library) && !layers.contains(&layer))
        .map(|(library, layers)| format!("{}: {library} belongs to {}", file.name, layers.join(", ")))
        .collect();
    if layer == "domain" {
        let others = file.imported_crates().filter(|name| !DOMAIN_LIBRARIES.contains(name) && !is_child(name));
        faults.extend(others.map(|name| format!("{}: the domain imports {name}", file.name)));
    }
    faults
}

fn outward_imports(imports: &BTreeMap<Module, BTreeSet<Module>>) -> Vec<String> {
    let mut faults = Vec::new();
    for (module, imports) in imports.iter().filter(|(module, _)| !module.is_empty()) {
        let name = module.join("::");
        let row = |layer: &str| name == layer || name.strip_prefix(layer).is_some_and(|rest| rest.starts_with("::"));
        let Some((_, allowed)) = LAYERS.iter().filter(|(layer, _)| row(layer)).max_by_key(|(layer, _)| layer.len())
        else {
            faults.push(format!("{} is not in the list of layers", module[0]));
            continue;
        };
        let outward = imports.iter().filter(|import| import[0] != module[0] && !allowed.contains(&import[0].as_str()));
        faults.extend(outward.map(|import| format!("{name} imports {}", import.join("::"))));
    }
    faults
}

fn out_of_order(imports: &BTreeMap<Module, BTreeSet<Module>>) -> Vec<String> {
    let mut faults = Vec::new();
    for (module, imported) in imports {
        for import in imported.iter().filter(|import| import[0] == module[0]) {
            let order = CAPABILITIES.iter().find(|(layer, _)| *layer == module[0]).map(|(_, order)| *order);
            let place = |module: &Module| order?.iter().position(|name| module.get(1).is_some_and(|one| one == name));
            if let (Some(own), Some(other)) = (place(module), place(import))
                && other > own
            {
                faults.push(format!("{} imports {}", module.join("::"), import.join("::")));
            }
        }
    }
    faults
}

/// The sets of modules that import each other in a circle: the strongly connected components of the
/// imports with more than one module (Tarjan).
fn circles(imports: &BTreeMap<Module, BTreeSet<Module>>) -> Vec<String> {
    #[derive(Default)]
    struct Search<'a> {
        index: BTreeMap<&'a Module, usize>,
        low: BTreeMap<&'a Module, usize>,
        stack: Vec<&'a Module>,
        found: Vec<String>,
    }
    fn visit<'a>(module: &'a Module, imports: &'a BTreeMap<Module, BTreeSet<Module>>, search: &mut Search<'a>) {
        let index = search.index.len();
        search.index.insert(module, index);
        search.low.insert(module, index);
        search.stack.push(module);
        for next in imports.get(module).into_iter().flatten() {
            if !search.index.contains_key(next) {
                visit(next, imports, search);
            } else if !search.stack.contains(&next) {
                continue;
            }
            let low = search.low[module].min(search.low[next]);
            search.low.insert(module, low);
        }
        if search.low[module] == index {
            let at = search.stack.iter().position(|one| *one == module).unwrap_or_default();
            let mut circle: Vec<_> = search.stack.split_off(at).into_iter().map(|module| module.join("::")).collect();
            circle.sort();
            if circle.len() > 1 {
                search.found.push(circle.join(", "));
            }
        }
    }
    let mut search = Search::default();
    for module in imports.keys() {
        if !search.index.contains_key(module) {
            visit(module, imports, &mut search);
        }
    }
    search.found
}
