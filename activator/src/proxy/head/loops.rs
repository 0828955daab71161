//! Functions that call themselves through the activator.
//!
//! Every request to a function carries one `thaw` more in `CDN-Loop` (RFC 8586), the field that is made for this and that no intermediary may
//! take away. `Via` would do as well, but common servers stop compressing when they see it.
//!
//! What it can see: loops through functions that pass on the headers they got, as reverse proxies and gateways do. A program that makes a
//! request of its own leaves it out, as it leaves out every header but those it knows; such a loop looks like traffic, and ends at
//! `scale.max` and the clocks.

use http::{HeaderMap, HeaderName, HeaderValue};

/// RFC 8586.
pub(super) const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// What one passage adds.
const MARK: &str = "thaw";
/// A request may come by this often.
const MOST: usize = 16;

/// Whether the request has come by too often.
pub(super) fn is_loop(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(CDN_LOOP).iter();
    let members = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
    let marks = members.filter(|member| {
        let id = member.split(|&byte| byte == b';').next();
        id.is_some_and(|id| id.trim_ascii().eq_ignore_ascii_case(MARK.as_bytes()))
    });
    marks.count() >= MOST
}

/// Notes this passage.
pub(super) fn mark(headers: &mut HeaderMap) {
    super::append_list(headers, CDN_LOOP, HeaderValue::from_static(MARK));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seventeenth_passage_is_one_too_many() {
        let mut headers = HeaderMap::new();
        headers.append(CDN_LOOP, "other; v=\"thaw\", thawed".parse().unwrap());
        for passage in 1..=16 {
            assert!(!is_loop(&headers), "{passage}");
            mark(&mut headers);
        }
        assert!(is_loop(&headers));
        assert!(
            headers[CDN_LOOP]
                .to_str()
                .unwrap()
                .starts_with("other; v=\"thaw\", thawed, thaw, thaw")
        );
    }
}
