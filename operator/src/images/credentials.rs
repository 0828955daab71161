//! What the Secrets of `pod.imagePullSecrets` say about a registry.

use std::{collections::BTreeMap, fmt};

use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::Secret;
use serde::Deserialize;

use super::reference::Reference;

/// Keys and hosts under which Docker Hub goes.
const DOCKER: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// A user of a registry.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    user: String,
    password: String,
}

impl Credentials {
    /// As it stands in a request's `Authorization` (RFC 7617).
    pub(super) fn basic(&self) -> String {
        let pair = format!("{}:{}", self.user, self.password);
        format!("Basic {}", STANDARD.encode(pair))
    }
}

/// Without the password, which must not reach a log.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.user)
    }
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    auths: BTreeMap<String, Login>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Login {
    username: String,
    password: String,
    auth: String,
}

/// Who may ask for an image, the most exact entries first. What cannot be read says nothing, as for the kubelet.
pub(super) fn credentials(secrets: &[Secret], of: &Reference) -> Vec<Credentials> {
    let mut found: Vec<(usize, Credentials)> = secrets
        .iter()
        .flat_map(logins)
        .filter(|(key, _)| matches(key, of))
        .filter_map(|(key, login)| Some((key.len(), login.read()?)))
        .collect();
    found.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
    let mut all: Vec<Credentials> = Vec::new();
    for (_, credentials) in found {
        if !all.contains(&credentials) {
            all.push(credentials);
        }
    }
    all
}

/// The entries of a Secret of either type, by registry.
fn logins(secret: &Secret) -> BTreeMap<String, Login> {
    let data = secret.data.as_ref();
    let value = |key: &str| data.and_then(|data| data.get(key));
    if let Some(config) = value(".dockerconfigjson") {
        let config: Option<Config> = serde_json::from_slice(&config.0).ok();
        return config.map(|config| config.auths).unwrap_or_default();
    }
    let config = value(".dockercfg").and_then(|config| serde_json::from_slice(&config.0).ok());
    config.unwrap_or_default()
}

impl Login {
    /// `auth` is `user:password` in base64, and is what most tools write.
    fn read(self) -> Option<Credentials> {
        if !self.username.is_empty() {
            return Some(Credentials {
                user: self.username,
                password: self.password,
            });
        }
        let pair = STANDARD.decode(self.auth.trim()).ok()?;
        let pair = String::from_utf8(pair).ok()?;
        let (user, password) = pair.split_once(':')?;
        (!user.is_empty()).then(|| Credentials {
            user: user.to_owned(),
            password: password.trim_end_matches('\0').to_owned(),
        })
    }
}

/// Whether an entry speaks of the image's registry, and of its repository if it names a path. `*` stands for one label or a part of one.
fn matches(key: &str, of: &Reference) -> bool {
    let key = key.strip_prefix("https://").unwrap_or(key);
    let key = key.strip_prefix("http://").unwrap_or(key);
    let (host, path) = key.split_once('/').unwrap_or((key, ""));
    let path = path.trim_end_matches('/');
    let path = if matches!(path, "v1" | "v2") {
        ""
    } else {
        path
    };
    let is_docker = |host: &str| DOCKER.contains(&host);
    let is_host = match (is_docker(host), is_docker(&of.registry)) {
        (true, true) => true,
        (false, false) => is_like(host, &of.registry),
        _ => false,
    };
    let rest = of.repository.strip_prefix(path);
    let is_path =
        rest.is_some_and(|rest| path.is_empty() || rest.is_empty() || rest.starts_with('/'));
    is_host && is_path
}

fn is_like(pattern: &str, host: &str) -> bool {
    let (patterns, labels) = (pattern.split('.'), host.split('.'));
    patterns.clone().count() == labels.clone().count()
        && patterns
            .zip(labels)
            .all(|(pattern, label)| match pattern.split_once('*') {
                Some((start, end)) => {
                    label.len() >= start.len() + end.len()
                        && label.starts_with(start)
                        && label.ends_with(end)
                }
                None => pattern.eq_ignore_ascii_case(label),
            })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use serde_json::json;

    use super::*;

    fn secret(key: &str, value: serde_json::Value) -> Secret {
        let value = ByteString(value.to_string().into_bytes());
        Secret {
            data: Some(BTreeMap::from([(key.to_owned(), value)])),
            ..Secret::default()
        }
    }

    fn users(secrets: &[Secret], image: &str) -> Vec<String> {
        let of = Reference::parse(image).unwrap();
        let found = credentials(secrets, &of);
        found.into_iter().map(|found| found.user).collect()
    }

    fn login(user: &str) -> serde_json::Value {
        json!({"auth": STANDARD.encode(format!("{user}:secret:with:colons"))})
    }

    #[test]
    fn both_types_of_secrets_and_both_forms_of_entries_are_read() {
        let new = json!({"auths": {"registry:5000": {"username": "a", "password": "x"}}});
        let old = json!({"https://registry:5000": login("b")});
        let secrets = [secret(".dockerconfigjson", new), secret(".dockercfg", old)];
        let of = Reference::parse("registry:5000/shop").unwrap();
        let found = credentials(&secrets, &of);
        let basic: Vec<_> = found.iter().map(Credentials::basic).collect();
        let expected = [
            format!("Basic {}", STANDARD.encode("b:secret:with:colons")),
            format!("Basic {}", STANDARD.encode("a:x")),
        ];
        assert_eq!(basic, expected);
    }

    #[test]
    fn an_entry_counts_for_its_registry_and_path_only_and_the_most_exact_comes_first() {
        let config = json!({"auths": {
            "ghcr.io": login("host"),
            "ghcr.io/team": login("path"),
            "*.example.com": login("wild"),
            "https://index.docker.io/v1/": login("docker"),
        }});
        let secrets = [secret(".dockerconfigjson", config)];
        for (image, expected) in [
            ("ghcr.io/team/web", vec!["path", "host"]),
            ("ghcr.io/teams/web", vec!["host"]),
            ("ghcr.io:443/team/web", vec![]),
            ("eu.example.com/web", vec!["wild"]),
            ("a.eu.example.com/web", vec![]),
            ("example.com.evil.test/web", vec![]),
            ("nginx", vec!["docker"]),
            ("quay.io/web", vec![]),
        ] {
            assert_eq!(users(&secrets, image), expected, "{image}");
        }
    }

    #[test]
    fn what_cannot_be_read_says_nothing_and_no_password_is_printed() {
        let broken = [
            secret(".dockerconfigjson", json!("nonsense")),
            secret(".dockercfg", json!({"registry:5000": {"auth": "%%%"}})),
            secret("password", json!("x")),
            Secret::default(),
        ];
        assert!(users(&broken, "registry:5000/shop").is_empty());
        let credentials = Credentials {
            user: "a".to_owned(),
            password: "hidden".to_owned(),
        };
        assert!(!format!("{credentials:?}").contains("hidden"));
    }
}
