//! Where an image is, read from its name as container runtimes read it.

use std::fmt;

use http::uri::Authority;

/// The registry of a name that says none.
const DOCKER: &str = "docker.io";
/// Where Docker Hub answers.
const DOCKER_HOST: &str = "registry-1.docker.io";

/// An image in a registry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Reference {
    /// Host, with a port where it is not the scheme's.
    pub(super) registry: String,
    /// Path of the repository.
    pub(super) repository: String,
    /// A tag, or a digest such as `sha256:…`, which outranks a tag beside it.
    pub(super) version: String,
}

/// A name that no registry could have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the name of an image; write registry/repository:tag")]
pub(super) struct NotAnImage(String);

impl Reference {
    /// Reads a name such as `nginx`, `registry:5000/shop/web:1.4` or `ghcr.io/a/b@sha256:…`.
    ///
    /// # Errors
    /// It holds characters that would change the meaning of an address, or lacks a part.
    pub(super) fn parse(image: &str) -> Result<Self, NotAnImage> {
        let (name, digest) = match image.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (image, None),
        };
        let (registry, path) = match name.split_once('/') {
            Some((first, rest)) if is_host(first) => (first, rest),
            _ => (DOCKER, name),
        };
        let (repository, tag) = match path.rsplit_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (path, None),
        };
        let is_official = registry == DOCKER && !repository.contains('/');
        let prefix = if is_official { "library/" } else { "" };
        let reference = Self {
            registry: registry.to_owned(),
            repository: format!("{prefix}{repository}"),
            version: digest.or(tag).unwrap_or("latest").to_owned(),
        };
        let is_version = match digest {
            Some(digest) => is_digest(digest) && tag.is_none_or(is_tag),
            None => is_tag(&reference.version),
        };
        if is_version && is_registry(registry) && is_repository(&reference.repository) {
            Ok(reference)
        } else {
            Err(NotAnImage(image.to_owned()))
        }
    }

    /// The host that answers for the registry.
    pub(super) fn host(&self) -> &str {
        if self.registry == DOCKER {
            DOCKER_HOST
        } else {
            &self.registry
        }
    }
}

/// The whole name, as nodes report it.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            registry,
            repository,
            version,
        } = self;
        let mark = if is_digest(version) { '@' } else { ':' };
        write!(f, "{registry}/{repository}{mark}{version}")
    }
}

/// Whether this is a digest, so that it may stand in an address.
pub(super) fn is_digest(text: &str) -> bool {
    text.split_once(':').is_some_and(|(algorithm, hex)| {
        let is_algorithm =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+._-".contains(&b);
        !algorithm.is_empty()
            && algorithm.bytes().all(is_algorithm)
            && (32..=128).contains(&hex.len())
            && hex.bytes().all(|b| b.is_ascii_hexdigit())
    })
}

/// The first part of a name is a host if it could not be a part of a repository's path.
fn is_host(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost"
}

fn is_registry(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b".-:[]".contains(&b);
    let parsed: Option<Authority> = text.parse().ok();
    let is_authority = parsed.is_some_and(|authority| {
        authority.host().len() == text.len() || authority.port_u16().is_some()
    });
    text.bytes().all(allowed) && is_authority
}

fn is_repository(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    let is_part = |part: &str| {
        part.bytes().all(allowed) && part.starts_with(|c: char| c.is_ascii_alphanumeric())
    };
    text.len() <= 255 && text.split('/').all(is_part)
}

fn is_tag(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    (1..=128).contains(&text.len()) && text.bytes().all(allowed) && !text.starts_with(['.', '-'])
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn a_name_is_read_as_container_runtimes_read_it() {
        let digested = format!("ghcr.io/a/b:1@{DIGEST}");
        let whole = format!("ghcr.io/a/b@{DIGEST}");
        for (image, expected) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.29", "docker.io/library/nginx:1.29"),
            ("bitnami/redis:8", "docker.io/bitnami/redis:8"),
            ("localhost/shop", "localhost/shop:latest"),
            (
                "registry:5000/shop/web:v1.4_a",
                "registry:5000/shop/web:v1.4_a",
            ),
            ("[::1]:5000/web", "[::1]:5000/web:latest"),
            (digested.as_str(), whole.as_str()),
        ] {
            let read = Reference::parse(image).map(|reference| reference.to_string());
            assert_eq!(read.as_deref(), Ok(expected), "{image}");
        }
        assert_eq!(Reference::parse("nginx").unwrap().host(), DOCKER_HOST);
    }

    #[test]
    fn a_name_that_would_bend_an_address_is_refused() {
        for image in [
            "",
            "registry.example.com/",
            "registry.example.com//a",
            "registry.example.com/../v2/secret",
            "user@registry.example.com/a",
            "registry.example.com/a?b",
            "registry.example.com/a#b",
            "registry.example.com/a%2fb:1",
            "registry.example.com/Upper",
            "registry.example.com/a:b c",
            "registry.example.com:port/a",
            "registry.example.com/a@sha256:xyz",
            "http://registry.example.com/a",
        ] {
            assert!(Reference::parse(image).is_err(), "{image:?} is no image");
        }
    }
}
