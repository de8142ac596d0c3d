//! `why-not` names the first thing that stops a rule, whatever it is, with the value and what would have to change.

use jiff::SignedDuration;
use rekindle::domain::consent::held_out;
use rekindle::domain::customer::{Identity, IdentityKind};
use rekindle::domain::event::names;
use serde_json::{Value, json};

use crate::looking::look;
use crate::world::{DAY, HOUR, World, at};

const SEGMENTS: (&str, &str) = (
    "segments.rhai",
    "/// Bought often.\nfn regulars(customer) {\n    customer.n_orders >= 1 && has_many(customer)\n}\n\n\
     private fn has_many(customer) { customer.n_orders >= 3 }\n\n\
     fn buyers(customer) { customer.n_orders >= 1 }\n",
);

const WIN_BACK: (&str, &str) = (
    "win_back.rhai",
    r#"
//! Ten quiet days bring a mail.
const RULE = #{ trigger: daily("09:00"), cooldown: days(30) };
fn when(customer) {
    customer.n_orders >= 2          // && somebody who came back once
        && (customer.plan ?? "free") in ["free", "trial"]
        && customer.days_since("Order Completed") >= 10
}
fn then(customer) { email("offer"); }
"#,
);

const RULES: [(&str, &str); 8] = [
    SEGMENTS,
    WIN_BACK,
    (
        "on_review.rhai",
        "const RULE = #{ trigger: on(\"Product Reviewed\"), max_lateness: hours(1) };\nfn when(customer, event) { event.properties.stars <= 2 }\nfn then(customer) { email(\"offer\"); }\n",
    ),
    (
        "regular.rhai",
        "const RULE = #{ trigger: daily(\"10:00\"), audience: \"regulars\", cooldown: days(1) };\nfn when(customer) { true }\nfn then(customer) { task(\"Call\"); }\n",
    ),
    (
        "entered.rhai",
        "const RULE = #{ trigger: entering(\"buyers\") };\nfn when(customer) { true }\nfn then(customer) { task(\"Call\"); }\n",
    ),
    (
        "heldout.rhai",
        "const RULE = #{ trigger: daily(\"10:00\"), cooldown: days(1), holdout: 0.5 };\nfn when(customer) { true }\nfn then(customer) { task(\"Call\"); }\n",
    ),
    (
        "failing.rhai",
        "const RULE = #{ trigger: daily(\"10:00\"), cooldown: days(1) };\nfn when(customer) { customer.n_orders >= 0 && 10 / customer.n_orders > 1 }\nfn then(customer) { task(\"Call\"); }\n",
    ),
    (
        "silent.rhai",
        "const RULE = #{ trigger: daily(\"10:00\"), cooldown: days(1) };\nfn when(customer) { true }\nfn then(customer) { if customer.n_orders > 99 { task(\"Call\"); } }\n",
    ),
];

const NIGHTLY: (&str, &str) = (
    "nightly.rhai",
    "const RULE = #{ trigger: daily(\"23:00\"), cooldown: hours(12), max_lateness: hours(48) };\nfn when(customer) { true }\nfn then(customer) { email(\"offer\"); }\n",
);

async fn shop() -> World {
    World::with_rules(&RULES).await
}

async fn orders(world: &mut World, user: &str, n: u32) {
    for n in 0..n {
        let order = json!({ "order_id": format!("{user}-{n}"), "total": 10 });
        world.happens(user, names::ORDER_COMPLETED, order).await;
    }
}

async fn why_not(world: &World, customer: &str, rule: &str) -> Value {
    look(world, &["why-not", customer, rule, "--json"]).await.json()
}

fn says(answer: &Value, by: &str, what: &str, change: &str) {
    assert_eq!(answer["stopped_by"], by, "{answer:#}");
    assert!(answer["what"].as_str().unwrap().contains(what), "{answer:#}");
    assert!(answer["change"].as_str().unwrap().contains(change), "{answer:#}");
}

