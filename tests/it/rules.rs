//! Rules that ask nothing of a customer, for tests of what happens around a rule.

/// With this card (`trigger: on("Ping")`), true of everybody, and doing this.
pub(crate) fn rule(card: &str, then: &str) -> String {
    format!("const RULE = #{{ {card} }};\nfn when(customer) {{ true }}\nfn then(customer) {{ {then} }}\n")
}

/// Does this when an order is completed.
pub(crate) fn on_order(then: &str) -> String {
    rule("trigger: on(\"Order Completed\")", then)
}
