//! A request while it waits for a slot.

use http::{HeaderMap, HeaderValue, Request, Uri};
use hyper::body::Bytes;

use super::upload::{InstanceRequest, RequestFault};
use crate::entrypoint::Entrypoint;

/// Reads this much of its body, and then waits for ever. Ends only if the client does something wrong.
pub(super) async fn wait(
    request: &mut InstanceRequest,
    entrypoint: &Entrypoint,
    ahead: u64,
) -> RequestFault {
    detach(request);
    request.body_mut().read_ahead(entrypoint, ahead).await
}

/// Copies what is a part of the buffer that the head was read into, so that the buffer is free: it has 8 KiB, most heads a tenth of that.
fn detach<B>(request: &mut Request<B>) {
    let uri = Uri::from_maybe_shared(Bytes::from(request.uri().to_string()));
    if let Ok(uri) = uri {
        *request.uri_mut() = uri;
    }
    detach_values(request.headers_mut());
}

fn detach_values(headers: &mut HeaderMap) {
    // One allocation for all of them.
    let mut all = Vec::with_capacity(headers.values().map(HeaderValue::len).sum());
    for value in headers.values() {
        all.extend_from_slice(value.as_bytes());
    }
    let mut rest = Bytes::from(all);
    for value in headers.values_mut() {
        let copy = rest.split_to(value.len());
        if let Ok(mut copy) = HeaderValue::from_maybe_shared(copy) {
            copy.set_sensitive(value.is_sensitive());
            *value = copy;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_waits_says_the_same_and_shares_nothing_with_what_was_read() {
        let read = Bytes::from_static(b"/a?b=c twotwo x secret");
        let value = |range| HeaderValue::from_maybe_shared(read.slice(range)).unwrap();
        let mut secret = value(16..22);
        secret.set_sensitive(true);
        let mut request = Request::builder()
            .uri(Uri::from_maybe_shared(read.slice(0..6)).unwrap())
            .header("one", value(7..10))
            .header("one", value(10..13))
            .header("empty", "")
            .header("secret", secret)
            .body(())
            .unwrap();
        let before = (request.uri().clone(), request.headers().clone());
        detach(&mut request);
        assert_eq!((request.uri(), request.headers()), (&before.0, &before.1));
        assert!(request.headers()["secret"].is_sensitive());
        let is_in_it = |text: &[u8]| read.as_ptr_range().contains(&text.as_ptr());
        assert!(is_in_it(before.0.path().as_bytes()) && is_in_it(before.1["secret"].as_bytes()));
        assert!(!is_in_it(request.uri().path().as_bytes()));
        assert!(
            !request
                .headers()
                .values()
                .any(|value| is_in_it(value.as_bytes()))
        );
    }

    #[test]
    fn every_form_of_a_target_stays_what_it_is() {
        for target in ["/", "/a%20b?c", "*", "http://a.b/c?d"] {
            let mut request = Request::builder().uri(target).body(()).unwrap();
            let before = request.uri().clone();
            detach(&mut request);
            assert_eq!(request.uri(), &before);
            assert_eq!(request.uri().to_string(), before.to_string());
        }
    }
}
