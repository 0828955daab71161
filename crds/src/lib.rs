//! The contract between users, the operator and the activator.
//!
//! In reading order:
//! - [`function`]: what a user writes
//! - [`pod`]: the part of a pod that a user may set
//! - [`status`]: what Thaw reports
//! - [`conditions`]: condition types and reasons
//! - [`entrypoint`]: an entrypoint with every default filled in, and its revision
//! - [`hosts`]: how hosts are spelled, and who has one that several want
//! - [`values`]: durations and sizes as Kubernetes writes them
//! - [`names`]: names, labels and annotations of everything Thaw makes
//! - `transitions`: changes of a Function for tests, with the feature of that name

pub mod conditions;
pub mod entrypoint;
pub mod function;
pub mod hosts;
pub mod names;
pub mod pod;
pub mod status;
#[cfg(feature = "transitions")]
pub mod transitions;
pub mod values;

pub use entrypoint::Entrypoint;
pub use function::{Function, FunctionSpec};
pub use status::FunctionStatus;

/// The CustomResourceDefinition as YAML: what `cargo run -p crds` prints and `function.yaml` holds.
pub fn manifest() -> String {
    use kube::CustomResourceExt;
    let mut crd = serde_json::to_value(Function::crd()).expect("a CRD is plain JSON");
    without_foreign_descriptions(&mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]);
    serde_yaml::to_string(&crd).expect("JSON is YAML")
}

/// Kubernetes' own types carry pages of text that `kubectl explain pod` shows already; with it the CRD would outgrow the
/// annotation that `kubectl apply` keeps.
fn without_foreign_descriptions(schema: &mut serde_json::Value) {
    fn strip(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(map) => {
                if map.get("description").is_some_and(|d| d.is_string()) {
                    map.remove("description");
                }
                map.values_mut().for_each(strip);
            }
            serde_json::Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    fn walk(value: &mut serde_json::Value) {
        let Some(properties) = value.get_mut("properties").and_then(|p| p.as_object_mut()) else {
            return;
        };
        for (name, property) in properties {
            if FOREIGN.contains(&name.as_str()) {
                for inside in ["properties", "items", "additionalProperties"] {
                    property.get_mut(inside).map(strip);
                }
            } else {
                walk(property);
                property.get_mut("items").map(walk);
            }
        }
    }
    walk(schema);
}

/// Fields whose type is Kubernetes' own.
const FOREIGN: &[&str] = &[
    "env",
    "envFrom",
    "resources",
    "imagePullSecrets",
    "tolerations",
    "affinity",
    "topologySpreadConstraints",
    "securityContext",
    "containerSecurityContext",
    "volumes",
    "volumeMounts",
    "conditions",
];