#[tokio::test]
async fn the_first_false_part_of_a_condition_is_named_with_its_place_and_value() {
    let mut world = shop().await;
    world.consenting("ada").await;
    let mut known = world.fact("ada", names::IDENTIFIED, json!({}));
    known.identities.extend(Identity::new(IdentityKind::Email, "ada@example.com"));
    world.ingest(vec![known]).await;
    orders(&mut world, "ada", 1).await;
    let answer = why_not(&world, "ada@example.com", "win_back").await;
    says(&answer, "condition", "`when` says no", "`customer.n_orders` is 1; it must be at least 2");
    assert_eq!(answer["condition"]["text"], "customer.n_orders >= 2");
    assert_eq!((&answer["condition"]["line"], &answer["condition"]["column"]), (&json!(5), &json!(5)));
    assert_eq!(answer["condition"]["saw"], json!([{ "what": "n_orders", "value": 1 }]));

    // With two orders the last part is in the way, and only time is missing.
    let second = json!({ "order_id": "second", "total": 10 });
    world.happens("ada", names::ORDER_COMPLETED, second).await;
    let said = look(&world, &["why-not", "ada", "win_back"]).await;
    assert_eq!(said.code, 0);
    insta::assert_snapshot!("time_alone_is_missing", said.text);
    let answer = why_not(&world, "ada", "win_back").await;
    assert_eq!(answer["condition"]["line"], 7);
    says(&answer, "condition", "", "the run of 2026-06-12 09:00:00");

    let mut moved = world.fact("ada", names::IDENTIFIED, json!({}));
    moved.traits.insert("plan".to_owned(), json!("paid"));
    world.ingest(vec![moved]).await;
    let answer = why_not(&world, "ada", "win_back").await;
    says(&answer, "condition", "", "`(customer.plan ?? \"free\")` is \"paid\"; it must be one of \"free\", \"trial\"");
}

#[tokio::test]
async fn what_keeps_somebody_out_of_an_audience_is_followed_into_the_segment() {
    let mut world = shop().await;
    world.consenting("ada").await;
    orders(&mut world, "ada", 2).await;
    let said = look(&world, &["why-not", "ada", "regular"]).await;
    insta::assert_snapshot!("not_in_the_audience", said.text);
}

#[tokio::test]
async fn a_rule_that_nothing_woke_says_what_would() {
    let mut world = shop().await;
    world.consenting("ada").await;
    says(
        &why_not(&world, "ada", "on_review").await,
        "never_woken",
        "is a `Product Reviewed`",
        "a `Product Reviewed` event",
    );
    let entered = why_not(&world, "ada", "entered").await;
    says(&entered, "never_woken", "not in buyers and never entered it", "to enter buyers");
    assert_eq!(entered["condition"]["text"], "customer.n_orders >= 1");

    let mut old = world.fact("ada", "Product Reviewed", json!({ "stars": 1 }));
    old.imported = true;
    world.ingest(vec![old]).await;
    says(&why_not(&world, "ada", "on_review").await, "imported", "all 1 `Product Reviewed`", "a live");

    world.happens("ada", "Product Reviewed", json!({ "stars": 5 })).await;
    let answer = why_not(&world, "ada", "on_review").await;
    says(&answer, "condition", "", "`event.properties.stars` is 5; it must be at most 2");

    let mut late = world.fact("ada", "Product Reviewed", json!({ "stars": 1 }));
    late.occurred_at = late.occurred_at.minus(HOUR * 3);
    world.ingest(vec![late]).await;
    says(&why_not(&world, "ada", "on_review").await, "too_late", "it was of use until", "arrive sooner");
}

