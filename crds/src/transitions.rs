//! Changes of one Function as users, tools and attackers make them, generated from a seed: for tests in memory and on a cluster.
//!
//! Most are good, some break a rule that only the operator knows, some break one that the API server knows, and some are odd and allowed.

use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64;
use serde_json::{Value, json};

use crate::names::RESERVED_ENV;

/// A change of one Function.
#[derive(Clone, Debug)]
pub struct Transition {
    /// What is changed, for people.
    pub change: &'static str,
    /// The whole `spec` after the change.
    pub spec: Value,
    /// The annotation that asks for a rollback.
    pub rollback: Option<String>,
    /// How it is to end.
    pub end: End,
    /// Whether the Function is deleted first.
    pub is_new: bool,
    /// Whether the next change follows at once.
    pub is_hasty: bool,
}

/// How a change ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It becomes true.
    True,
    /// The operator reports that it cannot, unless the API server refused it.
    Reported,
    /// The API server refuses it.
    Refused,
}

/// An endless row of changes.
#[derive(Debug)]
pub struct Transitions {
    random: Pcg64,
    images: Vec<String>,
    /// The last good one.
    spec: Value,
}

type Change = (&'static str, fn(&mut Value, &mut Pcg64, &[String]));

const NAMES: [&str; 7] = [
    "web",
    "api",
    "orders",
    "a",
    "x-1",
    "admin",
    "a-name-of-as-many-letters-as-a-label-of-kubernetes-can-have-63x",
];

const PATHS: [&str; 8] = [
    "/",
    "/api",
    "/api/v1",
    "/API",
    "/a~b!$&()*+,;=:@c",
    "/orders/of/many/segments/each/of/which/is/short",
    "/-",
    "/.well-known",
];

/// Texts that mean something to somebody on the way.
const TEXTS: [&str; 8] = [
    "plain",
    "",
    "$(PORT) $PORT ${PORT} `id`",
    "{{ .Values.x }} %s %n \\ \" '",
    "ünï©ödé 日本語 \u{202e}",
    "- yaml: [no\n",
    "null",
    "0x1F",
];

impl Transitions {
    /// Those of this seed, with images that can be pulled.
    pub fn new(seed: u64, images: &[&str]) -> Self {
        let images: Vec<String> = images.iter().map(|image| (*image).to_owned()).collect();
        let entrypoint = json!({"name": "web", "path": "/", "resources": {"requests": {"cpu": "5m", "memory": "8Mi"}}});
        Self {
            random: Pcg64::seed_from_u64(seed),
            spec: json!({"image": images[0], "entrypoints": [entrypoint]}),
            images,
        }
    }

    /// The last good manifest.
    pub fn good(&self) -> &Value {
        &self.spec
    }

    fn change(&mut self, changes: &[Change]) -> (&'static str, Value) {
        let (name, change) = changes[self.random.random_range(0..changes.len())];
        let mut spec = self.spec.clone();
        change(&mut spec, &mut self.random, &self.images);
        (name, spec)
    }
}

impl Iterator for Transitions {
    type Item = Transition;

    fn next(&mut self) -> Option<Transition> {
        let (end, changes) = match self.random.random_range(0..100) {
            0..70 => (End::True, GOOD),
            70..85 => (End::Reported, REPORTED),
            _ => (End::Refused, REFUSED),
        };
        let (change, spec) = self.change(changes);
        if end == End::True {
            self.spec.clone_from(&spec);
        }
        let is_new = end == End::True && self.random.random_ratio(1, 20);
        let rollback = self.random.random_ratio(1, 10).then(|| {
            let name = NAMES[self.random.random_range(0..NAMES.len())];
            let odd = TEXTS[self.random.random_range(0..TEXTS.len())];
            format!("{name}@{odd},,@,{odd}")
        });
        Some(Transition {
            change,
            spec,
            rollback,
            end,
            is_new,
            is_hasty: self.random.random_ratio(1, 4),
        })
    }
}

const GOOD: &[Change] = &[
    ("image", |spec, random, images| {
        spec["image"] = json!(one(images, random))
    }),
    ("image of one", |spec, random, images| {
        any(spec, random)["image"] = json!(one(images, random))
    }),
    ("one more", add),
    ("one less", |spec, random, _| {
        let count = entrypoints(spec).len();
        if count > 1 {
            entrypoints(spec).remove(random.random_range(0..count));
        }
    }),
    ("name", |spec, random, _| {
        let free = free(spec, "name", &NAMES, random);
        any(spec, random)["name"] = free;
    }),
    ("path", |spec, random, _| {
        let free = free(spec, "path", &PATHS, random);
        any(spec, random)["path"] = free;
    }),
    ("order", |spec, _, _| entrypoints(spec).reverse()),
    ("match", |spec, random, _| {
        any(spec, random)["match"] = json!(one(&["Prefix", "Exact"], random))
    }),
    ("environment of all", |spec, random, _| {
        spec["defaults"]["env"] = environment(random)
    }),
    ("environment of one", |spec, random, _| {
        any(spec, random)["env"] = environment(random)
    }),
    ("scale", |spec, random, _| {
        let max = random.random_range(1..5);
        any(spec, random)["scale"] =
            json!({"max": max, "concurrency": random.random_range(1..9), "idleAfter": "3s"});
    }),
    ("timeouts", |spec, random, _| {
        any(spec, random)["timeouts"] = json!({"queue": "0s", "boot": "1m30s", "duration": format!("{}s", random.random_range(0..999))});
    }),
    ("limits", |spec, random, _| {
        any(spec, random)["limits"] =
            json!({"queue": random.random_range(1..100), "requestBytes": "1Ki"});
    }),
    ("freeze", |spec, random, _| {
        any(spec, random)["freeze"] = json!({"mode": one(&["Auto", "Never"], random)})
    }),
    ("resources", |spec, random, _| {
        any(spec, random)["resources"] = json!({"requests": {"cpu": one(&["5m", "0.005", "5e-3"], random), "memory": one(&["8Mi", "8192Ki"], random)}});
    }),
    ("port", |spec, random, _| {
        any(spec, random)["port"] = json!(random.random_range(1024..65535))
    }),
    ("pod", |spec, random, _| {
        let text = one(&TEXTS, random).to_owned();
        any(spec, random)["pod"] =
            json!({"annotations": {"example.com/note": text}, "terminationGracePeriod": "1s"});
    }),
    ("verification", |spec, random, _| {
        any(spec, random)["verify"] = json!({"when": one(&["Update", "Always", "Never"], random)});
    }),
    ("history", |spec, random, _| {
        spec["revisionHistoryLimit"] = json!(random.random_range(0..4))
    }),
    ("visibility", |spec, random, _| {
        spec["visibility"] = json!(one(&["Public", "Cluster"], random))
    }),
    ("nothing", |_, _, _| {}),
    ("defaults away", |spec, _, _| {
        spec.as_object_mut().map(|spec| spec.remove("defaults"));
    }),
];

const REPORTED: &[Change] = &[
    ("a variable that is Thaw's", |spec, random, _| {
        any(spec, random)["env"] = json!([{"name": one(&RESERVED_ENV, random), "value": "1"}]);
    }),
    ("fewest above most, each in its place", |spec, random, _| {
        spec["defaults"]["scale"] = json!({"min": 7});
        any(spec, random)["scale"] = json!({"max": 2});
    }),
    ("no quantity", |spec, random, _| {
        any(spec, random)["resources"] = json!({"limits": {"cpu": "lots"}})
    }),
    ("a mount of nothing", |spec, random, _| {
        any(spec, random)["pod"] = json!({"volumeMounts": [{"name": "none", "mountPath": "/x"}]});
    }),
];

const REFUSED: &[Change] = &[
    ("no image", |spec, _, _| {
        spec["image"] = Value::Null;
        entrypoints(spec)
            .iter_mut()
            .for_each(|each| each["image"] = Value::Null);
    }),
    ("a path twice", |spec, random, _| {
        let mut other = any(spec, random).clone();
        other["name"] = json!("same-path");
        entrypoints(spec).push(other);
    }),
    ("no path", |spec, random, _| {
        any(spec, random)["path"] = json!("no-slash")
    }),
    ("dots", |spec, random, _| {
        any(spec, random)["path"] = json!("/a/../b")
    }),
    ("a name in capitals", |spec, random, _| {
        any(spec, random)["name"] = json!("Web")
    }),
    ("a name too long", |spec, random, _| {
        any(spec, random)["name"] = json!("a".repeat(64))
    }),
    ("nothing at all", |spec, _, _| {
        spec["entrypoints"] = json!([])
    }),
    ("port zero", |spec, random, _| {
        any(spec, random)["port"] = json!(0)
    }),
    ("port beyond", |spec, random, _| {
        any(spec, random)["port"] = json!(4_294_967_376_u64)
    }),
    ("a text for a number", |spec, random, _| {
        any(spec, random)["port"] = json!("http")
    }),
    ("a number for a list", |spec, _, _| {
        spec["entrypoints"] = json!(7)
    }),
    ("no duration", |spec, random, _| {
        any(spec, random)["timeouts"] = json!({"boot": "soon"})
    }),
    ("an endless duration", |spec, random, _| {
        any(spec, random)["timeouts"] = json!({"boot": "99999999999999999999h"});
    }),
    ("an unknown word", |spec, random, _| {
        any(spec, random)["freeze"] = json!({"mode": "On"})
    }),
    ("the node's files", |spec, random, _| {
        any(spec, random)["pod"] =
            json!({"volumes": [{"name": "host", "hostPath": {"path": "/"}}]});
    }),
    ("privileges", |spec, random, _| {
        any(spec, random)["pod"] = json!({"containerSecurityContext": {"privileged": true}});
    }),
];

fn add(spec: &mut Value, random: &mut Pcg64, _: &[String]) {
    if entrypoints(spec).len() < 5 {
        let name = free(spec, "name", &NAMES, random);
        let path = free(spec, "path", &PATHS, random);
        let new = json!({"name": name, "path": path, "resources": {"requests": {"cpu": "5m", "memory": "8Mi"}}});
        entrypoints(spec).push(new);
    }
}

fn environment(random: &mut Pcg64) -> Value {
    let one = |name: &str, random: &mut Pcg64| json!({"name": name, "value": one(&TEXTS, random)});
    json!([one("A", random), one("b_2", random)])
}

fn entrypoints(spec: &mut Value) -> &mut Vec<Value> {
    let all = spec["entrypoints"].as_array_mut();
    all.expect("only good manifests are changed")
}

/// One of the entrypoints.
fn any<'a>(spec: &'a mut Value, random: &mut Pcg64) -> &'a mut Value {
    let all = entrypoints(spec);
    let index = random.random_range(0..all.len());
    &mut all[index]
}

/// A value of `field` that no entrypoint has. There are more of them than entrypoints.
fn free(spec: &mut Value, field: &str, values: &[&str], random: &mut Pcg64) -> Value {
    let taken: Vec<Value> = entrypoints(spec)
        .iter()
        .map(|each| each[field].clone())
        .collect();
    let mut free = values.iter().map(|value| json!(value)).collect::<Vec<_>>();
    free.retain(|value| !taken.contains(value));
    free.swap_remove(random.random_range(0..free.len()))
}

fn one<'a, T>(all: &'a [T], random: &mut impl Rng) -> &'a T {
    &all[random.random_range(0..all.len())]
}
