//! Reads `src` into modules, with the imports, functions and identifiers of each. Unit tests are
//! left out.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::{
    Attribute, ImplItemFn, Item, ItemFn, ItemMacro, ItemMod, ItemUse, Macro, Meta, Signature, TraitItemFn, UseTree,
    Visibility,
    spanned::Spanned,
    visit::{self, Visit},
};

/// The path of a module, without the name of the crate.
pub type Module = Vec<String>;

pub struct Function {
    pub name: String,
    pub lines: usize,
    pub parameters: usize,
}

#[derive(Default)]
pub struct File {
    /// Relative to `src`.
    pub name: String,
    pub lines: usize,
    pub functions: Vec<Function>,
    pub identifiers: BTreeSet<String>,
    /// Crates and modules at the first place of a path.
    pub roots: BTreeSet<String>,
    pub strings: Vec<String>,
    paths: Vec<Vec<String>>,
    /// Names that `use` brings in, with their paths.
    names: BTreeMap<String, Vec<String>>,
    exports: Vec<(String, Vec<String>)>,
}

pub struct Sources {
    pub files: BTreeMap<Module, File>,
    /// For each module the modules whose items it names.
    pub imports: BTreeMap<Module, BTreeSet<Module>>,
}

impl Sources {
    pub fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut paths = Vec::new();
        walk(&root, &mut paths);
        let mut files = BTreeMap::new();
        for path in paths {
            let name = path.strip_prefix(&root).unwrap().display().to_string();
            if name != "main.rs" {
                files.insert(module_of(&name), File::parse(name, &fs::read_to_string(&path).unwrap()));
            }
        }
        assert!(files.len() > 200, "only {} source files were found", files.len());
        let imports = imports(&files);
        Self { files, imports }
    }
}

impl File {
    pub fn parse(name: String, text: &str) -> Self {
        let tree = syn::parse_file(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut file = Self { name, lines: text.lines().count(), ..Self::default() };
        file.visit_file(&tree);
        if let Some(tests) = tree.items.iter().find(|item| matches!(item, Item::Mod(module) if is_test(&module.attrs)))
        {
            // The limit is for the code: unit tests stand at the end of their file.
            file.lines = tests.span().start().line;
        }
        file
    }

    /// The crates that `use` names.
    pub fn imported_crates(&self) -> impl Iterator<Item = &str> {
        let firsts: BTreeSet<_> = self
            .names
            .values()
            .filter(|path| path.len() > 1)
            .filter_map(|path| path.first())
            .map(String::as_str)
            .collect();
        firsts.into_iter().filter(|first| !["crate", "super", "self"].contains(first))
    }

    /// Whether the file names an item by a path that ends with `path`.
    pub fn names_path(&self, path: &[&str]) -> bool {
        let full = |written: &[String]| match self.names.get(&written[0]) {
            Some(named) => named.iter().chain(&written[1..]).cloned().collect(),
            None => written.to_vec(),
        };
        self.paths
            .iter()
            .map(|written| full(written))
            .any(|full: Vec<String>| full.len() >= path.len() && full[full.len() - path.len()..] == *path)
    }

    fn add_use(&mut self, prefix: &[String], tree: &UseTree, is_export: bool) {
        let with = |name: String| prefix.iter().cloned().chain([name]).collect::<Vec<_>>();
        match tree {
            UseTree::Path(path) => self.add_use(&with(path.ident.to_string()), &path.tree, is_export),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_use(prefix, tree, is_export)),
            UseTree::Glob(_) => self.paths.push(with("*".to_owned())),
            UseTree::Name(_) | UseTree::Rename(_) => {
                let (name, alias) = match tree {
                    UseTree::Rename(rename) => (rename.ident.to_string(), rename.rename.to_string()),
                    UseTree::Name(name) => (name.ident.to_string(), name.ident.to_string()),
                    _ => unreachable!("both arms above"),
                };
                let path = if name == "self" { prefix.to_vec() } else { with(name) };
                let alias = if alias == "self" { path.last().cloned().unwrap_or_default() } else { alias };
                self.roots.extend(path.first().cloned());
                self.paths.push(path.clone());
                if is_export {
                    self.exports.push((alias.clone(), path.clone()));
                }
                self.names.insert(alias, path);
            }
        }
    }

    fn add_path(&mut self, path: Vec<String>) {
        self.roots.extend(path.first().cloned());
        if path.len() > 1 {
            self.paths.push(path);
        }
    }

