//! A Function as a watch brings it: one that cannot be read must not stop the watch of all others.

use std::borrow::Cow;

use crds::function::Function;
use kube::{Resource, api::ObjectMeta};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

/// A Function, or why it could not be read.
#[derive(Clone, Debug)]
pub struct Guarded(pub Result<Function, Unreadable>);

/// What is known about a Function that could not be read.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{error}")]
pub struct Unreadable {
    /// Why.
    pub error: String,
    /// Whose Function it is, and what it is called.
    pub metadata: ObjectMeta,
    /// The custom hosts that its status says it has: those do not go to somebody else.
    pub hosts: Vec<String>,
}

/// What can be read even of a Function that cannot.
#[derive(Deserialize)]
struct Known {
    #[serde(default)]
    metadata: ObjectMeta,
}

impl Guarded {
    /// The custom hosts that its status says it has.
    pub fn reported_hosts(&self) -> &[String] {
        match &self.0 {
            Ok(function) => {
                let status = function.status.as_ref();
                status.map_or(&[], |status| &status.hosts)
            }
            Err(unreadable) => &unreadable.hosts,
        }
    }
}

impl<'de> Deserialize<'de> for Guarded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Value::deserialize(deserializer)?;
        let function = Function::deserialize(&object);
        function
            .map(Ok)
            .or_else(|problem| {
                let Known { metadata } = Known::deserialize(&object).map_err(D::Error::custom)?;
                let hosts = Vec::deserialize(&object["status"]["hosts"]);
                Ok(Err(Unreadable {
                    error: problem.to_string(),
                    metadata,
                    hosts: hosts.unwrap_or_default(),
                }))
            })
            .map(Self)
    }
}

impl Resource for Guarded {
    type DynamicType = <Function as Resource>::DynamicType;
    type Scope = <Function as Resource>::Scope;

    fn kind(of: &Self::DynamicType) -> Cow<'_, str> {
        Function::kind(of)
    }

    fn group(of: &Self::DynamicType) -> Cow<'_, str> {
        Function::group(of)
    }

    fn version(of: &Self::DynamicType) -> Cow<'_, str> {
        Function::version(of)
    }

    fn plural(of: &Self::DynamicType) -> Cow<'_, str> {
        Function::plural(of)
    }

    fn meta(&self) -> &ObjectMeta {
        match &self.0 {
            Ok(function) => &function.metadata,
            Err(unreadable) => &unreadable.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match &mut self.0 {
            Ok(function) => &mut function.metadata,
            Err(unreadable) => &mut unreadable.metadata,
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt;
    use serde_json::json;

    use super::*;

    #[test]
    fn of_a_function_that_cannot_be_read_its_name_and_its_hosts_are_known() {
        let object = |spec: Value, status: Value| {
            let metadata = json!({"name": "shop", "namespace": "prod", "uid": "1"});
            let object = json!({"metadata": metadata, "spec": spec, "status": status});
            serde_json::from_value::<Guarded>(object).unwrap()
        };
        let good = json!({"image": "a", "entrypoints": [{"name": "web", "path": "/"}]});
        let status = json!({"hosts": ["shop.example.org"]});
        for (spec, is_read) in [(good.clone(), true), (json!({"entrypoints": 7}), false)] {
            let read = object(spec, status.clone());
            assert_eq!(read.0.is_ok(), is_read);
            assert_eq!(
                (read.name_any().as_str(), read.uid().as_deref()),
                ("shop", Some("1"))
            );
            assert_eq!(read.reported_hosts(), ["shop.example.org"]);
        }
        for status in [Value::Null, json!({"hosts": 7}), json!(7)] {
            assert!(
                object(json!({"entrypoints": 7}), status)
                    .reported_hosts()
                    .is_empty()
            );
        }
        assert!(object(good, Value::Null).reported_hosts().is_empty());
    }
}
