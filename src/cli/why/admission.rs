//! Why a delivery might go: what admission looked at when it was decided. Consent and suppression are as known then; the
//! standing orders about contact are those of the configuration as it is now, which keeps no history.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::cli::rules::length;
use crate::cli::{local, past};
use crate::config::Config;
use crate::domain::clock::Timestamp;
use crate::domain::consent::{FrequencyCap, MessageClass, QuietHours};
use crate::domain::delivery::Delivery;
use crate::domain::id::DeliveryId;
use crate::domain::profile::Profile;
use crate::stores::Store;

/// What `[contact]` said of one delivery.
pub(super) struct Contact {
    quiet_hours: Option<QuietHours>,
    /// What the customer's clock showed, and in which zone.
    local_time: String,
    zone: String,
    /// The end of the quiet hours that it fell into.
    quiet_until: Option<Timestamp>,
    cap: Option<FrequencyCap>,
    /// What counted towards the cap.
    counted: Vec<(Timestamp, DeliveryId)>,
}

impl Contact {
    pub(super) async fn of(
        delivery: &Delivery,
        profile: &Profile,
        store: &dyn Store,
        config: &Config,
    ) -> anyhow::Result<Self> {
        let business = config.business.business().map_err(anyhow::Error::msg)?;
        let policy = config.contact.policy(business.zone);
        let at = delivery.decided_at;
        let zone = profile.zone().unwrap_or_else(|| policy.zone.clone());
        let mut counted = Vec::new();
        if let Some(cap) = policy.cap {
            let contacts = past::contacts_before(store, delivery.customer, at, cap.window).await?;
            counted.extend(contacts.iter().map(|d| (past::contact_at(d, at), d.id)));
            counted.sort_unstable();
        }
        Ok(Contact {
            quiet_hours: policy.quiet_hours,
            local_time: at.in_zone(&zone).strftime("%H:%M").to_string(),
            quiet_until: policy.quiet_hours.and_then(|quiet| quiet.until(at, &zone)),
            zone: zone.iana_name().unwrap_or("UTC").to_owned(),
            cap: policy.cap,
            counted,
        })
    }

    pub(super) fn json(&self) -> Value {
        let counted = self.counted.iter().map(|(at, id)| json!({ "delivery": id, "at": at.to_string() }));
        json!({
            "quiet_hours": self.quiet_hours.map(|quiet| json!({
                "from": quiet.from.to_string(), "to": quiet.to.to_string(), "local_time": self.local_time,
                "zone": self.zone, "until": self.quiet_until.map(|at| at.to_string()),
            })),
            "cap": self.cap.map(|cap| json!({
                "messages": cap.n, "window_seconds": cap.window.as_secs(), "counted": counted.collect::<Vec<_>>(),
            })),
        })
    }

    pub(super) fn text(&self, out: &mut String, class: MessageClass, config: &Config) -> std::fmt::Result {
        let time = format!("it was {} at the customer's ({})", self.local_time, self.zone);
        match (self.quiet_hours, class, self.quiet_until) {
            (None, ..) => writeln!(out, "  quiet      no quiet hours are set")?,
            (_, MessageClass::Transactional, _) => writeln!(out, "  quiet      this class goes at any hour; {time}")?,
            (Some(quiet), _, until) => {
                let (from, to) = (quiet.from.strftime("%H:%M"), quiet.to.strftime("%H:%M"));
                let so = until.map_or_else(|| "no".to_owned(), |until| format!("until {}", local(until, config)));
                writeln!(out, "  quiet      {so}: {time}, quiet hours are {from} to {to}")?;
            }
        }
        match (self.cap, class) {
            (None, _) => writeln!(out, "  cap        none is set"),
            (Some(cap), MessageClass::Marketing) => {
                let (n, window) = (self.counted.len(), length(cap.window));
                writeln!(out, "  cap        {n} of {} marketing messages in the {window} before", cap.n)?;
                for (at, id) in &self.counted {
                    writeln!(out, "             {}  {id}", local(*at, config))?;
                }
                Ok(())
            }
            (Some(_), _) => writeln!(out, "  cap        counts marketing only"),
        }
    }
}

/// Class, consent and suppression, as known when it was decided.
pub(super) fn permission(
    out: &mut String,
    delivery: &Delivery,
    profile: &Profile,
    config: &Config,
) -> Result<Option<MessageClass>, std::fmt::Error> {
    let Some(class) = delivery.class else {
        writeln!(out, "  a {} reaches nobody outside; it needs no consent", delivery.action.channel())?;
        return Ok(None);
    };
    let topic = delivery.topic.as_deref().map_or(String::new(), |t| format!(", topic {t}"));
    writeln!(out, "  class      {}{topic}", class.as_str())?;
    if class == MessageClass::Marketing {
        for (key, word) in &profile.consent {
            let said = if word.given { "given" } else { "withdrawn" };
            writeln!(out, "  consent    {key}: {said} {} by {}", local(word.stamp.0, config), word.stamp.1)?;
        }
    } else {
        writeln!(out, "  consent    not needed for this class")?;
    }
    let active = profile.suppression.as_ref().filter(|s| s.active);
    writeln!(out, "  suppressed {}", active.map_or("no", |s| s.reason.as_str()))?;
    Ok(Some(class))
}
