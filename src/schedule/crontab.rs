//! The text of a schedule: crontab(5)'s five fields, or one of the `@` names, read strictly. What comes out is handed to the
//! `cron` crate as plain lists of numbers, so nothing depends on how that crate reads names, steps or Sundays.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::str::FromStr;

/// One of the five fields: what it is called and what it may hold.
struct Field {
    name: &'static str,
    low: u32,
    high: u32,
    names: &'static [&'static str],
}

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const FIELDS: [Field; 5] = [
    Field { name: "minute", low: 0, high: 59, names: &[] },
    Field { name: "hour", low: 0, high: 23, names: &[] },
    Field { name: "day of month", low: 1, high: 31, names: &[] },
    Field { name: "month", low: 1, high: 12, names: MONTHS },
    // 7 is a second name of Sunday; it is folded into 0 after ranges and steps have been counted out.
    Field { name: "day of week", low: 0, high: 7, names: WEEKDAYS },
];

/// What the text means, still without a zone.
#[derive(Clone, Debug)]
pub(super) struct Crontab {
    /// One schedule, or two whose ticks are joined (Vixie's rule for the two day fields).
    pub(super) parts: Vec<cron::Schedule>,
    /// The hour field begins with `*`: the schedule counts hours, it does not name them.
    pub(super) every_hour: bool,
}

/// Reads the text; the error names the field.
pub(super) fn parse(text: &str) -> Result<Crontab, String> {
    let written = text.trim();
    let words: Vec<&str> = match written {
        "@hourly" => "0 * * * *",
        "@daily" | "@midnight" => "0 0 * * *",
        "@weekly" => "0 0 * * 0",
        "@monthly" => "0 0 1 * *",
        "@yearly" | "@annually" => "0 0 1 1 *",
        at if at.starts_with('@') => {
            return Err(format!("`{at}` is not known; use @hourly, @daily, @weekly, @monthly or @yearly"));
        }
        fields => fields,
    }
    .split_whitespace()
    .collect();
    let [minute, hour, day, month, weekday] = words[..] else {
        let hint = if words.len() == 6 || words.len() == 7 { "; there is no field for seconds or years" } else { "" };
        return Err(format!(
            "a schedule has five fields (minute, hour, day of month, month, day of week), `{written}` has {}{hint}",
            words.len()
        ));
    };
    let [minutes, hours, days, months] =
        [(0, minute), (1, hour), (2, day), (3, month)].map(|(i, word)| values(&FIELDS[i], word));
    // The crate counts weekdays from Sunday = 1.
    let weekdays: BTreeSet<u32> = values(&FIELDS[4], weekday)?.iter().map(|day| day % 7 + 1).collect();
    let (minutes, hours, days, months) = (minutes?, hours?, days?, months?);
    let schedule = |days: Option<&BTreeSet<u32>>, weekdays: Option<&BTreeSet<u32>>| {
        let text =
            format!("0 {} {} {} {} {}", list(&minutes), list(&hours), or_all(days), list(&months), or_all(weekdays));
        cron::Schedule::from_str(&text).map_err(|error| format!("`{written}` cannot be used: {error}"))
    };
    // Vixie: two restricted day fields mean "either"; a field that begins with `*` does not count as restricted.
    let parts = match (day.starts_with('*'), weekday.starts_with('*')) {
        (false, false) => vec![schedule(Some(&days), None)?, schedule(None, Some(&weekdays))?],
        _ => vec![schedule(Some(&days), Some(&weekdays).filter(|set| set.len() < 7))?],
    };
    Ok(Crontab { parts, every_hour: hour.starts_with('*') })
}

fn values(field: &Field, word: &str) -> Result<BTreeSet<u32>, String> {
    let mut set = BTreeSet::new();
    for item in word.split(',') {
        let wrong = |why: &str| format!("{}: `{item}` {why}", field.name);
        let (range, step) = match item.split_once('/') {
            None => (item, 1),
            Some((range, step)) => match step.parse::<u32>() {
                Ok(step) if step >= 1 => (range, step),
                _ => return Err(wrong("has a step that is not a whole number of 1 or more")),
            },
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (field.low, if field.high == 7 { 6 } else { field.high }),
            Some((from, to)) => {
                let from = field.number(from).map_err(|why| wrong(&why))?;
                // `sat-sun` and `6-0` are what people write; Sunday ends a week as well as it begins one.
                let to = match field.number(to).map_err(|why| wrong(&why))? {
                    0 if field.high == 7 && from > 0 => 7,
                    to => to,
                };
                (from, to)
            }
            None => {
                let only = field.number(range).map_err(|why| wrong(&why))?;
                if item.contains('/') {
                    return Err(wrong(&format!("has a step without a range; write `{range}-{}/{step}`", field.high)));
                }
                (only, only)
            }
        };
        if from > to {
            return Err(wrong("runs backwards; split it into two ranges with a comma"));
        }
        set.extend((from..=to).step_by(step as usize));
    }
    Ok(set)
}

