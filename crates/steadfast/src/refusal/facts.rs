//! The numbers behind a refusal, as JSON whose members stand in the order in which a person
//! reads them.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
    ser::SerializeMap,
};
use serde_json::Value as Json;
use steadfast_core::{
    Evidence,
    plumbing::{Value, inert},
};

use super::millis;

/// Most facts that are read back of one refusal; no evidence has half as many.
const FACTS_MAX: usize = 32;

/// Names and values, in reading order. A time's name ends in `_ms`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Facts(Vec<(String, Json)>);

impl Facts {
    pub(crate) fn of(evidence: &Evidence) -> Self {
        let mut facts = Vec::new();
        evidence.each(|name, value| {
            let name = name.to_owned();
            facts.push(match value {
                Value::Count(count) => (name, count.into()),
                Value::Time(time) => (format!("{name}_ms"), millis(time).into()),
                Value::Text(text) => (name, inert(text).into()),
                Value::Reason(reason) => (name, inert(&reason.to_string()).into()),
                _ => return,
            });
        });
        Self(facts)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Json)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As one object, for whoever does not care about the order.
    pub(crate) fn into_json(self) -> Json {
        Json::Object(self.0.into_iter().collect())
    }
}

impl Serialize for Facts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Facts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Facts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Facts, A::Error> {
                let mut facts = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Json>()? {
                    let value = match value {
                        Json::String(text) => inert(&text).into(),
                        Json::Number(_) | Json::Bool(_) => value,
                        // Nobody here has written it.
                        Json::Null | Json::Array(_) | Json::Object(_) => continue,
                    };
                    if facts.len() < FACTS_MAX {
                        facts.push((inert(&name).into(), value));
                    }
                }
                Ok(Facts(facts))
            }
        }
        deserializer.deserialize_map(Read)
    }
}
