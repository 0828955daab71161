use crds::FunctionStatus;
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use super::*;
use crate::server::Door;

fn hosts() -> Hosts {
    Hosts::new("test".to_owned(), "cluster.local".to_owned())
}

/// A Function that asks for hosts and has been given others.
fn function(name: &Name, created: i64, asked: &[&str], given: &[&str]) -> Function {
    let owned = |hosts: &[&str]| hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut function = Function::new(&name.1, Default::default());
    function.metadata.namespace = Some(name.0.clone());
    function.metadata.creation_timestamp = Some(Time(Timestamp::from_second(created).unwrap()));
    function.spec.hosts = owned(asked);
    function.status = Some(FunctionStatus {
        hosts: owned(given),
        ..FunctionStatus::default()
    });
    function
}

fn name(namespace: &str, name: &str) -> Name {
    (namespace.to_owned(), name.to_owned())
}

/// The routes after `function` was seen. Its paths bear its namespace and name, to be told by.
fn see(hosts: &mut Hosts, routes: &Routes, name: &Name, function: &Function) -> Routes {
    let paths = Host {
        function: format!("{}/{}", name.0, name.1),
        ..Host::default()
    };
    hosts.seen(name, function, paths, routes)
}

fn answers<'a>(routes: &'a Routes, host: &str, door: Door) -> Option<&'a str> {
    let found = routes.host(host, door);
    found.map(|host| host.function.as_str())
}

#[test]
fn a_function_answers_at_the_hosts_that_it_was_given_and_asks_for() {
    let (mut hosts, shop) = (hosts(), name("prod", "shop"));
    let asked = ["Shop.Example.com.", "b.example.com"];
    let given = ["shop.example.com", "old.example.com"];
    let routes = see(
        &mut hosts,
        &Routes::default(),
        &shop,
        &function(&shop, 1, &asked, &given),
    );
    let public = |host| answers(&routes, host, Door::Public);
    assert_eq!(public("shop--prod.test"), Some("prod/shop"));
    assert_eq!(public("shop.example.com"), Some("prod/shop"));
    assert_eq!(public("b.example.com"), None);
    assert_eq!(public("old.example.com"), None);
    for inside in ["shop.prod", "shop.prod.svc", "shop.prod.svc.cluster.local"] {
        assert_eq!(answers(&routes, inside, Door::Internal), Some("prod/shop"));
        assert_eq!(public(inside), None);
    }
    let routes = hosts.gone(&shop, &routes);
    for host in ["shop--prod.test", "shop.example.com", "shop.prod"] {
        assert_eq!(answers(&routes, host, Door::Internal), None, "{host}");
    }
    assert!(hosts.claimants.is_empty() && hosts.claims.is_empty());
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

    /// Some of these, in an order of their own.
    fn some<'a>(&mut self, of: &[&'a str]) -> Vec<&'a str> {
        (0..self.roll(4)).map(|_| of[self.roll(of.len())]).collect()
    }
}

const HOSTS: [&str; 4] = [
    "a.example.com",
    "b.example.com",
    "c.example.com",
    "shop.prod",
];
const SPELLINGS: [&str; 6] = [
    "a.example.com",
    "A.Example.com.",
    "b.example.com.",
    "B.EXAMPLE.COM",
    "c.example.com",
    "Shop.Prod.",
];

/// The Functions that there are, and the routes that came of all that happened.
#[derive(Default)]
struct World {
    there: BTreeMap<Name, Function>,
    hosts: Option<Hosts>,
    routes: Routes,
}

impl World {
    fn see(&mut self, name: &Name) {
        let hosts = self.hosts.get_or_insert_with(hosts);
        self.routes = match self.there.get(name) {
            Some(function) => see(hosts, &self.routes, name, function),
            None => hosts.gone(name, &self.routes),
        };
    }

    /// A Function changes in any way, the operator's word on it included. Statuses that disagree are as good as others: an activator may see
    /// any mixture of old and new ones.
    fn step(&mut self, dice: &mut Dice) {
        let (namespace, of) = (
            ["prod", "test"][dice.roll(2)],
            ["shop", "api", "z"][dice.roll(3)],
        );
        let name = name(namespace, of);
        if dice.roll(4) == 0 {
            self.there.remove(&name);
        } else {
            let created = dice.roll(3) as i64;
            let (asked, given) = (dice.some(&SPELLINGS), dice.some(&HOSTS));
            let function = function(&name, created, &asked, &given);
            self.there.insert(name.clone(), function);
        }
        self.see(&name);
    }

    /// An activator that starts, and sees the same Functions in another order.
    fn restart(&mut self, dice: &mut Dice) {
        let mut names: Vec<_> = self.there.keys().cloned().collect();
        for at in (1..names.len()).rev() {
            names.swap(at, dice.roll(at + 1));
        }
        (self.hosts, self.routes) = (None, Routes::default());
        names.iter().for_each(|name| self.see(name));
    }

    /// Whom a host should lead to, told from nothing but what is there.
    fn owner(&self, host: &str) -> Option<String> {
        let asks = |function: &Function| {
            let spelled = |asked: &String| asked.to_lowercase().trim_end_matches('.') == host;
            function.spec.hosts.iter().any(spelled)
        };
        let has = |function: &Function| {
            let status = function.status.as_ref().unwrap();
            status.hosts.iter().any(|given| given == host)
        };
        let all = self
            .there
            .iter()
            .filter(|(_, function)| asks(function) && has(function));
        let age = |function: &Function| function.metadata.creation_timestamp.as_ref().map(|t| t.0);
        let first = all.min_by_key(|(name, function)| (age(function), (*name).clone()));
        first.map(|(name, _)| format!("{}/{}", name.0, name.1))
    }

    fn check(&self) {
        for host in HOSTS {
            let answers = answers(&self.routes, host, Door::Public);
            assert_eq!(answers, self.owner(host).as_deref(), "{host}");
        }
        for (namespace, of) in ["prod", "test"]
            .into_iter()
            .flat_map(|namespace| ["shop", "api", "z"].map(|function| (namespace, function)))
        {
            let own = format!("{namespace}/{of}");
            let is_there = self.there.contains_key(&name(namespace, of));
            let expected = is_there.then_some(own.as_str());
            let default = format!("{of}--{namespace}.test");
            assert_eq!(answers(&self.routes, &default, Door::Public), expected);
            let inside = format!("{of}.{namespace}.svc");
            assert_eq!(answers(&self.routes, &inside, Door::Internal), expected);
        }
        let stranger = answers(&self.routes, "shop.prod", Door::Internal);
        let is_there = self.there.contains_key(&name("prod", "shop"));
        assert!(!is_there || stranger == Some("prod/shop"));
    }
}

#[test]
fn no_host_ever_crosses_and_the_oldest_answers_in_every_order_of_events() {
    let mut given = 0;
    for seed in 0..400 {
        let (mut world, mut dice) = (World::default(), Dice(seed));
        for _ in 0..60 {
            world.step(&mut dice);
            world.check();
            if dice.roll(8) == 0 {
                world.restart(&mut dice);
                world.check();
            }
        }
        given += HOSTS.iter().filter_map(|host| world.owner(host)).count();
    }
    assert!(given > 200, "hardly any host was given: {given}");
}
