//! What must hold for every input. `activator/fuzz` looks for inputs for which it does not; those it found interesting are tried by the tests.

use std::sync::Arc;

use crds::{
    entrypoint::{Limits, Timeouts},
    function::{OnDisconnect, PathMatch, Visibility},
};
use http::{Request, header::FORWARDED};
use percent_encoding::percent_decode;

use super::*;
use crate::{
    proxy::form::Form,
    routes::{Host, Route},
};

/// The routes of the function that answers; one of them is exact, and one has what looks like a parameter.
const PATHS: [(&str, PathMatch); 6] = [
    ("/", PathMatch::Prefix),
    ("/a", PathMatch::Prefix),
    ("/a/b", PathMatch::Prefix),
    ("/a/b/c", PathMatch::Exact),
    ("/b", PathMatch::Exact),
    ("/c;d", PathMatch::Prefix),
];

/// A head that may have all that Thaw asks for.
const EVERYTHING: Present = Present {
    form: true,
    asked: true,
    request_id: true,
    length: true,
    expect: true,
    cdn_loop: true,
    trailer: true,
    forwarded: true,
};

/// What is forwarded of a request is well formed itself, is matched as the request was, and has nothing that concerns another connection.
pub fn request(input: &[u8]) {
    let Some(mut parts) = head(input) else {
        return;
    };
    let peer = peer(true);
    let present = Present::of(&parts.headers);
    assert!(present.asked || Asked::of(&parts) == Asked::default());
    assert!(present.form || Form::of(&parts) == Form::default());
    assert!(present.request_id || !parts.headers.contains_key(REQUEST_ID));
    let target = check(&parts, present, &peer);
    let stranger = stranger(true);
    assert_eq!(target, check(&parts, EVERYTHING, &stranger));
    let Ok(target) = target else {
        return;
    };
    let (host, length) = (target.host.clone().into_owned(), target.length);
    if target.is_server {
        return;
    }
    let path = parts.uri.path().to_owned();
    let asked = Asked::of(&parts);
    prepare_twice(&mut parts, &asked, length, &peer);

    assert_eq!(parts.uri.path(), path, "the path is another");
    let written = parts.uri.to_string();
    assert!(written.starts_with('/'), "{written:?} is no target");
    assert!(parts.uri.authority().is_none());
    for (name, value) in &parts.headers {
        let is_line = !value
            .as_bytes()
            .iter()
            .any(|byte| matches!(byte, b'\r' | b'\n' | 0));
        assert!(is_line, "{name}");
    }
    for name in [
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "transfer-encoding",
        "proxy",
    ] {
        assert!(!parts.headers.contains_key(name), "{name}");
    }
    for (name, is_there) in [
        ("upgrade", asked.upgrade.is_some()),
        ("te", asked.trailers),
        ("connection", asked.upgrade.is_some() || asked.trailers),
    ] {
        assert_eq!(
            parts.headers.get_all(name).iter().count(),
            usize::from(is_there),
            "{name}"
        );
    }
    let again = match check(&parts, Present::of(&parts.headers), &peer) {
        Err(Failure::LoopDetected) => return,
        again => again.expect("what is passed on is well formed"),
    };
    assert_eq!((&*again.host, again.length), (&*host, length));
    let (before, asked) = (parts.headers.clone(), Asked::of(&parts));
    // A second activator changes only what says that there is one.
    prepare_twice(&mut parts, &asked, length, &peer);
    for name in before.keys() {
        let changes = [FORWARDED.as_str(), "x-forwarded-for", "cdn-loop"].contains(&name.as_str());
        let values =
            |headers: &HeaderMap| headers.get_all(name).iter().cloned().collect::<Vec<_>>();
        assert!(
            changes || values(&before) == values(&parts.headers),
            "{name}"
        );
    }
}

