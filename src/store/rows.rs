//! How rows are read: domain types by the names of their columns, pages, and rows that are locked.

use diesel::{
    backend::Backend,
    deserialize::{self, StaticallySizedRow},
    row::Row,
};

/// Reads a domain type from a table: each field from the column of its name or from the columns
/// that are given (`=`), and as a type that converts into that of the field if one is given (`as`).
/// A field with a type (`:`) is read like that type.
///
/// The implementations are for `MultiBackend`, or for every backend. They are not generic: bounds
/// on the columns of a generic backend take minutes to compile.
macro_rules! selectable {
    ($table:ident => $type:ident $fields:tt) => {
        $crate::store::rows::selectable!($crate::store::pool::MultiBackend: $table => $type $fields);
    };
    (every_backend: $table:ident => $type:ident $fields:tt) => {
        $crate::store::rows::selectable!($crate::store::pool::MultiBackend: $table => $type $fields);
        $crate::store::rows::selectable!(diesel::sqlite::Sqlite: $table => $type $fields);
        $crate::store::rows::selectable!(diesel::pg::Pg: $table => $type $fields);
    };
    ($backend:ty: $table:ident => $type:ident {
        $($field:ident $(= $columns:tt)? $(: $embedded:ty)? $(as $stored:ty)?),+ $(,)?
    }) => {
        impl diesel::Selectable<$backend> for $type {
            type SelectExpression =
                ($($crate::store::rows::column_type!($backend, $table, $field $(= $columns)? $(: $embedded)?),)+);

            fn construct_selection() -> Self::SelectExpression {
                ($($crate::store::rows::column!($backend, $table, $field $(= $columns)? $(: $embedded)?),)+)
            }
        }

        impl
            diesel::deserialize::FromSqlRow<
                ($($crate::store::rows::sql_type!($backend, $table, $field $(= $columns)? $(: $embedded)?),)+),
                $backend,
            > for $type
        {
            fn build_from_row<'a>(row: &impl diesel::row::Row<'a, $backend>) -> diesel::deserialize::Result<Self> {
                let mut position = 0;
                Ok(Self {
                    $($field: $crate::store::rows::value_of!(
                        $crate::store::rows::next_value::<
                            $crate::store::rows::sql_type!($backend, $table, $field $(= $columns)? $(: $embedded)?),
                            $backend,
                            _,
                        >(row, &mut position)? $(, $stored)?
                    )),+
                })
            }
        }

        impl
            diesel::deserialize::StaticallySizedRow<
                ($($crate::store::rows::sql_type!($backend, $table, $field $(= $columns)? $(: $embedded)?),)+),
                $backend,
            > for $type
        {
            const FIELD_COUNT: usize = 0 $(+ $crate::store::rows::width!($backend $(, = $columns)? $(, $embedded)?))+;
        }
    };
}

pub(crate) use selectable;

/// Reads the next field of a row from the column or the columns of its type.
pub(crate) fn next_value<'a, ST, DB, T>(row: &impl Row<'a, DB>, position: &mut usize) -> deserialize::Result<T>
where
    DB: Backend,
    T: StaticallySizedRow<ST, DB>,
{
    let start = *position;
    *position += T::FIELD_COUNT;
    T::build_from_row(&row.partial_row(start..*position))
}

/// A value, converted from the type in which it is stored if one is given.
macro_rules! value_of {
    ($value:expr) => {
        $value
    };
    ($value:expr, $stored:ty) => {{
        let stored: $stored = $value;
        stored.into()
    }};
}

pub(crate) use value_of;

/// The number of columns of a field.
macro_rules! width {
    ($backend:ty) => { 1 };
    ($backend:ty, = $column:ident) => { 1 };
    ($backend:ty, = ($($column:ident),+)) => { [$(stringify!($column)),+].len() };
    ($backend:ty, $type:ty) => {
        <$type as diesel::deserialize::StaticallySizedRow<
            diesel::dsl::SqlTypeOf<<$type as diesel::Selectable<$backend>>::SelectExpression>,
            $backend,
        >>::FIELD_COUNT
    };
}

