//! `rekindle config`

use clap::{Args, Subcommand};
use serde_json::json;

use super::output::{print_json, table};
use super::{Common, Ended, Listing, environment};
use crate::config::{Config, schema};

/// Look at the configuration: what holds and who said so, what is wrong with it, what it could say.
#[derive(Debug, Args)]
pub(super) struct ConfigCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print every key in force with its value. Of a secret it shows where it lives, never what it is.
    #[command(after_help = "Example:\n  rekindle config show --origin\n  rekindle config show models.tier")]
    Show {
        /// Only keys that begin with this, such as `models.tier`.
        #[arg(value_name = "KEY", default_value = "", hide_default_value = true)]
        key: String,
        /// Say where each value came from: the default, a line of the file, or an environment variable.
        #[arg(long)]
        origin: bool,
        #[command(flatten)]
        listing: Listing,
    },
    /// Check the configuration alone: everything that is wrong, each with its place.
    #[command(after_help = "Example:\n  rekindle config check --config config.toml\n\nExit code 1 when something is \
                            wrong. `rekindle check` also reads rules, segments and templates.")]
    Check {
        #[command(flatten)]
        listing: Listing,
    },
    /// Print the JSON Schema (draft 2020-12) of the whole configuration, for editors that complete and check TOML.
    #[command(after_help = "Example:\n  rekindle config schema > config.schema.json")]
    Schema {
        #[command(flatten)]
        common: Common,
    },
}

impl ConfigCommand {
    pub(super) fn run(self) -> anyhow::Result<Ended> {
        match self.what {
            What::Show { key, origin, listing } => show(&key, origin, &listing),
            What::Check { listing } => Ok(check(&listing)),
            What::Schema { common: _ } => {
                print_json(&schema());
                Ok(Ended::Well)
            }
        }
    }
}

fn show(prefix: &str, with_origin: bool, listing: &Listing) -> anyhow::Result<Ended> {
    let loaded = Config::load_explained(&listing.common.config, &environment());
    let (_, mut settings) = loaded.map_err(super::Wrong)?;
    settings.retain(|setting| setting.key.starts_with(prefix));
    anyhow::ensure!(!settings.is_empty(), "no key begins with `{prefix}`; `rekindle config show` lists all");
    if listing.json {
        let shown = settings.iter().map(|setting| {
            let mut shown = json!({ "key": setting.key, "value": setting.value });
            if with_origin {
                shown["origin"] = json!(setting.origin.to_string());
            }
            shown
        });
        print_json(&shown.collect());
    } else if with_origin {
        let row = |s: &crate::config::Setting| vec![s.key.clone(), s.toml(), s.origin.to_string()];
        println!("{}", table(&["KEY", "VALUE", "FROM"], &settings.iter().map(row).collect::<Vec<_>>()));
    } else {
        for setting in &settings {
            println!("{} = {}", setting.key, setting.toml());
        }
    }
    Ok(Ended::Well)
}

fn check(listing: &Listing) -> Ended {
    let problems = Config::load(&listing.common.config, &environment()).err().unwrap_or_default();
    if listing.json {
        print_json(&json!({ "errors": problems.len(), "diagnostics": problems }));
    } else {
        for problem in &problems {
            println!("{problem}\n");
        }
        println!("{}: {} errors", listing.common.config.display(), problems.len());
    }
    if problems.is_empty() { Ended::Well } else { Ended::FoundWrong }
}
