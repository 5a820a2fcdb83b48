//! Causes and rules of the core, in serde's words: their codes.

/// A cause by its code.
pub(crate) mod cause {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use steadfast_core::Cause;

    pub(crate) fn serialize<S: Serializer>(cause: &Cause, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(cause.code())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Cause, D::Error> {
        let code = String::deserialize(from)?;
        Cause::from_code(&code).ok_or_else(|| D::Error::custom(format!("unknown cause {code:?}")))
    }
}

/// A rule by its code, or nothing.
pub(crate) mod rule {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
    use steadfast_core::Rule;

    pub(crate) fn serialize<S: Serializer>(rule: &Option<Rule>, to: S) -> Result<S::Ok, S::Error> {
        rule.map(Rule::code).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Rule>, D::Error> {
        let Some(code) = Option::<String>::deserialize(from)? else {
            return Ok(None);
        };
        let found = Rule::ALL.into_iter().find(|rule| rule.code() == code);
        found
            .map(Some)
            .ok_or_else(|| D::Error::custom(format!("unknown rule {code:?}")))
    }
}
