//! The required members that a JSON body lacks, by its schema. serde names one of them only.

use std::ops::ControlFlow;

use utoipa::{
    ToSchema,
    openapi::{
        RefOr, Schema, Type,
        schema::{ArrayItems, SchemaType},
    },
};

use crate::http::extract::{
    argument_faults::MAX_FAULTS,
    json_tree::{JsonTree, Step},
};

/// Returns the paths of at most `MAX_FAULTS` of them, and whether there are no others.
pub fn find_missing<T: ToSchema>(body: &JsonTree) -> (Vec<Vec<Step>>, bool) {
    let mut components = Vec::new();
    T::schemas(&mut components);
    let mut missing = Vec::new();
    let flow = collect_missing((&T::schema(), &components), body, &[], &mut missing);
    (missing, flow.is_continue())
}

/// A schema, and the schemas that it refers to.
type SchemaWithComponents<'a> = (&'a RefOr<Schema>, &'a [(String, RefOr<Schema>)]);

/// Ends at the first member for which there is no space left in `missing`.
fn collect_missing(
    (schema, components): SchemaWithComponents<'_>,
    value: &JsonTree,
    at: &[Step],
    missing: &mut Vec<Vec<Step>>,
) -> ControlFlow<()> {
    let mut visit = |schema: &RefOr<Schema>, value: &JsonTree, at: &[Step]| {
        collect_missing((schema, components), value, at, missing)
    };
    let schema = match schema {
        RefOr::T(schema) => schema,
        RefOr::Ref(reference) => {
            let name = reference.ref_location.rsplit('/').next().unwrap_or_default();
            if let Some((_, schema)) = components.iter().find(|(other, _)| other == name) {
                visit(schema, value, at)?;
            }
            return ControlFlow::Continue(());
        }
    };
    match (schema, value) {
        (Schema::Object(object), JsonTree::Object(members)) => {
            for (name, member) in members {
                if let Some(schema) = object.properties.get(name) {
                    visit(schema, member, &Step::Member(name.clone()).below(at))?;
                }
            }
            let is_absent = |name: &&String| members.iter().all(|(other, _)| other != *name);
            for name in object.required.iter().filter(is_absent) {
                if missing.len() == MAX_FAULTS {
                    return ControlFlow::Break(());
                }
                missing.push(Step::Member(name.clone()).below(at));
            }
        }
        (Schema::Array(array), JsonTree::List(items)) => {
            if let ArrayItems::RefOrSchema(schema) = &array.items {
                for (position, item) in items {
                    visit(schema, item, &Step::Item(*position).below(at))?;
                }
            }
        }
        (Schema::OneOf(one_of), _) => {
            // `oneOf` with one schema besides `null` is an optional value. For other choices only
            // serde knows which one applies.
            let mut choices = one_of.items.iter().filter(|schema| !is_null(schema));
            if let (Some(schema), None) = (choices.next(), choices.next()) {
                visit(schema, value, at)?;
            }
        }
        (_, _) => {}
    }
    ControlFlow::Continue(())
}

fn is_null(schema: &RefOr<Schema>) -> bool {
    matches!(schema, RefOr::T(Schema::Object(object)) if object.schema_type == SchemaType::Type(Type::Null))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::access::access_records::NewAccessRecord;

    fn missing(body: &str) -> (Vec<Vec<Step>>, bool) {
        find_missing::<NewAccessRecord>(&serde_json::from_str(body).unwrap())
    }

    #[test]
    fn search_ends_with_the_last_fault_that_is_listed() {
        let statements = |items: &str| format!(r#"{{"name":"a","principals":[],"statements":[{items}]}}"#);
        let (found, is_complete) = missing(&statements(&vec!["{}"; 20_000].join(",")));
        assert_eq!((found.len(), is_complete), (MAX_FAULTS, false));
        assert_eq!(found[MAX_FAULTS - 1][..2], [Step::Member("statements".to_owned()), Step::Item(15)]);
        let (found, is_complete) = missing(&statements(&vec!["{}"; MAX_FAULTS / 2].join(",")));
        assert_eq!((found.len(), is_complete), (MAX_FAULTS, true));
    }
}
