//! Reading a rule's card from its syntax tree. A card states and does not compute, so it is read without being run: every
//! wrong key and value is found at once, at its place.

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use rhai::{ASTFlags, Expr, Position, Stmt};

use super::findings::{Findings, suggest};
use super::host::span::{Span, UNITS};
use super::{Known, is_event_slip};
use crate::domain::rule::{RuleCard, Trigger};
use crate::schedule::Schedule;

/// The keys that this version carries out.
pub(super) const KEYS: [&str; 5] = ["trigger", "audience", "cooldown", "holdout", "max_lateness"];

/// The calls that make a trigger, with what they take.
pub(super) const TRIGGERS: [(&str, &str); 5] = [
    ("daily", "\"09:00\""),
    ("cron", "\"0 9 * * 1\""),
    ("on", "\"Order Refunded\""),
    ("entering", "\"at_risk\""),
    ("leaving", "\"at_risk\""),
];

/// What a card that does not say so means.
const MAX_LATENESS: SignedDuration = SignedDuration::from_hours(24);

/// The `const RULE` among `statements`; another one is a finding.
pub(super) fn find<'a>(statements: &'a [Stmt], findings: &mut Findings) -> Option<(&'a Expr, Position)> {
    let mut cards = statements.iter().filter_map(|statement| match statement {
        Stmt::Var(var, flags, _) if var.0.name == "RULE" && flags.contains(ASTFlags::CONSTANT) => {
            Some((&var.1, var.0.pos))
        }
        _ => None,
    });
    let first = cards.next();
    for (_, at) in cards {
        let help = "a file is one rule; move the other into a file of its own".to_owned();
        findings.error(at, "`RULE` is stated twice", Some(help));
    }
    first
}

/// Reads the card; problems go to `findings`, and then there is none.
pub(super) fn read(card: &Expr, at: Position, known: &Known<'_>, findings: &mut Findings) -> Option<RuleCard> {
    let Expr::Map(map, _) = card else {
        findings.error(
            at,
            "`RULE` is not a map",
            Some("write `const RULE = #{ trigger: daily(\"09:00\"), … };`".into()),
        );
        return None;
    };
    let mut reader = Reader { known, findings, sound: true };
    let (mut trigger, mut audience, mut cooldown, mut holdout) = (None, None, None, 0.0);
    let mut max_lateness = MAX_LATENESS;
    for (key, value) in &map.0 {
        match key.name.as_str() {
            "trigger" => trigger = reader.trigger(value).map(|trigger| (trigger, value.start_position())),
            "audience" => audience = reader.audience(value),
            "cooldown" => cooldown = reader.span("cooldown", value),
            "holdout" => holdout = reader.holdout(value).unwrap_or(0.0),
            "max_lateness" => max_lateness = reader.span("max_lateness", value).unwrap_or(max_lateness),
            later @ ("goal" | "journey") => reader.wrong(
                key.pos,
                format!("this version does not carry out `{later}` yet"),
                Some("remove it; a key that does nothing is refused".to_owned()),
            ),
            other => reader.wrong(key.pos, format!("unknown key `{other}` on the card"), suggest(other, KEYS)),
        }
    }
    let Some((trigger, trigger_at)) = trigger else {
        if !map.0.iter().any(|(key, _)| key.name == "trigger") {
            reader.wrong(at, "the card has no `trigger`", Some(trigger_help()));
        }
        return None;
    };
    if matches!(trigger, Trigger::Schedule { .. }) && !map.0.iter().any(|(key, _)| key.name == "cooldown") {
        let help = "add `cooldown: days(30)`: without one, whoever matches is acted on again at every tick";
        reader.wrong(trigger_at, "a scheduled rule needs a `cooldown`", Some(help.to_owned()));
    }
    if let (Trigger::Leaving { segment }, Some(audience)) = (&trigger, &audience)
        && segment == audience
    {
        let message =
            format!("whoever leaves `{segment}` is not in the audience `{segment}`, so this rule never fires");
        reader.wrong(trigger_at, message, Some("remove the audience".to_owned()));
    }
    reader.sound.then_some(RuleCard { trigger, audience, cooldown, holdout, max_lateness })
}

fn trigger_help() -> String {
    let calls: Vec<String> = TRIGGERS.iter().map(|(name, example)| format!("{name}({example})")).collect();
    format!("one of {}", calls.join(", "))
}

struct Reader<'a, 'f> {
    known: &'a Known<'a>,
    findings: &'f mut Findings,
    sound: bool,
}

impl Reader<'_, '_> {
    fn wrong(&mut self, at: Position, message: impl Into<String>, help: Option<String>) {
        self.findings.error(at, message, help);
        self.sound = false;
    }