#[tokio::test]
async fn a_rule_that_fired_says_so_and_then_that_it_rests() {
    let mut world = shop().await;
    world.consenting("ada").await;
    orders(&mut world, "ada", 2).await;
    says(&why_not(&world, "ada", "entered").await, "already_fired", "dlv_", "another occasion");
    world.advance(DAY * 11).await;
    assert!(world.ledger().await.contains(&"win_back sent".to_owned()));
    let answer = why_not(&world, "ada", "win_back").await;
    says(&answer, "cooldown", "it fired 2026-06-12 09:00:00", "from 2026-07-12 09:00:00");
    // As at the run itself it did fire; the day before, the condition said no.
    for (instant, by) in [("2026-06-12T09:00", "already_fired"), ("2026-06-11T09:00", "condition")] {
        let then = look(&world, &["why-not", "ada", "win_back", "--at", instant, "--json"]).await.json();
        assert_eq!(then["stopped_by"], by, "{then:#}");
    }
}

#[tokio::test]
async fn everything_at_the_door_to_a_person_is_named() {
    let mut world = shop().await;
    let known = world.fact("ada", names::IDENTIFIED, json!({}));
    world.ingest(vec![known]).await;
    orders(&mut world, "ada", 2).await;
    // By time alone the condition is true soon; as at then, admission speaks.
    let then = "2026-06-20T09:00";
    let ask = async |world: &World| look(world, &["why-not", "ada", "win_back", "--at", then, "--json"]).await.json();
    says(&ask(&world).await, "no_consent", "no consent to email, topic offers", "a `Consent Given` event");
    world.happens("ada", names::CONSENT_GIVEN, json!({ "channel": "email" })).await;
    says(&ask(&world).await, "no_address", "no usable email", "the trait `email`");
    world.consenting("ada").await;
    says(&ask(&world).await, "nothing", "email offer", "");
    // Statements of one instant are told apart by their ids alone.
    world.advance(SignedDuration::from_mins(1)).await;
    world.happens("ada", names::SUPPRESSED, json!({ "reason": "lawyer" })).await;
    says(&ask(&world).await, "suppressed", "lawyer", "an `Unsuppressed` event");
    world.advance(SignedDuration::from_mins(1)).await;
    world.happens("ada", names::UNSUPPRESSED, json!({})).await;
    world.happens("ada", names::CONSENT_WITHDRAWN, json!({ "channel": "email" })).await;
    says(&ask(&world).await, "consent_withdrawn", "email 2026-06-01", "consent again");
    says(&why_not(&world, "ada", "silent").await, "wants_nothing", "wants nothing done", "an action");
}

#[tokio::test]
async fn a_statement_that_answers_early_is_the_one_that_is_named() {
    let early = "const RULE = #{ trigger: daily(\"10:00\"), cooldown: days(1) };\nfn when(customer) {\n    \
                 if customer.n_orders < 1 { return false; } // nobody yet\n    customer.n_orders < 9\n}\n\
                 fn then(customer) { task(\"Call\"); }\n";
    let mut world = World::with_rules(&[("early.rhai", early)]).await;
    world.consenting("ada").await;
    let answer = why_not(&world, "ada", "early").await;
    assert_eq!(answer["condition"]["text"], "if customer.n_orders < 1 { return false; }", "{answer:#}");
    says(&answer, "condition", "", "the function ends here; it must get to its last statement");
    orders(&mut world, "ada", 9).await;
    says(&why_not(&world, "ada", "early").await, "condition", "", "`customer.n_orders` is 9; it must be less than 9");
}

#[tokio::test]
async fn a_control_group_is_named_for_what_it_is() {
    let mut world = shop().await;
    for n in 0..8 {
        let user = format!("user{n}");
        world.consenting(&user).await;
        let is_held_out = held_out("heldout", world.customer(&user).await.customer, 0.5);
        let answer = why_not(&world, &user, "heldout").await;
        if is_held_out {
            says(&answer, "holdout", "50 % of all", "a smaller `holdout`");
        } else {
            says(&answer, "nothing", "task Call", "");
        }
    }
}

