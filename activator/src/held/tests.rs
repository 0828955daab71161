//! The rule, by itself and with many namespaces at once.

use super::*;

fn held(requests: u64) -> Held {
    Held::new(Limits {
        requests,
        bytes: 1_000,
    })
}

/// As many as the namespace gets.
fn all(held: &Held, namespace: &str) -> Vec<Permit> {
    std::iter::from_fn(|| held.take_request(namespace)).collect()
}

#[test]
fn one_namespace_gets_half_and_the_next_half_of_the_rest() {
    let held = held(1_000);
    let greedy = all(&held, "a");
    let next = all(&held, "b");
    assert_eq!((greedy.len(), next.len()), (500, 250));
    assert!(held.take_request("c").is_some());
}

#[test]
fn what_is_dropped_is_free_at_once() {
    let held = held(10);
    let mut permits = all(&held, "a");
    assert!(held.take_request("a").is_none());
    permits.pop();
    assert!(held.take_request("a").is_some());
}

#[test]
fn who_came_first_and_took_all_it_could_shares_with_those_who_come_later() {
    let held = held(1_000);
    let names = ["a", "b", "c", "d"];
    let mut shares = names.map(|name| all(&held, name));
    for _ in 0..1_000 {
        // Each lets its oldest go and takes what it gets.
        for (share, name) in shares.iter_mut().zip(names) {
            share.remove(0);
            share.extend(all(&held, name));
        }
    }
    assert_eq!(shares.map(|share| share.len()), [200; 4]);
}

#[test]
fn a_newcomer_gets_something_behind_fourteen_that_took_all_they_could() {
    let held = Held::new(Limits::default());
    let names: Vec<_> = (0..14).map(|number| format!("greedy-{number}")).collect();
    let greedy: Vec<_> = names.iter().map(|name| all(&held, name)).collect();
    assert!(greedy.iter().all(|share| !share.is_empty()));
    assert!(held.take_request("newcomer").is_some());
}

#[test]
fn bytes_are_counted_apart_and_by_their_number() {
    let held = held(2);
    let request = held.take_request("a");
    assert!(request.is_some());
    assert!(held.take_bytes("a", 501).is_none());
    let bytes = held.take_bytes("a", 500);
    assert!(bytes.is_some());
    assert!(held.take_bytes("a", 1).is_none());
    // What is refused takes nothing: half of the rest, to the last byte.
    let others = held.take_bytes("b", 250);
    assert!(others.is_some() && held.take_bytes("b", 1).is_none());
    drop(bytes);
    assert!(held.take_bytes("a", 376).is_none());
    assert!(held.take_bytes("a", 375).is_some());
    assert!(held.take_bytes("a", u64::MAX).is_none());
}

#[test]
fn nobody_is_kept_who_holds_nothing() {
    let held = held(1_000);
    for number in 0..100 {
        let name = format!("team-{number}");
        drop((held.take_request(&name), held.take_bytes(&name, 10)));
        // A refusal leaves no trace either.
        assert!(held.take_bytes(&name, 2_000).is_none());
    }
    for unit in [Unit::Request, Unit::Byte] {
        held.with(unit, |bound| {
            assert!(bound.by.is_empty() && bound.sum == 0, "{bound:?}")
        });
    }
}

/// The guarantees of the module, over any order of takes and drops.
#[test]
fn the_guarantees_hold_at_every_step() {
    const LIMIT: u64 = 97;
    let mut dice = Dice(1);
    let (mut granted, mut refused) = (0, 0);
    for _ in 0..200 {
        let mut bound = Bound::new(LIMIT);
        let namespaces = 1 + dice.roll(12);
        let mut holds = vec![0; namespaces as usize];
        for _ in 0..500 {
            let who = dice.roll(namespaces) as usize;
            let name = who.to_string();
            let amount = (1 + dice.roll(4)).min(1 + dice.roll(4));
            if dice.roll(3) == 0 {
                let amount = amount.min(holds[who]);
                bound.give_back(&name, amount);
                holds[who] -= amount;
            } else if bound.take(&name, amount).is_some() {
                holds[who] += amount;
                granted += 1;
            } else {
                refused += 1;
                is_fair(&mut bound, &holds, who, amount);
            }
            let sum: u64 = holds.iter().sum();
            assert!(sum <= LIMIT && bound.sum == sum, "{bound:?}");
        }
    }
    assert!(
        granted > 10_000 && refused > 10_000,
        "{granted} and {refused}"
    );
}

/// A refusal while these hold so much.
fn is_fair(bound: &mut Bound, holds: &[u64], who: usize, amount: u64) {
    for (other, share) in holds.iter().enumerate() {
        if *share >= holds[who] {
            assert_eq!(bound.take(&other.to_string(), amount), None, "{holds:?}");
        }
    }
    let takes_part = |(other, share): (usize, &u64)| other == who || *share > 0;
    let sharing = holds.iter().enumerate().filter(|each| takes_part(*each));
    let fair = bound.limit / (sharing.count() as u64 + 1);
    let is_below = holds[who] + amount <= fair;
    assert!(
        !is_below || holds.iter().any(|share| *share > fair),
        "refused {amount} to {who} of {holds:?}"
    );
    let is_newcomer = holds[who] == 0 && amount == 1;
    assert!(!is_newcomer || bound.sum + 2 > bound.limit, "{bound:?}");
}

/// Numbers that are the same in every run (SplitMix64).
struct Dice(u64);

impl Dice {
    /// 0 up to `sides`, without it.
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % sides
    }
}
