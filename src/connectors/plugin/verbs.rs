//! What `map.rhai` can say of its record, and the few things it can compute that a plain script cannot: exact amounts.
//! `check` reads the same tables that the engine is built from, so it cannot promise what running would refuse.

use rhai::{Array, Dynamic, Engine, EvalAltResult, ImmutableString, Map, NativeCallContext, Position};
use rust_decimal::Decimal;
use serde_json::Value;

use super::draft::{Draft, Running};
use crate::connectors::row::Problem;
use crate::domain::customer::IdentityKind;
use crate::domain::event::{decimal, names};
use crate::domain::money::Currency;
use crate::script::failure::kind;
use crate::script::{to_json, to_json_map};

/// Name, fewest and most arguments of what states something.
pub(super) const VERBS: [(&str, usize, usize); 12] = [
    ("track", 1, 2),
    ("identify", 1, 1),
    ("product", 1, 1),
    ("consent", 2, 3),
    ("user_id", 1, 1),
    ("email", 1, 1),
    ("phone", 1, 1),
    ("anonymous_id", 1, 1),
    ("occurred_at", 1, 3),
    ("message_id", 1, 1),
    ("skip", 1, 1),
    ("reject", 2, 2),
];

/// Name, fewest and most arguments of what computes something.
pub(super) const FUNCTIONS: [(&str, usize, usize); 2] = [("from_minor", 2, 2), ("sum", 1, 1)];

type Answer = Result<(), Box<EvalAltResult>>;

/// A sandbox in which a script can speak of a record.
pub(super) fn engine() -> Engine {
    let mut engine = crate::script::sandbox();
    register_statements(&mut engine);
    register_handles(&mut engine);
    engine.register_fn("skip", |context: NativeCallContext, reason: &str| -> Answer {
        state(&context, |draft| draft.skip(reason))?;
        Err(raise("the record was skipped".to_owned()))
    });
    engine.register_fn("reject", |context: NativeCallContext, code: &str, message: &str| -> Answer {
        state(&context, |draft| draft.reject(code, message))?;
        Err(raise("the record was rejected".to_owned()))
    });
    engine.register_fn("from_minor", |amount: i64, currency: &str| {
        let currency: Currency = currency.parse().map_err(raise)?;
        Ok::<_, Box<EvalAltResult>>(shifted(amount, currency.exponent()))
    });
    engine.register_fn("from_minor", |amount: i64, n_decimals: i64| {
        let refused = || raise(format!("`from_minor` takes a currency or 0 to 4 decimals, not {n_decimals}"));
        let n_decimals = u32::try_from(n_decimals).ok().filter(|n| *n <= 4).ok_or_else(refused)?;
        Ok::<_, Box<EvalAltResult>>(shifted(amount, n_decimals))
    });
    engine.register_fn("sum", |amounts: Array| sum(&amounts).map_err(raise));
    engine
}

fn register_statements(engine: &mut Engine) {
    engine.register_fn("track", |context: NativeCallContext, name: &str| -> Answer {
        state(&context, |draft| draft.event(name, serde_json::Map::new(), serde_json::Map::new()))
    });
    engine.register_fn("track", |context: NativeCallContext, name: &str, properties: Map| -> Answer {
        state(&context, |draft| draft.event(name, serde_json::Map::new(), data(&properties)?))
    });
    engine.register_fn("identify", |context: NativeCallContext, traits: Map| -> Answer {
        state(&context, |draft| draft.event(names::IDENTIFIED, data(&traits)?, serde_json::Map::new()))
    });
    engine.register_fn("product", |context: NativeCallContext, product: Map| -> Answer {
        state(&context, |draft| draft.product(data(&product)?))
    });
    engine.register_fn("consent", |context: NativeCallContext, channel: &str, given: Dynamic| -> Answer {
        state(&context, |draft| consent(draft, channel, None, &given))
    });
    engine.register_fn("consent", |context: NativeCallContext, channel: &str, topic: &str, given: Dynamic| -> Answer {
        state(&context, |draft| consent(draft, channel, Some(topic), &given))
    });
}

fn register_handles(engine: &mut Engine) {
    for kind in [IdentityKind::UserId, IdentityKind::Email, IdentityKind::Phone, IdentityKind::AnonymousId] {
        engine.register_fn(kind.as_str(), move |context: NativeCallContext, value: Dynamic| -> Answer {
            state(&context, |draft| draft.handle(kind, id_text(&value, "bad_identity")?.as_deref()))
        });
    }
    engine.register_fn("message_id", |context: NativeCallContext, value: Dynamic| -> Answer {
        state(&context, |draft| draft.message_id(id_text(&value, "bad_message_id")?.as_deref()))
    });
    engine.register_fn("occurred_at", |context: NativeCallContext, value: Dynamic| -> Answer {
        state(&context, |draft| occurred_at(draft, &value, None, None))
    });
    engine.register_fn("occurred_at", |context: NativeCallContext, value: Dynamic, format: &str| -> Answer {
        state(&context, |draft| occurred_at(draft, &value, Some(format), None))
    });
    engine.register_fn(
        "occurred_at",
        |context: NativeCallContext, value: Dynamic, format: &str, zone: &str| -> Answer {
            state(&context, |draft| occurred_at(draft, &value, Some(format), Some(zone)))
        },
    );
}

