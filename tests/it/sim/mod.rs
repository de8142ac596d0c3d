//! The simulator: whole worlds out of one number each. A script of customers, operators and clocks is lived through by the
//! real pipeline, wired as the daemon wires it, on a disk in memory that fails and whose owner is killed at any call, and
//! among receivers that refuse, hang, and lose their answers. Afterwards a plain reference interpreter reads what happened
//! and says which promise was broken.
//!
//! `REKINDLE_SEEDS=5000` lives more worlds, `REKINDLE_SEED=17` one of them, and writes down what happened in it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;

mod alike;
mod disk;
mod draw;
mod journal;
mod life;
pub(crate) mod memory;
mod network;
mod promises;
mod reference;
mod scene;
mod script;
mod world;

use self::world::World;

const SEEDS: u64 = 200;
/// So many broken worlds are told of; one is enough to begin with.
const MAX_SHOWN: usize = 5;

#[test]
fn simulated_worlds_keep_every_promise() {
    let (seeds, replay) = match number("REKINDLE_SEED") {
        Some(seed) => (seed..seed + 1, true),
        None => (0..number("REKINDLE_SEEDS").unwrap_or(SEEDS), false),
    };
    let n_threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let broken: BTreeMap<u64, Vec<String>> = std::thread::scope(|scope| {
        let share = |n| seeds.clone().skip(n).step_by(usize::try_from(n_threads).unwrap());
        let live =
            |n| scope.spawn(move || share(n).filter_map(|seed| Some((seed, live(seed, replay)?))).collect::<Vec<_>>());
        let living: Vec<_> = (0..usize::try_from(n_threads).unwrap()).map(live).collect();
        living.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let mut report = String::new();
    for (seed, problems) in broken.iter().take(MAX_SHOWN) {
        let shown: Vec<&String> = problems.iter().take(if replay { 40 } else { 3 }).collect();
        writeln!(report, "seed {seed} breaks {} promises, such as {shown:#?}", problems.len()).unwrap();
        writeln!(report, "replay it with its trace: REKINDLE_SEED={seed} ./test simulated_worlds").unwrap();
    }
    assert!(broken.is_empty(), "{} worlds went wrong\n{report}", broken.len());
}

/// What is wrong with one world; `None`: nothing.
fn live(seed: u64, replay: bool) -> Option<Vec<String>> {
    let (world, entries) = World::live(seed);
    let mut problems = promises::broken(&world, &entries);
    if replay {
        let path = format!("{}/seed-{seed}.txt", env!("CARGO_TARGET_TMPDIR"));
        std::fs::write(&path, journal::text(&entries)).unwrap();
        let told = format!("what happened in seed {seed}: {path}\n");
        std::io::stderr().write_all(told.as_bytes()).unwrap();
    }
    problems.dedup();
    (!problems.is_empty()).then_some(problems)
}

#[test]
fn a_seed_is_one_history_to_the_byte() {
    for seed in 0..5 {
        let [first, second] = [(); 2].map(|()| journal::text(&World::live(seed).1));
        assert!(first == second, "seed {seed} went another way the second time");
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var_os(variable).map(|value| value.to_str().and_then(|v| v.parse().ok()).expect("a seed is a number"))
}
