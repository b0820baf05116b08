//! What a plugin says of itself and of its settings, checked.

use crate::bindings::validation as raw;
use crate::{BadAnswer, limits};
use eaves_model::reading::check_name;
use std::collections::HashSet;

/// Which values a plugin wants to see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// The names of the attributes; none for all.
    pub attributes: Option<Vec<String>>,
    /// The types of the entities; none for all.
    pub entity_types: Option<Vec<String>>,
    /// The names of the attributes whose previous value it wants to see.
    pub previous: Vec<String>,
}

/// What a plugin says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// Its name.
    pub name: String,
    /// Its version, by Semantic Versioning.
    pub version: String,
    /// What it wants to see, whatever its settings.
    pub interest: Interest,
    /// A JSON Schema of its settings; empty if it takes none.
    pub settings_schema: String,
}

fn bad(list: &'static str, index: impl Into<Option<usize>>, problem: impl Into<String>) -> BadAnswer {
    BadAnswer { list, index: index.into(), problem: problem.into() }
}

/// Checks the answer to `describe`.
pub(crate) fn described(said: raw::Description) -> Result<Description, BadAnswer> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if said.name.is_empty() || said.name.len() > 64 || !said.name.chars().all(plain) {
        return Err(bad("name", None, "not 1 to 64 lower case letters, digits and hyphens"));
    }
    if !is_version(&said.version) {
        return Err(bad("version", None, "not a version such as 1.4.0, of at most 64 characters"));
    }
    let interest = interest(said.interest, None)?;
    if said.settings_schema.len() > 64 << 10 {
        return Err(bad("settings-schema", None, "over 64 KiB"));
    }
    if !said.settings_schema.is_empty() {
        let read = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&said.settings_schema);
        read.map_err(|e| bad("settings-schema", None, format!("not a JSON object: {e}")))?;
    }
    Ok(Description {
        name: said.name,
        version: said.version,
        interest,
        settings_schema: said.settings_schema,
    })
}

/// `1.4.0`, with a pre-release and build part if need be. Semantic Versioning 2.0.0.
fn is_version(text: &str) -> bool {
    let (rest, build) = text.split_once('+').map_or((text, None), |(rest, build)| (rest, Some(build)));
    let (core, pre) = rest.split_once('-').map_or((rest, None), |(core, pre)| (core, Some(pre)));
    let number = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_digit())
            && (part == "0" || !part.starts_with('0'))
    };
    let identifier =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    text.len() <= 64
        && core.split('.').count() == 3
        && core.split('.').all(number)
        && [pre, build].into_iter().flatten().all(|part| part.split('.').all(identifier))
}

/// Checks what a plugin wants to see: names that are names, each once, and, of attributes and
/// types of entities, not more than it said before.
pub(crate) fn interest(said: raw::Interest, before: Option<&Interest>) -> Result<Interest, BadAnswer> {
    names("attributes", said.attributes.as_deref(), before.and_then(|b| b.attributes.as_deref()))?;
    names("entity-types", said.entity_types.as_deref(), before.and_then(|b| b.entity_types.as_deref()))?;
    names("previous", Some(&said.previous), None)?;
    Ok(Interest { attributes: said.attributes, entity_types: said.entity_types, previous: said.previous })
}

fn names(list: &'static str, said: Option<&[String]>, before: Option<&[String]>) -> Result<(), BadAnswer> {
    let Some(said) = said else {
        return match before {
            Some(_) => Err(bad(list, None, "wants all, and `describe` names some")),
            None => Ok(()),
        };
    };
    if said.len() > limits::MAX_INTEREST_NAMES {
        return Err(bad(list, None, "over 10,000 names"));
    }
    let before: Option<HashSet<&str>> = before.map(|names| names.iter().map(String::as_str).collect());
    let mut seen = HashSet::new();
    for (index, name) in said.iter().enumerate() {
        check_name(list, name).map_err(|e| bad(list, index, e.message))?;
        if !seen.insert(name.as_str()) {
            return Err(bad(list, index, format!("names {name:?} twice")));
        }
        if before.as_ref().is_some_and(|before| !before.contains(name.as_str())) {
            return Err(bad(list, index, format!("names {name:?}, which `describe` does not")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::is_version;

    #[test]
    fn versions_are_semantic() {
        for good in ["0.1.0", "1.4.0", "10.20.30-rc.1+build.7", "1.0.0+sha-5"] {
            assert!(is_version(good), "{good}");
        }
        for bad in ["", "1.0", "1.0.0.0", "01.0.0", "1.0.x", "1.0.0-", "1.0.0 ", "1.0.0-a..b", "v1.0.0"] {
            assert!(!is_version(bad), "{bad}");
        }
    }
}
