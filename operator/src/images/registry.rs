//! Asks a registry how large an image is (OCI distribution specification 1.1).
//!
//! Who writes a Function names the registry, so it may be anybody's: whatever it sends, and however slowly, the answer is bounded in time
//! and in bytes, and what it says beyond sizes is told to nobody.
//!
//! Written here because oci-client, which would do, reads a manifest of any length into memory and keeps one login for each registry, whoever
//! asks (0.18).

mod challenge;

use std::time::Duration;

use http::{
    HeaderMap, Request, Response, StatusCode, Uri,
    header::{ACCEPT, AUTHORIZATION, LOCATION, USER_AGENT},
};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::time::timeout;
use tracing::warn;

use super::{
    credentials::Credentials,
    manifest::{self, Manifest},
    reference::{NotAnImage, Reference},
};
use crate::size::Size;
use challenge::Challenge;

/// A registry that has not answered after this is taken for unreachable.
pub(super) const OVERDUE: Duration = Duration::from_secs(10);
/// Largest answer that is read. Manifests have some KiB; registries take up to 4 MiB (OCI distribution specification, "Pushing manifests"),
/// but this, times the questions that are asked at the same time, is memory that who writes a Function can make the operator use.
const LONGEST: usize = 1 << 20;
/// Redirects that are followed.
const REDIRECTS: usize = 3;

/// Why a registry did not say how large an image is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Silence {
    /// No connection, or one that broke.
    #[error("{0} cannot be reached")]
    Unreachable(String),
    /// It takes too long.
    #[error("{0} does not answer within {OVERDUE:?}")]
    Overdue(String),
    /// It wants to know who asks, or knows and does not want to say.
    #[error("{0} refuses to say it to these credentials (HTTP 401 or 403)")]
    Unauthorised(String),
    /// The registry does not have it.
    #[error("{0} has no such image (HTTP 404)")]
    Unknown(String),
    /// It has been asked too often.
    #[error("{0} has been asked too often (HTTP 429)")]
    TooOften(String),
    /// Another answer.
    #[error("{0} answers HTTP {1}")]
    Status(String, u16),
    /// Nobody can be asked.
    #[error(transparent)]
    Nameless(NotAnImage),
    /// It says something, but not that.
    #[error("{0} answers something that is no manifest of an image")]
    Unreadable(String),
    /// The question ended in a panic.
    #[error("asking for {0} met a bug, which the operator's log tells")]
    Bug(String),
}

impl Silence {
    /// Whether the same question may be answered a moment later.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::TooOften(_) => true,
            Self::Status(_, status) => *status >= 500,
            Self::Overdue(_)
            | Self::Unauthorised(_)
            | Self::Unknown(_)
            | Self::Nameless(_)
            | Self::Unreadable(_)
            | Self::Bug(_) => false,
        }
    }
}

/// A client of all registries.
#[derive(Clone)]
pub(super) struct Registry {
    http: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    insecure: Vec<String>,
}

impl Registry {
    /// `insecure` are hosts, with their ports, that are asked without TLS.
    pub(super) fn new(insecure: Vec<String>) -> Self {
        Self {
            http: Client::builder(TokioExecutor::new())
                .pool_max_idle_per_host(0)
                .build(connector()),
            insecure,
        }
    }

    /// Compressed layers of an image; of one for several platforms, those of the largest that a node may run. `architecture` is the one that
    /// the pod asks of its node, if any.
    ///
    /// # Errors
    /// Why the registry did not say it, within [`OVERDUE`].
    pub(super) async fn size(
        &self,
        of: &Reference,
        logins: &[Credentials],
        architecture: Option<&str>,
    ) -> Result<Size, Silence> {
        let measured = timeout(OVERDUE, self.measure(of, logins, architecture));
        measured
            .await
            .unwrap_or_else(|_| Err(Silence::Overdue(of.registry.clone())))
    }

    async fn measure(
        &self,
        of: &Reference,
        logins: &[Credentials],
        architecture: Option<&str>,
    ) -> Result<Size, Silence> {
        let mut session = Session {
            registry: self,
            of: of.clone(),
            authorization: None,
        };
        let unreadable = || Silence::Unreadable(of.registry.clone());
        let first = manifest::read(&session.manifest(&of.version, logins).await?, architecture);
        let entries = match first.ok_or_else(unreadable)? {
            Manifest::Image(size) => return Ok(size),
            Manifest::Index(entries) => entries,
        };
        let mut largest: Option<Size> = None;
        for entry in entries {
            let one = manifest::read(&session.manifest(&entry.digest, logins).await?, None);
            let Some(Manifest::Image(mut size)) = one else {
                return Err(unreadable());
            };
            size.platform = Some(entry.platform);
            if largest
                .as_ref()
                .is_none_or(|largest| size.bytes() > largest.bytes())
            {
                largest = Some(size);
            }
        }
        largest.ok_or_else(unreadable)
    }

    fn scheme(&self, host: &str) -> &'static str {
        if self.insecure.iter().any(|insecure| insecure == host) {
            "http"
        } else {
            "https"
        }
    }
}

/// One question, which may take several requests.
struct Session<'a> {
    registry: &'a Registry,
    of: Reference,
    /// What was good for the last request.
    authorization: Option<String>,
}

