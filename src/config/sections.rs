//! The sections that belong to no kind.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::path::PathBuf;

use jiff::SignedDuration;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::domain::clock::Business;
use crate::domain::consent::{ContactPolicy, FrequencyCap, QuietHours};
use crate::schedule::CatchUp;

/// `[store]`: where everything is kept.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// Which engine: `sqlite`.
    pub kind: StoreKind,
    /// The folder of the database files; made if missing.
    pub path: PathBuf,
    /// MiB of the file that is kept beside them and thrown away when the disk is full, so that what is under way can still
    /// be written down. Default 64; 0 for none.
    pub ballast_mb: u32,
}

impl StoreConfig {
    /// The ballast in bytes.
    pub fn ballast_bytes(&self) -> u64 {
        u64::from(self.ballast_mb) << 20
    }
}

/// The engines.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StoreKind {
    /// Two files in one folder, inside this process.
    Sqlite,
}

impl Default for StoreConfig {
    fn default() -> Self {
        StoreConfig { kind: StoreKind::Sqlite, path: PathBuf::from("rekindle-data"), ballast_mb: 64 }
    }
}

/// `[business]`: how the company counts.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BusinessConfig {
    /// What mails and pages call the company.
    pub name: String,
    /// The postal address that many countries require in marketing mail.
    pub address: Option<String>,
    /// The IANA zone whose days are "days" in history and whose clock `daily("09:00")` means.
    pub time_zone: String,
    /// ISO 4217; amounts in other currencies are kept apart.
    pub currency: String,
}

impl Default for BusinessConfig {
    fn default() -> Self {
        BusinessConfig {
            name: "Our shop".to_owned(),
            address: None,
            time_zone: "UTC".to_owned(),
            currency: "EUR".to_owned(),
        }
    }
}

impl BusinessConfig {
    /// Zone and currency, read.
    pub fn business(&self) -> Result<Business, String> {
        let zone = TimeZone::get(&self.time_zone).map_err(|_| {
            format!("business.time_zone: `{}` is not an IANA zone such as Europe/Berlin", self.time_zone)
        })?;
        let currency = self.currency.parse().map_err(|e| format!("business.currency: {e}"))?;
        Ok(Business { zone, currency })
    }

    pub(super) fn problems(&self) -> Option<String> {
        self.business().err()
    }
}

/// `[http]`: the tracking API, health and metrics.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// Address and port. Beyond loopback the development key is refused.
    pub listen: SocketAddr,
    /// How mail readers reach us, for unsubscribe links; default `http://` and `listen`.
    pub public_url: Option<String>,
    /// Who may send events, and under which source name they are kept.
    pub write_keys: Vec<WriteKeyConfig>,
}

/// One write key.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteKeyConfig {
    /// The key itself; `dev` works on loopback only.
    pub key: crate::domain::secret::Secret,
    /// The source that events sent with it get.
    pub source: String,
}

/// The key that everybody knows.
const DEVELOPMENT_KEY: &str = "dev";

impl Default for HttpConfig {
    fn default() -> Self {
        let key = crate::domain::secret::Secret::Inline(DEVELOPMENT_KEY.to_owned());
        HttpConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 7700)),
            public_url: None,
            write_keys: vec![WriteKeyConfig { key, source: "app".to_owned() }],
        }
    }
}

impl HttpConfig {
    /// Where unsubscribe links lead, without a slash at the end.
    pub fn public_url(&self) -> String {
        let url = self.public_url.clone().unwrap_or_else(|| format!("http://{}", self.listen));
        url.trim_end_matches('/').to_owned()
    }

    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for key in self.write_keys.iter().filter(|key| crate::domain::event::is_reserved(&key.source)) {
            problems
                .push(format!("http.write_keys: the source `{}` is rekindle's own; choose another name", key.source));
        }
        let development =
            |k: &WriteKeyConfig| matches!(&k.key, crate::domain::secret::Secret::Inline(t) if t == DEVELOPMENT_KEY);
        if !self.listen.ip().is_loopback() && self.write_keys.iter().any(development) {
            problems.push(format!(
                "http.listen is {} and the write key is `dev`, which everybody knows; set a key of your own in \
                 http.write_keys, such as {{ env = \"REKINDLE_WRITE_KEY\" }}, or listen on 127.0.0.1",
                self.listen
            ));
        }
        let unusable = |url: &&String| !url.starts_with("https://") && !url.starts_with("http://");
        if let Some(url) = self.public_url.as_ref().filter(unusable) {
            problems.push(format!("http.public_url: `{url}` must begin with https:// (or http:// for a try)"));
        }
        problems
    }
}

