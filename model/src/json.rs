//! Strict JSON (RFC 8259) for what strangers send: one reading only, bounded.
//!
//! Two parsers that read one text differently are how a check gets passed around, so a member name that comes twice is
//! refused at any depth, also when one of the two is spelled with escapes (RFC 8725 §2.7, RFC 7515 §4).

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// A JSON object without duplicate members.
pub type Object = Map<String, Value>;

/// How large and deep a text may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the text.
    pub bytes: usize,
    /// Objects and arrays inside each other, the outermost counted as one.
    pub depth: usize,
    /// Members of all objects together.
    pub members: usize,
    /// Whether numbers must be exact in every implementation: integers within ±(2^53 − 1) (RFC 8259 §6).
    pub exact_integers: bool,
}

/// Why a text is not acceptable JSON. Says nothing of the text's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Longer than allowed.
    #[error("is too long")]
    TooLong,
    /// Not UTF-8.
    #[error("is not UTF-8")]
    Encoding,
    /// Not JSON, or something follows the value.
    #[error("is not valid JSON")]
    Syntax,
    /// The value is not an object.
    #[error("is not a JSON object")]
    NotAnObject,
    /// A member name comes twice in one object.
    #[error("has a duplicate member")]
    Duplicate,
    /// Nested deeper than allowed.
    #[error("is nested too deeply")]
    TooDeep,
    /// More members than allowed.
    #[error("has too many members")]
    TooManyMembers,
    /// A number that not every implementation reads alike.
    #[error("has a number beyond 2^53")]
    Number,
}

/// Parses a text that must be one JSON object and nothing else.
///
/// # Errors
/// The text is not that, or exceeds `limits`.
pub fn parse_object(text: &[u8], limits: Limits) -> Result<Object, JsonError> {
    if text.len() > limits.bytes {
        return Err(JsonError::TooLong);
    }
    let text = std::str::from_utf8(text).map_err(|_| JsonError::Encoding)?;
    let members = Cell::new(0);
    let found = Cell::new(None);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let strict = Strict { limits, depth: 0, members: &members, found: &found };
    let value = strict.deserialize(&mut deserializer).map_err(|_| found.get().unwrap_or(JsonError::Syntax))?;
    deserializer.end().map_err(|_| JsonError::Syntax)?;
    match value {
        Value::Object(object) => Ok(object),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(JsonError::NotAnObject)
        }
    }
}

/// Reads one value. serde's errors are texts, so what was found goes to `found`.
#[derive(Clone, Copy)]
struct Strict<'a> {
    limits: Limits,
    depth: usize,
    members: &'a Cell<usize>,
    found: &'a Cell<Option<JsonError>>,
}

impl Strict<'_> {
    fn inner<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth >= self.limits.depth {
            return Err(self.refuse(JsonError::TooDeep));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }

    fn refuse<E: serde::de::Error>(self, error: JsonError) -> E {
        self.found.set(Some(error));
        E::custom(error)
    }

    fn integer<E: serde::de::Error>(self, magnitude: u64, value: Number) -> Result<Value, E> {
        if self.limits.exact_integers && magnitude > MAX_EXACT {
            Err(self.refuse(JsonError::Number))
        } else {
            Ok(Value::Number(value))
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
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

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        self.integer(value, value.into())
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Value, E> {
        self.integer(value.unsigned_abs(), value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        if self.limits.exact_integers && value.abs() > MAX_EXACT_FLOAT {
            return Err(self.refuse(JsonError::Number));
        }
        Number::from_f64(value).map(Value::Number).ok_or_else(|| self.refuse(JsonError::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut object = Object::new();
        while let Some(name) = entries.next_key::<String>()? {
            let members = self.members.get() + 1;
            self.members.set(members);
            if members > self.limits.members {
                return Err(self.refuse(JsonError::TooManyMembers));
            }
            if object.contains_key(&name) {
                return Err(self.refuse(JsonError::Duplicate));
            }
            let value = entries.next_value_seed(inner)?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

/// The member `name`, if it is there and a string.
#[must_use]
pub fn text<'a>(object: &'a Object, name: &str) -> Option<&'a str> {
    object.get(name).and_then(Value::as_str)
}

const MAX_EXACT: u64 = (1 << 53) - 1;
const MAX_EXACT_FLOAT: f64 = 9_007_199_254_740_991.0;

#[cfg(test)]
mod tests;
