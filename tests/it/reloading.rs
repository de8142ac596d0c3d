//! Rules and templates that are edited while the daemon runs: taken over whole, or kept as they were and said why.

use std::fs;

use rekindle::domain::event::names;
use serde_json::json;

use crate::rules::on_order;
use crate::world::{DAY, HOUR, World};

fn thanks(text: &str) -> String {
    on_order(&format!("task(\"{text}\");"))
}

async fn order(world: &mut World, n: u32) {
    // Tasks are listed by the instant at which they were opened.
    world.advance(HOUR).await;
    world.happens("ada", names::ORDER_COMPLETED, json!({ "order_id": n.to_string(), "total": 10 })).await;
}

async fn tasks(world: &World) -> Vec<String> {
    let mut tasks = world.store().open_tasks(10).await.unwrap();
    tasks.reverse();
    tasks.into_iter().map(|task| task.title).collect()
}

#[tokio::test]
async fn an_edited_rule_holds_from_the_next_event_on_and_a_broken_one_stays_as_it_was() {
    let mut world = World::with_rules(&[("thanks.rhai", &thanks("first"))]).await;
    world.consenting("ada").await;
    order(&mut world, 1).await;

    world.write_rule("thanks.rhai", &thanks("second"));
    assert_eq!(world.engine().reload(), []);
    order(&mut world, 2).await;

    world.write_rule("thanks.rhai", &thanks("third").replace("task(", "tusk("));
    let problems = world.engine().reload();
    assert_eq!((problems.len(), problems[0].line), (1, Some(3)), "{problems:?}");
    assert!(problems[0].file.ends_with("rules/thanks.rhai"), "{problems:?}");
    order(&mut world, 3).await;

    fs::remove_file(world.dir.path().join("rules/thanks.rhai")).unwrap();
    assert_eq!(world.engine().reload(), []);
    order(&mut world, 4).await;
    assert_eq!(tasks(&world).await, ["first", "second", "second"], "a rule that is gone is gone");
}

#[tokio::test]
async fn a_rule_that_is_new_begins_its_schedule_now() {
    let mut world = World::with_rules(&[]).await;
    world.consenting("ada").await;
    world.advance(DAY * 3).await;
    let rule = "const RULE = #{ trigger: daily(\"09:00\"), cooldown: days(30) };\nfn when(customer) { true }\nfn then(customer) { task(\"call\"); }\n";
    world.write_rule("call.rhai", rule);
    assert_eq!(world.engine().reload(), []);
    world.advance(HOUR).await;
    assert_eq!(tasks(&world).await, Vec::<String>::new(), "the days before it was there are not made up for");
    world.advance(DAY).await;
    assert_eq!(tasks(&world).await, ["call"]);
}

#[tokio::test]
async fn an_edited_template_is_used_from_the_next_mail_on_and_a_broken_one_stays_as_it_was() {
    let rule = thanks("").replace("task(\"\")", "email(\"receipt\")");
    let mut world = World::with_rules(&[("thanks.rhai", &rule)]).await;
    world.consenting("ada").await;
    let subject = world.dir.path().join("templates/receipt/subject.txt");

    fs::write(&subject, "Edited").unwrap();
    assert_eq!(world.engine().reload(), []);
    order(&mut world, 1).await;

    fs::write(&subject, "{{ customer.first_name").unwrap();
    let problems = world.engine().reload();
    assert!(problems[0].file.ends_with("templates/receipt/subject.txt"), "{problems:?}");
    order(&mut world, 2).await;

    let mut subjects: Vec<String> = world.mails();
    subjects.retain(|mail| mail.contains("Subject: Edited"));
    assert_eq!(subjects.len(), 2, "the broken template still leaves as it was: {:?}", world.mails());
}

#[tokio::test]
async fn an_edited_segment_is_right_at_once_and_wakes_nobody() {
    let woken = |segment: &str| {
        format!(
            "const RULE = #{{ trigger: entering(\"{segment}\") }};\nfn when(customer) {{ true }}\nfn then(customer) {{ task(\"{segment}\"); }}\n"
        )
    };
    let segments = |n: u32| {
        format!(
            "const DAYS = {n};\n// Not called for a while.\nfn loyal(customer) {{ customer.n_orders >= 1 }}\nfn sleepy(customer) {{ customer.days_since(\"Order Completed\") >= 2 }}\nfn many(customer) {{ customer.n_orders >= {n} }}\n"
        )
        .replace(&format!("const DAYS = {n};\n"), "const DAYS = 1;\n")
    };
    let rules = [("many.rhai", &*woken("many")), ("sleepy.rhai", &*woken("sleepy")), ("segments.rhai", &*segments(5))];
    let mut world = World::with_rules(&rules).await;
    world.consenting("ada").await;
    order(&mut world, 1).await;
    world.advance(HOUR * 24).await;
    assert_eq!(world.customer("ada").await.segments.get("many"), Some(&false));

    // Between two rescorings ada has become sleepy, which nobody has noticed yet; then somebody edits another segment.
    world.advance(HOUR * 25).await;
    assert_eq!(tasks(&world).await, Vec::<String>::new());
    world.write_rule("segments.rhai", &segments(1));
    assert_eq!(world.engine().reload(), []);
    world.advance(HOUR).await;
    let ada = world.customer("ada").await;
    assert_eq!(ada.segments.get("many"), Some(&true), "whoever looks finds the segment as it reads now");
    assert_eq!(tasks(&world).await, ["sleepy"], "the edit wakes nobody, and swallows no change of another segment");

    // The same holds when the edit happened while nobody ran.
    world.write_rule("segments.rhai", &segments(9));
    world.restart().await;
    world.advance(HOUR).await;
    assert_eq!(world.customer("ada").await.segments.get("many"), Some(&false));
    assert_eq!(tasks(&world).await, ["sleepy"]);
}