impl Session<'_> {
    /// A manifest, asked for as nobody first and then with each login in turn.
    async fn manifest(
        &mut self,
        version: &str,
        logins: &[Credentials],
    ) -> Result<Vec<u8>, Silence> {
        let Reference { repository, .. } = &self.of;
        let host = self.of.host();
        let scheme = self.registry.scheme(host);
        let address = format!("{scheme}://{host}/v2/{repository}/manifests/{version}");
        let address: Uri = address.parse().map_err(|_| self.unreadable())?;
        let first = self.get(&address, self.authorization.clone()).await?;
        if !is_refused(first.status()) {
            return self.body(first).await;
        }
        let challenges = Challenge::all(first.headers());
        let mut silence = Silence::Unauthorised(self.of.registry.clone());
        let nobody = [None];
        let logins: Vec<_> = logins.iter().map(Some).collect();
        for login in if logins.is_empty() {
            &nobody[..]
        } else {
            &logins
        } {
            for challenge in &challenges {
                let authorization = match self.answer(challenge, *login, scheme).await {
                    Ok(Some(authorization)) => authorization,
                    Ok(None) => continue,
                    // Another login may be given a token.
                    Err(failed) => {
                        silence = failed;
                        continue;
                    }
                };
                let response = self.get(&address, Some(authorization.clone())).await?;
                if !is_refused(response.status()) {
                    self.authorization = Some(authorization);
                    return self.body(response).await;
                }
            }
        }
        Err(silence)
    }

    /// What to say to a challenge; `None`: nothing that would help.
    async fn answer(
        &self,
        challenge: &Challenge,
        login: Option<&Credentials>,
        scheme: &str,
    ) -> Result<Option<String>, Silence> {
        match challenge {
            Challenge::Basic => Ok(login.map(Credentials::basic)),
            Challenge::Bearer(bearer) => {
                let Some(address) = bearer.address(&self.of.repository) else {
                    return Ok(None);
                };
                // A password goes over the net in the clear only if whoever installed Thaw said so of this registry.
                if address.scheme_str() != Some("https") && scheme == "https" {
                    return Ok(None);
                }
                let response = self.get(&address, login.map(Credentials::basic)).await?;
                if is_refused(response.status()) {
                    return Ok(None);
                }
                let body = self.body(response).await?;
                Ok(challenge::token(&body).map(|token| format!("Bearer {token}")))
            }
        }
    }

    /// A `GET` that follows redirects, and gives its authorization to the first host alone.
    async fn get(
        &self,
        address: &Uri,
        authorization: Option<String>,
    ) -> Result<Response<Incoming>, Silence> {
        let mut address = address.clone();
        let mut authorization = authorization;
        for _ in 0..=REDIRECTS {
            let response = self.get_once(&address, authorization.as_deref()).await?;
            if !response.status().is_redirection() {
                return Ok(response);
            }
            let next = redirected(&address, response.headers()).ok_or_else(|| self.unreadable())?;
            if next.authority() != address.authority() || next.scheme() != address.scheme() {
                authorization = None;
            }
            address = next;
        }
        Err(self.unreadable())
    }

    async fn get_once(
        &self,
        address: &Uri,
        authorization: Option<&str>,
    ) -> Result<Response<Incoming>, Silence> {
        let mut request = Request::get(address)
            .header(ACCEPT, manifest::ACCEPTED)
            .header(
                USER_AGENT,
                concat!("thaw-operator/", env!("CARGO_PKG_VERSION")),
            );
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Empty::new()).map_err(|_| self.unreadable())?;
        let response = self.registry.http.request(request).await;
        response.map_err(|error| {
            tracing::debug!(error = %crate::controller::chain(&error), registry = self.of.registry, "registry not reached");
            Silence::Unreachable(self.of.registry.clone())
        })
    }

    /// The body of a success, or what its status says.
    async fn body(&self, response: Response<Incoming>) -> Result<Vec<u8>, Silence> {
        let registry = || self.of.registry.clone();
        match response.status() {
            status if status.is_success() => {}
            StatusCode::NOT_FOUND => return Err(Silence::Unknown(registry())),
            StatusCode::TOO_MANY_REQUESTS => return Err(Silence::TooOften(registry())),
            status => return Err(Silence::Status(registry(), status.as_u16())),
        }
        let mut body = response.into_body();
        // One buffer: a list of the pieces would take many times their length, were each a byte long.
        let mut all = Vec::new();
        while let Some(piece) = body.frame().await {
            let piece = piece.map_err(|_| Silence::Unreachable(registry()))?;
            let data = piece.into_data().unwrap_or_default();
            if all.len() + data.len() > LONGEST {
                return Err(self.unreadable());
            }
            all.extend_from_slice(&data);
        }
        Ok(all)
    }

    fn unreadable(&self) -> Silence {
        Silence::Unreadable(self.of.registry.clone())
    }
}

fn is_refused(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

/// Where a redirect leads. One from TLS to plain HTTP leads nowhere.
fn redirected(from: &Uri, headers: &HeaderMap) -> Option<Uri> {
    let to: Uri = headers.get(LOCATION)?.to_str().ok()?.parse().ok()?;
    let to = if to.scheme().is_some() {
        to
    } else {
        let mut parts = from.clone().into_parts();
        parts.path_and_query = Some(to.path_and_query()?.clone());
        Uri::from_parts(parts).ok()?
    };
    let is_downgrade = from.scheme_str() == Some("https") && to.scheme_str() != Some("https");
    let is_web = matches!(to.scheme_str(), Some("http" | "https"));
    (is_web && !is_downgrade).then_some(to)
}

/// TLS with the certificates of this system. Without any, registries with TLS are unreachable and others are not.
fn connector() -> HttpsConnector<HttpConnector> {
    match HttpsConnectorBuilder::new().with_native_roots() {
        Ok(builder) => builder.https_or_http().enable_http1().build(),
        Err(error) => {
            warn!(%error, "no certificates here: registries with TLS cannot be asked");
            let none = rustls::ClientConfig::builder()
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth();
            let builder = HttpsConnectorBuilder::new().with_tls_config(none);
            builder.https_or_http().enable_http1().build()
        }
    }
}

#[cfg(test)]
mod tests;