impl Field {
    fn number(&self, text: &str) -> Result<u32, String> {
        let name = text.to_ascii_lowercase();
        if let (Some(at), Ok(low)) = (self.names.iter().position(|n| *n == name), usize::try_from(self.low)) {
            return Ok(u32::try_from(at + low).unwrap_or(self.low));
        }
        let names = match (self.names.first(), self.names.last()) {
            (Some(first), Some(last)) => format!(" or {first} to {last}"),
            _ => String::new(),
        };
        match text.parse::<u32>() {
            Ok(number) if (self.low..=self.high).contains(&number) && text.bytes().all(|b| b.is_ascii_digit()) => {
                Ok(number)
            }
            _ => Err(format!("is not {} to {}{names}", self.low, self.high)),
        }
    }
}

fn list(set: &BTreeSet<u32>) -> String {
    let mut text = String::new();
    for value in set {
        let comma = if text.is_empty() { "" } else { "," };
        write!(text, "{comma}{value}").expect("writing to a String cannot fail");
    }
    text
}

/// The crate treats days it is told to ignore as `*`; a list of all of them would be looked up for nothing.
fn or_all(set: Option<&BTreeSet<u32>>) -> String {
    set.map_or_else(|| "*".to_owned(), list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_field_is_named_with_what_it_may_hold() {
        let check = |text: &str, message: &str| assert_eq!(parse(text).unwrap_err(), message, "{text}");
        check("60 9 * * *", "minute: `60` is not 0 to 59");
        check("0 24 * * *", "hour: `24` is not 0 to 23");
        check("0 9 0 * *", "day of month: `0` is not 1 to 31");
        check("0 9 * foo *", "month: `foo` is not 1 to 12 or jan to dec");
        check("0 9 * * 8", "day of week: `8` is not 0 to 7 or sun to sat");
        check("0 9 * * ?", "day of week: `?` is not 0 to 7 or sun to sat");
        check("0 +9 * * *", "hour: `+9` is not 0 to 23");
        check("0 9, * * *", "hour: `` is not 0 to 23");
        check("*/0 * * * *", "minute: `*/0` has a step that is not a whole number of 1 or more");
        check("5/15 * * * *", "minute: `5/15` has a step without a range; write `5-59/15`");
        check("0 17-9 * * *", "hour: `17-9` runs backwards; split it into two ranges with a comma");
        check("@reboot", "`@reboot` is not known; use @hourly, @daily, @weekly, @monthly or @yearly");
        let five = "a schedule has five fields (minute, hour, day of month, month, day of week)";
        check("0 9 * *", &format!("{five}, `0 9 * *` has 4"));
        check("0 0 9 * * *", &format!("{five}, `0 0 9 * * *` has 6; there is no field for seconds or years"));
        check("", &format!("{five}, `` has 0"));
    }

    #[test]
    fn lists_ranges_steps_and_names_count_out_to_numbers() {
        let check = |field: usize, word: &str, expected: &[u32]| {
            let set = values(&FIELDS[field], word).unwrap();
            assert_eq!(set.into_iter().collect::<Vec<_>>(), expected, "{word}");
        };
        check(0, "*/20", &[0, 20, 40]);
        check(1, "8-12/2,20", &[8, 10, 12, 20]);
        check(3, "Jan-MAR,dec", &[1, 2, 3, 12]);
        check(4, "*", &[0, 1, 2, 3, 4, 5, 6]);
        check(4, "*/2", &[0, 2, 4, 6]);
        check(4, "5-7", &[5, 6, 7]);
        check(4, "sat-sun", &[6, 7]);
        check(4, "1-7/2", &[1, 3, 5, 7]);
        check(4, "0-0", &[0]);
    }
}
