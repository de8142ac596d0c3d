//! How a file's rows become events, as a person writes it down: `[sources.mapping]` of a config file. No code is needed;
//! the guide `docs/guide/import.md` goes through it with examples.
//!
//! A row belongs to a group (`group_by`; without it every row stands alone), a group makes one event, and a row may state
//! consent beside. [`super::mapper`] carries out what is written here; [`super::validate`] says what is wrong with it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use rust_decimal::Decimal;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// How rows become events. A *column* is a name of the CSV header; in JSON lines it is a field's name or, beginning with
/// `/`, a JSON pointer (`/customer/email`). Blanks around a cell do not count, and an empty cell (or `null`) says nothing.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// Neighbouring rows with the same value in this column (or these columns) are one event: an invoice and its lines.
    #[serde(default, deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<String>")]
    pub group_by: Vec<String>,
    /// What a row means that is exactly like another of the same group: `drop` (the default, a repeated line) or `keep`
    /// (two equal purchases).
    #[serde(default)]
    pub duplicates: Duplicates,
    /// The source's own id of the event. Without it the id is a hash of the source's name and the group's key (or, without
    /// `group_by`, the row's content), and of how often that has come before.
    pub message_id: Option<Field>,
    /// What happened, such as `Order Completed`, where none of `events` fits better.
    pub event: Option<String>,
    /// What happened, by a condition on the row; the first that fits.
    #[serde(default)]
    pub events: Vec<EventChoice>,
    /// When it happened. Of a group: the earliest.
    pub time: TimeField,
    /// Whose event it is. A row without any is imported as nobody's.
    #[serde(default)]
    pub identities: Identities,
    /// Attributes of the customer: trait → where it stands.
    #[serde(default)]
    pub traits: BTreeMap<String, Field>,
    /// What belongs to the event: property → where it stands. Of a group: the first row that says it.
    #[serde(default)]
    pub properties: BTreeMap<String, Field>,
    /// One entry of the event's `products` for each row of the group. `quantity` and `price` are numbers.
    #[serde(default)]
    pub products: BTreeMap<String, Field>,
    /// The column whose sum over the group is the event's `total`. Without it the total is the sum of the products'
    /// quantity × price, where there is a price. Summed exactly, rounded once.
    pub total: Option<String>,
    /// The currency of all amounts (ISO 4217). Default: the business's.
    pub currency: Option<String>,
    /// The column that names the currency, where rows differ.
    pub currency_column: Option<String>,
    /// Columns that say whether the customer may be written to; each makes a `Consent Given` or `Consent Withdrawn`.
    #[serde(default)]
    pub consent: Vec<ConsentField>,
    /// Rows to put aside, by a condition; the first that fits gives the reason.
    #[serde(default)]
    pub quarantine: Vec<QuarantineRule>,
}

/// What to do with a row that is exactly like another of the same group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Duplicates {
    /// It is the same line twice: drop it and count it.
    #[default]
    Drop,
    /// It happened twice.
    Keep,
}

/// What a row is called under a condition.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventChoice {
    /// All of these must hold.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<Condition>")]
    pub when: Vec<Condition>,
    /// What happened.
    pub event: String,
    /// Columns whose numbers are turned round: a refund's total is positive, but many shops write its lines as negative
    /// quantities.
    #[serde(default, deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<String>")]
    pub negate: Vec<String>,
}

/// Rows that are put aside.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuarantineRule {
    /// All of these must hold.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<Condition>")]
    pub when: Vec<Condition>,
    /// A short code to count by, such as `zero_price`.
    pub reason: String,
    /// A sentence for people.
    pub message: Option<String>,
}

