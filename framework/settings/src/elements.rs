//! Overrides that address elements of lists by their numbers: `event.0.at`, `traffic.1.kind.udp.every`.
//!
//! A layer replaces a list as a whole. So an override of an element becomes the list that the layers below make, with that
//! element changed; everything else in it keeps the place where it was written.

use crate::decode::join;
use crate::problem::Problem;
use config::{Map, Value, ValueKind};

/// Resolves the numbers in an override against what it is laid over.
pub(crate) fn resolve(below: &Value, over: Map<String, Value>) -> Result<Map<String, Value>, Problem> {
    let mut path = Vec::new();
    match resolve_value(Some(below), table(over), &mut path)?.kind {
        ValueKind::Table(resolved) => Ok(resolved),
        _ => Ok(Map::new()),
    }
}

fn resolve_value(below: Option<&Value>, over: Value, path: &mut Vec<String>) -> Result<Value, Problem> {
    let ValueKind::Table(over_table) = over.kind.clone() else { return Ok(over) };
    match below.map(|below| &below.kind) {
        Some(ValueKind::Table(known)) => {
            let mut resolved = Map::new();
            for (key, value) in over_table {
                path.push(key.clone());
                resolved.insert(key.clone(), resolve_value(known.get(&key), value, path)?);
                path.pop();
            }
            Ok(table(resolved))
        }
        Some(ValueKind::Array(items)) => {
            let mut items = items.clone();
            for (key, value) in over_table {
                let index = index(&key, items.len(), path)?;
                path.push(format!("[{index}]"));
                let value = resolve_value(Some(&items[index]), value, path)?;
                path.pop();
                lay_over(&mut items[index], value);
            }
            let mut list = below.cloned().unwrap_or(over);
            list.kind = ValueKind::Array(items);
            Ok(list)
        }
        _ => Ok(over),
    }
}

/// Which element is meant.
fn index(key: &str, length: usize, path: &[String]) -> Result<usize, Problem> {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let list = join(&path);
    match (key.parse::<usize>(), length) {
        (Ok(index), _) if index < length => Ok(index),
        (_, 0) => Err(Problem::new(format!("{list} is an empty list"))),
        (Ok(_), _) => {
            let last = length - 1;
            Err(Problem::new(format!("there is no {list}.{key}: the list goes from {list}.0 to {list}.{last}")))
        }
        (Err(_), _) => {
            let example = format!("say which element is meant, as in {list}.0.{key}");
            Err(Problem::new(format!("{list} is a list of {length}; {example}")))
        }
    }
}

/// Lays a value over another: tables are merged, everything else is replaced.
fn lay_over(below: &mut Value, over: Value) {
    match (&mut below.kind, over.kind.clone()) {
        (ValueKind::Table(known), ValueKind::Table(new)) => {
            for (key, value) in new {
                match known.get_mut(&key) {
                    Some(known) => lay_over(known, value),
                    None => drop(known.insert(key, value)),
                }
            }
        }
        _ => *below = over,
    }
}

fn table(entries: Map<String, Value>) -> Value {
    Value::new(None, ValueKind::Table(entries))
}
