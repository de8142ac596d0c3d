//! What is beyond this machine: who may send events, where links in mails lead, mail server, receivers, secrets, zones.

use super::Check;
use crate::channels::{EmailConfig, probe_email, probe_webhook};
use crate::cli::environment;
use crate::config::Config;
use crate::daemon::read_written;
use crate::domain::clock::{Clock, SystemClock};
use crate::domain::consent::MessageClass;
use crate::domain::secret::Secret;

/// The key that everybody knows.
const DEVELOPMENT_KEY: &str = "dev";

pub(super) async fn checks(config: &Config) -> Vec<Check> {
    let variables = environment();
    let lookup = |name: &str| variables.get(name).cloned();
    vec![
        write_keys(config, &lookup),
        public_url(config),
        mail(config, &lookup).await,
        webhooks(config, &lookup).await,
        zone(config),
    ]
}

fn write_keys(config: &Config, lookup: &dyn Fn(&str) -> Option<String>) -> Check {
    let keys = &config.http.write_keys;
    let broken = keys.iter().find_map(|key| key.key.resolve(lookup).err().map(|why| (key, why)));
    if let Some((key, why)) = broken {
        let remedy = "set it for the user that runs rekindle, or name another secret in http.write_keys";
        return Check::fail("keys", format!("the write key of source `{}`: {why}", key.source), remedy);
    }
    let is_development = keys.iter().any(|key| matches!(&key.key, Secret::Inline(text) if text == DEVELOPMENT_KEY));
    let remedy = "set a key of your own in http.write_keys, such as { env = \"REKINDLE_WRITE_KEY\" }";
    match (is_development, &config.http.public_url) {
        (true, Some(url)) => {
            let found = format!("the write key is `dev`, which everybody knows, and {url} leads here");
            Check::fail("keys", found, remedy)
        }
        (true, None) => Check::ok("keys", "the write key is `dev`: for this machine only"),
        (false, _) => Check::ok("keys", format!("{} write keys can be read", keys.len())),
    }
}

/// Marketing mail holds an unsubscribe link, which somebody else's browser must be able to follow.
fn public_url(config: &Config) -> Check {
    let sends = matches!(config.email(), EmailConfig::Smtp(_));
    let written = read_written(config, None);
    let markets = written.templates.cards().values().any(|card| card.class == MessageClass::Marketing);
    let url = config.http.public_url();
    let remedy = "set http.public_url to the https address that customers see, with a proxy in front that speaks TLS";
    match (sends && markets, &config.http.public_url) {
        (true, None) => {
            let found =
                format!("marketing mail goes out, and its unsubscribe links lead to {url}, where no customer comes");
            Check::fail("links", found, remedy)
        }
        (true, Some(_)) if !url.starts_with("https://") => {
            Check::warn("links", format!("unsubscribe links lead to {url}, in the clear"), remedy)
        }
        _ => Check::ok("links", format!("unsubscribe links lead to {url}")),
    }
}

async fn mail(config: &Config, lookup: &dyn Fn(&str) -> Option<String>) -> Check {
    match probe_email(&config.email(), lookup).await {
        None => Check::ok("smtp", "no mail server: mails become files"),
        Some(Ok(host)) => Check::ok("smtp", format!("{host} answers and lets us in")),
        Some(Err(why)) => {
            Check::fail("smtp", why, "correct `[email]`, or wait until the server is back: mails wait meanwhile")
        }
    }
}

async fn webhooks(config: &Config, lookup: &dyn Fn(&str) -> Option<String>) -> Check {
    let found = probe_webhook(&config.webhook(), lookup).await;
    if found.is_empty() {
        return Check::ok("webhooks", "no receiver: webhooks become lines in a file");
    }
    let wrong: Vec<String> =
        found.iter().filter_map(|(name, found)| Some(format!("{name}: {}", found.as_ref().err()?))).collect();
    if wrong.is_empty() {
        return Check::ok("webhooks", format!("{} receivers have an address and a key", found.len()));
    }
    Check::fail("webhooks", wrong.join("; "), "correct `[[webhook.endpoints]]`, or the name service of this machine")
}

fn zone(config: &Config) -> Check {
    match config.business.business() {
        Ok(business) => {
            let offset = business.zone.to_offset(SystemClock.now().to_jiff());
            Check::ok("zone", format!("{} is at {offset} now", config.business.time_zone))
        }
        Err(why) => Check::fail("zone", why, "correct business.time_zone"),
    }
}
