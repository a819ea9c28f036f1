//! Structure rules S3, S5, S6, S9 and S10, as far as the source shows them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use syn::{
    Fields, Item, Type,
    visit::{self, Visit},
};

use super::source::walk;

/// Variants of errors of `src/service` and `src/domain` that contain a text. The list only gets
/// shorter, except for causes, which are logged and not returned.
const TEXTS: &[(&str, &str)] = &[
    ("Error::Forbidden", "the name of a permission"),
    ("Error::NotFound", "the name of a resource"),
    ("JobFault::Ended", "the name of a job"),
    ("JobFault::Stuck", "the name of a job"),
];

/// What handlers may receive as shared state, next to `Services`.
const SHARED_STATE: &[&str] = &["A", "Assets", "DocsPages", "Services", "T", "TrustedProxies"];

#[test]
fn refusals_are_enum_variants() {
    let mut found = BTreeSet::new();
    for file in parse("src/service").into_iter().chain(parse("src/domain")) {
        for item in &file.items {
            let Item::Enum(item) = item else { continue };
            if ["Error", "Fault", "Reason", "Rule"].iter().any(|end| item.ident.to_string().ends_with(end)) {
                let texts = item.variants.iter().filter(|variant| is_text(&variant.fields));
                found.extend(texts.map(|variant| format!("{}::{}", item.ident, variant.ident)));
            }
        }
    }
    let new: Vec<_> = found.iter().filter(|name| TEXTS.iter().all(|(known, _)| known != name)).collect();
    assert!(new.is_empty(), "these variants contain a sentence instead of data: {new:?}");
    let gone: Vec<_> = TEXTS.iter().filter(|(known, _)| !found.contains(*known)).collect();
    assert!(gone.is_empty(), "these contain no text any more: {gone:?}");
}

#[test]
fn handlers_share_one_state() {
    let mut types = TypeArguments::default();
    parse("src/http").iter().for_each(|file| types.visit_file(file));
    let data = types.of.remove("Data").unwrap_or_default();
    assert!(data.contains("Services"), "handlers receive Services: {data:?}");
    let others: Vec<_> = data.iter().filter(|name| !SHARED_STATE.contains(&name.as_str())).collect();
    assert!(others.is_empty(), "shared state of handlers belongs into Services: {others:?}");
}

#[test]
fn bodies_and_queries_are_structs() {
    let mut types = TypeArguments::default();
    parse("src/http").iter().for_each(|file| types.visit_file(file));
    for extractor in ["Json", "Query", "Form"] {
        let found = types.of.remove(extractor).unwrap_or_default();
        let untyped: Vec<_> =
            found.iter().filter(|name| ["HashMap", "Map", "Value", "Vec"].contains(&name.as_str())).collect();
        assert!(untyped.is_empty(), "{extractor} of {untyped:?} in src/http: declare a struct");
    }
}

#[test]
fn each_database_has_one_baseline() {
    for tree in ["sqlite", "postgres"] {
        let steps: Vec<_> =
            fs::read_dir(root().join("migrations").join(tree)).unwrap().map(|step| step.unwrap().file_name()).collect();
        assert_eq!(steps.len(), 1, "migrations/{tree}: change the baseline until the first release: {steps:?}");
    }
}

#[test]
fn superseded_decisions_are_marked() {
    let dir = root().join("docs/development/decisions");
    let index = fs::read_to_string(dir.join("README.md")).unwrap();
    let mut names: Vec<_> =
        fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name != "README.md");
    names.sort();
    for (number, name) in (1..).zip(&names) {
        assert!(name.starts_with(&format!("{number:03}-")), "{name}: decision {number:03} is missing or exists twice");
        let page = fs::read_to_string(dir.join(name)).unwrap();
        let row = index.lines().find(|line| line.contains(&format!("({name})")));
        let row = row.unwrap_or_else(|| panic!("{name} is not in the index"));
        let title = page.lines().next().unwrap().trim_start_matches("# ");
        assert!(row.contains(&format!("| {title} |")), "{name}: the index has another title: {row}");
        let is_marked = page.contains("\n**Superseded");
        assert_eq!(row.contains("| superseded"), is_marked, "{name}: the index and the page disagree: {row}");
    }
}

#[test]
fn rules_report_planted_faults() {
    let file = syn::parse_file(
        "enum E { A(String), B(u8), C { why: &'static str }, D(Option<String>) } fn f(a: Json<Value>, b: web::Data<Arc<X>>) {}",
    )
    .unwrap();
    let Item::Enum(item) = &file.items[0] else { panic!() };
    let texts: Vec<_> = item.variants.iter().map(|variant| is_text(&variant.fields)).collect();
    assert_eq!(texts, [true, false, true, false]);
    let mut types = TypeArguments::default();
    types.visit_file(&file);
    assert!(types.of["Json"].contains("Value") && types.of["Data"].contains("Arc"), "{:?}", types.of);
}

/// Whether a variant contains a text without a type of its own.
fn is_text(fields: &Fields) -> bool {
    fields.iter().any(|field| match &field.ty {
        Type::Path(path) => path.path.is_ident("String"),
        Type::Reference(reference) => matches!(&*reference.elem, Type::Path(path) if path.path.is_ident("str")),
        _ => false,
    })
}

/// The names of the first type arguments, by the name of the generic type.
#[derive(Default)]
struct TypeArguments {
    of: BTreeMap<String, BTreeSet<String>>,
}

impl<'ast> Visit<'ast> for TypeArguments {
    fn visit_path_segment(&mut self, segment: &'ast syn::PathSegment) {
        if let syn::PathArguments::AngleBracketed(arguments) = &segment.arguments
            && let Some(syn::GenericArgument::Type(Type::Path(argument))) = arguments.args.first()
            && let Some(last) = argument.path.segments.last()
        {
            self.of.entry(segment.ident.to_string()).or_default().insert(last.ident.to_string());
        }
        visit::visit_path_segment(self, segment);
    }
}

fn parse(dir: &str) -> Vec<syn::File> {
    let mut paths = Vec::new();
    walk(&root().join(dir), &mut paths);
    paths.iter().map(|path| syn::parse_file(&fs::read_to_string(path).unwrap()).unwrap()).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
