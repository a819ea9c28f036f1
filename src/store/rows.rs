//! How rows are read: domain types by the names of their columns, pages, and rows that are locked.

/// Reads a domain type from a table: each field from the column of its name or from the columns that
/// are given, as a type that converts into that of the field. An `embedded` field is read like its
/// own type.
///
/// The implementations are for `MultiBackend`, or for the given backends. They are not generic:
/// bounds on the columns of a generic backend take minutes to compile.
macro_rules! selectable {
    ($table:ident => $type:ident $fields:tt) => {
        $crate::store::rows::selectable!($crate::store::pool::MultiBackend: $table => $type $fields);
    };
    (every_backend: $table:ident => $type:ident $fields:tt) => {
        $crate::store::rows::selectable!($crate::store::pool::MultiBackend: $table => $type $fields);
        $crate::store::rows::selectable!(diesel::sqlite::Sqlite: $table => $type $fields);
        $crate::store::rows::selectable!(diesel::pg::Pg: $table => $type $fields);
    };
    ($backend:ty: $table:ident => $type:ident { $($field:ident: $field_type:ty $(= $($column:ident),+)?;)+ }) => {
        impl diesel::Selectable<$backend> for $type {
            type SelectExpression =
                ($($crate::store::rows::column_type!($backend, $table, $field, $field_type $(, $($column),+)?),)+);

            fn construct_selection() -> Self::SelectExpression {
                ($($crate::store::rows::column!($backend, $table, $field, $field_type $(, $($column),+)?),)+)
            }
        }

        impl
            diesel::Queryable<diesel::dsl::SqlTypeOf<<Self as diesel::Selectable<$backend>>::SelectExpression>, $backend>
            for $type
        {
            type Row = ($($field_type,)+);

            fn build(($($field,)+): Self::Row) -> diesel::deserialize::Result<Self> {
                Ok(Self { $($field: $field.try_into()?),+ })
            }
        }
    };
}
pub(crate) use selectable;

/// Like `selectable`, also for hand-written SQL, whose columns are found by their names.
macro_rules! selectable_by_name {
    ($table:ident => $type:ident { $($field:ident: $field_type:ty $(= $column:ident)?;)+ }) => {
        $crate::store::rows::selectable!($table => $type { $($field: $field_type $(= $column)?;)+ });
        $crate::store::rows::selectable_by_name!(diesel::sqlite::Sqlite, $table => $type { $($field: $field_type $(= $column)?;)+ });
        $crate::store::rows::selectable_by_name!(diesel::pg::Pg, $table => $type { $($field: $field_type $(= $column)?;)+ });
    };
    ($backend:ty, $table:ident => $type:ident { $($field:ident: $field_type:ty $(= $column:ident)?;)+ }) => {
        impl diesel::QueryableByName<$backend> for $type {
            fn build<'a>(row: &impl diesel::row::NamedRow<'a, $backend>) -> diesel::deserialize::Result<Self> {
                Ok(Self {
                    $($field: diesel::row::NamedRow::get::<
                        diesel::dsl::SqlTypeOf<$crate::store::rows::column_type!($backend, $table, $field, $field_type $(, $column)?)>,
                        $field_type,
                    >(row, <$crate::store::rows::column_type!($backend, $table, $field, $field_type $(, $column)?) as diesel::Column>::NAME)?
                    .try_into()?,)+
                })
            }
        }
    };
}
pub(crate) use selectable_by_name;

/// The column or the columns of a field.
macro_rules! column {
    ($backend:ty, $table:ident, $field:ident, $type:ty) => { $table::$field };
    ($backend:ty, $table:ident, $field:ident, $type:ty, embedded) => { <$type as diesel::Selectable<$backend>>::construct_selection() };
    ($backend:ty, $table:ident, $field:ident, $type:ty, $column:ident) => { $table::$column };
    ($backend:ty, $table:ident, $field:ident, $type:ty, $($column:ident),+) => { ($($table::$column,)+) };
}
pub(crate) use column;

/// The type of `column`.
macro_rules! column_type {
    ($backend:ty, $table:ident, $field:ident, $type:ty) => { $table::$field };
    ($backend:ty, $table:ident, $field:ident, $type:ty, embedded) => { <$type as diesel::Selectable<$backend>>::SelectExpression };
    ($backend:ty, $table:ident, $field:ident, $type:ty, $column:ident) => { $table::$column };
    ($backend:ty, $table:ident, $field:ident, $type:ty, $($column:ident),+) => { ($($table::$column,)+) };
}
pub(crate) use column_type;

/// The values of columns, for an insert or an update: those of the fields of `$row` with the same
/// names, or those that are given.
macro_rules! values {
    ($table:ident, $row:expr => $($column:ident $(= $value:expr)?),+ $(,)?) => {
        ($($table::$column.eq($crate::store::rows::value!($row, $column $(, $value)?)),)+)
    };
}
pub(crate) use values;

/// The value of a column.
macro_rules! value {
    ($row:expr, $column:ident) => {
        &$row.$column
    };
    ($row:expr, $column:ident, $value:expr) => {
        $value
    };
}
pub(crate) use value;

/// Locks the row with this primary key until the end of the change. Diesel's `MultiConnection` does
/// not support `FOR UPDATE`; an update without effect takes the same lock.
macro_rules! lock_row {
    ($tx:expr, $table:ident, $key:expr) => {
        diesel::update($table::table.find($key)).set($table::version.eq($table::version)).execute(&mut **$tx)?
    };
}
pub(crate) use lock_row;

/// Loads a page of a boxed query, in the order of the column that is the cursor.
macro_rules! load_page {
    ($connection:expr, $query:expr, $page:expr, $column:expr, $beyond:ident, $order:ident, $cursor:expr) => {{
        let mut query = $query;
        if let Some(cursor) = &$page.cursor {
            query = query.filter($column.$beyond(cursor.clone()));
        }
        let rows = query.order($column.$order()).limit($page.limit + 1).load($connection)?;
        Ok(Page::from_rows(rows, $page.limit, $cursor))
    }};
}
pub(crate) use load_page;