/// Every reading of a path that is forwarded leads to the same route.
pub fn route(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let (name, path) = text.split_once('\n').unwrap_or(("shop.test", text));
    if let Some(host) = host::parse(name) {
        assert!(!host.bytes().any(|byte| byte.is_ascii_uppercase()));
        // A name is a name again, and so is an address in its brackets.
        let again = if host.contains(':') {
            format!("[{host}]:80")
        } else {
            format!("{host}.:80")
        };
        assert_eq!(host::parse(&again).as_deref(), Some(&*host));
    }
    if path::check(path).is_err() {
        return;
    }
    let function = function();
    let Ok(found) = function.route(path) else {
        return;
    };
    for reading in every_reading(path, &found.path) {
        assert!(
            !reading
                .split('/')
                .any(|segment| matches!(segment, "." | "..")),
            "{reading:?} leaves"
        );
        let other = function.longest(&reading).map(|route| &route.path);
        assert_eq!(other, Some(&found.path), "{path:?} is read as {reading:?}");
    }
}

/// A peer that nobody trusts has no say in who the client is.
pub fn forwarded(input: &[u8]) {
    let Some(parts) = head(input) else {
        return;
    };
    let (peer, trusted_peer) = (peer(false), peer(true));
    if check(&parts, Present::of(&parts.headers), &peer).is_err() {
        return;
    }
    let [mut forged, mut plain, mut trusted] = [parts.clone(), parts.clone(), parts];
    let is_said = |name: &HeaderName| *name == FORWARDED || forwarded::is_believed(name.as_str());
    let said: Vec<_> = plain
        .headers
        .keys()
        .filter(|name| is_said(name))
        .cloned()
        .collect();
    for name in said {
        plain.headers.remove(name);
    }
    prepare_twice(&mut forged, &Asked::default(), None, &peer);
    prepare_twice(&mut plain, &Asked::default(), None, &peer);
    assert_eq!(forged.headers, plain.headers);
    for name in forged
        .headers
        .keys()
        .filter(|name| name.as_str().contains('_'))
    {
        let name = name.as_str().replace('_', "-");
        assert!(
            !forwarded::is_believed(&name) && !name.starts_with("thaw-"),
            "{name}"
        );
    }

    prepare_twice(&mut trusted, &Asked::default(), None, &trusted_peer);
    for headers in [&forged.headers, &trusted.headers] {
        let proto = headers["x-forwarded-proto"].as_bytes();
        assert!(matches!(proto, b"http" | b"https"));
        let host = headers["x-forwarded-host"]
            .to_str()
            .expect("a host is ASCII");
        assert!(host::parse(host).is_some(), "{host:?}");
        for name in [
            "forwarded",
            "x-forwarded-for",
            "cdn-loop",
            "x-request-id",
            "thaw-path-prefix",
        ] {
            assert_eq!(headers.get_all(name).iter().count(), 1, "{name}");
        }
        let ends_with = |name: &str, end: &[u8]| headers[name].as_bytes().ends_with(end);
        assert!(ends_with("x-forwarded-for", b"10.0.0.9"));
        let forwarded = headers["forwarded"].as_bytes();
        assert!(ends_with("forwarded", b"for=10.0.0.9") || forwarded.starts_with(b"for=10.0.0.9;"));
    }
}

/// A head of a text: a target, and fields, one a line. `None` if `http` takes it for none.
fn head(input: &[u8]) -> Option<Parts> {
    let mut lines = input.split(|&byte| byte == b'\n');
    let first = lines.next()?;
    let version = match first.first()? {
        b'2' => Version::HTTP_2,
        b'0' => Version::HTTP_10,
        _ => Version::HTTP_11,
    };
    let mut request = Request::builder().version(version).uri(&first[1..]);
    for line in lines {
        let colon = line.iter().position(|&byte| byte == b':')?;
        request = request.header(&line[..colon], line[colon + 1..].trim_ascii());
    }
    Some(request.body(()).ok()?.into_parts().0)
}

fn peer(is_trusted: bool) -> Peer {
    Peer::new("10.0.0.9".parse().expect("an address"), is_trusted)
}

