//! What the simulated company wrote: rules of every kind of trigger, segments, templates, and the same rules once more as the
//! reference interpreter reads them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use rekindle::channels::template::{SharedTemplates, Templates};
use rekindle::config::Config;
use rekindle::domain::consent::MessageClass;
use rekindle::domain::event::names;
use rekindle::rules::{RuleBook, Vocabulary};

use super::draw::Draw;
use super::reference::person::Person;

/// The files, read once: lives begin with what they came to.
pub(crate) struct Scene {
    pub(crate) book: Arc<RuleBook>,
    pub(crate) templates: SharedTemplates,
}

pub(crate) static SCENE: LazyLock<Scene> = LazyLock::new(|| {
    let dir = tempfile::TempDir::new().unwrap();
    for (name, class, topic) in [
        ("offer", "marketing", "offers"),
        ("news", "marketing", "news"),
        ("receipt", "transactional", ""),
        ("notice", "service", ""),
    ] {
        let folder = dir.path().join("templates").join(name);
        fs::create_dir_all(&folder).unwrap();
        let topic = if topic.is_empty() { String::new() } else { format!("topic = \"{topic}\"\n") };
        fs::write(folder.join("template.toml"), format!("class = \"{class}\"\n{topic}")).unwrap();
        fs::write(folder.join("subject.txt"), name).unwrap();
        let body = if class == "marketing" { "Hello {{ unsubscribe_url }}" } else { "Hello" };
        fs::write(folder.join("body.txt"), body).unwrap();
        fs::write(folder.join("body.html"), format!("<p>{body}</p>")).unwrap();
    }
    let (templates, wrong) = Templates::load(&dir.path().join("templates"), None);
    assert!(wrong.is_empty(), "{wrong:?}");
    let book = write_rules(&dir.path().join("rules"), &templates);
    Scene { book: Arc::new(book), templates: SharedTemplates::new(templates) }
});

fn write_rules(dir: &Path, templates: &Templates) -> RuleBook {
    fs::create_dir_all(dir).unwrap();
    fs::write(dir.join("segments.rhai"), SEGMENTS).unwrap();
    for rule in &RULES {
        let text = format!(
            "const RULE = #{{ {} }};\nfn when(customer) {{ {} }}\nfn then(customer) {{ {} }}\n",
            rule.card, rule.when, rule.then
        );
        fs::write(dir.join(rule.id).with_extension("rhai"), text).unwrap();
    }
    let vocabulary = Vocabulary {
        templates: templates.cards().clone(),
        webhooks: ["crm".to_owned()].into(),
        ..Vocabulary::default()
    };
    let book = RuleBook::load(dir, &vocabulary, None);
    assert!(book.diagnostics().is_empty(), "{:?}", book.diagnostics());
    book
}

/// The company's standing orders; some worlds are stricter than others.
pub(crate) struct Orders {
    pub(crate) cap: usize,
    pub(crate) catch_up: &'static str,
}

impl Orders {
    pub(crate) fn draw(draw: &mut Draw) -> Self {
        Orders { cap: 1 + usize::from(draw.percent(50)), catch_up: draw.one_of::<&str>(&["last", "all", "none"]) }
    }

    pub(crate) fn config(&self) -> Config {
        let text = format!(
            "[business]\nname = \"Sim\"\ntime_zone = \"Europe/Berlin\"\ncurrency = \"EUR\"\n\
             [contact]\nquiet_hours = {{ from = \"21:00\", to = \"08:00\" }}\ncap = {{ messages = {}, days = 7 }}\n\
             [schedule]\ncatch_up = \"{}\"\n",
            self.cap, self.catch_up
        );
        Config::parse(&text, "config.toml", &BTreeMap::new()).unwrap()
    }
}

