//! A JSON document with its members in their order, also those that are repeated.
//! `serde_json::Value` sorts the members and keeps the last one of a name.

use std::{fmt, mem, slice};

use serde::{
    Deserialize, Deserializer,
    de::{
        DeserializeSeed, Error as _, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
        value::{SeqDeserializer, StrDeserializer},
    },
    forward_to_deserialize_any,
};
use serde_path_to_error::{Path, Segment};
use zeroize::Zeroizing;

use crate::http::extract::part_error::PartError;

/// A JSON value. A body may contain secrets, so a text is zeroized on drop.
pub enum JsonTree {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(Zeroizing<String>),
    /// The items, each with its position in the document.
    List(Vec<(usize, Self)>),
    Object(Vec<(String, Self)>),
}

/// Without the content, which may be secret.
impl fmt::Debug for JsonTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JsonTree(..)")
    }
}

/// A step from a value to a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Member(String),
    /// The position in the document.
    Item(usize),
}

impl Step {
    /// Returns the path of this part of the value at `parent`.
    pub fn below(self, parent: &[Self]) -> Vec<Self> {
        parent.iter().cloned().chain([self]).collect()
    }
}

impl JsonTree {
    /// Converts the path of an error to steps in the document. A path may go further than the tree,
    /// into the variant of an enumeration.
    pub fn locate(&self, path: &Path) -> Vec<Step> {
        let (mut node, mut steps) = (self, Vec::new());
        for segment in path {
            let next = match (segment, node) {
                (Segment::Map { key }, Self::Object(members)) => {
                    let found = members.iter().find(|(name, _)| name == key);
                    found.map(|(name, member)| (Step::Member(name.clone()), member))
                }
                (Segment::Seq { index }, Self::List(items)) => {
                    items.get(*index).map(|(position, item)| (Step::Item(*position), item))
                }
                (_, _) => None,
            };
            let Some((step, part)) = next else { break };
            steps.push(step);
            node = part;
        }
        steps
    }

    fn part(&mut self, steps: &[Step]) -> Option<&mut Self> {
        let mut node = self;
        for step in steps {
            node = match (step, node) {
                (Step::Member(name), Self::Object(members)) => {
                    &mut members.iter_mut().find(|(other, _)| other == name)?.1
                }
                (Step::Item(position), Self::List(items)) => {
                    &mut items.iter_mut().find(|(other, _)| other == position)?.1
                }
                (_, _) => return None,
            };
        }
        Some(node)
    }

    /// Removes a part. Returns whether there was one: the document itself is no part of it.
    pub fn remove(&mut self, at: &[Step]) -> bool {
        let Some((last, parent)) = at.split_last() else { return false };
        match (last, self.part(parent)) {
            (Step::Member(name), Some(Self::Object(members))) => {
                let before = members.len();
                members.retain(|(other, _)| other != name);
                members.len() < before
            }
            (Step::Item(position), Some(Self::List(items))) => {
                let before = items.len();
                items.retain(|(other, _)| other != position);
                items.len() < before
            }
            (_, _) => false,
        }
    }

    /// Removes all members of a name but the first. Returns whether there were several.
    pub fn remove_repetitions(&mut self, parent: &[Step], name: &str) -> bool {
        let Some(Self::Object(members)) = self.part(parent) else { return false };
        let (before, mut is_kept) = (members.len(), false);
        members.retain(|(other, _)| other != name || !mem::replace(&mut is_kept, true));
        members.len() < before
    }

    /// Removes the members of an object that have none of these names. Returns their names.
    pub fn remove_others(&mut self, parent: &[Step], accepted: &[&str]) -> Vec<String> {
        let Some(Self::Object(members)) = self.part(parent) else { return Vec::new() };
        let others = members.extract_if(.., |(name, _)| !accepted.contains(&name.as_str()));
        others.map(|(name, _)| name).collect()
    }

    fn unexpected(&self) -> Unexpected<'_> {
        match self {
            Self::Null => Unexpected::Unit,
            Self::Bool(value) => Unexpected::Bool(*value),
            Self::Unsigned(value) => Unexpected::Unsigned(*value),
            Self::Signed(value) => Unexpected::Signed(*value),
            Self::Float(value) => Unexpected::Float(*value),
            Self::Text(text) => Unexpected::Str(text),
            Self::List(_) => Unexpected::Seq,
            Self::Object(_) => Unexpected::Map,
        }
    }
}

impl<'de> Deserialize<'de> for JsonTree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonTreeVisitor)
    }
}

struct JsonTreeVisitor;

impl<'de> Visitor<'de> for JsonTreeVisitor {
    type Value = JsonTree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E>(self) -> Result<JsonTree, E> {
        Ok(JsonTree::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<JsonTree, E> {
        Ok(JsonTree::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<JsonTree, E> {
        Ok(JsonTree::Signed(value))
    }
    fn visit_u64<E>(self, value: u64) -> Result<JsonTree, E> {
        Ok(JsonTree::Unsigned(value))
    }
    fn visit_f64<E>(self, value: f64) -> Result<JsonTree, E> {
        Ok(JsonTree::Float(value))
    }
    fn visit_str<E>(self, value: &str) -> Result<JsonTree, E> {
        Ok(JsonTree::Text(Zeroizing::new(value.to_owned())))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<JsonTree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push((items.len(), item));
        }
        Ok(JsonTree::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonTree, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(JsonTree::Object(members))
    }
}

impl<'de> IntoDeserializer<'de, PartError> for &JsonTree {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for &JsonTree {
    type Error = PartError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, PartError> {
        match self {
            JsonTree::Null => visitor.visit_unit(),
            JsonTree::Bool(value) => visitor.visit_bool(*value),
            JsonTree::Unsigned(value) => visitor.visit_u64(*value),
            JsonTree::Signed(value) => visitor.visit_i64(*value),
            JsonTree::Float(value) => visitor.visit_f64(*value),
            JsonTree::Text(text) => visitor.visit_str(text),
            JsonTree::List(items) => {
                let items = items.iter().map(|(_, item)| item);
                SeqDeserializer::<_, PartError>::new(items).deserialize_any(visitor)
            }
            JsonTree::Object(members) => visitor.visit_map(Members { rest: members.iter(), value: None }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, PartError> {
        if matches!(self, JsonTree::Null) { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, PartError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, PartError> {
        let JsonTree::Text(text) = self else {
            return Err(PartError::invalid_type(self.unexpected(), &"a string"));
        };
        let variant: StrDeserializer<'_, PartError> = text.as_str().into_deserializer();
        visitor.visit_enum(variant)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

/// The members of an object as serde reads them.
struct Members<'a> {
    rest: slice::Iter<'a, (String, JsonTree)>,
    value: Option<&'a JsonTree>,
}

impl<'de> MapAccess<'de> for Members<'_> {
    type Error = PartError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, PartError> {
        let Some((name, value)) = self.rest.next() else { return Ok(None) };
        self.value = Some(value);
        let name: StrDeserializer<'_, PartError> = name.as_str().into_deserializer();
        seed.deserialize(name).map(Some).map_err(|mut error| {
            if let PartError::Unknown { is_in_path, .. } = &mut error {
                *is_in_path = true;
            }
            error
        })
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, PartError> {
        let value = self.value.take().ok_or_else(|| PartError::custom("a value without a name"))?;
        seed.deserialize(value)
    }
}
