//! From text to syntax tree; see [`crate::script::parse`].

use rhai::{AST, Engine};

use super::findings::Findings;
use crate::script::parse::{Dialect, parse as parse_script};

const RULES: Dialect = Dialect {
    name: "rules",
    variables: &["customer", "event"],
    instead_of_import: "put shared helpers into rules/shared/common.rhai and call them as `common::name(…)`",
};

/// Reads `text` as far as it can be read; problems go to `findings`.
pub(super) fn parse(engine: &mut Engine, text: &str, findings: &mut Findings) -> AST {
    parse_script(engine, text, RULES, findings)
}