    fn add_function(&mut self, signature: &Signature, whole: Span) {
        let lines = whole.end().line - signature.span().start().line + 1;
        let parameters = signature.inputs.iter().filter(|input| matches!(input, syn::FnArg::Typed(_))).count();
        self.functions.push(Function { name: signature.ident.to_string(), lines, parameters });
    }

    /// Paths in the arguments of a macro, which are not parsed.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.add_path(std::mem::take(&mut path));
                    }
                    self.identifiers.insert(ident.to_string());
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    self.add_path(std::mem::take(&mut path));
                    self.add_tokens(group.stream());
                    colons = 0;
                }
                TokenTree::Literal(literal) => self.strings.push(literal.to_string()),
                TokenTree::Punct(_) => {
                    self.add_path(std::mem::take(&mut path));
                    colons = 0;
                }
            }
        }
        self.add_path(path);
    }
}

impl<'ast> Visit<'ast> for File {
    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if !is_test(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.add_use(&[], &item.tree, !matches!(item.vis, Visibility::Inherited));
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        if !is_test(&item.attrs) {
            self.add_function(&item.sig, item.span());
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        self.add_function(&item.sig, item.span());
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
        self.add_function(&item.sig, item.span());
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.add_path(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_ident(&mut self, ident: &'ast proc_macro2::Ident) {
        self.identifiers.insert(ident.to_string());
    }

    fn visit_lit_str(&mut self, literal: &'ast syn::LitStr) {
        self.strings.push(literal.value());
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let (false, Meta::List(list)) = (attribute.path().is_ident("doc"), &attribute.meta) {
            self.add_tokens(list.tokens.clone());
        }
    }

    fn visit_item_macro(&mut self, item: &'ast ItemMacro) {
        self.visit_macro(&item.mac);
    }

    fn visit_macro(&mut self, item: &'ast Macro) {
        self.visit_path(&item.path);
        self.add_tokens(item.tokens.clone());
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        _ => false,
    })
}

fn module_of(name: &str) -> Module {
    let mut module: Module = name.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| last == "mod" || last == "lib") {
        module.pop();
    }
    module
}

/// Resolves the paths of every file to the modules that declare what they name. Re-exports count as
/// an import of their origin.
fn imports(files: &BTreeMap<Module, File>) -> BTreeMap<Module, BTreeSet<Module>> {
    let mut origins: BTreeMap<(Module, String), Module> = BTreeMap::new();
    for (module, file) in files {
        for (name, path) in &file.exports {
            if let Some((origin, rest)) = declared(files, &absolute(files, module, path))
                && !rest.is_empty()
            {
                origins.insert((module.clone(), name.clone()), origin);
            }
        }
    }
    let mut all: BTreeMap<Module, BTreeSet<Module>> = BTreeMap::new();
    for (module, file) in files {
        let found = all.entry(module.clone()).or_default();
        for path in &file.paths {
            let path = match file.names.get(&path[0]) {
                Some(named) => named.iter().chain(&path[1..]).cloned().collect(),
                None => path.clone(),
            };
            let Some((mut origin, rest)) = declared(files, &absolute(files, module, &path)) else { continue };
            // A module that is only named is no dependency on what it declares.
            let Some(name) = rest.first() else { continue };
            for _ in 0..4 {
                match origins.get(&(origin.clone(), name.clone())) {
                    Some(next) => origin = next.clone(),
                    None => break,
                }
            }
            if origin != *module {
                found.insert(origin);
            }
        }
    }
    all
}

/// The path from the root of the crate; empty for a path into another crate.
fn absolute(files: &BTreeMap<Module, File>, module: &Module, path: &[String]) -> Module {
    let ups = path.iter().take_while(|part| *part == "super").count();
    match path[0].as_str() {
        "crate" => path[1..].to_vec(),
        "self" => [module, &path[1..]].concat(),
        "super" => [&module[..module.len().saturating_sub(ups)], &path[ups..]].concat(),
        first => {
            let child = [module.as_slice(), &[first.to_owned()]].concat();
            if files.contains_key(&child) { [module, path].concat() } else { Vec::new() }
        }
    }
}

/// The module that a path leads to, and the rest of the path.
fn declared(files: &BTreeMap<Module, File>, path: &[String]) -> Option<(Module, Vec<String>)> {
    let length = (1..=path.len()).rev().find(|length| files.contains_key(&path[..*length]))?;
    Some((path[..length].to_vec(), path[length..].to_vec()))
}

pub fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
