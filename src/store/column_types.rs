//! Types of columns whose values are not types of the domain: sets, numbers and JSON.

use std::collections::{BTreeMap, BTreeSet};

use diesel::{
    backend::Backend,
    deserialize::{self, FromSql, FromSqlRow},
    expression::AsExpression,
    pg::Pg,
    serialize::{self, IsNull, Output, ToSql},
    sql_types::{Binary, Integer, Nullable, Text},
    sqlite::Sqlite,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{
    domain::{
        access::{permission::AssignableOwnerType, resource::ResourcePattern},
        common::{derived_id::SigningKeyId, encryption::Encrypted},
    },
    store::{
        columns::{read_from_columns, stored},
        pool::MultiBackend,
    },
};

/// A set of owner types, with one space between the names.
#[derive(Debug)]
pub struct OwnerTypes(pub BTreeSet<AssignableOwnerType>);

impl From<OwnerTypes> for BTreeSet<AssignableOwnerType> {
    fn from(types: OwnerTypes) -> Self {
        types.0
    }
}

/// Resource patterns, with one space between them.
#[derive(Debug)]
pub struct ResourcePatterns(pub Vec<ResourcePattern>);

impl From<ResourcePatterns> for Vec<ResourcePattern> {
    fn from(patterns: ResourcePatterns) -> Self {
        patterns.0
    }
}

/// A truth value, which is 0 or 1 in both databases.
#[derive(Debug, Clone, Copy)]
pub struct Flag(pub bool);

impl From<Flag> for bool {
    fn from(flag: Flag) -> Self {
        flag.0
    }
}

/// A number that is never negative.
#[derive(Debug, Clone, Copy)]
pub struct Count(pub u32);

impl From<Count> for u32 {
    fn from(count: Count) -> Self {
        count.0
    }
}

/// A ciphertext that may be missing.
#[derive(Debug)]
pub struct OptionalCiphertext(Option<Encrypted>);

impl From<OptionalCiphertext> for Option<Encrypted> {
    fn from(ciphertext: OptionalCiphertext) -> Self {
        ciphertext.0
    }
}

/// The status of an HTTP response.
#[derive(Debug)]
pub struct HttpStatus(Option<u16>);

impl From<HttpStatus> for Option<u16> {
    fn from(status: HttpStatus) -> Self {
        status.0
    }
}

stored! {
    OwnerTypes as Text(String):
        |types: &OwnerTypes| types.0.iter().map(|owner| owner.as_str()).collect::<Vec<_>>().join(" "),
        |text| Ok(OwnerTypes(text.split_ascii_whitespace().map(str::parse).collect::<Result<_, _>>()?));
    ResourcePatterns as Text(String):
        |patterns: &ResourcePatterns| patterns.0.iter().map(ResourcePattern::as_str).collect::<Vec<_>>().join(" "),
        |text| Ok(ResourcePatterns(text.split(' ').map(str::parse).collect::<Result<_, _>>()?));
    Flag as Integer(i32): |flag: &Flag| i32::from(flag.0), |value| Ok(Flag(value != 0));
    Count as Integer(i32): |count: &Count| i32::try_from(count.0).unwrap_or(i32::MAX), |count| Ok(Count(count.try_into()?));
}

read_from_columns! {
    OptionalCiphertext: (Nullable<Binary>, Nullable<Integer>), (Option<Vec<u8>>, Option<i32>),
        |(bytes, version)| Ok(Self(bytes.zip(version).map(|(bytes, master_version)| Encrypted { bytes, master_version })));
    HttpStatus: Nullable<Integer>, Option<i32>, |status| Ok(Self(status.map(u16::try_from).transpose()?));
}

/// A value that is stored as JSON.
#[derive(Debug, Clone, AsExpression, FromSqlRow)]
#[diesel(sql_type = Text)]
pub struct Json<T: std::fmt::Debug>(pub T);

impl From<Json<Self>> for Map<String, Value> {
    fn from(json: Json<Self>) -> Self {
        json.0
    }
}

impl From<Json<Self>> for BTreeMap<SigningKeyId, String> {
    fn from(json: Json<Self>) -> Self {
        json.0
    }
}

macro_rules! json_from_sql {
    ($($backend:ty),+) => {$(
        impl<T: DeserializeOwned + std::fmt::Debug> FromSql<Text, $backend> for Json<T> {
            fn from_sql(bytes: <$backend as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
                Ok(Self(serde_json::from_str(&<String as FromSql<Text, $backend>>::from_sql(bytes)?)?))
            }
        }
    )+};
}

json_from_sql!(Sqlite, Pg, MultiBackend);

impl<T: Serialize + std::fmt::Debug> ToSql<Text, Sqlite> for Json<T> {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        out.set_value(serde_json::to_string(&self.0)?);
        Ok(IsNull::No)
    }
}

impl<T: Serialize + std::fmt::Debug> ToSql<Text, Pg> for Json<T> {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        ToSql::<Text, Pg>::to_sql(&serde_json::to_string(&self.0)?, &mut out.reborrow())
    }
}

impl<T: Serialize + std::fmt::Debug + Send + Sync + 'static> ToSql<Text, MultiBackend> for Json<T> {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, MultiBackend>) -> serialize::Result {
        out.set_value((Text, self));
        Ok(IsNull::No)
    }
}