pub(crate) use width;

/// Like `selectable`, also for hand-written SQL, whose columns are found by their names.
macro_rules! selectable_by_name {
    ($table:ident => $type:ident { $($field:ident $(= $column:ident)?),+ $(,)? }) => {
        $crate::store::rows::selectable!($table => $type { $($field $(= $column)?),+ });
        $crate::store::rows::selectable_by_name!(diesel::sqlite::Sqlite, $table => $type { $($field $(= $column)?),+ });
        $crate::store::rows::selectable_by_name!(diesel::pg::Pg, $table => $type { $($field $(= $column)?),+ });
    };
    ($backend:ty, $table:ident => $type:ident { $($field:ident $(= $column:ident)?),+ }) => {
        impl diesel::QueryableByName<$backend> for $type {
            fn build<'a>(row: &impl diesel::row::NamedRow<'a, $backend>) -> diesel::deserialize::Result<Self> {
                Ok(Self {
                    $($field: diesel::row::NamedRow::get::<
                        diesel::dsl::SqlTypeOf<$crate::store::rows::column_type!($backend, $table, $field $(= $column)?)>,
                        _,
                    >(row, <$crate::store::rows::column_type!($backend, $table, $field $(= $column)?) as diesel::Column>::NAME)?,)+
                })
            }
        }
    };
}

pub(crate) use selectable_by_name;

/// The column or the columns of a field.
macro_rules! column {
    ($backend:ty, $table:ident, $field:ident) => { $table::$field };
    ($backend:ty, $table:ident, $field:ident = $column:ident) => { $table::$column };
    ($backend:ty, $table:ident, $field:ident = ($($column:ident),+)) => { ($($table::$column,)+) };
    ($backend:ty, $table:ident, $field:ident: $type:ty) => { <$type as diesel::Selectable<$backend>>::construct_selection() };
}

pub(crate) use column;

/// The type of `column`.
macro_rules! column_type {
    ($backend:ty, $table:ident, $field:ident) => { $table::$field };
    ($backend:ty, $table:ident, $field:ident = $column:ident) => { $table::$column };
    ($backend:ty, $table:ident, $field:ident = ($($column:ident),+)) => { ($($table::$column,)+) };
    ($backend:ty, $table:ident, $field:ident: $type:ty) => { <$type as diesel::Selectable<$backend>>::SelectExpression };
}

pub(crate) use column_type;

/// The SQL type of `column`.
macro_rules! sql_type {
    ($backend:ty, $table:ident, $field:ident = ($($column:ident),+)) => { ($(diesel::dsl::SqlTypeOf<$table::$column>,)+) };
    ($($column:tt)+) => { diesel::dsl::SqlTypeOf<$crate::store::rows::column_type!($($column)+)> };
}

pub(crate) use sql_type;

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
    ($tx:expr, $table:ident, $key:expr) => {{
        $tx.check_row_order(stringify!($table), &$key)?;
        $crate::store::query::RunQuery::execute_in(
            diesel::update($table::table.find($key)).set($table::version.eq($table::version)),
            $tx,
        )?
    }};
}
pub(crate) use lock_row;

/// Loads a page of a boxed query, in the order of the column that is the cursor.
macro_rules! load_page {
    ($connection:expr, $query:expr, $page:expr, $column:expr, $beyond:ident, $order:ident, $cursor:expr) => {{
        let mut query = $query;
        if let Some(cursor) = &$page.cursor {
            query = query.filter($column.$beyond(cursor.clone()));
        }
        let query = query.order($column.$order()).limit($page.limit + 1);
        let rows = $crate::store::query::RunQuery::load_all(query, $connection)?;
        Ok(Page::from_rows(rows, $page.limit, $cursor))
    }};
}
pub(crate) use load_page;
