//! Carries out a [`Mapping`]: a group of rows becomes an event, and perhaps statements of consent beside it.
//!
//! A row that cannot be used is put aside with its reason, and the rest of its group makes the event. So an invoice with
//! one unreadable line is an order without that line, and the quarantine says so.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use serde_json::{Map, Value};

use super::cells::{Cells, number_value};
use super::group::{Group, Key, Line, Place, Rejected};
use super::mapping::{Duplicates, EventChoice, Mapping, TimeField};
use super::origin::{Made, MapRecords, Origin};
use super::row::{Problem, Row};
use super::times::TimeReader;
use super::{SourceConfig, segment};
use crate::domain::clock::{Business, Timestamp};
use crate::domain::customer::{Identity, IdentityKind};
use crate::domain::event::{Fact, names};
use crate::domain::message::message_id;
use crate::domain::money::Currency;

/// Makes facts of one source's groups.
pub(super) struct Mapper {
    origin: Origin,
    /// `None`: the rows are Segment's messages.
    mapping: Option<Mapping>,
    times: TimeReader,
    consent_times: Vec<Option<TimeReader>>,
    currency: Currency,
    decimal_comma: bool,
}

/// The event of a group while its rows are read.
#[derive(Default)]
struct Draft<'a> {
    event: &'a str,
    message_id: Option<String>,
    at: Option<Timestamp>,
    identities: Vec<Identity>,
    traits: Map<String, Value>,
    properties: Map<String, Value>,
    products: Vec<Value>,
    amount: Option<(Decimal, Currency)>,
    /// By the number of its field in the mapping: agreed or not, and when where that is stated apart.
    consent: Vec<(usize, bool, Option<Timestamp>)>,
}

impl Mapper {
    /// `config` must be valid.
    pub(super) fn new(config: &SourceConfig, business: &Business) -> Result<Self, String> {
        let mapping = config.mapping.clone();
        // Segment's libraries state an offset; where one is missing the specification means UTC.
        let timestamp = || TimeField { column: "timestamp".to_owned(), ..TimeField::default() };
        let times = mapping.as_ref().map_or_else(
            || TimeReader::new(&timestamp(), &TimeZone::UTC),
            |mapping| TimeReader::new(&mapping.time, &business.zone),
        )?;
        let consent = mapping.iter().flat_map(|mapping| &mapping.consent);
        let consent_times = consent
            .map(|consent| consent.time.as_ref().map(|t| TimeReader::new(t, &business.zone)).transpose())
            .collect::<Result<_, _>>()?;
        let currency = mapping.as_ref().and_then(|mapping| mapping.currency.as_deref());
        Ok(Mapper {
            origin: Origin::new(config)?,
            times,
            consent_times,
            currency: currency.map_or(Ok(business.currency), str::parse)?,
            decimal_comma: config.decimal_comma,
            mapping,
        })
    }

    fn cells<'a>(&self, row: &'a Row, negate: &'a [String]) -> Cells<'a> {
        Cells { row, decimal_comma: self.decimal_comma, negate }
    }

    fn message(&self, row: &Row, hashed_id: &str, now: Timestamp) -> Result<Fact, Problem> {
        let Row::Object(object) = row else { return Err(Problem::new("not_an_object", "the line is not an object")) };
        let (message, at, id) = segment::read(object, &self.times, now)?;
        let id = id.unwrap_or_else(|| hashed_id.to_owned());
        Ok(Fact {
            traits: message.traits,
            properties: message.properties,
            context: message.context,
            ..self.origin.fact(id, &message.name, at, message.identities, now)
        })
    }

