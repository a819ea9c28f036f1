//! Macros that mirror types of other layers for the OpenAPI document: types that are serialized as
//! they are, and that do not depend on OpenAPI. A field that only the type or only its mirror has is
//! a compile error.

/// Gives a type of another layer the schema of its mirror, a struct of this module.
macro_rules! schema_of {
    ($type:ty, $mirror:ident) => {
        impl utoipa::PartialSchema for $type {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                <$mirror as utoipa::PartialSchema>::schema()
            }
        }
        impl utoipa::ToSchema for $type {
            fn name() -> std::borrow::Cow<'static, str> {
                <$mirror as utoipa::ToSchema>::name()
            }
            fn schemas(schemas: &mut $crate::http::openapi::schemas::Schemas) {
                <$mirror as utoipa::ToSchema>::schemas(schemas);
            }
        }
    };
}

/// Declares mirrors and checks their field names against the mirrored types. Attributes and doc
/// comments of the fields are passed to utoipa.
macro_rules! mirrors {
    ($($(#[$meta:meta])* $mirror:ident as $name:ident for $type:ident { $($(#[$of_member:meta])* $member:ident: $kind:ty),* $(,)? })*) => {$(
        $(#[$meta])*
        #[derive(utoipa::ToSchema)]
        #[schema(as = $name)]
        #[expect(dead_code, reason = "read by utoipa alone")]
        struct $mirror { $($(#[$of_member])* $member: $kind),* }
        $crate::http::openapi::mirror::schema_of!($type, $mirror);
        const _: fn($type) = |object| { let $type { $($member: _),* } = object; };
    )*};
}
pub(crate) use {mirrors, schema_of};
