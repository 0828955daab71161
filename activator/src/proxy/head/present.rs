//! Which of the fields that Thaw asks for are in a head.

use http::{
    HeaderMap, HeaderName,
    header::{
        ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, FORWARDED, TE, TRAILER, TRANSFER_ENCODING,
        UPGRADE,
    },
};

use super::{REQUEST_ID, forwarded::is_believed, loops::CDN_LOOP};

/// Found in one pass over what is there, since few of them are: to ask for each one takes longer than all else that is checked. False: the
/// head has no such field. True: it may be worth a look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Present {
    /// `accept` or `content-type`: what an answer of Thaw's own looks like.
    pub(crate) form: bool,
    /// `te` or `upgrade`: what is asked of the connection to the instance.
    pub(crate) asked: bool,
    pub(crate) request_id: bool,
    /// `content-length` or `transfer-encoding`.
    pub(super) length: bool,
    pub(super) expect: bool,
    pub(super) cdn_loop: bool,
    pub(super) trailer: bool,
    /// Something about the client that only a proxy may say.
    pub(super) forwarded: bool,
}

impl Present {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut present = Self::default();
        for name in headers.keys() {
            let is = |field: HeaderName| *name == field;
            present.form |= is(ACCEPT) || is(CONTENT_TYPE);
            present.asked |= is(TE) || is(UPGRADE);
            present.request_id |= is(REQUEST_ID);
            present.length |= is(CONTENT_LENGTH) || is(TRANSFER_ENCODING);
            present.expect |= is(EXPECT);
            present.cdn_loop |= is(CDN_LOOP);
            present.trailer |= is(TRAILER);
            present.forwarded |= is(FORWARDED) || is_believed(name.as_str());
        }
        present
    }
}