const SEGMENTS: &str = "
fn buyers(customer) { customer.n_orders >= 1 }
fn sleepy(customer) { customer.days_since(\"Order Completed\") >= 3.0 }
fn vips(customer) { customer.vip == true }
";

pub(crate) fn segments_of(person: &Person) -> BTreeMap<String, bool> {
    let membership = [
        ("buyers", person.n_orders >= 1),
        ("sleepy", person.days_since_order.is_some_and(|days| days >= 3.0)),
        ("vips", person.vip),
    ];
    membership.into_iter().map(|(name, is)| (name.to_owned(), is)).collect()
}

pub(crate) enum Trigger {
    /// Hour and minute in Berlin, every day.
    Daily(i8, i8),
    On(&'static str),
    Entering(&'static str),
    Leaving(&'static str),
}

/// What one step of a rule is: `None` does not reach the person.
pub(crate) type Step = Option<(MessageClass, Option<&'static str>)>;

const OFFER: Step = Some((MessageClass::Marketing, Some("offers")));
const NEWS: Step = Some((MessageClass::Marketing, Some("news")));
const RECEIPT: Step = Some((MessageClass::Transactional, None));
const NOTICE: Step = Some((MessageClass::Service, None));

pub(crate) struct Rule {
    pub(crate) id: &'static str,
    card: &'static str,
    when: &'static str,
    then: &'static str,
    pub(crate) trigger: Trigger,
    pub(crate) audience: Option<&'static str>,
    pub(crate) cooldown_hours: Option<i64>,
    pub(crate) holdout: f64,
    pub(crate) lateness_hours: i64,
    pub(crate) matches: fn(&Person) -> bool,
    pub(crate) steps: &'static [Step],
}

const PLAIN: Rule = Rule {
    id: "",
    card: "",
    when: "true",
    then: "",
    trigger: Trigger::Daily(0, 0),
    audience: None,
    cooldown_hours: None,
    holdout: 0.0,
    lateness_hours: 24,
    matches: |_| true,
    steps: &[],
};

/// In the order of their ids, which is the order in which they are asked.
pub(crate) static RULES: [Rule; 11] = [
    Rule {
        id: "again",
        card: "trigger: on(\"Order Completed\"), cooldown: hours(12)",
        when: "customer.n_orders >= 1",
        then: "email(\"offer\");",
        trigger: Trigger::On(names::ORDER_COMPLETED),
        cooldown_hours: Some(12),
        matches: |p| p.n_orders >= 1,
        steps: &[OFFER],
        ..PLAIN
    },
    Rule {
        id: "asleep",
        card: "trigger: entering(\"sleepy\"), max_lateness: days(2)",
        then: "email(\"notice\");",
        trigger: Trigger::Entering("sleepy"),
        lateness_hours: 48,
        steps: &[NOTICE],
        ..PLAIN
    },
    Rule {
        id: "crm",
        card: "trigger: on(\"Order Refunded\")",
        then: "webhook(\"crm\", #{ refunded: true }); task(\"Ask why\");",
        trigger: Trigger::On(names::ORDER_REFUNDED),
        steps: &[None, None],
        ..PLAIN
    },
    Rule {
        id: "hello",
        card: "trigger: entering(\"buyers\"), max_lateness: days(9)",
        then: "email(\"offer\"); task(\"Call\");",
        trigger: Trigger::Entering("buyers"),
        lateness_hours: 9 * 24,
        steps: &[OFFER, None],
        ..PLAIN
    },
    Rule {
        id: "morning",
        card: "trigger: daily(\"09:00\"), audience: \"buyers\", cooldown: days(2), holdout: 0.3, max_lateness: hours(30)",
        when: "customer.days_since(\"Order Completed\") >= 1.0",
        then: "email(\"offer\");",
        trigger: Trigger::Daily(9, 0),
        audience: Some("buyers"),
        cooldown_hours: Some(48),
        holdout: 0.3,
        lateness_hours: 30,
        matches: |p| p.days_since_order.is_some_and(|days| days >= 1.0),
        steps: &[OFFER],
    },
    Rule {
        id: "night",
        card: "trigger: cron(\"30 2 * * *\"), cooldown: hours(1)",
        when: "customer.vip == true",
        then: "webhook(\"crm\", #{ vip: true });",
        trigger: Trigger::Daily(2, 30),
        cooldown_hours: Some(1),
        matches: |p| p.vip,
        steps: &[None],
        ..PLAIN
    },
    Rule {
        id: "receipt",
        card: "trigger: on(\"Order Completed\"), max_lateness: days(3)",
        then: "email(\"receipt\");",
        trigger: Trigger::On(names::ORDER_COMPLETED),
        lateness_hours: 72,
        steps: &[RECEIPT],
        ..PLAIN
    },
    Rule {
        id: "star",
        card: "trigger: entering(\"vips\")",
        then: "webhook(\"crm\", #{ vip: true });",
        trigger: Trigger::Entering("vips"),
        steps: &[None],
        ..PLAIN
    },
    Rule {
        id: "thanks",
        card: "trigger: on(\"Order Completed\"), max_lateness: days(9)",
        when: "customer.n_orders >= 2",
        then: "email(\"news\");",
        trigger: Trigger::On(names::ORDER_COMPLETED),
        lateness_hours: 9 * 24,
        matches: |p| p.n_orders >= 2,
        steps: &[NEWS],
        ..PLAIN
    },
    Rule {
        id: "visit",
        card: "trigger: on(\"Product Viewed\"), cooldown: days(1), holdout: 0.5",
        then: "email(\"news\");",
        trigger: Trigger::On("Product Viewed"),
        cooldown_hours: Some(24),
        holdout: 0.5,
        steps: &[NEWS],
        ..PLAIN
    },
    Rule {
        id: "woken",
        card: "trigger: leaving(\"sleepy\")",
        then: "task(\"Welcome back\"); set_trait(\"vip\", true);",
        trigger: Trigger::Leaving("sleepy"),
        steps: &[None, None],
        ..PLAIN
    },
];