#[tokio::test]
async fn quiet_hours_and_the_cap_say_what_counts_and_until_when() {
    let mut world = World::with_rules(&[NIGHTLY]).await;
    world.consenting("ada").await;
    let answer = why_not(&world, "ada", "nightly").await;
    says(&answer, "quiet_hours", "it is 23:00 at the customer's (Europe/Berlin)", "it may go from 2026-06-02 08:00:00");
    world.advance(DAY * 3).await;
    let said = look(&world, &["why-not", "ada", "nightly", "--at", "2026-06-05T12:30"]).await;
    insta::assert_snapshot!("the_cap_names_what_counts", said.text);
}

#[tokio::test]
async fn a_script_that_fails_is_shown_where_it_fails() {
    let mut world = shop().await;
    world.consenting("ada").await;
    let answer = why_not(&world, "ada", "failing").await;
    says(&answer, "script_error", "failing.rhai:2:", "must not fail");
    assert_eq!(answer["condition"]["text"], "10 / customer.n_orders > 1", "{answer:#}");
}

#[tokio::test]
async fn a_question_about_nobody_or_nothing_is_answered_with_what_there_is() {
    let world = shop().await;
    let said = look(&world, &["why-not", "ada", "win_bak", "--json"]).await;
    assert_eq!(said.code, 1);
    says(&said.json(), "no_such_rule", "win_bak", "did you mean `win_back`?");
    let said = look(&world, &["why-not", "nobody@example.com", "win_back", "--json"]).await;
    assert_eq!(said.code, 1);
    says(&said.json(), "unknown_customer", "nobody@example.com", "");
    world.write_rule("win_back.rhai", &WIN_BACK.1.replace("daily", "dialy"));
    let said = look(&world, &["why-not", "ada", "win_back"]).await;
    assert_eq!(said.code, 1);
    assert!(said.text.contains("Stopped by: rule broken") && said.text.contains("win_back.rhai:3"), "{}", said.text);
}

#[tokio::test]
async fn who_was_joined_to_somebody_is_asked_about_as_that_one() {
    let mut world = shop().await;
    let mut visit = world.fact("ada", "Product Viewed", json!({}));
    visit.identities = Identity::new(IdentityKind::AnonymousId, "browser").into_iter().collect();
    let visitor = visit.identities.clone();
    world.ingest(vec![visit]).await;
    let before = world.store().find_identities(&visitor).await.unwrap()[&visitor[0]];
    world.advance(SignedDuration::from_mins(1)).await;
    world.consenting("ada").await;
    let mut known = world.fact("ada", names::IDENTIFIED, json!({}));
    known.identities.extend(visitor);
    world.ingest(vec![known]).await;
    let answer = why_not(&world, &before.to_string(), "win_back").await;
    assert_eq!(answer["stopped_by"], "condition");
    let survivor = world.customer("ada").await.customer;
    assert_eq!(answer["customer"], survivor.to_string());
    if survivor != before {
        assert!(answer["notes"][0].as_str().unwrap().contains("was joined to"), "{answer:#}");
    }
}

#[tokio::test]
async fn why_shows_the_condition_that_decided_even_after_the_file_was_edited() {
    let mut world = shop().await;
    world.consenting("ada").await;
    orders(&mut world, "ada", 2).await;
    world.advance(DAY * 11).await;
    let delivery = world.deliveries().await.into_iter().find(|d| d.rule == "win_back").unwrap();
    world.write_rule("win_back.rhai", &WIN_BACK.1.replace(">= 10", ">= 20"));
    let said = look(&world, &["why", &delivery.id.to_string()]).await;
    assert!(said.text.contains("days_since(\"Order Completed\") >= 10"), "{}", said.text);
    assert!(said.text.contains("the file has changed since: it is version"), "{}", said.text);
    let json = look(&world, &["why", &delivery.id.to_string(), "--json"]).await.json();
    assert_eq!(json["rule"]["unchanged"], false);
    assert_eq!(json["contact"]["cap"]["messages"], 2);
    assert_eq!(
        at(json["contact"]["quiet_hours"]["until"].as_str().unwrap_or("2026-01-01T00:00:00Z")),
        at("2026-01-01T00:00:00Z")
    );
}