/// One whose first request named another host.
fn stranger(is_trusted: bool) -> Peer {
    let stranger = peer(is_trusted);
    assert!(stranger.known_host("other.test").is_some());
    stranger
}

/// Prepares a head with and without what is known of it: that spares work, and changes nothing.
fn prepare_twice(parts: &mut Parts, asked: &Asked, length: Option<u64>, peer: &Peer) {
    let added = Added {
        id: &HeaderValue::from_static("r"),
        present: Present::of(&parts.headers),
        prefix: "/a",
        peer,
        asked,
        length,
        waits: false,
    };
    let mut same = parts.clone();
    prepare(parts, &added);
    let added = Added {
        present: EVERYTHING,
        peer: &stranger(peer.is_trusted),
        ..added
    };
    prepare(&mut same, &added);
    assert_eq!((&parts.headers, &parts.uri), (&same.headers, &same.uri));
}

fn function() -> Host {
    let route = |(path, path_match): (&str, PathMatch)| {
        let route = Route {
            path: path.to_owned(),
            path_match,
            entrypoint: path.to_owned(),
            target: Err(None),
            limits: Limits {
                queue: 1,
                request_bytes: 0,
                buffer_bytes: 0,
            },
            on_disconnect: OnDisconnect::Finish,
            timeouts: Timeouts {
                queue: None,
                boot: None,
                first_byte: None,
                idle: None,
                duration: None,
            },
        };
        (path.to_owned(), Arc::new(route))
    };
    Host {
        visibility: Visibility::Public,
        function: "shop".to_owned(),
        paths: PATHS.into_iter().map(route).collect(),
    }
}

/// The readings that servers are known to have, each made on its own and in no way as the rule does it. A route's own path is read as it is
/// written.
fn every_reading(path: &str, route: &str) -> Vec<String> {
    let own = route.trim_end_matches('/');
    let mut readings = vec![path[own.len()..].to_owned()];
    let steps: [fn(&str) -> String; 6] = [
        |text| {
            String::from_utf8_lossy(&percent_decode(text.as_bytes()).collect::<Vec<_>>())
                .into_owned()
        },
        // Segments first, each decoded on its own: a slash in one is no separator.
        |text| text.replace("%2f", "|").replace("%2F", "|"),
        |text| {
            text.split('/')
                .map(|s| s.split(';').next().unwrap_or(s))
                .collect::<Vec<_>>()
                .join("/")
        },
        |text| text.replace('\\', "/"),
        merged,
        |text| text.replace("%5c", "/").replace("%5C", "/"),
    ];
    // Each step at most once, in every order of importance: the subsets forwards and backwards.
    for order in [
        [0, 1, 2, 3, 4, 5],
        [1, 5, 2, 0, 3, 4],
        [4, 2, 0, 3, 1, 5],
        [2, 4, 1, 0, 3, 5],
    ] {
        for subset in 0..64_u8 {
            let chosen = order.iter().filter(|&&step| subset & (1 << step) != 0);
            readings.push(chosen.fold(readings[0].clone(), |text, &step| steps[step](&text)));
        }
    }
    let whole = |rest: &String| format!("{own}{rest}");
    let mut readings: Vec<String> = readings.iter().map(whole).collect();
    readings
        .iter_mut()
        .filter(|path| path.is_empty())
        .for_each(|path| path.push('/'));
    readings.sort_unstable();
    readings.dedup();
    readings
}

fn merged(text: &str) -> String {
    let mut text = text.to_owned();
    while text.contains("//") {
        text = text.replace("//", "/");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn what_the_fuzzer_found_holds() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        for (name, target) in [
            ("request", super::request as fn(&[u8])),
            ("route", super::route),
            ("forwarded", super::forwarded),
        ] {
            let inputs = std::fs::read_dir(corpus.join(name)).unwrap();
            let inputs: Vec<_> = inputs.map(|input| input.unwrap().path()).collect();
            assert!(!inputs.is_empty(), "{name}");
            for input in inputs {
                target(&std::fs::read(input).unwrap());
            }
        }
    }
}
