/// Tests whether the record belongs to no organization, or its organization still has the
/// generation id that it had when the record was created.
macro_rules! organization_generation_matches {
    () => {
        $crate::store::schema::access_records::generation_id.is_null().or(diesel::dsl::exists(
            $crate::store::schema::organizations::table.filter(
                $crate::store::schema::organizations::generation_id
                    .nullable()
                    .eq($crate::store::schema::access_records::generation_id),
            ),
        ))
    };
}

pub mod access_records;
pub mod audiences;
pub mod effective_statements;
pub mod permissions;
pub mod roles;
pub mod stored_access_record;