/// A question about one column: exactly one of the tests, turned round by `not`. A test for a number does not hold where
/// there is none.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "condition")]
pub struct Condition {
    /// Of which column.
    pub column: String,
    /// Turns the answer round.
    #[serde(default)]
    pub not: bool,
    /// Is this text, this number or this truth value.
    pub equals: Option<Value>,
    /// Is one of these.
    pub one_of: Option<Vec<Value>>,
    /// Begins with this text.
    pub starts_with: Option<String>,
    /// Is a number below this.
    pub less_than: Option<Decimal>,
    /// Is a number above this.
    pub greater_than: Option<Decimal>,
    /// Is empty (`true`) or is not (`false`).
    pub empty: Option<bool>,
}

/// Where a value comes from: `"Column"`, `{ column = "x", type = "number" }`, `{ value = "web" }` or
/// `{ join = ["customer", "date"] }`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Field {
    /// A column.
    pub column: Option<String>,
    /// The same value for every row.
    pub value: Option<Value>,
    /// Several columns, joined by `/`; nothing when one of them is empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub join: Vec<String>,
    /// How to read the column.
    #[serde(rename = "type")]
    pub kind: Option<FieldType>,
}

/// How a column's text is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FieldType {
    /// As it stands.
    Text,
    /// A number.
    Number,
    /// `true`, `yes`, `y`, `on`, `1` or `false`, `no`, `n`, `off`, `0`, in any case of letters.
    Bool,
}

/// When something happened: `"Column"`, or a table.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TimeField {
    /// The column.
    pub column: String,
    /// As in strptime (`%d.%m.%Y %H:%M`), or `unix_seconds`, `unix_milliseconds`. Without it ISO 8601, such as
    /// `2026-03-01 09:00:00` or `2026-03-01T09:00:00Z`. A date without hours means noon, so that the day stays the day for
    /// readers in other zones.
    pub format: Option<String>,
    /// The zone of times that state none (IANA name). Default: the business's. An hour that the clocks skip is read as the
    /// hour after, one that comes twice as the first.
    pub zone: Option<String>,
}

/// Where the customer's handles stand.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Identities {
    /// The company's own customer number.
    pub user_id: Option<Field>,
    /// An email address.
    pub email: Option<Field>,
    /// A telephone number.
    pub phone: Option<Field>,
    /// A device or browser.
    pub anonymous_id: Option<Field>,
}

/// A column that says whether the customer may be written to.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsentField {
    /// The column. Empty: nothing is said.
    pub column: String,
    /// By which channel.
    #[serde(default = "email")]
    pub channel: String,
    /// About what; without it the whole channel.
    pub topic: Option<String>,
    /// The words that mean yes; by default those of a truth value.
    #[serde(default, deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<String>")]
    pub given: Vec<String>,
    /// The words that mean no; by default those of a truth value.
    #[serde(default, deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<String>")]
    pub withdrawn: Vec<String>,
    /// When it was said; by default the event's time.
    pub time: Option<TimeField>,
}

fn email() -> String {
    "email".to_owned()
}

impl Mapping {
    /// Every column that is read, each once.
    pub(super) fn columns(&self) -> Vec<&str> {
        let fields = self.fields().flat_map(|(_, field)| field.columns());
        let conditions = self.events.iter().flat_map(|e| &e.when).chain(self.quarantine.iter().flat_map(|q| &q.when));
        let consent_times = self.consent.iter().filter_map(|c| c.time.as_ref()).map(|t| &t.column);
        let mut columns: Vec<&str> = self
            .group_by
            .iter()
            .chain([&self.time.column])
            .chain(fields)
            .chain(&self.total)
            .chain(&self.currency_column)
            .chain(conditions.map(|c| &c.column))
            .chain(self.consent.iter().map(|c| &c.column))
            .chain(consent_times)
            .chain(self.events.iter().flat_map(|e| &e.negate))
            .map(String::as_str)
            .collect();
        columns.sort_unstable();
        columns.dedup();
        columns
    }