    fn trigger(&mut self, value: &Expr) -> Option<Trigger> {
        let at = value.start_position();
        let Some((name, argument, argument_at)) = call(value) else {
            self.wrong(at, "`trigger` is not a trigger", Some(trigger_help()));
            return None;
        };
        let Some((_, example)) = TRIGGERS.iter().find(|(known, _)| *known == name) else {
            self.wrong(at, format!("unknown trigger `{name}`"), suggest(name, TRIGGERS.map(|(name, _)| name)));
            return None;
        };
        let Some(Expr::StringConstant(text, _)) = argument else {
            self.wrong(argument_at, format!("`{name}` takes one text"), Some(format!("write {name}({example})")));
            return None;
        };
        let text = text.as_str();
        match name {
            "daily" => self.daily(text, argument_at),
            "cron" => self.cron(text.trim(), argument_at),
            "on" => {
                if let Some(near) = is_event_slip(text, self.known) {
                    let message = format!("no event is called `{text}` so far");
                    self.findings.warning(argument_at, message, Some(format!("did you mean `{near}`?")));
                }
                Some(Trigger::On { event: text.to_owned() })
            }
            _ => {
                let segment = self.segment(text, argument_at)?;
                Some(if name == "entering" { Trigger::Entering { segment } } else { Trigger::Leaving { segment } })
            }
        }
    }

    fn daily(&mut self, text: &str, at: Position) -> Option<Trigger> {
        let time = text.split_once(':').and_then(|(hour, minute)| {
            let digits = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
            let (hour, minute) = (digits(hour).then_some(hour)?, digits(minute).then_some(minute)?);
            Some((hour.parse::<u8>().ok().filter(|h| *h < 24)?, minute.parse::<u8>().ok().filter(|m| *m < 60)?))
        });
        let Some((hour, minute)) = time else {
            let help = "hours and minutes with two digits each, such as daily(\"09:00\")";
            self.wrong(at, format!("`{text}` is not a time of day"), Some(help.to_owned()));
            return None;
        };
        self.cron(&format!("{minute} {hour} * * *"), at)
    }

    fn cron(&mut self, cron: &str, at: Position) -> Option<Trigger> {
        // Whether it is valid does not hang on the zone; the scheduler reads it in the business's.
        match Schedule::parse(cron, TimeZone::UTC) {
            Ok(_) => Some(Trigger::Schedule { cron: cron.to_owned() }),
            Err(error) => {
                let help = "such as cron(\"0 9 * * 1\"), every Monday at nine";
                self.wrong(at, error, Some(help.to_owned()));
                None
            }
        }
    }

    fn segment(&mut self, name: &str, at: Position) -> Option<String> {
        if self.known.segments.contains(name) {
            return Some(name.to_owned());
        }
        let help = suggest(name, self.known.segments.iter().map(String::as_str))
            .or_else(|| Some(format!("write `fn {name}(customer) {{ … }}` in segments.rhai")));
        self.wrong(at, format!("unknown segment `{name}`"), help);
        None
    }

    fn audience(&mut self, value: &Expr) -> Option<String> {
        let at = value.start_position();
        if let Expr::StringConstant(name, _) = value {
            return self.segment(name, at);
        }
        self.wrong(at, "`audience` is not a text", Some("name a segment, such as \"high_value\"".to_owned()));
        None
    }

    fn holdout(&mut self, value: &Expr) -> Option<f64> {
        let share = match value {
            Expr::FloatConstant(share, _) => Some(**share),
            // Whole numbers: only 0 is in range, so the conversion is exact where it matters.
            Expr::IntegerConstant(whole, _) => i32::try_from(*whole).ok().map(f64::from),
            _ => None,
        };
        if let Some(share) = share.filter(|share| (0.0..=0.5).contains(share)) {
            return Some(share);
        }
        let help = "the share of customers who get nothing, from 0 to 0.5, such as 0.10";
        self.wrong(value.start_position(), "`holdout` is not a share", Some(help.to_owned()));
        None
    }

    fn span(&mut self, key: &str, value: &Expr) -> Option<SignedDuration> {
        let help = format!("a span is written days(45), hours(24) or minutes(30); {key}: days(45)");
        let at = value.start_position();
        if let Some((unit, Some(Expr::IntegerConstant(n, _)), _)) = call(value)
            && UNITS.iter().any(|(known, _)| *known == unit)
        {
            return match Span::new(unit, *n) {
                Ok(span) => Some(span.duration()),
                Err(error) => {
                    self.wrong(at, error, None);
                    None
                }
            };
        }
        self.wrong(at, format!("`{key}` is not a span of time"), Some(help));
        None
    }
}

/// `name(argument)` → its name, its only argument, and where to point to when that is wrong.
fn call(value: &Expr) -> Option<(&str, Option<&Expr>, Position)> {
    let Expr::FnCall(call, at) = value else { return None };
    let argument = if call.args.len() == 1 { call.args.first() } else { None };
    Some((call.name.as_str(), argument, argument.map_or(*at, Expr::start_position)))
}
