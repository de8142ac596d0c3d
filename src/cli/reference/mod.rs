//! `rekindle reference`: the reference pages, rendered from what this program is made of, so they are those of this
//! version. `docs/reference/` holds the same pages; a test compares them, and `UPDATE=1 ./test references` rewrites them.
//!
//! A page refuses to be rendered while something on it has no words: a new command, key, verb or event is documented or the
//! test fails.

mod commands;
mod configuration;
mod events;
mod rhai_api;

use clap::{Args, ValueEnum};

use super::Ended;

/// Print a page of the reference, in Markdown: it describes this version of the program.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  rekindle reference rhai-api")]
pub(super) struct Reference {
    /// Which page.
    #[arg(value_enum, value_name = "PAGE")]
    page: Page,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Page {
    /// Every key of `config.toml`.
    Config,
    /// Every command and argument.
    Cli,
    /// What rules, segments and helpers may see and say.
    RhaiApi,
    /// The events that have a meaning, and what they do to a profile.
    Events,
}

impl Reference {
    pub(super) fn run(self) -> anyhow::Result<Ended> {
        let mut missing = Vec::new();
        let text = match self.page {
            Page::Config => configuration::render(&mut missing),
            Page::Cli => commands::render(&super::command_tree(), &mut missing),
            Page::RhaiApi => rhai_api::render(&mut missing),
            Page::Events => events::render(&mut missing),
        };
        anyhow::ensure!(missing.is_empty(), "this is not documented: {}", missing.join(", "));
        print!("{text}");
        Ok(Ended::Well)
    }
}

/// The first lines of every page.
fn heading(title: &str, page: &str, about: &str) -> String {
    format!(
        "# {title}\n\n<!-- Printed by `rekindle reference {page}`. Do not edit: `UPDATE=1 ./test references` rewrites it. -->\n\n\
         {about}\n"
    )
}

/// A cell of a Markdown table.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// The words about something; where there are none, what it is goes onto the list of what is missing.
fn said(words: Option<String>, what: impl FnOnce() -> String, missing: &mut Vec<String>) -> String {
    if words.is_none() {
        missing.push(what());
    }
    words.unwrap_or_default()
}
