use std::collections::BTreeMap;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use super::*;
use crate::double::fixtures;

const DOMAIN: &str = "example.com";

fn platform() -> Platform {
    fixtures::platform()
}

fn allowing(text: &str) -> Platform {
    Platform {
        allowed_hosts: Some(Allowed::read(text).unwrap()),
        ..platform()
    }
}

fn guarded(function: &Function) -> Guarded {
    Guarded(Ok(function.clone()))
}

fn function((namespace, name): (&str, &str), created: i64, hosts: &[&str]) -> Function {
    let mut function = fixtures::function(name, "{image: a, entrypoints: [{name: web, path: /}]}");
    function.metadata.namespace = Some(namespace.to_owned());
    function.metadata.creation_timestamp = Some(Time(Timestamp::from_second(created).unwrap()));
    function.spec.hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
    function
}

fn see(claims: &Claims, function: &Function) -> Vec<Name> {
    let others = claims.seen(&guarded(function), &platform());
    let name = |other: ObjectRef<Guarded>| (other.namespace.unwrap_or_default(), other.name);
    others.into_iter().map(name).collect()
}

fn leave(claims: &Claims, function: &Function) -> Vec<Name> {
    let others = claims.gone(&guarded(function));
    let name = |other: ObjectRef<Guarded>| (other.namespace.unwrap_or_default(), other.name);
    others.into_iter().map(name).collect()
}

fn why(hosts: &Hosts) -> Vec<(&str, Refusal)> {
    let refused = hosts.refused.iter();
    refused
        .map(|refused| (refused.host.as_str(), refused.why))
        .collect()
}

#[test]
fn the_older_function_has_the_host_and_the_younger_one_gets_it_when_the_older_goes() {
    let claims = Claims::default();
    let old = function(("prod", "shop"), 1, &["Shop.example.org."]);
    let young = function(("test", "shop"), 2, &["shop.example.org", "b.example.org"]);
    assert!(see(&claims, &young).is_empty());
    assert_eq!(
        claims.hosts(&young, &platform()).custom,
        ["shop.example.org", "b.example.org"]
    );

    assert_eq!(see(&claims, &old), [("test".to_owned(), "shop".to_owned())]);
    assert_eq!(claims.hosts(&old, &platform()).custom, ["shop.example.org"]);
    let hosts = claims.hosts(&young, &platform());
    assert_eq!(hosts.custom, ["b.example.org"]);
    assert_eq!(why(&hosts), [("shop.example.org", Refusal::Taken)]);
    assert_eq!(hosts.refused[0].reason(), Reason::HostConflict);
    let told = hosts.refused[0].message();
    assert!(
        told.starts_with("shop.example.org ") && !told.contains("prod"),
        "{told}"
    );

    assert_eq!(
        leave(&claims, &old),
        [("test".to_owned(), "shop".to_owned())]
    );
    assert!(claims.hosts(&young, &platform()).refused.is_empty());
    assert!(leave(&claims, &young).is_empty());
    let state = claims.state();
    assert!(state.hosts.is_empty() && state.functions.is_empty());
}

#[test]
fn hosts_that_belong_to_the_platform_are_nobodys_custom_ones() {
    let claims = Claims::default();
    let cut = names::default_host(&"f".repeat(63), "prod", DOMAIN);
    let hosts = [
        "other--prod.example.com",
        &cut,
        "shop.prod.svc",
        "shop.prod.svc.cluster.local",
        "a.cluster.local",
        "shop--prod.example.com",
        "shop.example.com",
        "a--b.c.example.com",
    ];
    let shop = function(("prod", "shop"), 1, &hosts);
    let hosts = claims.hosts(&shop, &platform());
    assert_eq!(hosts.default.as_deref(), Some("shop--prod.example.com"));
    assert_eq!(hosts.custom, ["shop.example.com", "a--b.c.example.com"]);
    assert_eq!(
        why(&hosts),
        [
            ("other--prod.example.com", Refusal::DefaultHost),
            (cut.as_str(), Refusal::DefaultHost),
            ("shop.prod.svc", Refusal::InsideName),
            ("shop.prod.svc.cluster.local", Refusal::InsideName),
            ("a.cluster.local", Refusal::InsideName),
        ]
    );
}