    /// Takes a row into the draft, or leaves the draft as it is.
    fn add<'a>(&self, mapping: &'a Mapping, draft: &mut Draft<'a>, row: &Row, now: Timestamp) -> Result<(), Problem> {
        let plain = self.cells(row, &[]);
        if let Some(rule) = mapping.quarantine.iter().find(|rule| plain.hold(&rule.when)) {
            let message = rule.message.clone().unwrap_or_else(|| "the mapping puts such rows aside".to_owned());
            return Err(Problem { reason: Cow::Owned(rule.reason.clone()), message });
        }
        let choice = mapping.events.iter().find(|choice| plain.hold(&choice.when));
        let event = choice.map(|choice| &choice.event).or(mapping.event.as_ref());
        let no_event =
            || Problem::new("no_event", "none of the mapping's `events` fits this row, and it has no `event`");
        let event = event.ok_or_else(no_event)?.as_str();
        if !draft.event.is_empty() && draft.event != event {
            let message = format!("the row is `{event}` in a group that began as `{}`", draft.event);
            return Err(Problem::new("mixed_event", message));
        }
        let negate: &[String] = choice.map_or(&[], |choice: &EventChoice| &choice.negate);
        let cells = self.cells(row, negate);
        let read_time = |times: &TimeReader| {
            let text = row.text(&times.column);
            text.map(|text| times.read(&text, now)).transpose().map_err(|message| Problem::new("bad_time", message))
        };
        // Everything that can fail comes first, so that a row is either taken whole or not at all.
        let at = read_time(&self.times)?;
        let identities = identities(mapping, cells, &draft.identities)?;
        let stated = |fields: &BTreeMap<_, _>, known: &Map<String, Value>| {
            let missing = fields.iter().filter(|(name, _)| !known.contains_key::<String>(name));
            let read = missing.map(|(name, field)| Ok(cells.value(field)?.map(|value| (name.clone(), value))));
            read.filter_map(Result::transpose).collect::<Result<Map<String, Value>, Problem>>()
        };
        let traits = stated(&mapping.traits, &draft.traits)?;
        let properties = stated(&mapping.properties, &draft.properties)?;
        let (product, amount) = product(mapping, cells)?;
        let amount = match amount {
            None => draft.amount,
            Some(amount) => Some(self.added(mapping, cells, draft.amount, amount)?),
        };
        let mut consent = Vec::new();
        for (i, field) in mapping.consent.iter().enumerate() {
            let said = draft.consent.iter().any(|(said, _, _)| *said == i);
            if let Some(given) = cells.consent(field)?.filter(|_| !said) {
                consent.push((i, given, self.consent_times[i].as_ref().map(read_time).transpose()?.flatten()));
            }
        }
        if draft.message_id.is_none() {
            draft.message_id = mapping.message_id.as_ref().and_then(|id| cells.text(id)).map(Cow::into_owned);
        }
        draft.event = event;
        draft.at = [draft.at, at].into_iter().flatten().min();
        draft.identities = identities;
        draft.traits.extend(traits);
        draft.properties.extend(properties);
        draft.products.extend(product.map(Value::Object));
        draft.amount = amount;
        draft.consent.extend(consent);
        Ok(())
    }

    fn added(
        &self,
        mapping: &Mapping,
        cells: Cells<'_>,
        sum: Option<(Decimal, Currency)>,
        amount: Decimal,
    ) -> Result<(Decimal, Currency), Problem> {
        let stated = mapping.currency_column.as_ref().and_then(|column| cells.row.text(column));
        let currency = match (stated, sum) {
            (Some(code), _) => code.parse().map_err(|message: String| Problem::new("bad_currency", message))?,
            (None, Some((_, currency))) => currency,
            (None, None) => self.currency,
        };
        let Some((sum, theirs)) = sum else { return Ok((amount, currency)) };
        if theirs != currency {
            let message = format!("the row is in {currency} in a group that is in {theirs}");
            return Err(Problem::new("mixed_currency", message));
        }
        sum.checked_add(amount).map(|sum| (sum, currency)).ok_or_else(out_of_range)
    }

    fn finish(
        &self,
        mapping: &Mapping,
        mut draft: Draft<'_>,
        key: &Key,
        hashed_id: String,
        ordinal: u32,
        now: Timestamp,
    ) -> Result<Vec<Fact>, Problem> {
        let no_time =
            || Problem::new("no_time", format!("column `{}` is empty, so nobody knows when", mapping.time.column));
        let at = draft.at.ok_or_else(no_time)?;
        if let Some((amount, currency)) = draft.amount {
            let minor = currency.minor(amount).ok_or_else(out_of_range)?;
            let total = Decimal::new(minor, currency.exponent()).to_string();
            draft.properties.insert("total".to_owned(), total.into());
            draft.properties.insert("currency".to_owned(), currency.code().into());
        }
        if !draft.products.is_empty() {
            draft.properties.insert("products".to_owned(), draft.products.into());
        }
        let again = ordinal > 0 && matches!(key, Key::Group(_));
        let id = match draft.message_id {
            None => hashed_id,
            Some(own) if again => format!("{own}#{ordinal}"),
            Some(own) => own,
        };
        // A further appearance of `Order Updated` is a newer version of the whole order, not a part of it.
        if again && draft.event == names::ORDER_COMPLETED {
            draft.properties.insert("order_part".to_owned(), ordinal.into());
        }
        let consent =
            draft.consent.into_iter().filter(|_| !draft.identities.is_empty()).map(|(i, given, stated_at)| {
                let field = &mapping.consent[i];
                let about = field.topic.as_ref().map(|topic| format!("/{topic}")).unwrap_or_default();
                let name = if given { names::CONSENT_GIVEN } else { names::CONSENT_WITHDRAWN };
                let id = format!("{id}/consent/{}{about}", field.channel);
                let mut fact = self.origin.fact(id, name, stated_at.unwrap_or(at), draft.identities.clone(), now);
                fact.properties.insert("channel".to_owned(), field.channel.as_str().into());
                fact.properties.extend(field.topic.as_ref().map(|topic| ("topic".to_owned(), topic.as_str().into())));
                fact
            });
        let consent: Vec<Fact> = consent.collect();
        let event = self.origin.fact(id, draft.event, at, draft.identities, now);
        let event = Fact { traits: draft.traits, properties: draft.properties, ..event };
        Ok(std::iter::once(event).chain(consent).collect())
    }
}