    /// Every field with the key that it stands under.
    pub(super) fn fields(&self) -> impl Iterator<Item = (String, &Field)> {
        let named = |table: &'static str| move |(name, field)| (format!("{table}.{name}"), field);
        let ids = &self.identities;
        let identities = [
            ("user_id", &ids.user_id),
            ("email", &ids.email),
            ("phone", &ids.phone),
            ("anonymous_id", &ids.anonymous_id),
        ];
        (self.message_id.iter().map(|field| ("message_id".to_owned(), field)))
            .chain(identities.into_iter().filter_map(|(n, f)| Some((format!("identities.{n}"), f.as_ref()?))))
            .chain(self.traits.iter().map(named("traits")))
            .chain(self.properties.iter().map(named("properties")))
            .chain(self.products.iter().map(named("products")))
    }
}

impl Field {
    /// The columns that it reads.
    pub(super) fn columns(&self) -> impl Iterator<Item = &String> {
        self.column.iter().chain(&self.join)
    }
}

/// The table form of a [`Field`].
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "Field")]
#[schemars(inline)]
struct FieldTable {
    /// The column.
    column: Option<String>,
    /// The same value for every row.
    value: Option<Value>,
    /// Several columns, joined by `/`; nothing when one of them is empty.
    #[serde(default)]
    join: Vec<String>,
    /// How to read the column.
    r#type: Option<FieldType>,
}

/// The table form of a [`TimeField`].
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "TimeField")]
#[schemars(inline)]
struct TimeTable {
    /// The column.
    column: String,
    /// As in strptime (`%d.%m.%Y %H:%M`), or `unix_seconds`, `unix_milliseconds`. Without it ISO 8601.
    format: Option<String>,
    /// The zone of times that state none (IANA name). Default: the business's.
    zone: Option<String>,
}

impl From<FieldTable> for Field {
    fn from(table: FieldTable) -> Self {
        Field { column: table.column, value: table.value, join: table.join, kind: table.r#type }
    }
}

impl From<TimeTable> for TimeField {
    fn from(table: TimeTable) -> Self {
        TimeField { column: table.column, format: table.format, zone: table.zone }
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let column = |column| Field { column: Some(column), ..Field::default() };
        deserializer.deserialize_any(TextOrTable { text: column, table: PhantomData::<FieldTable> })
    }
}

impl<'de> Deserialize<'de> for TimeField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let column = |column| TimeField { column, ..TimeField::default() };
        deserializer.deserialize_any(TextOrTable { text: column, table: PhantomData::<TimeTable> })
    }
}

/// Reads a column's name, or a table. Not serde's `untagged`, whose errors do not say which key is wrong.
struct TextOrTable<F, T> {
    text: F,
    table: PhantomData<T>,
}

impl<'de, V: From<T>, F: FnOnce(String) -> V, T: Deserialize<'de>> Visitor<'de> for TextOrTable<F, T> {
    type Value = V;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a column's name or a table with `column`")
    }

    fn visit_str<E>(self, text: &str) -> Result<V, E> {
        Ok((self.text)(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(V::from)
    }
}

/// Either form of a field, for the schema.
fn text_or_table<T: JsonSchema>(title: &str, generator: &mut SchemaGenerator) -> Schema {
    let column = json_schema!({ "type": "string", "description": "The column." });
    json_schema!({ "title": title, "anyOf": [column, generator.subschema_for::<T>()] })
}

impl JsonSchema for Field {
    fn schema_name() -> Cow<'static, str> {
        "Field".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        text_or_table::<FieldTable>("field", generator)
    }
}

impl JsonSchema for TimeField {
    fn schema_name() -> Cow<'static, str> {
        "TimeField".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        text_or_table::<TimeTable>("time", generator)
    }
}

/// Reads a list, or one thing as a list of one; and says so in the schema.
struct OneOrMany<T>(PhantomData<T>);

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMany_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrMany<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one value or a list of them")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<T>, E> {
        T::deserialize(serde::de::value::StrDeserializer::new(text)).map(|one| vec![one])
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vec<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(|one| vec![one])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Vec<T>, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(seq))
    }
}

fn one_or_many<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    deserializer.deserialize_any(OneOrMany(PhantomData))
}
