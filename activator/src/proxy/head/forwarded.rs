//! Who sent a request: `Forwarded` (RFC 7239) and `X-Forwarded-{For,Proto,Host}`, and whose word counts for them.

use std::{borrow::Cow, net::IpAddr, str::FromStr, sync::OnceLock};

use http::{HeaderMap, HeaderName, HeaderValue, header::FORWARDED};
use ipnet::IpNet;

use super::{append_list, host};

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// A name with a dot at its end, a colon and a port.
const HOST_BYTES: usize = 253 + 1 + 1 + 5;

/// What else programs believe about the client or the path, and only a proxy may say. `x-forwarded-*` as a whole belongs to them.
const BELIEVED: [&str; 12] = [
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-forwarded-for",
    "true-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
    "x-original-host",
    "x-original-url",
    "x-rewrite-url",
    "x-url-scheme",
    "front-end-https",
];

/// Peers whose word about the client is taken: proxies before the activator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// The addresses that only a network of one's own has: RFC 1918, RFC 6598 (pods of some clouds), RFC 4193 and the loopback interface. An
    /// ingress controller is nearly always before the activator and has one of these; without its word every client would have its
    /// address, and every page of an HTTPS site would think it is served without TLS. A client from the internet has none of
    /// them, unless a load balancer that rewrites addresses leads to the activator itself.
    pub const PRIVATE: &str =
        "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,100.64.0.0/10,127.0.0.0/8,fc00::/7,::1/128";

    /// The default.
    pub fn private() -> Self {
        Self::PRIVATE.parse().expect("these are networks")
    }

    /// Whether the word of this peer counts.
    pub fn trust(&self, peer: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&peer))
    }
}

impl FromStr for TrustedProxies {
    type Err = String;

    /// Networks and addresses, with commas between them; none if empty.
    fn from_str(list: &str) -> Result<Self, String> {
        let items = list
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty());
        let network = |item: &str| {
            let network = item
                .parse()
                .or_else(|_| item.parse::<IpAddr>().map(IpNet::from));
            network.map_err(|_| format!("{item} is no network; write it as in 10.0.0.0/8"))
        };
        items.map(network).collect::<Result<_, _>>().map(Self)
    }
}

/// The other end of a connection, and what every request on it says about it.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    pub(super) is_trusted: bool,
    /// In `X-Forwarded-For`.
    text: HeaderValue,
    /// In `Forwarded`.
    node: String,
    /// The host that the first request named, if it is one: those that follow name it too, next to always.
    first_host: OnceLock<Option<KnownHost>>,
}

/// A host, and what is made of it for every request that names it.
#[derive(Clone, Debug)]
pub(super) struct KnownHost {
    text: String,
    /// As routes know it.
    pub(super) host: String,
    /// `Forwarded`, if nobody else has said anything.
    forwarded: HeaderValue,
}

impl Peer {
    pub(crate) fn new(address: IpAddr, is_trusted: bool) -> Self {
        let text = HeaderValue::try_from(address.to_string()).expect("an address is ASCII");
        Self {
            address,
            is_trusted,
            text,
            node: node(Some(address)),
            first_host: OnceLock::new(),
        }
    }

    /// What is known of a host. The first call decides which one that is; there is nothing to know of another.
    pub(super) fn known_host(&self, text: &str) -> Option<&KnownHost> {
        let first = self.first_host.get_or_init(|| {
            // A client may write a port with zeros before it, and have them kept as long as its connection.
            let host = host::parse(text).filter(|_| text.len() <= HOST_BYTES)?;
            Some(KnownHost {
                text: text.to_owned(),
                host: host.into_owned(),
                forwarded: HeaderValue::try_from(element(&self.node, "http", text)).ok()?,
            })
        });
        first.as_ref().filter(|known| known.text == text)
    }

    /// `Forwarded` for a request about which nobody else has said anything.
    fn forwarded(&self, host: &str) -> Option<HeaderValue> {
        match self.known_host(host) {
            Some(known) => Some(known.forwarded.clone()),
            None => HeaderValue::try_from(element(&self.node, "http", host)).ok(),
        }
    }
}

/// Whether only a proxy may say this.
pub(super) fn is_believed(name: &str) -> bool {
    name.starts_with("x-forwarded-") || BELIEVED.contains(&name)
}

/// Whether this peer has no business to say it.
pub(super) fn is_forged(name: &HeaderName, peer: &Peer) -> bool {
    !peer.is_trusted && (*name == FORWARDED || is_believed(name.as_str()))
}

/// Says where the request came from, after what trusted proxies said. `is_said`: there were such fields, whether they are stripped or not.
pub(super) fn write(headers: &mut HeaderMap, host: &HeaderValue, peer: &Peer, is_said: bool) {
    if !is_said {
        headers.insert(PROTO, HeaderValue::from_static("http"));
        if let Some(list) = peer.forwarded(host.to_str().unwrap_or_default()) {
            headers.insert(FORWARDED, list);
        }
        headers.insert(HOST, host.clone());
        headers.insert(FOR, peer.text.clone());
        return;
    }
    let proto = proto(headers);
    headers.insert(PROTO, HeaderValue::from_static(proto));
    let said = headers.get(HOST).filter(|said| {
        let said = said.to_str().ok();
        said.and_then(host::parse).is_some()
    });
    let host = said.unwrap_or(host).clone();
    let list = if headers.contains_key(FORWARDED) {
        peer.node.clone()
    } else {
        chain(headers, peer, (proto, &host))
    };
    if let Ok(list) = HeaderValue::try_from(list) {
        append_list(headers, FORWARDED, list);
    }
    headers.insert(HOST, host);
    append_list(headers, FOR, peer.text.clone());
}

/// What the client spoke. With several proxies the first has said it.
fn proto(headers: &HeaderMap) -> &'static str {
    let said = headers.get(PROTO).and_then(|said| said.to_str().ok());
    let said = said.and_then(|said| said.split(',').next()).map(str::trim);
    match said {
        Some(said) if said.eq_ignore_ascii_case("https") => "https",
        _ => "http",
    }
}

/// `Forwarded` (RFC 7239 §4) made of the other three. Most proxies send only those, and programs that know `Forwarded` look at nothing else.
fn chain(headers: &HeaderMap, peer: &Peer, (proto, host): (&str, &HeaderValue)) -> String {
    let lines = headers.get_all(FOR).iter();
    let texts = lines.filter_map(|line| line.to_str().ok());
    let before = texts.flat_map(|text| text.split(','));
    let before = before.map(|said| Cow::Owned(node(said.trim().parse().ok())));
    let mut nodes = before.chain([Cow::Borrowed(&*peer.node)]);
    let host = host.to_str().unwrap_or_default();
    let first = element(&nodes.next().unwrap_or_default(), proto, host);
    nodes.fold(first, |list, next| list + ", " + &next)
}

/// A `forwarded-element` about the last hop.
fn element(node: &str, proto: &str, host: &str) -> String {
    let quote = if host.contains([':', '[']) { "\"" } else { "" };
    [node, ";host=", quote, host, quote, ";proto=", proto].concat()
}

/// Who is meant, as a `forwarded-element` says it (RFC 7239 §6).
fn node(address: Option<IpAddr>) -> String {
    match address {
        Some(IpAddr::V6(address)) => format!("for=\"[{address}]\""),
        Some(IpAddr::V4(address)) => format!("for={address}"),
        None => "for=unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests;
