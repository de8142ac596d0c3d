//! Twenty rules: the five that are shipped and fifteen more, so that every event of [`crate::events`] wakes some.

/// Event or trigger, condition.
const ON_EVENTS: [(&str, &str); 12] = [
    ("Product Viewed", "event.properties.value >= 199.0 && customer.count(\"Product Viewed\", days(7)) >= 3"),
    ("Product Viewed", "event.properties.category == \"garden\" && customer.count(\"Product Viewed\") >= 40"),
    ("Product Viewed", "customer.n_orders >= 3 && event.properties.value > 198.0"),
    ("Product Viewed", "customer.days_since(\"Order Completed\") >= 60"),
    ("Product Added", "event.properties.value >= 190.0 && customer.tier == \"gold\""),
    ("Product Added", "customer.count(\"Product Added\", days(1)) >= 5"),
    ("Product Added", "customer.n_orders == 0 && event.properties.value > 195.0"),
    ("Page Opened", "customer.count(\"Page Opened\", days(1)) >= 10"),
    ("Page Opened", "event.properties.category == \"toys\" && customer.churn_risk >= 0.8"),
    ("Order Completed", "event.properties.value >= 180.0"),
    ("Order Completed", "customer.n_orders >= 5"),
    ("Review Submitted", "event.properties.rating >= 5 && customer.n_orders >= 2"),
];

const ENTERING: [&str; 3] = ["open_cart", "one_time_buyers", "let_down"];

/// Files for the rules folder, beside the shipped ones.
pub(crate) fn fifteen() -> Vec<(String, String)> {
    let on_events = ON_EVENTS.iter().enumerate().map(|(n, (event, condition))| {
        let text = format!(
            "//! Measured rule {n}.\nconst RULE = #{{ trigger: on(\"{event}\"), cooldown: days(7) }};\n\n\
             fn when(customer, event) {{\n    {condition}\n}}\n\n\
             fn then(customer, event) {{\n    webhook(\"crm\", #{{ customer: customer.id, rule: {n} }});\n}}\n"
        );
        (format!("measured_{n}.rhai"), text)
    });
    let entering = ENTERING.iter().map(|segment| {
        let text = format!(
            "//! Measured rule on {segment}.\nconst RULE = #{{ trigger: entering(\"{segment}\"), cooldown: days(30) }};\n\n\
             fn when(customer) {{\n    customer.count(\"Product Viewed\") >= 5\n}}\n\n\
             fn then(customer) {{\n    task(\"Look after them\", #{{ segment: \"{segment}\" }});\n}}\n"
        );
        (format!("measured_{segment}.rhai"), text)
    });
    on_events.chain(entering).collect()
}
