//! A TOML file, and over it the environment and the command line.
//!
//! Layers are merged by the `config` crate; each value keeps the place it was written in, so that an error three layers deep
//! still names a line or an option.

use crate::decode::{Fault, Layered, join, place_of};
use crate::elements;
use crate::problem::{Problem, SettingsError};
use config::{Config, ConfigError, Map, Source, Value, ValueKind};
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The layers, the lowest first.
#[derive(Clone, Debug)]
pub struct Layers {
    layers: Vec<Layer>,
}

impl Layers {
    /// A file's text. `name` is what errors call it.
    pub fn new(name: &str, text: &str) -> Result<Self, SettingsError> {
        Ok(Self { layers: vec![Layer::parse(name, text, true)?] })
    }

    /// Values from environment variables such as `NTM_WORLD__SEED=8`: two underscores stand for a dot, one for a hyphen.
    /// Variables without two underscores are left alone.
    pub fn environment(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, SettingsError> {
        let mut variables: Vec<_> = variables.into_iter().collect();
        variables.sort();
        for (name, value) in variables {
            let Some(key) = name.strip_prefix("NTM_").filter(|key| key.contains("__")) else { continue };
            let key = key.to_lowercase().replace("__", ".").replace('_', "-");
            self.lay_over(&name, &key, &value)?;
        }
        Ok(self)
    }

    /// One value from `key=value`, as `--set` takes it: `world.seed=8`, `node.alice.network=lte`,
    /// `domain.u1.example.relays=2`, `event.0.at=30s`. The value is TOML, or else text.
    pub fn set(mut self, assignment: &str) -> Result<Self, SettingsError> {
        let Some((key, value)) = assignment.split_once('=') else {
            return Err(Problem::new(format!("{assignment:?} is not of the form key=value"))
                .at(Some("--set".into()))
                .into());
        };
        let key = self.quote(key.trim());
        self.lay_over(&format!("--set {assignment}"), &key, value.trim())?;
        Ok(self)
    }

    /// Lays a single value over everything so far; numbers in its key are elements of lists.
    fn lay_over(&mut self, name: &str, key: &str, value: &str) -> Result<(), SettingsError> {
        let layer = Layer::assignment(name, key, value)?;
        let below = self.clone().merge()?;
        let values = elements::resolve(&below.0, layer.values).map_err(|problem| problem.at(Some(name.to_owned())))?;
        self.layers.push(Layer { values });
        Ok(())
    }

    /// A domain's name has dots in it: quotes a name in a table for whoever did not.
    fn quote(&self, key: &str) -> String {
        let Some((table, rest)) = key.split_once('.') else { return key.to_owned() };
        let names = self.layers.iter().filter_map(|layer| match &layer.values.get(table)?.kind {
            ValueKind::Table(table) => Some(table.keys()),
            _ => None,
        });
        let leads = |name: &&String| rest.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('.'));
        match names.flatten().filter(leads).max_by_key(|name| name.len()) {
            Some(name) => format!("{table}.{name:?}{}", &rest[name.len()..]),
            None => key.to_owned(),
        }
    }

    /// Merges the layers.
    pub fn merge(self) -> Result<Merged, SettingsError> {
        let merged = self.layers.into_iter().fold(Config::builder(), |builder, layer| builder.add_source(layer));
        Ok(Merged(merged.build().map_err(|error| Problem::new(error.to_string()))?.cache))
    }
}

/// Layers that have become one, each value with its place.
#[derive(Clone, Debug)]
pub struct Merged(Value);

impl Merged {
    /// Decodes it. `hint` may have a word on a key that is unknown where it stands.
    pub fn decode<T: DeserializeOwned>(&self, hint: impl Fn(&str) -> Option<&'static str>) -> Result<T, SettingsError> {
        T::deserialize(Layered(&self.0)).map_err(|fault: Fault| fault.into_problem(hint).into())
    }

    /// Where the value at `path` is written; the nearest that is written anywhere, going outwards.
    pub fn place_of(&self, path: &[&str]) -> String {
        let mut value = &self.0;
        let mut place = None;
        for key in path {
            let next = match &value.kind {
                ValueKind::Table(table) => table.get(*key),
                ValueKind::Array(items) => {
                    key.trim_matches(['[', ']']).parse().ok().and_then(|index: usize| items.get(index))
                }
                _ => None,
            };
            let Some(next) = next else { break };
            value = next;
            place = place_of(value).or(place);
        }
        place.unwrap_or_else(|| join(path))
    }
}

/// One layer, parsed.
#[derive(Clone, Debug)]
struct Layer {
    values: Map<String, Value>,
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.values.clone())
    }
}

impl Layer {
    fn parse(name: &str, text: &str, with_lines: bool) -> Result<Self, SettingsError> {
        let places = Places { name, text: with_lines.then_some(text) };
        let table = DeTable::parse(text).map_err(|error| {
            let place = places.at(error.span().unwrap_or_default().start);
            Problem::new(error.message()).at(Some(place))
        })?;
        Ok(Self { values: places.table(table.get_ref()) })
    }

    /// A single value. What is no TOML value is text: nobody wants to write quotes within quotes in a shell.
    fn assignment(name: &str, key: &str, value: &str) -> Result<Self, SettingsError> {
        let quoted = toml::Value::from(value).to_string();
        Self::parse(name, &format!("{key} = {value}"), false)
            .or_else(|_| Self::parse(name, &format!("{key} = {quoted}"), false))
    }
}

/// Turns positions in a text into places.
struct Places<'t> {
    name: &'t str,
    /// The text, if lines in it mean something to whoever wrote it.
    text: Option<&'t str>,
}

impl Places<'_> {
    fn at(&self, position: usize) -> String {
        match self.text {
            Some(text) => {
                let before = &text.as_bytes()[..position.min(text.len())];
                format!("{}:{}", self.name, before.iter().filter(|byte| **byte == b'\n').count() + 1)
            }
            None => self.name.to_owned(),
        }
    }

    fn table(&self, table: &DeTable<'_>) -> Map<String, Value> {
        table.iter().map(|(key, value)| (key.get_ref().to_string(), self.value(value))).collect()
    }

    fn value(&self, value: &Spanned<DeValue<'_>>) -> Value {
        let kind = match value.get_ref() {
            DeValue::String(text) => ValueKind::String(text.to_string()),
            DeValue::Boolean(flag) => ValueKind::Boolean(*flag),
            // Numbers that do not fit stay text, and are refused where a number is expected.
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => ValueKind::I64(number),
                Err(_) => ValueKind::String(number.as_str().to_owned()),
            },
            DeValue::Float(number) => match number.as_str().parse() {
                Ok(number) => ValueKind::Float(number),
                Err(_) => ValueKind::String(number.as_str().to_owned()),
            },
            DeValue::Datetime(time) => ValueKind::String(time.to_string()),
            DeValue::Array(items) => ValueKind::Array(items.iter().map(|item| self.value(item)).collect()),
            DeValue::Table(table) => ValueKind::Table(self.table(table)),
        };
        Value::new(Some(&self.at(value.span().start)), kind)
    }
}