impl MapRecords for Mapper {
    fn columns(&self) -> Vec<&str> {
        self.mapping.as_ref().map(Mapping::columns).unwrap_or_default()
    }

    fn seed(&self) -> Vec<&[u8]> {
        let (group_by, way): (&[String], &[u8]) = match &self.mapping {
            None => (&[], b"segment"),
            Some(mapping) if mapping.message_id.is_some() => (&mapping.group_by, b"own id"),
            Some(mapping) => (&mapping.group_by, b"hash"),
        };
        [self.origin.source.as_bytes(), way].into_iter().chain(group_by.iter().map(String::as_bytes)).collect()
    }

    fn drops_duplicates(&self) -> bool {
        self.mapping.as_ref().is_none_or(|mapping| mapping.duplicates == Duplicates::Drop)
    }

    fn place(&self, row: &Row) -> Result<Place, Problem> {
        let Some(mapping) = &self.mapping else {
            let id = if let Row::Object(object) = row { message_id(object)? } else { None };
            return Ok(Place::Alone { has_id: id.is_some() });
        };
        if mapping.group_by.is_empty() {
            let cells = self.cells(row, &[]);
            return Ok(Place::Alone { has_id: mapping.message_id.as_ref().is_some_and(|id| cells.text(id).is_some()) });
        }
        let part = |column: &String| {
            let missing =
                || Problem::new("no_group_key", format!("column `{column}`, by which rows are grouped, is empty"));
            row.text(column).map(Cow::into_owned).ok_or_else(missing)
        };
        mapping.group_by.iter().map(part).collect::<Result<_, _>>().map(Place::Group)
    }

