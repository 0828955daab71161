//! Which hosts a namespace may have, as the chart says it.

use std::collections::BTreeMap;

use crds::hosts::normal;

/// Hosts by namespace. A namespace that is not listed may have none besides its default hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed(BTreeMap<String, Vec<Pattern>>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Every,
    /// One label and this, as in a certificate and an Ingress.
    Below(String),
    Only(String),
}

impl Allowed {
    /// Reads a JSON object of lists, such as `{"prod": ["*.example.com", "shop.example.org"], "ops": ["*"]}`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str) -> Result<Self, String> {
        let example =
            r#"write it as {"prod": ["*.example.com", "shop.example.org"], "ops": ["*"]}"#;
        let lists: BTreeMap<String, Vec<String>> =
            serde_json::from_str(text).map_err(|error| format!("{error}; {example}"))?;
        let read = |host: &String| {
            Pattern::read(host).ok_or_else(|| format!("{host:?} is no host; {example}"))
        };
        let mut all = BTreeMap::new();
        for (namespace, hosts) in lists {
            let patterns = hosts.iter().map(read).collect::<Result<_, _>>()?;
            all.insert(namespace, patterns);
        }
        Ok(Self(all))
    }

    /// Whether `namespace` may have `host`.
    pub(super) fn allow(&self, namespace: &str, host: &str) -> bool {
        let patterns = self.0.get(namespace);
        patterns.is_some_and(|patterns| patterns.iter().any(|pattern| pattern.matches(host)))
    }
}

impl Pattern {
    fn read(text: &str) -> Option<Self> {
        let name = |text| normal(text).map(|name| name.into_owned());
        Some(match text.strip_prefix("*.") {
            _ if text == "*" => Self::Every,
            Some(below) => Self::Below(name(below)?),
            None => Self::Only(name(text)?),
        })
    }

    fn matches(&self, host: &str) -> bool {
        match self {
            Self::Every => true,
            Self::Only(only) => only == host,
            Self::Below(below) => host.split_once('.').is_some_and(|(_, rest)| rest == below),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_has_what_is_listed_for_it_and_others_have_nothing() {
        let text = r#"{"prod": ["*.Example.com.", "shop.example.org"], "ops": ["*"], "lab": []}"#;
        let allowed = Allowed::read(text).unwrap();
        for (namespace, host, is_allowed) in [
            ("prod", "a.example.com", true),
            ("prod", "a.b.example.com", false),
            ("prod", "example.com", false),
            ("prod", "shop.example.org", true),
            ("prod", "a.shop.example.org", false),
            ("ops", "anything.test", true),
            ("lab", "a.example.com", false),
            ("other", "a.example.com", false),
        ] {
            assert_eq!(
                allowed.allow(namespace, host),
                is_allowed,
                "{namespace} {host}"
            );
        }
    }

    #[test]
    fn what_is_no_list_of_hosts_is_refused() {
        for wrong in [
            "",
            "prod",
            r#"{"prod": "a.b"}"#,
            r#"{"prod": ["a.*"]}"#,
            r#"{"prod": ["*.*.b"]}"#,
            r#"{"prod": [""]}"#,
            r#"{"prod": ["http://a.b"]}"#,
        ] {
            assert!(Allowed::read(wrong).is_err(), "{wrong}");
        }
    }
}
