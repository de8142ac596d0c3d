//! Message templates: one folder per message under `templates/`, written by people.
//!
//! ```text
//! templates/win_back/template.toml   class = "marketing", topic = "offers", optional = ["code"]
//!                    subject.txt     We miss you, {{ customer.first_name | default("there", true) }}
//!                    body.html       escaped
//!                    body.txt        the same for readers without HTML; required, so that no mail is HTML only
//! ```
//!
//! The language is Jinja (minijinja), strict: a variable that is not there is an error, never an empty place in a mail to a
//! customer. `load` finds every problem of every template at once and keeps the good ones; `Render` is pure.

mod card;
mod load;
mod render;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use jiff::tz::TimeZone;
use minijinja::Environment;

use crate::domain::template::TemplateCards;

pub use render::{Rendered, Values};

/// What a template sees without a rule handing it over: `customer`, the person's own values; `business`, the
/// [`Letterhead`]; `unsubscribe_url`, in marketing mail only; `now`, the business's day (`now.date`, `now.year`).
pub const BUILT_INS: [&str; 4] = ["customer", "business", "unsubscribe_url", "now"];

/// What templates see as `business`, and whose calendar `now` is in.
#[derive(Clone, Debug)]
pub struct Letterhead {
    /// `business.name`: how the company signs.
    pub name: String,
    /// `business.address`: the postal address that many countries require in marketing mail; `none` when not configured.
    pub address: Option<String>,
    /// The zone in which `now` is read.
    pub zone: TimeZone,
}

/// All usable templates of one folder, compiled.
pub struct Templates {
    folder: PathBuf,
    environment: Environment<'static>,
    cards: TemplateCards,
    /// By template, what it may be given and what becomes the empty value when it is not.
    optional: BTreeMap<String, Vec<String>>,
}

impl Templates {
    /// What the rest of the house knows of them.
    pub fn cards(&self) -> &TemplateCards {
        &self.cards
    }

    /// The variables that template `name` can do without.
    pub fn optional(&self, name: &str) -> &[String] {
        self.optional.get(name).map_or(&[], Vec::as_slice)
    }
}

/// The templates in use: read by the channels at each message, replaced as a whole when the folder has changed.
#[derive(Clone)]
pub struct SharedTemplates(Arc<RwLock<Arc<Templates>>>);

impl SharedTemplates {
    /// Starts with these.
    pub fn new(templates: Templates) -> Self {
        SharedTemplates(Arc::new(RwLock::new(Arc::new(templates))))
    }

    /// Those in use now.
    pub fn current(&self) -> Arc<Templates> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From the next message on, these.
    pub fn replace(&self, templates: Templates) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(templates);
    }
}
