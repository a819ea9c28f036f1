//! Rows of the database map to fields by name (structure rule S4). Nothing notices two exchanged
//! columns of one type in a long tuple.

use std::{fs, path::Path};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::visit::{self, Visit};

use super::source::walk;

const MAX_COLUMNS: usize = 4;

#[test]
fn rows_are_mapped_by_name() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    let mut paths = Vec::new();
    walk(&root, &mut paths);
    let mut faults = Vec::new();
    for path in paths {
        let name = path.strip_prefix(&root).unwrap().display().to_string();
        let found = long_tuples(&fs::read_to_string(&path).unwrap());
        faults.extend(found.into_iter().map(|fault| format!("src/store/{name}: {fault}")));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_long_tuple_is_noticed() {
    let columns = |fault: &str, text: &str| assert_eq!(long_tuples(text), [fault], "{text}");
    columns("a type of 5 columns", "type Row = (String, i64, i64, i64, i64);");
    columns("a type of 5 columns", "fn f() { let rows: Vec<(A, B, C, D, E)> = table.load(connection)?; }");
    columns("a selection of 5 columns", "fn f() { table.select((a, b, c, d, e)).load::<Row>(connection) }");
    columns("a selection of 5 columns", "fn f() { diesel::delete(table).returning((a, b, c, d, e)) }");
    columns("a selection of 5 columns", "fn f() { table.select((Row::as_select(), (a, b, c, d, e))) }");
    columns("a selection of 5 columns", "macro_rules! query { () => { table.select((a::b, c(), d, (e, f), g,)) } }");
    assert!(
        long_tuples("fn f() -> Vec<(A, B, C, D)> { table.select((a, b, c, d)).values((a, b, c, d, e)) }").is_empty()
    );
}

/// Tuples of columns that a row is read from.
fn long_tuples(text: &str) -> Vec<String> {
    let mut found = LongTuples::default();
    found.visit_file(&syn::parse_file(text).unwrap());
    found.0
}

#[derive(Default)]
struct LongTuples(Vec<String>);

impl LongTuples {
    fn add(&mut self, what: &str, columns: usize) {
        if columns > MAX_COLUMNS {
            self.0.push(format!("{what} of {columns} columns"));
        }
    }

    fn add_selection(&mut self, columns: &syn::Expr) {
        if let syn::Expr::Tuple(tuple) = columns {
            self.add("a selection", tuple.elems.len());
            tuple.elems.iter().for_each(|columns| self.add_selection(columns));
        }
    }

    /// Selections in a macro, which is not parsed.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let mut is_selection = false;
        for token in tokens {
            if let (true, TokenTree::Group(argument)) = (is_selection, &token)
                && let Some(TokenTree::Group(tuple)) = argument.stream().into_iter().next()
                && tuple.delimiter() == Delimiter::Parenthesis
            {
                let tokens: Vec<_> = tuple.stream().into_iter().collect();
                let is_comma = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',');
                self.add("a selection", tokens.split(is_comma).filter(|column| !column.is_empty()).count());
            }
            is_selection = matches!(&token, TokenTree::Ident(name) if name == "select" || name == "returning");
            if let TokenTree::Group(group) = token {
                self.add_tokens(group.stream());
            }
        }
    }
}

impl<'ast> Visit<'ast> for LongTuples {
    fn visit_type_tuple(&mut self, tuple: &'ast syn::TypeTuple) {
        self.add("a type", tuple.elems.len());
        visit::visit_type_tuple(self, tuple);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        if call.method == "select" || call.method == "returning" {
            call.args.iter().for_each(|argument| self.add_selection(argument));
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        self.add_tokens(item.tokens.clone());
    }
}