#[test]
fn a_host_that_the_chart_does_not_give_to_the_namespace_is_left_to_others() {
    let (claims, platform) = (
        Claims::default(),
        allowing(r#"{"prod": ["*.example.org"]}"#),
    );
    let test = function(("test", "shop"), 1, &["shop.example.org"]);
    let prod = function(
        ("prod", "shop"),
        2,
        &["shop.example.org", "shop.example.net"],
    );
    claims.seen(&guarded(&test), &platform);
    claims.seen(&guarded(&prod), &platform);
    let hosts = claims.hosts(&test, &platform);
    assert_eq!(why(&hosts), [("shop.example.org", Refusal::NotAllowed)]);
    let hosts = claims.hosts(&prod, &platform);
    assert_eq!(hosts.custom, ["shop.example.org"]);
    assert_eq!(hosts.refused[0].reason(), Reason::HostNotAllowed);
}

#[test]
fn two_default_hosts_that_are_the_same_are_the_older_functions() {
    let (name, namespace) = ("f".repeat(50), "n".repeat(30));
    let victim = function((&namespace, &name), 1, &[]);
    let host = names::default_host(&name, &namespace, DOMAIN);
    let label = host.split('.').next().unwrap();
    // Cut, it is one that a Function of a well-chosen namespace has uncut.
    let chosen = label.split_once("--").unwrap().1;
    let squatter = function((chosen, &name), 2, &[]);
    let claims = Claims::default();
    see(&claims, &squatter);
    assert_eq!(
        claims.hosts(&squatter, &platform()).default.as_ref(),
        Some(&host)
    );
    assert_eq!(see(&claims, &victim), [(chosen.to_owned(), name)]);
    assert_eq!(
        claims.hosts(&victim, &platform()).default.as_ref(),
        Some(&host)
    );
    let hosts = claims.hosts(&squatter, &platform());
    assert_eq!(hosts.default, None);
    assert_eq!(why(&hosts), [(host.as_str(), Refusal::Taken)]);
}

#[test]
fn a_function_that_cannot_be_read_any_more_keeps_its_hosts() {
    let claims = Claims::default();
    let old = function(("prod", "shop"), 1, &["shop.example.org"]);
    let young = function(("test", "shop"), 2, &["shop.example.org"]);
    see(&claims, &old);
    see(&claims, &young);
    let mut broken = fixtures::stored(&old);
    broken["spec"]["entrypoints"] = serde_json::json!(7);
    let broken: Guarded = serde_json::from_value(broken).unwrap();
    assert!(broken.0.is_err());
    let listed = |all: Vec<Guarded>| {
        let all: Vec<_> = all.into_iter().map(Arc::new).collect();
        claims.listed(&all, &platform());
    };
    let kept = claims.kept(&broken, &platform());
    assert_eq!(kept.custom, ["shop.example.org"]);
    listed(vec![broken, guarded(&young)]);
    assert_eq!(
        why(&claims.hosts(&young, &platform())),
        [("shop.example.org", Refusal::Taken)]
    );
    listed(vec![guarded(&young)]);
    assert!(claims.hosts(&young, &platform()).refused.is_empty());
}

/// A new operator, which finds these.
fn restarted(all: &[&Guarded], platform: &Platform) -> Claims {
    let claims = Claims::default();
    let all: Vec<_> = all
        .iter()
        .map(|object| Arc::new((*object).clone()))
        .collect();
    claims.listed(&all, platform);
    claims
}

fn having(mut function: Function, hosts: &[&str]) -> Function {
    let status = function.status.get_or_insert_default();
    status.hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
    function
}

fn invalid(mut function: Function) -> Function {
    function.spec.hosts.push("*".to_owned());
    assert!(resolve(&function.spec).is_err());
    function
}

#[test]
fn after_a_restart_a_broken_manifest_has_the_hosts_of_its_status_and_no_others() {
    let platform = platform();
    let (x, y) = ("x.example.org", "y.example.org");
    let old = invalid(having(function(("prod", "shop"), 1, &[x]), &[y]));
    let young = having(function(("test", "shop"), 2, &[x, y]), &[x]);
    let mut unreadable = fixtures::stored(&old);
    unreadable["spec"]["entrypoints"] = serde_json::json!(7);
    let unreadable: Guarded = serde_json::from_value(unreadable).unwrap();
    assert!(unreadable.0.is_err());

    for broken in [guarded(&old), unreadable] {
        for all in [[&broken, &guarded(&young)], [&guarded(&young), &broken]] {
            let claims = restarted(&all, &platform);
            assert_eq!(claims.kept(&broken, &platform).custom, [y]);
            let hosts = claims.hosts(&young, &platform);
            assert_eq!(hosts.custom, [x], "nobody was given it since");
            assert_eq!(why(&hosts), [(y, Refusal::Taken)]);
        }
        let strict = allowing(r#"{"test": ["*"]}"#);
        let claims = restarted(&[&broken, &guarded(&young)], &strict);
        assert!(claims.kept(&broken, &strict).custom.is_empty());
        assert_eq!(claims.hosts(&young, &strict).custom, [x, y]);
    }
    let hosts = restarted(&[&guarded(&old)], &platform).hosts(&old, &platform);
    assert_eq!(hosts.custom, [y]);
}

/// splitmix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as usize % sides
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.roll(of.len())]
    }
}