/// Lets `act` write into the draft of the record that `context` is about.
fn state(context: &NativeCallContext, act: impl FnOnce(&mut Draft) -> Result<(), Problem>) -> Answer {
    let verb = context.fn_name();
    let running = context.tag().and_then(|tag| tag.read_lock::<Running>().map(|running| running.clone()));
    let Some(running) = running else {
        return Err(raise(format!("`{verb}` speaks of a record, and only `map` has one")));
    };
    let written = running.draft().write(act);
    written.map_err(raise)
}

fn consent(draft: &mut Draft, channel: &str, topic: Option<&str>, given: &Dynamic) -> Result<(), Problem> {
    let given = given.as_bool().map_err(|_| {
        let message = "consent is `true` or `false`, and is never guessed; leave it out where the record does not say";
        Problem::new("bad_consent", message)
    })?;
    let mut properties = serde_json::Map::from_iter([("channel".to_owned(), Value::from(channel))]);
    properties.extend(topic.map(|topic| ("topic".to_owned(), Value::from(topic))));
    let name = if given { names::CONSENT_GIVEN } else { names::CONSENT_WITHDRAWN };
    draft.event(name, serde_json::Map::new(), properties)
}

/// A missing time says nothing: what is said next then has the time that was said before.
fn occurred_at(draft: &mut Draft, value: &Dynamic, format: Option<&str>, zone: Option<&str>) -> Result<(), Problem> {
    if value.is_unit() {
        return Ok(());
    }
    let text = match (value.as_int(), value.as_immutable_string_ref()) {
        (Ok(number), _) => number.to_string(),
        (_, Ok(text)) => text.to_string(),
        _ => {
            let message = format!("a time is a text or a number, not {}", kind(value.type_name()));
            return Err(Problem::new("bad_time", message));
        }
    };
    draft.occurred_at(&text, format, zone)
}

/// An id as text; `None` where there is none. Fractions are refused, because two long ids can be the same fraction.
fn id_text(value: &Dynamic, code: &'static str) -> Result<Option<String>, Problem> {
    if value.is_unit() {
        return Ok(None);
    }
    if let Ok(number) = value.as_int() {
        return Ok(Some(number.to_string()));
    }
    if let Ok(text) = value.as_immutable_string_ref() {
        return Ok(Some(text.to_string()));
    }
    Err(Problem::new(code, format!("an id is a text or a whole number below 2^63, not {}", kind(value.type_name()))))
}

/// A script's map as data. What is missing is left out: a missing value says nothing.
fn data(map: &Map) -> Result<serde_json::Map<String, Value>, Problem> {
    let mut data = to_json_map(map).map_err(|message| Problem::new("script_failed", message))?;
    drop_missing(&mut data);
    Ok(data)
}

fn drop_missing(map: &mut serde_json::Map<String, Value>) {
    map.retain(|_, value| !value.is_null());
    for value in map.values_mut() {
        match value {
            Value::Object(inner) => drop_missing(inner),
            Value::Array(items) => items.iter_mut().filter_map(Value::as_object_mut).for_each(drop_missing),
            _ => {}
        }
    }
}

/// `amount` with its last `n_decimals` digits behind the point: 1999 → `19.99`.
fn shifted(amount: i64, n_decimals: u32) -> ImmutableString {
    Decimal::new(amount, n_decimals).to_string().into()
}

/// The exact sum of amounts, texts and numbers alike. What is missing adds nothing.
fn sum(amounts: &Array) -> Result<ImmutableString, String> {
    let mut total = Decimal::ZERO;
    for amount in amounts.iter().filter(|amount| !amount.is_unit()) {
        let value = to_json(amount)?;
        let number = decimal(&value).ok_or_else(|| format!("`sum` adds amounts, and one of them is {value:.100}"))?;
        total = total.checked_add(number).ok_or("`sum` is beyond what can be counted")?;
    }
    Ok(total.to_string().into())
}

/// An error for the script; Rhai adds the position of the call.
#[expect(clippy::unnecessary_box_returns, reason = "a native function must answer with a box")]
fn raise(message: String) -> Box<EvalAltResult> {
    EvalAltResult::ErrorRuntime(message.into(), Position::NONE).into()
}
