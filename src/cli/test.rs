//! `rekindle test`

use clap::Args;

use super::output::print_json;
use super::{Ended, Listing, load_config};
use crate::daemon::read_written;
use crate::rules::testing::{TestReport, run_tests};

/// Run the tests that lie beside the rules (`NAME.test.toml`), in virtual time. Sends nothing.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  rekindle test win_back\n\nExit code 1 when a test fails.")]
pub(super) struct Test {
    /// Only this rule.
    #[arg(value_name = "RULE")]
    rule: Option<String>,
    #[command(flatten)]
    listing: Listing,
}

impl Test {
    pub(super) fn run(self) -> anyhow::Result<Ended> {
        let config = load_config(&self.listing.common.config)?;
        let business = config.business.business().map_err(anyhow::Error::msg)?;
        let written = read_written(&config, None);
        if let Some(name) = &self.rule {
            anyhow::ensure!(
                written.book.rule(name).is_some(),
                "there is no usable rule `{name}` in {}; `rekindle check` says what is wrong",
                config.files.rules.display()
            );
        }
        let reports = run_tests(&written.book, &config.files.rules, self.rule.as_deref(), &business);
        if self.listing.json {
            print_json(&serde_json::to_value(&reports)?);
        } else {
            for report in &reports {
                println!("{report}");
            }
        }
        let good = !reports.iter().any(TestReport::is_failure);
        Ok(if good { Ended::Well } else { Ended::FoundWrong })
    }
}