/// What a world of Functions went through, and what each was last told.
struct World {
    dice: Dice,
    there: BTreeMap<Name, Function>,
    claims: Claims,
    told: BTreeMap<Name, Hosts>,
}

impl World {
    /// Some Function is made, edited, deleted, or deleted and made anew; whoever is said to be concerned is told anew.
    fn step(&mut self) {
        let name = (
            self.dice.pick(&["prod", "test"]),
            self.dice.pick(&["shop", "api", "f"]),
        );
        let key = (name.0.to_owned(), name.1.to_owned());
        let known = self.there.get(&key).cloned();
        let others = match (known, self.dice.roll(3)) {
            (Some(known), 0) => {
                self.there.remove(&key);
                self.told.remove(&key);
                leave(&self.claims, &known)
            }
            (known, roll) => {
                // A recreation whose deletion nobody saw, or an edit, which keeps the age.
                let created = match known {
                    Some(known) if roll == 1 => Claim::new(Kind::Custom, &known.metadata)
                        .created
                        .as_second(),
                    _ => self.dice.roll(4) as i64,
                };
                let hosts = self.hosts();
                let made = function(name, created, &hosts);
                self.there.insert(key.clone(), made.clone());
                let others = see(&self.claims, &made);
                self.tell(&key);
                others
            }
        };
        others.iter().for_each(|other| self.tell(other));
    }

    /// Up to four spellings of few hosts, those of the platform included.
    fn hosts(&mut self) -> Vec<&'static str> {
        const HOSTS: [&str; 12] = [
            "a.example.org",
            "A.Example.ORG",
            "a.example.org.",
            "A.EXAMPLE.ORG.",
            "b.example.org",
            "B.example.org.",
            "c.example.com",
            "C.Example.com.",
            "shop--prod.example.com",
            "Api--Test.example.com.",
            "shop.prod.svc",
            "d.example.net",
        ];
        (0..self.dice.roll(5))
            .map(|_| self.dice.pick(&HOSTS))
            .collect()
    }

    fn tell(&mut self, name: &Name) {
        let function = &self.there[name];
        self.told
            .insert(name.clone(), self.claims.hosts(function, &platform()));
    }

    /// Who has a host, told from nothing but what is there: custom hosts go by age, then by name; default ones are their Functions'.
    fn owner(&self, host: &str) -> Option<&Name> {
        let wants = |function: &&Function| {
            let spelled = |wanted: &String| wanted.to_lowercase().trim_end_matches('.') == host;
            function.spec.hosts.iter().any(spelled)
        };
        let age = |function: &Function| {
            function
                .metadata
                .creation_timestamp
                .clone()
                .map(|time| time.0)
        };
        let all = self.there.iter().filter(|(_, function)| wants(function));
        all.min_by_key(|(name, function)| (age(function), (*name).clone()))
            .map(|(name, _)| name)
    }

    fn check(&self) {
        for (name, told) in &self.told {
            assert_eq!(
                *told,
                self.claims.hosts(&self.there[name], &platform()),
                "{name:?} was not told"
            );
            let default = format!("{}--{}.{DOMAIN}", name.1, name.0);
            assert_eq!(told.default, Some(default), "{name:?}");
            for host in &told.custom {
                assert_eq!(self.owner(host), Some(name), "{host}");
            }
            for refused in &told.refused {
                let is_own = self.owner(&refused.host) == Some(name);
                assert!(!is_own || refused.why != Refusal::Taken, "{refused:?}");
            }
        }
    }

    /// A new operator that sees the same Functions in another order.
    fn restart(&mut self) {
        let mut all: Vec<_> = self.there.values().cloned().collect();
        for at in (1..all.len()).rev() {
            all.swap(at, self.dice.roll(at + 1));
        }
        self.claims = Claims::default();
        for function in &all {
            see(&self.claims, function);
        }
    }
}

#[test]
fn no_host_ever_crosses_and_the_oldest_has_it_in_every_order_of_events() {
    let mut custom = 0;
    for seed in 0..400 {
        let mut world = World {
            dice: Dice(seed),
            there: BTreeMap::new(),
            claims: Claims::default(),
            told: BTreeMap::new(),
        };
        for _ in 0..60 {
            world.step();
            world.check();
            if world.dice.roll(8) == 0 {
                world.restart();
                world.check();
            }
        }
        custom += world
            .told
            .values()
            .map(|hosts| hosts.custom.len())
            .sum::<usize>();
    }
    assert!(custom > 400, "hardly any host was given: {custom}");
}
