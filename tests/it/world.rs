//! A whole daemon on a clock that only the test moves: its data in a temporary folder, rules and templates as files, mail into a
//! folder, webhooks into a journal. Nothing is faked; only time stands still until it is told to move.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::SignedDuration;
use rekindle::config::Config;
use rekindle::daemon::Engine;
use rekindle::domain::clock::{Clock, ManualClock, Timestamp};
use rekindle::domain::customer::{Identity, IdentityKind};
use rekindle::domain::delivery::Delivery;
use rekindle::domain::event::{Fact, names};
use rekindle::pipeline::ingest::Intake;
use rekindle::stores::{CustomerState, DeliveryFilter, Store};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A Monday noon in Berlin, far from any change of clocks.
pub(crate) const START: &str = "2026-06-01T10:00:00Z";

pub(crate) const HOUR: SignedDuration = SignedDuration::from_hours(1);
pub(crate) const DAY: SignedDuration = SignedDuration::from_hours(24);

pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) engine: Option<Engine>,
    extra_config: String,
    n_messages: u32,
}

impl World {
    /// With these rule files (`name.rhai`, source) and the templates `offer` (marketing) and `receipt` (transactional).
    pub(crate) async fn with_rules(files: &[(&str, &str)]) -> Self {
        World::with("", files).await
    }

    /// And more lines of configuration.
    pub(crate) async fn with(extra_config: &str, files: &[(&str, &str)]) -> Self {
        let dir = TempDir::new().unwrap();
        write_templates(dir.path());
        let mut world = World {
            dir,
            clock: Arc::new(ManualClock::at(at(START))),
            engine: None,
            extra_config: extra_config.to_owned(),
            n_messages: 0,
        };
        fs::create_dir_all(world.dir.path().join("rules")).unwrap();
        for (name, source) in files {
            world.write_rule(name, source);
        }
        world.start().await;
        world
    }

