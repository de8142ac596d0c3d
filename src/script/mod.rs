//! The sandbox: a Rhai engine in which a script can compute and nothing else. It has no files, no time, no randomness, no
//! `import`, no `eval`; every run is bounded in operations, depth and size. Rules run in it, and plugin mappings can.
//!
//! `exit`, `sleep` and the tag of a value live in Rhai's core package, which therefore is not part of it: disabling those
//! symbols has no effect, since they are functions.
#![warn(missing_docs)]

mod budget;
pub mod failure;
pub(crate) mod findings;
pub(crate) mod parse;
pub(crate) mod tree;
mod value;

use std::sync::{Arc, LazyLock};

use rhai::packages::{
    ArithmeticPackage, BasicArrayPackage, BasicIteratorPackage, BasicMapPackage, BasicMathPackage, BasicStringPackage,
    LogicPackage, MoreStringPackage, Package,
};
use rhai::{Engine, Module, OptimizationLevel};

pub use budget::{OPERATIONS, with_budget};
pub use failure::Failure;
pub use value::{to_dynamic, to_json, to_json_map};

/// Longest string that a script can build, in bytes.
pub const STRING_BYTES: usize = 64 * 1024;

/// Most items of an array or map. Small, because a limit makes building them quadratic in Rhai.
pub const ITEMS: usize = 1_000;

/// The packages are built once and shared: an engine is then cheap enough for every file to have its own.
static PACKAGES: LazyLock<Vec<Arc<Module>>> = LazyLock::new(|| {
    vec![
        ArithmeticPackage::new().as_shared_module(),
        LogicPackage::new().as_shared_module(),
        BasicMathPackage::new().as_shared_module(),
        BasicStringPackage::new().as_shared_module(),
        MoreStringPackage::new().as_shared_module(),
        BasicIteratorPackage::new().as_shared_module(),
        BasicArrayPackage::new().as_shared_module(),
        BasicMapPackage::new().as_shared_module(),
    ]
});

/// A new sandbox. Register what the scripts may call, then run every script inside [`with_budget`].
pub fn sandbox() -> Engine {
    let mut engine = Engine::new_raw();
    for package in PACKAGES.iter() {
        engine.register_global_module(Arc::clone(package));
    }
    // The tree must be as written: `check` reads it, and there is nothing in a rule worth folding.
    engine.set_optimization_level(OptimizationLevel::None);
    engine.set_strict_variables(true);
    // With `sync` the interner is a lock that all threads would queue at.
    engine.set_max_strings_interned(0);
    engine.disable_symbol("eval");
    engine.disable_symbol("import");
    engine.disable_symbol("export");
    engine.set_max_call_levels(32);
    // Stated, because the defaults of debug and release builds differ.
    engine.set_max_expr_depths(64, 48);
    engine.set_max_string_size(STRING_BYTES);
    engine.set_max_array_size(ITEMS);
    engine.set_max_map_size(ITEMS);
    engine.set_max_variables(200);
    engine.set_max_functions(200);
    engine.on_progress(|_| budget::spend_one());
    engine
}

/// A script with line feeds for line ends, whatever its editor wrote. To Rhai a carriage return alone ends a comment and
/// nothing else; so whoever counts lines, or looks for where a comment ends, would see another script than Rhai does.
pub fn with_line_feeds(text: String) -> String {
    if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n") } else { text }
}

/// The names of all functions that come with the sandbox (`round`, `to_upper`, `len` ...), for `check` to know.
pub fn library() -> &'static [String] {
    static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| {
        let signatures = sandbox().gen_fn_signatures(true);
        let names = signatures.iter().filter_map(|signature| signature.split('(').next());
        let is_word = |name: &&str| name.starts_with(|c: char| c.is_ascii_alphabetic()) && !name.contains('$');
        let mut names: Vec<String> = names.filter(is_word).map(str::to_owned).collect();
        names.sort();
        names.dedup();
        names
    });
    &NAMES
}

#[cfg(test)]
mod tests {
    use rhai::{Dynamic, Engine};

    use super::*;

    fn run(script: &str) -> Result<String, String> {
        let engine: Engine = sandbox();
        let result = with_budget(|| engine.eval::<Dynamic>(script));
        result.map(|value| value.to_string()).map_err(|error| Failure::of(&error, "x.rhai").to_string())
    }

    #[test]
    fn a_script_computes() {
        assert_eq!(run("let total = 0; for n in 1..=10 { total += n } total * 2").unwrap(), "110");
        assert_eq!(run(r#"`${"ab".to_upper()}-${[3, 1].len()}`"#).unwrap(), "AB-2");
    }

    #[test]
    fn no_way_leads_out() {
        for escape in ["sleep(1)", "exit(1)", "eval(\"1\")", "import \"x\" as x;", "timestamp()", "open(\"x\")"] {
            assert!(run(escape).is_err(), "{escape} should be refused");
        }
    }

    #[test]
    fn a_loop_without_end_is_stopped_also_inside_callbacks_and_past_try() {
        for script in [
            "loop { }",
            "[1].for_each(|| { loop { } })",
            "loop { try { [1].for_each(|| { loop { } }) } catch { } }",
            "let n = 0; for i in 0..1000 { for j in 0..1000 { n += 1 } } n",
        ] {
            let error = run(script).unwrap_err();
            assert!(error.contains("more than 100000 steps"), "{script}: {error}");
        }
    }

    #[test]
    fn sizes_and_depth_are_bounded() {
        let doubling = "let s = \"abcdefgh\"; loop { s += s }";
        assert!(run(doubling).unwrap_err().contains("too large"), "{:?}", run(doubling));
        assert!(run("let a = []; loop { a.push(1) }").is_err());
        assert!(run("let m = #{}; let i = 0; loop { m[`${i}`] = i; i += 1 }").is_err());
        assert!(run("fn f(x) { f(x + 1) } f(0)").unwrap_err().contains("too deep"));
    }

    #[test]
    fn a_stopped_script_leaves_the_next_one_its_full_budget() {
        assert!(run("loop { }").is_err());
        assert_eq!(run("1 + 1").unwrap(), "2");
    }
}
