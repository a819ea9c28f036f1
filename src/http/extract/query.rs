//! Query strings.

use std::{collections::BTreeSet, str::FromStr};

use actix_web::{HttpRequest, dev::Payload};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _, IntoDeserializer, Visitor, value},
    forward_to_deserialize_any,
};
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, path::ParameterIn, schema::Type},
};

use crate::{
    domain::common::page::PageRequest,
    http::{
        extract::{argument_faults::MAX_FAULTS, parameter_names::find_resembled},
        openapi::signature::{HandlerArgument, HandlerSignature},
        problem::Problem,
    },
    service::{InputFault, common::json_errors},
};

/// Query parameters. If a handler has several arguments of this kind, each reads its own
/// parameters.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned + IntoParams> HandlerArgument for Query<T> {
    fn describe(signature: &mut HandlerSignature) {
        signature.parameters.extend(T::into_params(|| Some(ParameterIn::Query)));
    }
    async fn extract(request: &HttpRequest, _: &mut Payload) -> Result<Self, actix_web::Error> {
        let pairs = form_urlencoded::parse(request.query_string().as_bytes());
        let pairs = pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        Ok(Self(parse(pairs).map_err(Problem::invalid)?))
    }
}

/// Parses parameters, or returns the faults of all of them.
fn parse<T: DeserializeOwned>(mut pairs: Vec<(String, String)>) -> Result<T, Vec<InputFault>> {
    let mut faults = Vec::new();
    loop {
        let values = pairs.iter().map(|(name, value)| (name.clone(), ParameterValue(value.clone())));
        let values = value::MapDeserializer::<_, value::Error>::new(values);
        let error = match serde_path_to_error::deserialize::<_, T>(values) {
            Ok(parsed) if faults.is_empty() => return Ok(parsed),
            Ok(_) => return Err(faults),
            Err(error) => error,
        };
        faults.push(json_errors::to_input_fault("query", &error));
        // serde stops at the first fault, so the others are found without this parameter.
        let (before, name) = (pairs.len(), error.path().iter().next().map(ToString::to_string));
        pairs.retain(|(other, _)| Some(other) != name.as_ref());
        if pairs.len() == before {
            return Err(faults);
        }
    }
}

/// Checks that a query string contains each known parameter at most once and with a value, and no
/// others unless they are ignored.
pub fn check_parameters(query: &str, known: &[String], ignores_unknown: bool) -> Result<(), Problem> {
    let (mut seen, mut details, mut faults) = (BTreeSet::new(), Vec::new(), Vec::new());
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let (field, fault, detail) = if let Some(name) = known.iter().find(|known| **known == name) {
            let fault = if !seen.insert(name) {
                "is repeated"
            } else if value.is_empty() {
                // Ignoring an empty filter would return more than the caller requested.
                "is empty: omit it or give it a value"
            } else if value.contains(char::is_control) {
                // No valid value contains one, and PostgreSQL text cannot contain NUL.
                "contains a control character"
            } else {
                continue;
            };
            (name.clone(), fault, format!("the query parameter `{name}` {fault}"))
        } else {
            let names: Vec<_> = known.iter().map(String::as_str).collect();
            if ignores_unknown && find_resembled(&names, &name).is_none() {
                continue;
            }
            let accepted = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let detail = format!("unknown query parameter; this operation accepts: {accepted}");
            (json_errors::truncate_name(&name), "is not a parameter of this operation", detail)
        };
        if !details.contains(&detail) {
            details.push(detail);
        }
        faults.push(InputFault::new(field, fault));
        if faults.len() == MAX_FAULTS {
            break;
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(Problem::bad_parameters(details.join("; "), faults)) }
}

/// The value of a query parameter. Deserializes from text into numbers and booleans as well.
struct ParameterValue(String);

impl<'de> IntoDeserializer<'de> for ParameterValue {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

impl ParameterValue {
    fn parse<T: FromStr>(&self, expected: &str) -> Result<T, value::Error> {
        self.0.parse().map_err(|_| value::Error::custom(format!("must be {expected}")))
    }
}

impl<'de> Deserializer<'de> for ParameterValue {
    type Error = value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, value::Error> {
        visitor.visit_string(self.0)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, value::Error> {
        visitor.visit_bool(self.parse("true or false")?)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, value::Error> {
        visitor.visit_i64(self.parse("an integer")?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, value::Error> {
        visitor.visit_some(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, value::Error> {
        self.0.into_deserializer().deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct newtype_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// A number from 1 to `MAX`, which defaults to `DEFAULT`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub struct Count<const MAX: i64, const DEFAULT: i64>(pub i64);

impl<const MAX: i64, const DEFAULT: i64> Default for Count<MAX, DEFAULT> {
    fn default() -> Self {
        Self(DEFAULT)
    }
}

impl<const MAX: i64, const DEFAULT: i64> TryFrom<String> for Count<MAX, DEFAULT> {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let number = text.parse().ok().filter(|number| (1..=MAX).contains(number));
        number.map(Self).ok_or_else(|| format!("must be a number from 1 to {MAX}"))
    }
}

impl<const MAX: i64, const DEFAULT: i64> PartialSchema for Count<MAX, DEFAULT> {
    fn schema() -> RefOr<Schema> {
        let integer = ObjectBuilder::new().schema_type(Type::Integer);
        integer.minimum(Some(1)).maximum(Some(MAX)).default(Some(DEFAULT.into())).into()
    }
}

impl<const MAX: i64, const DEFAULT: i64> ToSchema for Count<MAX, DEFAULT> {}

/// The limit of a list.
pub type Limit = Count<{ PageRequest::MAX_LIMIT }, { PageRequest::DEFAULT_LIMIT }>;

/// Pagination of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Paging {
    /// Maximum number of objects to return.
    #[serde(default)]
    #[param(inline)]
    limit: Limit,
    /// Cursor: the `next` of the previous page.
    #[param(pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$")]
    after: Option<String>,
}

impl From<Paging> for PageRequest {
    fn from(Paging { limit, after }: Paging) -> Self {
        Self { limit: limit.0, cursor: after }
    }
}
