//! The schemas of a type and of the types in it.

use utoipa::{
    ToSchema,
    openapi::{RefOr, Schema},
};

/// Schemas by name, in the form in which utoipa collects them.
pub type Schemas = Vec<(String, RefOr<Schema>)>;

/// The name of a schema, with the schema and all schemas that it refers to.
pub fn collect_schemas<T: ToSchema>() -> (String, Schemas) {
    let name = T::name().into_owned();
    let mut schemas = vec![(name.clone(), T::schema())];
    T::schemas(&mut schemas);
    (name, schemas)
}