    fn facts(&self, group: Group, now: Timestamp) -> Made {
        let Group { key, ordinal, lines, mut rejected, .. } = group;
        let mut facts = Vec::new();
        let id = self.origin.hashed_id(&key, ordinal);
        let Some(mapping) = &self.mapping else {
            for line in lines {
                match self.message(&line.row, &id, now) {
                    Ok(fact) => facts.push(fact),
                    Err(problem) => rejected.push(reject(line, problem)),
                }
            }
            return Made { facts, rejected, skipped: Vec::new() };
        };
        let mut draft = Draft::default();
        let mut used = Vec::new();
        for line in lines {
            match self.add(mapping, &mut draft, &line.row, now) {
                Ok(()) => used.push(line),
                Err(problem) => rejected.push(reject(line, problem)),
            }
        }
        if !used.is_empty() {
            match self.finish(mapping, draft, &key, id, ordinal, now) {
                Ok(made) => facts = made,
                Err(problem) => rejected.extend(used.into_iter().map(|line| reject(line, problem.clone()))),
            }
        }
        rejected.sort_by_key(|rejected| rejected.line);
        Made { facts, rejected, skipped: Vec::new() }
    }
}

fn reject(line: Line, problem: Problem) -> Rejected {
    Rejected { line: line.number, raw: line.raw, problem }
}

fn out_of_range() -> Problem {
    Problem::new("bad_amount", "the amount is beyond what can be counted")
}

/// The known handles with those of the row. A handle that is unusable is left out, unless it is all there is: then the row
/// would silently become nobody's.
fn identities(mapping: &Mapping, cells: Cells<'_>, known: &[Identity]) -> Result<Vec<Identity>, Problem> {
    let stated = &mapping.identities;
    let fields = [
        (IdentityKind::UserId, &stated.user_id),
        (IdentityKind::Email, &stated.email),
        (IdentityKind::Phone, &stated.phone),
        (IdentityKind::AnonymousId, &stated.anonymous_id),
    ];
    let mut all = known.to_vec();
    let mut unusable = None;
    for (kind, field) in fields {
        let Some(text) = field.as_ref().and_then(|field| cells.text(field)) else { continue };
        match (Identity::new(kind, &text), all.iter().find(|identity| identity.kind == kind)) {
            (None, _) => unusable = Some(format!("`{text}` is not a usable {}", kind.as_str())),
            (Some(identity), None) => all.push(identity),
            (Some(identity), Some(ours)) if identity == *ours => {}
            (Some(identity), Some(ours)) => {
                let message = format!("the row is of `{}` in a group of `{}`", identity.value, ours.value);
                return Err(Problem::new("mixed_customer", message));
            }
        }
    }
    match unusable {
        Some(message) if all.is_empty() => Err(Problem::new("bad_identity", message)),
        _ => Ok(all),
    }
}

type Product = Map<String, Value>;

/// The row's entry in `products`, and what it adds to the total.
fn product(mapping: &Mapping, cells: Cells<'_>) -> Result<(Option<Product>, Option<Decimal>), Problem> {
    let mut entry = Product::new();
    let (mut quantity, mut price) = (Decimal::ONE, None);
    for (name, field) in &mapping.products {
        if name != "quantity" && name != "price" {
            entry.extend(cells.value(field)?.map(|value| (name.clone(), value)));
            continue;
        }
        let number = match (&field.column, cells.field_number(field)?) {
            (Some(column), None) if mapping.total.is_none() => {
                let message = format!("column `{column}` is empty where a number is needed");
                return Err(Problem::new("bad_number", message));
            }
            (_, number) => number,
        };
        entry.extend(number.map(|number| (name.clone(), number_value(number))));
        match name.as_str() {
            "quantity" => quantity = number.unwrap_or(Decimal::ONE),
            _ => price = number,
        }
    }
    let amount = match (&mapping.total, price) {
        (Some(column), _) => Some(cells.number(column)?.unwrap_or_default()),
        (None, Some(price)) => Some(price.checked_mul(quantity).ok_or_else(out_of_range)?),
        (None, None) => None,
    };
    Ok(((!entry.is_empty()).then_some(entry), amount))
}
