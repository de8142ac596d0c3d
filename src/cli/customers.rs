//! `rekindle customers`

use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::output::{print_json, visible};
use super::page::Paging;
use super::{Ended, Listing, local, look};
use crate::config::Config;
use crate::domain::clock::{Business, Timestamp};
use crate::domain::customer::{Identity, IdentityKind};
use crate::domain::id::CustomerId;
use crate::domain::money::Money;
use crate::domain::score::ScoreKind;
use crate::models::CustomerFacts;
use crate::stores::listing::{CustomerFilter, ListStore};
use crate::stores::{CustomerState, DeliveryFilter, ReadStore, Store};

/// Look at customers.
#[derive(Debug, Args)]
pub(super) struct Customers {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List customers, newest first.
    #[command(after_help = "Example:\n  rekindle customers list --search weber --limit 20 --json")]
    List {
        /// Only those with this in a name or handle.
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
        /// Only members of this segment.
        #[arg(long, value_name = "NAME")]
        segment: Option<String>,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show one customer: what is known, what the models say and why, segments, deliveries, last events.
    #[command(after_help = "Example:\n  rekindle customers show ana@example.com")]
    Show {
        /// A customer id (`cus_…`), an email address or one of your own customer numbers.
        customer: String,
        #[command(flatten)]
        listing: Listing,
    },
}

impl Customers {
    pub(super) async fn run(self) -> anyhow::Result<Ended> {
        match self.what {
            What::List { search, segment, paging } => {
                let (config, files) = paging.look().await?;
                let business = config.business.business().map_err(anyhow::Error::msg)?;
                let filter = CustomerFilter { text: search, segment, after: paging.after()?, limit: paging.fetch() };
                let page = paging.page(files.store.list_customers(&filter).await?, |c| c.customer);
                let headers = ["CUSTOMER", "NAME", "EMAIL", "TIER", "CHURN", "ORDERS", "NET"];
                paging.print(&page, &headers, |c| row(c, &business), |c| brief(c, &business));
            }
            What::Show { customer, listing } => {
                let (config, files) = look(&listing.common).await?;
                let mut state = find(&files.store, &customer).await?;
                with_reasons(&mut state, &files.store, &config).await?;
                let filter = DeliveryFilter { customer: Some(state.customer), limit: 10, ..DeliveryFilter::default() };
                let deliveries = files.store.list_deliveries(&filter).await?;
                let refusals = files.store.refusals_of(state.customer).await?;
                let events = files.store.events_of(state.customer, Timestamp::MAX, 10).await?;
                if listing.json {
                    print_json(&json!({
                        "customer": state.customer, "created_at": state.created_at.to_string(),
                        "profile": *state.profile, "scores": *state.scores, "segments": *state.segments,
                        "deliveries": deliveries, "events": events,
                        "refusals": refusals.iter().map(|(rule, step, reason, n, at)| json!({
                            "rule": rule, "step": step, "reason": reason, "n": n, "last_at": at.to_string(),
                        })).collect::<Vec<_>>(),
                    }));
                    return Ok(Ended::Well);
                }
                println!("{}", about(&state, &config)?);
                println!("\nDeliveries");
                for d in &deliveries {
                    let subject = visible(d.action.subject());
                    println!(
                        "  {}  {:<10} {:<8} {:<24} {}",
                        local(d.decided_at, &config),
                        d.state,
                        d.action.channel(),
                        subject,
                        d.id
                    );
                }
                for (rule, step, reason, n, at) in &refusals {
                    println!("  {}  refused    {rule}, action {step}: {reason} ({n} times)", local(*at, &config));
                }
                println!("\nLast events");
                for e in &events {
                    println!("  {}  {:<22} {}", local(e.fact.occurred_at, &config), e.fact.name, e.id);
                }
            }
        }
        Ok(Ended::Well)
    }
}

/// The scores as they were last settled say no reasons; the fit that is in use gives them again.
async fn with_reasons(state: &mut CustomerState, store: &dyn Store, config: &Config) -> anyhow::Result<()> {
    let business = config.business.business().map_err(anyhow::Error::msg)?;
    let facts = CustomerFacts::of(state.customer, &state.profile, &business);
    let fitted_at = store.models_at(Timestamp::MAX).await?.iter().map(|fit| fit.fitted_at).max();
    let now = state.profile.last_seen.max(fitted_at).unwrap_or(state.created_at);
    let fits = super::past::fits_at(store, config, Timestamp::MAX).await?;
    state.scores = Arc::new(fits.iter().map(|fit| (fit.kind(), fit.score(&facts, now, &business))).collect());
    Ok(())
}

/// By id, email or customer number.
pub(super) async fn find(store: &dyn Store, text: &str) -> anyhow::Result<CustomerState> {
    let kinds = [IdentityKind::UserId, IdentityKind::Email, IdentityKind::AnonymousId, IdentityKind::Phone];
    let handles: Vec<Identity> = kinds.into_iter().filter_map(|kind| Identity::new(kind, text)).collect();
    let id = match text.parse::<CustomerId>() {
        Ok(id) => Some(id),
        Err(_) => store.find_identities(&handles).await?.into_iter().min_by_key(|(i, _)| i.kind).map(|(_, id)| id),
    };
    let found = match id {
        Some(id) => store.load_customers(&[id]).await?.into_values().next(),
        None => None,
    };
    found.ok_or_else(|| {
        anyhow::anyhow!(
            "nobody is known as `{text}`; `rekindle customers list --search TEXT` looks in names and handles"
        )
    })
}

pub(super) fn name(state: &CustomerState) -> String {
    let part = |key| state.profile.trait_text(key).unwrap_or_default();
    visible(format!("{} {}", part("first_name"), part("last_name")).trim())
}

fn net(state: &CustomerState, business: &Business) -> Money {
    Money { minor: state.profile.orders.net_minor(business.currency), currency: business.currency }
}

fn row(state: &CustomerState, business: &Business) -> Vec<String> {
    let churn = state.scores.get(&ScoreKind::ChurnRisk).and_then(|s| s.value);
    let tier = state.scores.get(&ScoreKind::Tier).and_then(|s| s.band.clone());
    vec![
        state.customer.to_string(),
        name(state),
        state.profile.email().unwrap_or_default(),
        tier.unwrap_or_else(|| "-".to_owned()),
        churn.map_or_else(|| "-".to_owned(), |c| format!("{c:.2}")),
        state.profile.orders.placed().count().to_string(),
        net(state, business).to_string(),
    ]
}

pub(super) fn brief(state: &CustomerState, business: &Business) -> Value {
    let member: Vec<&String> = state.segments.iter().filter(|(_, is)| **is).map(|(name, _)| name).collect();
    json!({
        "customer": state.customer, "name": name(state), "email": state.profile.email(),
        "n_orders": state.profile.orders.placed().count(), "net_revenue_minor": net(state, business).minor,
        "currency": business.currency, "segments": member,
        "scores": state.scores.iter().map(|(k, s)| (k.as_str().to_owned(), json!({ "value": s.value, "band": s.band })))
            .collect::<serde_json::Map<_, _>>(),
    })
}

fn about(state: &CustomerState, config: &Config) -> anyhow::Result<String> {
    use std::fmt::Write;
    let business = config.business.business().map_err(anyhow::Error::msg)?;
    let mut text = format!("{}  {}\n", state.customer, name(state));
    for identity in &state.profile.identities {
        writeln!(text, "  {:<14} {}", identity.kind.as_str(), identity.value)?;
    }
    writeln!(text, "  {:<14} {}", "known since", local(state.created_at, config))?;
    writeln!(text, "  {:<14} {}, net {}", "orders", state.profile.orders.placed().count(), net(state, &business))?;
    for (channel, word) in &state.profile.consent {
        let said = if word.given { "given" } else { "withdrawn" };
        writeln!(text, "  {:<14} {channel}: {said} {} ({})", "consent", local(word.stamp.0, config), word.stamp.1)?;
    }
    if let Some(word) = state.profile.suppression.as_ref().filter(|s| s.active) {
        writeln!(text, "  {:<14} {} ({})", "suppressed", word.reason, local(word.stamp.0, config))?;
    }
    writeln!(text, "\nTraits")?;
    for (key, word) in state.profile.traits.iter().filter(|(_, t)| !t.value.is_null()) {
        writeln!(text, "  {:<20} {}", visible(key), plain(&word.value))?;
    }
    writeln!(text, "\nScores")?;
    if state.scores.is_empty() {
        writeln!(text, "  none yet: everybody is scored daily at {} ([models] rescore)", config.models.rescore)?;
    }
    for (kind, score) in state.scores.iter() {
        writeln!(text, "{}", super::why::score_lines(*kind, score))?;
    }
    let member: Vec<&str> = state.segments.iter().filter(|(_, is)| **is).map(|(name, _)| name.as_str()).collect();
    write!(text, "\nSegments\n  {}", if member.is_empty() { "none".to_owned() } else { member.join(", ") })?;
    Ok(text)
}

pub(super) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), visible)
}
