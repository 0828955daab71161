//! Random plans against a cluster that behaves like a ReplicaSet and clients that are all followed to their end; every
//! [`Property`] holds after every step, and each is seen to be violated by a broken core.
//!
//! `THAW_STEPS` says how many steps to generate (three million by default, some seconds without optimisation), `THAW_SEED` the first
//! seed. A failure names its seed and shows what is left of its plan without the steps that it does not need; with `THAW_SEED` set to
//! that seed and `THAW_STEPS=1` that plan alone is played.

use super::*;

mod broken;
mod clients;
mod cluster;
mod ends;
mod found;
mod plan;
mod property;
mod steps;
mod world;

use broken::{Core, Fault};
use clients::{Clients, End, Invocation};
use cluster::{Cluster, Order, Pod};
use plan::{Plan, Step};
use property::{Held, Property, Violation};
use world::World;

/// Steps of the default run.
const STEPS: usize = 3_000_000;
/// Plans that each broken core is played with.
const SEEDS_PER_FAULT: u64 = 400;

fn play(plan: &Plan, fault: Option<Fault>) -> Held {
    let mut world = World::new(plan, fault)?;
    for step in &plan.steps {
        world.step(step)?;
    }
    world.finish()
}

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().expect("a number"))
}

/// The plan without what the violation does not need.
fn report(seed: u64, plan: Plan, violation: &Violation) -> String {
    let is_same = |plan: &Plan| {
        let again = play(plan, None);
        again.is_err_and(|again| again.property == violation.property)
    };
    let plan = plan.shrunk(is_same);
    let violation = play(&plan, None).expect_err("shrunk while it was violated");
    format!(
        "seed {seed}: {:?}: {}\n{plan:#?}",
        violation.property, violation.what
    )
}

#[test]
fn every_property_holds_after_every_step() {
    let wanted = variable("THAW_STEPS").map_or(STEPS, |steps| steps as usize);
    let first = variable("THAW_SEED").unwrap_or_default();
    let mut steps = 0;
    let mut seeds = first..;
    while steps < wanted {
        let seed = seeds.next().expect("there is no last one");
        let plan = Plan::of(seed);
        steps += plan.steps.len();
        if let Err(violation) = play(&plan, None) {
            panic!("{}", report(seed, plan, &violation));
        }
    }
    eprintln!("{steps} steps in plans {first}..{}", seeds.start);
    assert!(steps >= wanted);
}

#[test]
fn every_broken_core_is_caught_by_its_property() {
    for (fault, properties) in Fault::ALL {
        let mut caught = 0;
        for seed in 0..SEEDS_PER_FAULT {
            if let Err(violation) = play(&Plan::of(seed), Some(fault)) {
                caught += 1;
                let is_named = properties.contains(&violation.property);
                assert!(is_named, "{fault:?}, seed {seed}: {violation:?}");
            }
        }
        eprintln!("{fault:?}: caught by {properties:?} in {caught} of {SEEDS_PER_FAULT} plans");
        assert!(caught > 0, "{fault:?} goes unnoticed");
    }
}

#[test]
fn every_property_catches_a_broken_core() {
    for property in Property::ALL {
        let catches = |(_, properties): &(Fault, &[Property])| *properties == [property];
        assert!(Fault::ALL.iter().any(catches), "{property:?} catches none");
    }
}

#[test]
fn the_engine_passes_what_broken_cores_do_not() {
    for seed in 0..SEEDS_PER_FAULT {
        let played = play(&Plan::of(seed), None);
        assert!(played.is_ok(), "seed {seed}: {played:?}");
    }
}