/// `[files]`: what people write.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FilesConfig {
    /// The folder of rules and segments.
    pub rules: PathBuf,
    /// The folder of message templates.
    pub templates: PathBuf,
    /// The folder of plugins.
    pub plugins: PathBuf,
}

impl Default for FilesConfig {
    fn default() -> Self {
        FilesConfig {
            rules: PathBuf::from("rules"),
            templates: PathBuf::from("templates"),
            plugins: PathBuf::from("plugins"),
        }
    }
}

/// `[contact]`: standing orders about writing to people.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ContactConfig {
    /// Nobody is written to in these hours of their own day; `false` for none. Default 21:00 to 08:00.
    pub quiet_hours: Switch<QuietHoursConfig>,
    /// At most so many marketing messages to one customer in any window of so many days; `false` for no limit.
    /// Default 2 in 7 days.
    pub cap: Switch<CapConfig>,
}

/// A setting, or `false` to switch it off.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Switch<T> {
    /// The setting.
    On(T),
    /// `false`.
    Off(bool),
}

/// Not serde's `untagged`, whose errors do not say which key is wrong.
impl<'de, T: Deserialize<'de>> Deserialize<'de> for Switch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SwitchVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for SwitchVisitor<T> {
            type Value = Switch<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table, or `false`")
            }

            fn visit_bool<E>(self, on: bool) -> Result<Switch<T>, E> {
                Ok(Switch::Off(on))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Switch<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Switch::On)
            }
        }

        deserializer.deserialize_any(SwitchVisitor(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Switch<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Switch_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let on = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [on, { "type": "boolean", "const": false, "description": "Off." }] })
    }
}

/// `quiet_hours = { from = "21:00", to = "08:00" }`
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuietHoursConfig {
    /// First quiet minute.
    pub from: Time,
    /// First minute when writing is allowed again.
    pub to: Time,
}

/// `cap = { messages = 2, days = 7 }`
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CapConfig {
    /// How many.
    pub messages: u32,
    /// In any window of so many times 24 hours.
    pub days: u32,
}

impl Default for ContactConfig {
    fn default() -> Self {
        ContactConfig {
            quiet_hours: Switch::On(QuietHoursConfig {
                from: Time::constant(21, 0, 0, 0),
                to: Time::constant(8, 0, 0, 0),
            }),
            cap: Switch::On(CapConfig { messages: 2, days: 7 }),
        }
    }
}

impl ContactConfig {
    /// As the domain wants it; `zone` is that of customers who have none of their own.
    pub fn policy(&self, zone: TimeZone) -> ContactPolicy {
        let quiet_hours = match &self.quiet_hours {
            Switch::On(q) => Some(QuietHours { from: q.from, to: q.to }),
            Switch::Off(_) => None,
        };
        let cap = match &self.cap {
            Switch::On(c) => {
                Some(FrequencyCap { n: c.messages, window: SignedDuration::from_hours(24 * i64::from(c.days)) })
            }
            Switch::Off(_) => None,
        };
        ContactPolicy { quiet_hours, cap, zone }
    }

    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if matches!(self.quiet_hours, Switch::Off(true)) || matches!(self.cap, Switch::Off(true)) {
            problems.push(
                "contact: say what is to hold, or `false` to switch it off; `true` alone says nothing".to_owned(),
            );
        }
        if matches!(&self.cap, Switch::On(cap) if cap.messages == 0 || cap.days == 0) {
            problems.push("contact.cap: `messages` and `days` must be at least 1".to_owned());
        }
        problems
    }
}

/// `[schedule]`: what time brings about.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleConfig {
    /// Ticks that fell into a time when nobody ran: `none` are made up, only the `last` (the default), or `all`.
    pub catch_up: CatchUp,
}
