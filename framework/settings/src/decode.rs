//! From layered values to the types of whoever reads them, with errors that know where they are and what was expected.
//!
//! A serde data format over [`config::Value`], since the formats at hand turn "unknown field" into a sentence and lose the
//! list of known ones; here it stays data, and every value's origin (`file:line`) goes with it.

use crate::problem::Problem;
use config::{Value, ValueKind};
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
    VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use std::fmt;

/// Why decoding failed, and where: collected from the inside out.
#[derive(Debug)]
pub(crate) struct Fault {
    what: What,
    /// Keys from the outermost in, collected in reverse.
    path: Vec<String>,
    place: Option<String>,
}

#[derive(Debug)]
enum What {
    UnknownKey { key: String, known: &'static [&'static str] },
    UnknownName { name: String, known: &'static [&'static str] },
    Missing(&'static str),
    Other(String),
}

impl Fault {
    fn new(what: What) -> Self {
        Self { what, path: Vec::new(), place: None }
    }

    /// The fault is in `value`.
    fn inside(mut self, value: &Value) -> Self {
        self.place = self.place.or_else(|| place_of(value));
        self
    }

    /// The fault is below `key`.
    fn below(mut self, key: String) -> Self {
        self.path.push(key);
        self
    }

    /// Everything about it, for people; `hint` may have a word on an unknown key.
    pub(crate) fn into_problem(self, hint: impl Fn(&str) -> Option<&'static str>) -> Problem {
        let path: Vec<&str> = self.path.iter().rev().map(String::as_str).collect();
        let path = join(&path);
        let within = if path.is_empty() { String::new() } else { format!(" in {path}") };
        let problem = match self.what {
            What::UnknownKey { key, known } => {
                let problem = Problem::unknown(format!("unknown key {key:?}{within}"), &key, known);
                match hint(&key) {
                    Some(hint) => problem.hint(hint),
                    None => problem,
                }
            }
            What::UnknownName { name, known } => {
                Problem::unknown(format!("unknown value {name:?} for {path}"), &name, known)
            }
            What::Missing(key) => Problem::new(format!("{path} lacks {key:?}")),
            What::Other(what) if path.is_empty() => Problem::new(what),
            What::Other(what) => Problem::new(format!("{path}: {what}")),
        };
        problem.at(self.place)
    }
}

/// A path as it is written in TOML; numbers are positions in an array.
pub fn join(path: &[&str]) -> String {
    let mut text = String::new();
    for key in path {
        let bare = key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if key.starts_with('[') {
            text.push_str(key);
            continue;
        }
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(&if bare { (*key).to_owned() } else { format!("{key:?}") });
    }
    text
}

/// Where a value is written: a table's place is that of its first line.
pub(crate) fn place_of(value: &Value) -> Option<String> {
    let children: Box<dyn Iterator<Item = &Value>> = match (value.origin(), &value.kind) {
        (Some(origin), _) => return Some(origin.to_owned()),
        (None, ValueKind::Table(table)) => Box::new(table.values()),
        (None, ValueKind::Array(array)) => Box::new(array.iter()),
        _ => return None,
    };
    children.filter_map(place_of).min_by_key(|place| match place.rsplit_once(':') {
        Some((file, line)) => (file.to_owned(), line.parse::<usize>().unwrap_or_default()),
        None => (place.clone(), 0),
    })
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.what)
    }
}

impl std::error::Error for Fault {}

impl Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(What::Other(message.to_string()))
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(What::Other(format!("expected {expected}, found {found}")))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(name: &str, known: &'static [&'static str]) -> Self {
        Self::new(What::UnknownName { name: name.to_owned(), known })
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        Self::new(What::UnknownKey { key: key.to_owned(), known })
    }

    fn missing_field(key: &'static str) -> Self {
        Self::new(What::Missing(key))
    }
}

/// A value to be decoded.
#[derive(Clone, Copy)]
pub(crate) struct Layered<'v>(pub(crate) &'v Value);

impl<'de> Deserializer<'de> for Layered<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.0.kind {
            ValueKind::Nil => visitor.visit_unit(),
            ValueKind::Boolean(value) => visitor.visit_bool(*value),
            ValueKind::I64(value) => visitor.visit_i64(*value),
            ValueKind::I128(value) => visitor.visit_i128(*value),
            ValueKind::U64(value) => visitor.visit_u64(*value),
            ValueKind::U128(value) => visitor.visit_u128(*value),
            ValueKind::Float(value) => visitor.visit_f64(*value),
            ValueKind::String(text) => visitor.visit_str(text),
            ValueKind::Array(items) => visitor.visit_seq(Items { items: items.iter().enumerate() }),
            ValueKind::Table(table) => {
                let mut entries: Vec<_> = table.iter().collect();
                // The table hashes its keys; which error is found first must not depend on that.
                entries.sort_by_key(|(key, _)| *key);
                visitor.visit_map(Entries { entries: entries.into_iter(), current: None })
            }
        }
        .map_err(|fault| fault.inside(self.0))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.0.kind {
            ValueKind::String(name) => visitor.visit_enum(name.as_str().into_deserializer()),
            ValueKind::Table(table) if table.len() == 1 => {
                let (name, value) = table.iter().next().expect("the table has one entry");
                visitor.visit_enum(Variant { name, value })
            }
            _ => Err(Fault::custom(format!("expected exactly one of {}", variants.join(", ")))),
        }
        .map_err(|fault| fault.inside(self.0))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

struct Items<'v> {
    items: std::iter::Enumerate<std::slice::Iter<'v, Value>>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some((index, item)) = self.items.next() else { return Ok(None) };
        seed.deserialize(Layered(item)).map(Some).map_err(|fault| fault.inside(item).below(format!("[{index}]")))
    }
}

struct Entries<'v> {
    entries: std::vec::IntoIter<(&'v String, &'v Value)>,
    current: Option<(&'v String, &'v Value)>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        self.current = self.entries.next();
        let Some((key, value)) = self.current else { return Ok(None) };
        seed.deserialize(key.as_str().into_deserializer()).map(Some).map_err(|fault: Fault| fault.inside(value))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let (key, value) = self.current.expect("serde asks for a key before its value");
        seed.deserialize(Layered(value)).map_err(|fault| fault.inside(value).below(key.clone()))
    }
}

struct Variant<'v> {
    name: &'v str,
    value: &'v Value,
}

impl<'de> EnumAccess<'de> for Variant<'_> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Fault> {
        let variant =
            seed.deserialize(self.name.into_deserializer()).map_err(|fault: Fault| fault.inside(self.value))?;
        Ok((variant, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        Err(Fault::custom(format!("{:?} takes no fields", self.name)).inside(self.value))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Fault> {
        let name = self.name.to_owned();
        seed.deserialize(Layered(self.value)).map_err(|fault| fault.inside(self.value).below(name))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        Layered(self.value).deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Fault> {
        let name = self.name.to_owned();
        Layered(self.value).deserialize_any(visitor).map_err(|fault| fault.below(name))
    }
}
