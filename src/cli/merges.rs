//! `rekindle merges`

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::beside::{TakenUp, state, statement};
use super::customers::find;
use super::joined::{Joined, line};
use super::output::print_json;
use super::page::{Paging, Whose};
use super::{Ended, Listing, local, look};
use crate::domain::clock::Business;
use crate::domain::event::names;
use crate::domain::id::{CustomerId, EventId};
use crate::pipeline::split::{Parted, part};
use crate::stores::sqlite::SqliteStore;
use crate::stores::{ListedMerge, Merge, OperatorStore, Store};

/// Look at who was joined with whom, join customers, and take a merge back.
#[derive(Debug, Args)]
pub(super) struct Merges {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List merges, newest first.
    #[command(after_help = "Example:\n  rekindle merges list --customer ana@example.com --json")]
    List {
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show what two customers would be as one; changes nothing.
    #[command(after_help = "Example:\n  rekindle merges preview ana@example.com 10482")]
    Preview {
        /// A customer id (`cus_…`), an email address or one of your own customer numbers.
        one: String,
        /// The other.
        other: String,
        #[command(flatten)]
        listing: Listing,
    },
    /// State that two customers are one person. It is an event, and can be undone.
    #[command(after_help = "Example:\n  rekindle merges join ana@example.com 10482")]
    Join {
        /// A customer id (`cus_…`), an email address or one of your own customer numbers.
        one: String,
        /// The other.
        other: String,
        #[command(flatten)]
        listing: Listing,
    },
    /// Take a merge back: events, handles and the ledger go to whom they would belong without it, and the two are not
    /// joined again unless an operator says so.
    #[command(after_help = "Example:\n  rekindle merges undo cus_01… --preview\n  rekindle merges undo cus_01…")]
    Undo {
        /// The absorbed customer or the event that joined them, as `merges list` shows them; or a customer that one other
        /// was joined into.
        merge: String,
        /// Only show who there would be.
        #[arg(long)]
        preview: bool,
        #[command(flatten)]
        listing: Listing,
    },
}

impl Merges {
    pub(super) async fn run(self) -> anyhow::Result<Ended> {
        match self.what {
            What::List { whose, paging } => list(&whose, &paging).await,
            What::Preview { one, other, listing } => join(&one, &other, true, &listing).await,
            What::Join { one, other, listing } => join(&one, &other, false, &listing).await,
            What::Undo { merge, preview, listing } => undo(&merge, preview, &listing).await,
        }
    }
}

async fn list(whose: &Whose, paging: &Paging) -> anyhow::Result<Ended> {
    let (config, files) = paging.look().await?;
    let living = whose.customer(&files.store).await?;
    let merges = files.store.list_merges(living, paging.after_row(cursor)?, paging.fetch()).await?;
    let page = paging.page(merges, |m| format!("{}:{}", m.merge.position, m.merge.absorbed));
    let row = |m: &ListedMerge| {
        let by = format!("{} ({})", m.name, m.source);
        vec![local(m.at, &config), m.merge.absorbed.to_string(), m.living.to_string(), by, m.event.to_string()]
    };
    paging.print(&page, &["JOINED", "ABSORBED", "IS TODAY", "BY", "EVENT"], row, in_json);
    Ok(Ended::Well)
}

fn cursor(text: &str) -> Option<(i64, CustomerId)> {
    let (at, id) = text.split_once(':')?;
    Some((at.parse().ok()?, id.parse().ok()?))
}

fn in_json(m: &ListedMerge) -> Value {
    json!({ "absorbed": m.merge.absorbed, "survivor": m.merge.survivor, "is_today": m.living, "event": m.event,
            "event_name": m.name, "source": m.source, "at": m.at.to_string() })
}

async fn join(one: &str, other: &str, preview: bool, listing: &Listing) -> anyhow::Result<Ended> {
    let (config, files) = look(&listing.common).await?;
    let business = config.business.business().map_err(anyhow::Error::msg)?;
    let (a, b) = (find(&files.store, one).await?, find(&files.store, other).await?);
    if a.customer == b.customer {
        anyhow::bail!("`{one}` and `{other}` are one customer already: {}", a.customer);
    }
    let joined = Joined::of(&files.store, a, b).await?;
    files.close().await;
    let taken = if preview { None } else { Some(state(&config, vec![statement(names::MERGED, &joined.ids())]).await?) };
    if listing.json {
        let mut value = joined.in_json(&business);
        value["stated"] = json!(taken.is_some());
        value["carried_out"] = json!(taken.map(TakenUp::is_done));
        print_json(&value);
        return Ok(Ended::Well);
    }
    println!("{}", joined.in_words(&business));
    match taken {
        Some(taken) => {
            let [survivor, absorbed] = joined.ids();
            println!("\n{absorbed} is joined into {survivor}: {}", taken.in_words());
            println!("`rekindle merges undo {absorbed}` takes it back");
        }
        None => println!("\nnothing was changed; `rekindle merges join` does it"),
    }
    Ok(Ended::Well)
}

async fn undo(text: &str, preview: bool, listing: &Listing) -> anyhow::Result<Ended> {
    let (config, files) = look(&listing.common).await?;
    let business = config.business.business().map_err(anyhow::Error::msg)?;
    let merge = which(&files.store, text).await?;
    let parted = part(&files.store, merge.absorbed, i64::MAX, &business).await?;
    let Some(parted) = parted else { anyhow::bail!("{} was not merged into anybody", merge.absorbed) };
    files.close().await;
    let words = [merge.absorbed, merge.survivor];
    let taken = if preview { None } else { Some(state(&config, vec![statement(names::SEPARATED, &words)]).await?) };
    if listing.json {
        print_json(&json!({
            "joined": parted.split.joined, "absorbed": merge.absorbed, "survivor": merge.survivor,
            "customers": parted.states.iter().map(|s| json!({
                "customer": s.customer, "n_events": s.profile.n_events, "n_orders": s.profile.orders.placed().count(),
                "net_revenue_minor": s.profile.orders.net_minor(business.currency),
                "identities": handles(&parted, s.customer),
            })).collect::<Vec<_>>(),
            "stated": taken.is_some(), "carried_out": taken.map(TakenUp::is_done),
        }));
        return Ok(Ended::Well);
    }
    print_parted(&parted, &business);
    match taken {
        Some(taken) => println!("\nthe merge is undone: {}", taken.in_words()),
        None => println!("\nnothing was changed; without --preview it is done"),
    }
    Ok(Ended::Well)
}

fn handles(parted: &Parted, customer: CustomerId) -> Vec<&crate::domain::customer::Identity> {
    parted.identities.iter().filter(|(_, owner)| *owner == customer).map(|(identity, _)| identity).collect()
}

fn print_parted(parted: &Parted, business: &Business) {
    println!("{} is these customers then:", parted.split.joined);
    for state in &parted.states {
        println!("  {}", line(state.customer, &state.profile, business));
        for handle in handles(parted, state.customer) {
            println!("    {:<14} {}", handle.kind.as_str(), handle.value);
        }
    }
}

/// The merge that is meant.
async fn which(store: &SqliteStore, text: &str) -> anyhow::Result<Merge> {
    if let Ok(event) = text.parse::<EventId>() {
        return by_event(store, event).await;
    }
    if let Ok(absorbed) = text.parse::<CustomerId>()
        && let Some(merge) = store.merge_of(absorbed).await?
    {
        return Ok(merge);
    }
    let living = find(store as &dyn Store, text).await?.customer;
    match &store.merges_into(living).await?[..] {
        [only] => Ok(*only),
        [] => anyhow::bail!(
            "nobody was merged into {living} by an event that is known; `rekindle merges list` shows what there is, and \
             `rekindle rebuild` finds merges from before this version"
        ),
        several => {
            let absorbed: Vec<String> = several.iter().map(|m| m.absorbed.to_string()).collect();
            anyhow::bail!(
                "{} customers were merged into {living}; name one of them: {}",
                several.len(),
                absorbed.join(", ")
            )
        }
    }
}

async fn by_event(store: &SqliteStore, event: EventId) -> anyhow::Result<Merge> {
    let mut after = None;
    let mut found: Vec<Merge> = Vec::new();
    loop {
        let page = store.list_merges(None, after, 1_000).await?;
        found.extend(page.iter().filter(|m| m.event == event).map(|m| m.merge));
        let Some(last) = page.last() else { break };
        after = Some((last.merge.position, last.merge.absorbed));
    }
    match &found[..] {
        [only] => Ok(*only),
        [] => anyhow::bail!("no merge was made by {event}; `rekindle merges list` shows them"),
        several => {
            let absorbed: Vec<String> = several.iter().map(|m| m.absorbed.to_string()).collect();
            anyhow::bail!("{event} joined several customers; name the one to part: {}", absorbed.join(", "))
        }
    }
}
