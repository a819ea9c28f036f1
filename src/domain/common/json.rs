//! Strict JSON: an object with a duplicate member is refused, whereas `serde_json::Value` keeps the
//! last one.

use std::{fmt, io};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

use crate::domain::common::key_text::contains_api_key;

/// A JSON object of the product: returned as received, never interpreted. At most 16 KiB when
/// serialized.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata(Map<String, Value>);

impl Metadata {
    pub const MAX_BYTES: usize = 16 * 1024;

    fn new(map: Map<String, Value>) -> Result<Self, InvalidMetadata> {
        let metadata = Self(map);
        let text = metadata.to_json();
        if contains_api_key(&text) || text.len() > Self::MAX_BYTES { Err(InvalidMetadata) } else { Ok(metadata) }
    }

    pub fn as_map(&self) -> &Map<String, Value> {
        &self.0
    }

    pub fn into_map(self) -> Map<String, Value> {
        self.0
    }

    pub fn to_json(&self) -> String {
        Value::Object(self.0.clone()).to_string()
    }

    pub fn parse(text: &str) -> Result<Self, InvalidMetadata> {
        serde_json::from_str(text).map_err(|_| InvalidMetadata)
    }
}

/// A change of metadata.
#[derive(Debug, Clone)]
pub enum MetadataPatch {
    /// A merge patch (RFC 7396): a member replaces the one of the same name, objects are merged and
    /// `null` removes a member.
    Merge(Map<String, Value>),
    Replace(Metadata),
}

impl MetadataPatch {
    pub fn apply(self, before: &Metadata) -> Result<Metadata, InvalidMetadata> {
        match self {
            Self::Merge(patch) => {
                let mut merged = before.0.clone();
                merge(&mut merged, patch);
                Metadata::new(merged)
            }
            Self::Replace(metadata) => Ok(metadata),
        }
    }
}

/// RFC 7396 §2.
fn merge(target: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (name, value) in patch {
        match value {
            Value::Null => {
                target.remove(&name);
            }
            Value::Object(patch) => {
                let mut merged = match target.remove(&name) {
                    Some(Value::Object(before)) => before,
                    Some(_) | None => Map::new(),
                };
                merge(&mut merged, patch);
                target.insert(name, Value::Object(merged));
            }
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                target.insert(name, value);
            }
        }
    }
}

impl<'de> Deserialize<'de> for MetadataPatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Object::deserialize(deserializer).map(|Object(patch)| Self::Merge(patch))
    }
}

/// Returned for a text that is not valid metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("metadata is a JSON object of at most 16 KiB, no member twice, and no API key in it")]
pub struct InvalidMetadata;

impl Serialize for Metadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Object(map) = Object::deserialize(deserializer)?;
        Self::new(map).map_err(de::Error::custom)
    }
}

/// A JSON object as received, without duplicate members at any depth.
#[derive(Debug, Clone)]
pub struct Object(pub Map<String, Value>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match StrictJson::deserialize(deserializer)?.0 {
            Value::Object(map) => Ok(Self(map)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                Err(de::Error::custom("must be a JSON object"))
            }
        }
    }
}

/// A JSON value without duplicate members at any depth. `serde_json` limits the depth to 127.
#[derive(Debug)]
pub struct StrictJson(pub Value);

impl<'de> Deserialize<'de> for StrictJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictJsonVisitor).map(StrictJson)
    }
}

struct StrictJsonVisitor;

impl<'de> Visitor<'de> for StrictJsonVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number that JSON cannot hold"))
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(StrictJson(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            let StrictJson(value) = access.next_value()?;
            if map.insert(name, value).is_some() {
                return Err(de::Error::custom("an object has two members with the same name"));
            }
        }
        Ok(Value::Object(map))
    }
}

/// Returns the length of a value as JSON, without allocating it. A value that cannot be serialized
/// exceeds every limit.
pub fn json_length(value: &impl Serialize) -> usize {
    struct Length(usize);
    impl io::Write for Length {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.saturating_add(bytes.len());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut length = Length(0);
    serde_json::to_writer(&mut length, value).map_or(usize::MAX, |()| length.0)
}

/// A PATCH member that may be `null`: `None` if it is absent, `Some(None)` if it is `null`.
pub fn deserialize_nullable<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// A member that may be omitted but is never `null`: `null` would mean nothing.
pub fn deserialize_present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    // `T` would report `null` in many ways, an enumeration even as malformed JSON.
    match Option::deserialize(deserializer)? {
        None => Err(de::Error::custom("must not be null: give it a value, or omit it")),
        present => Ok(present),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    /// The examples of RFC 7396 appendix A with an object as target and patch.
    #[test]
    fn merge_patches_are_applied_as_in_the_examples_of_the_rfc() {
        for (target, patch, merged) in [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
            (json!({"a":"b"}), json!({"a":null}), json!({})),
            (json!({"a":"b","b":"c"}), json!({"a":null}), json!({"b":"c"})),
            (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"c"}), json!({"a":["b"]}), json!({"a":["b"]})),
            (json!({"a":{"b":"c"}}), json!({"a":{"b":"d","c":null}}), json!({"a":{"b":"d"}})),
            (json!({"a":[{"b":"c"}]}), json!({"a":[1]}), json!({"a":[1]})),
            (json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1})),
            (json!({}), json!({"a":{"bb":{"ccc":null}}}), json!({"a":{"bb":{}}})),
        ] {
            let patched = MetadataPatch::Merge(object(patch.clone())).apply(&Metadata(object(target)));
            assert_eq!(Value::Object(patched.unwrap().into_map()), merged, "{patch}");
        }
        let long = Metadata(object(json!({ "a": "x".repeat(Metadata::MAX_BYTES - 20) })));
        assert!(MetadataPatch::Merge(object(json!({ "b": "more than is left" }))).apply(&long).is_err());
    }

    /// `serde_json` without `float_roundtrip` reads some numbers as a neighbour, so that metadata
    /// would change each time it is stored.
    #[test]
    fn a_number_is_the_same_after_each_reading() {
        for text in [r#"{"a":123456729012000000000078229837}"#, r#"{"a":1.2345672901199999e29}"#] {
            let metadata = Metadata::parse(text).unwrap();
            assert_eq!(Metadata::parse(&metadata.to_json()), Ok(metadata), "{text}");
        }
    }
}
