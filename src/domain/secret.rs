//! A secret as configuration names it: the text itself, an environment variable or a file. It is resolved when it is
//! needed, and never printed: what a `Debug` of a configuration shows is where the secret lives, not what it is.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::diagnostic::did_you_mean;

/// Where a password or key comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// `password = "hunter2"`: the text itself; for tests and for values that an environment override supplies.
    Inline(String),
    /// `password = { env = "SMTP_PASSWORD" }`
    Env(String),
    /// `password = { file = "/run/secrets/smtp" }`: the file's text without its last line break.
    File(PathBuf),
}

impl Secret {
    /// The secret itself. `env` looks up environment variables. An error says which secret could not be read and never
    /// contains any part of one.
    pub fn resolve(&self, env: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
        let text = match self {
            Secret::Inline(text) => text.clone(),
            Secret::Env(name) => env(name).ok_or_else(|| format!("the environment variable `{name}` is not set"))?,
            Secret::File(path) => read(path)?,
        };
        if text.is_empty() { Err(format!("the secret in {self:?} is empty")) } else { Ok(text) }
    }
}

fn read(path: &Path) -> Result<String, String> {
    let text =
        std::fs::read_to_string(path).map_err(|e| format!("cannot read the secret file {}: {e}", path.display()))?;
    Ok(text.strip_suffix('\n').map_or(text.as_str(), |t| t.strip_suffix('\r').unwrap_or(t)).to_owned())
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Secret::Inline(_) => f.write_str("***"),
            Secret::Env(name) => write!(f, "{{ env = {name:?} }}"),
            Secret::File(path) => write!(f, "{{ file = {path:?} }}"),
        }
    }
}

/// Where it lives, as it was written; a secret that stands in the file itself is `***`.
impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (key, value) = match self {
            Secret::Inline(_) => return serializer.serialize_str("***"),
            Secret::Env(name) => ("env", Cow::Borrowed(name.as_str())),
            Secret::File(path) => ("file", path.to_string_lossy()),
        };
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(key, &value)?;
        map.end()
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let source = |key: &str, description: &str| {
            json_schema!({
                "type": "object",
                "description": description,
                "properties": { key: { "type": "string", "description": description } },
                "required": [key],
                "additionalProperties": false,
            })
        };
        json_schema!({
            "title": "secret",
            "anyOf": [
                { "type": "string", "description": "The text itself." },
                source("env", "The environment variable that holds it."),
                source("file", "The file that holds it; a last line break does not count."),
            ],
        })
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecretVisitor)
    }
}

struct SecretVisitor;

impl<'de> Visitor<'de> for SecretVisitor {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, { env = \"NAME\" } or { file = \"PATH\" }")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Secret, E> {
        Ok(Secret::Inline(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Secret, A::Error> {
        let Some(key) = map.next_key::<String>()? else {
            return Err(de::Error::custom(
                "an empty table names no secret; use { env = \"NAME\" } or { file = \"PATH\" }",
            ));
        };
        let secret = match key.as_str() {
            "env" => Secret::Env(map.next_value()?),
            "file" => Secret::File(map.next_value()?),
            other => {
                let hint = did_you_mean(other, ["env", "file"]).map(|k| format!("; did you mean `{k}`?"));
                let hint = hint.unwrap_or_default();
                return Err(de::Error::custom(format!("a secret has `env` or `file`, not `{other}`{hint}")));
            }
        };
        match map.next_key::<String>()? {
            None => Ok(secret),
            Some(second) => Err(de::Error::custom(format!("a secret has one source, not `{key}` and `{second}`"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Holder {
        password: Secret,
    }

    fn parse(text: &str) -> Result<Secret, String> {
        toml::from_str::<Holder>(text).map(|h| h.password).map_err(|e| e.message().to_owned())
    }

    #[test]
    fn a_secret_comes_from_the_text_the_environment_or_a_file() {
        let env = |name: &str| (name == "KEY").then(|| "from the environment".to_owned());
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "from a file\r\n").unwrap();
        let of = |text: &str| parse(text).unwrap().resolve(&env);
        assert_eq!(of("password = 'plain'").unwrap(), "plain");
        assert_eq!(of("password = { env = 'KEY' }").unwrap(), "from the environment");
        assert_eq!(of(&format!("password = {{ file = {:?} }}", file.path())).unwrap(), "from a file");
        assert_eq!(of("password = { env = 'NONE' }").unwrap_err(), "the environment variable `NONE` is not set");
        assert_eq!(of("password = ''").unwrap_err(), "the secret in *** is empty");
    }

    #[test]
    fn a_secret_is_never_printed() {
        let holder: Holder = toml::from_str("password = 'hunter2'").unwrap();
        assert_eq!(format!("{holder:?}"), "Holder { password: *** }");
    }

    #[test]
    fn a_wrong_table_is_explained() {
        let error = parse("password = { fiel = 'x' }").unwrap_err();
        assert_eq!(error, "a secret has `env` or `file`, not `fiel`; did you mean `file`?");
        let error = parse("password = { env = 'A', file = 'b' }").unwrap_err();
        assert_eq!(error, "a secret has one source, not `env` and `file`");
    }
}