    pub(crate) fn write_rule(&self, name: &str, source: &str) {
        let path = self.dir.path().join("rules").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, source).unwrap();
    }

    pub(crate) fn config(&self) -> Config {
        let text = format!(
            "[business]\nname = \"Test shop\"\ntime_zone = \"Europe/Berlin\"\ncurrency = \"EUR\"\n\
             [store]\nkind = \"sqlite\"\npath = \"data\"\n{}",
            self.extra_config
        );
        let path = self.dir.path().join("config.toml");
        fs::write(&path, text).unwrap();
        Config::load(&path, &BTreeMap::new()).unwrap_or_else(|problems| panic!("{problems:?}"))
    }

    /// Opens the daemon on what lies on the disk.
    pub(crate) async fn start(&mut self) {
        self.start_with_mistakes().await;
        let wrong: Vec<String> = self.engine().diagnostics.iter().map(ToString::to_string).collect();
        assert!(wrong.is_empty(), "the test's own rules are wrong: {}", wrong.join("\n"));
    }

    /// The same where rules or templates are wrong on purpose.
    pub(crate) async fn start_with_mistakes(&mut self) {
        let engine = Engine::open(&self.config(), self.clock.clone(), &|_| None).await.unwrap();
        // The first step lets every schedule begin at this instant.
        engine.step().await.unwrap();
        self.engine = Some(engine);
    }

    /// Stops it in good order and starts it again.
    pub(crate) async fn restart(&mut self) {
        self.engine.take().unwrap().close().await;
        self.start().await;
    }

    pub(crate) fn engine(&self) -> &Engine {
        self.engine.as_ref().unwrap()
    }

    pub(crate) fn store(&self) -> &dyn Store {
        &*self.engine().pipeline.store
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A live event of `user`, happening and arriving now.
    #[expect(clippy::needless_pass_by_value, reason = "called with `json!` in place")]
    pub(crate) fn fact(&mut self, user: &str, name: &str, properties: Value) -> Fact {
        self.n_messages += 1;
        let properties = properties.as_object().cloned().unwrap_or_default();
        Fact { properties, ..live_fact(user, name, self.n_messages, self.now()) }
    }

    /// Hands facts in and lets everything that is due happen.
    pub(crate) async fn ingest(&self, facts: Vec<Fact>) {
        self.engine().inbox.submit(facts, Vec::new()).await.unwrap();
        self.engine().step().await.unwrap();
    }

    pub(crate) async fn happens(&mut self, user: &str, name: &str, properties: Value) {
        let fact = self.fact(user, name, properties);
        self.ingest(vec![fact]).await;
    }

    /// A customer with a name, an address and consent to marketing mail.
    pub(crate) async fn consenting(&mut self, user: &str) {
        let mut known = self.fact(user, names::IDENTIFIED, json!({}));
        known.traits.insert("first_name".to_owned(), json!(user));
        known.traits.insert("email".to_owned(), json!(format!("{user}@example.com")));
        let consent = self.fact(user, names::CONSENT_GIVEN, json!({ "channel": "email" }));
        self.ingest(vec![known, consent]).await;
    }

    pub(crate) async fn advance(&self, span: SignedDuration) {
        let until = self.now().plus(span);
        self.engine().live_until(&self.clock, until).await.unwrap();
    }

    pub(crate) async fn customer(&self, user: &str) -> CustomerState {
        let handle = Identity::new(IdentityKind::UserId, user).unwrap();
        let id = self.store().find_identities(std::slice::from_ref(&handle)).await.unwrap()[&handle];
        self.store().load_customers(&[id]).await.unwrap().remove(&id).unwrap()
    }

    /// All deliveries, oldest first.
    pub(crate) async fn deliveries(&self) -> Vec<Delivery> {
        let filter = DeliveryFilter { limit: 10_000, ..DeliveryFilter::default() };
        let mut all = self.store().list_deliveries(&filter).await.unwrap();
        all.reverse();
        all
    }

    /// `rule state reason` of every delivery, oldest first.
    pub(crate) async fn ledger(&self) -> Vec<String> {
        let line = |d: &Delivery| match &d.reason {
            Some(reason) => format!("{} {} ({reason})", d.rule, d.state),
            None => format!("{} {}", d.rule, d.state),
        };
        self.deliveries().await.iter().map(line).collect()
    }

    /// `rule reason` of every counted refusal.
    pub(crate) async fn refusals(&self, user: &str) -> Vec<String> {
        let customer = self.customer(user).await.customer;
        let refusals = self.store().refusals_of(customer).await.unwrap();
        refusals.into_iter().map(|(rule, _, reason, n, _)| format!("{rule} {reason} x{n}")).collect()
    }

    /// The texts of all mails that left, by file name.
    pub(crate) fn mails(&self) -> Vec<String> {
        let folder = self.dir.path().join("data/mailbox");
        let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
        let mut paths: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
        paths.retain(|p| p.extension().is_some_and(|e| e == "eml"));
        paths.sort();
        paths.iter().map(|p| fs::read_to_string(p).unwrap()).collect()
    }

    /// The addresses that mails left for.
    pub(crate) fn recipients(&self) -> Vec<String> {
        let address = |line: &str| line.rsplit('<').next().unwrap().trim_end_matches('>').to_owned();
        let to = |mail: &String| mail.lines().find_map(|l| l.strip_prefix("To: ").map(address)).unwrap();
        self.mails().iter().map(to).collect()
    }
}

/// `offer` (marketing) and `receipt` (transactional).
pub(crate) fn write_templates(dir: &Path) {
    for (name, class, body) in [
        ("offer", "marketing", "Hello {{ customer.first_name | default(\"there\") }} {{ unsubscribe_url }}"),
        ("receipt", "transactional", "Thank you"),
    ] {
        let folder = dir.join("templates").join(name);
        fs::create_dir_all(&folder).unwrap();
        let topic = if class == "marketing" { "topic = \"offers\"\n" } else { "" };
        fs::write(folder.join("template.toml"), format!("class = \"{class}\"\n{topic}")).unwrap();
        fs::write(folder.join("subject.txt"), format!("{name} for you")).unwrap();
        fs::write(folder.join("body.txt"), body).unwrap();
        fs::write(folder.join("body.html"), format!("<p>{body}</p>")).unwrap();
    }
}

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The `n`th thing that an application tells, of `user`, happening and arriving `now`.
pub(crate) fn live_fact(user: &str, name: &str, n: u32, now: Timestamp) -> Fact {
    Fact {
        source: "app".to_owned(),
        message_id: format!("m{n}"),
        name: name.to_owned(),
        occurred_at: now,
        received_at: now,
        known_at: now,
        imported: false,
        identities: Identity::new(IdentityKind::UserId, user).into_iter().collect(),
        traits: serde_json::Map::new(),
        properties: serde_json::Map::new(),
        context: serde_json::Map::new(),
    }
}
