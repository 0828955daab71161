//! Where a request ends: RFC 9112 §6 and §7. What follows such a request is never taken for one.

use crate::{
    rig::Rig,
    table::{Case, by_hyper, judge, once, passes, refused},
};

const CASES: &[Case] = &[
    passes("no body", b"POST / HTTP/1.1\n$H\n\n", "POST / HTTP/1.1\n\n"),
    passes("a length", b"POST / HTTP/1.1\n$H\ncontent-length: 3\n\nabc", "POST / HTTP/1.1\ncontent-length: 3\n\nabc"),
    passes("a length of nothing", b"POST / HTTP/1.1\n$H\ncontent-length: 0\n\n", "POST / HTTP/1.1\ncontent-length: 0\n\n"),
    passes("a body of GET", b"GET / HTTP/1.1\n$H\ncontent-length: 3\n\nabc", "GET / HTTP/1.1\ncontent-length: 3\n\nabc"),
    passes("a body that looks like a request", b"POST / HTTP/1.1\n$H\ncontent-length: 60\n\n$S", "POST / HTTP/1.1\ncontent-length: 60\n\nGET /smuggled HTTP/1.1\nhost: shop.test\nx-request-id: r\n\n"),
    passes("a length with zeros", b"POST / HTTP/1.1\n$H\ncontent-length: 003\n\nabc", "POST / HTTP/1.1\ncontent-length: 3\n\nabc"),
    passes("the same length twice (6.3)", b"POST / HTTP/1.1\n$H\ncontent-length: 3\ncontent-length: 3\n\nabc", "POST / HTTP/1.1\ncontent-length: 3\n\nabc"),
    passes("chunks", b"POST / HTTP/1.1\n$H\ntransfer-encoding: chunked\n\n3\nabc\n0\n\n", "POST / HTTP/1.1\ntransfer-encoding: chunked\n\n3\nabc\n0\n\n"),
    passes("chunks of nothing", b"POST / HTTP/1.1\n$H\ntransfer-encoding: chunked\n\n0\n\n", "POST / HTTP/1.1\ntransfer-encoding: chunked\n\n0\n\n"),
    passes("chunks of GET", b"GET / HTTP/1.1\n$H\ntransfer-encoding: chunked\n\n1\na\n0\n\n", "GET / HTTP/1.1\ntransfer-encoding: chunked\n\n1\na\n0\n\n"),
    passes("the coding in capitals (7)", b"POST / HTTP/1.1\n$H\nTransfer-Encoding: Chunked\n\n1\na\n0\n\n", "POST / HTTP/1.1\ntransfer-encoding: chunked\n\n1\na\n0\n\n"),
    passes("spaces around the coding", b"POST / HTTP/1.1\n$H\ntransfer-encoding: \tchunked \n\n1\na\n0\n\n", "POST / HTTP/1.1\ntransfer-encoding: chunked\n\n1\na\n0\n\n"),
    passes("sizes in hexadecimal with zeros", b"POST / HTTP/1.1\n$H\ntransfer-encoding: chunked\n\n000A\n0123456789\n000\n\n", "POST / HTTP/1.1\ntransfer-encoding: chunked\n\nA\n0123456789\n0\n\n"),
    passes("extensions of chunks are dropped (7.1.1)", b"POST / HTTP/1.1\n$H\ntransfer-encoding: chunked\n\n1;a=b\nx\n0;c\n\n", "POST / HTTP/1.1\ntransfer-encoding: chunked\n\n1\nx\n0\n\n"),
    passes("trailers that are announced are passed on, but for those that frame or route (6.5.1)", b"POST / HTTP/1.1\n$H\ntransfer-encoding: chunked\ntrailer: a, host, x-forwarded-for\n\n1\nx\n0\na: b\nhost: other.test\nx-forwarded-for: 1.2.3.4\n\n", "POST / HTTP/1.1\ntransfer-encoding: chunked\ntrailer: a, host\n\n1\nx\n0\na: b\n\n"),
    passes("trailers that are not announced are dropped (7.1.2)", b"POST / HTTP/1.1\n$H\ntransfer-encoding: chunked\n\n1\nx\n0\na: b\n\n", "POST / HTTP/1.1\ntransfer-encoding: chunked\n\n1\nx\n0\n\n"),
    passes("100-continue is passed on, since the next server may know it (RFC 9110, 10.1.1)", b"POST / HTTP/1.1\n$H\nexpect: 100-continue\n\n", "POST / HTTP/1.1\nexpect: 100-continue\n\n"),
    once("a length beside chunks is none (6.3), and the connection ends", b"POST / HTTP/1.1\n$H\ncontent-length: 6\ntransfer-encoding: chunked\n\n0\n\n$S", "POST / HTTP/1.1\ntransfer-encoding: chunked\n\n0\n\n"),
    once("a length after chunks is none", b"POST / HTTP/1.1\n$H\ntransfer-encoding: chunked\ncontent-length: 6\n\n0\n\n$S", "POST / HTTP/1.1\ntransfer-encoding: chunked\n\n0\n\n"),
];

const REFUSED: &[Case] = &[
    by_hyper(
        "two lengths",
        b"POST / HTTP/1.1\n$H\ncontent-length: 0\ncontent-length: 60\n\n$S",
        400,
    ),
    by_hyper(
        "two lengths in one line",
        b"POST / HTTP/1.1\n$H\ncontent-length: 0, 53\n\n$S",
        400,
    ),
    by_hyper(
        "the same length twice in one line",
        b"POST / HTTP/1.1\n$H\ncontent-length: 3, 3\n\nabc$S",
        400,
    ),
    by_hyper(
        "a length with a sign",
        b"POST / HTTP/1.1\n$H\ncontent-length: +3\n\nabc$S",
        400,
    ),
    by_hyper(
        "a length below nothing",
        b"POST / HTTP/1.1\n$H\ncontent-length: -1\n\n$S",
        400,
    ),
    by_hyper(
        "a length in hexadecimal",
        b"POST / HTTP/1.1\n$H\ncontent-length: 0x3\n\nabc$S",
        400,
    ),
    by_hyper(
        "a length with a fraction",
        b"POST / HTTP/1.1\n$H\ncontent-length: 3.0\n\nabc$S",
        400,
    ),
    by_hyper(
        "a length with a space",
        b"POST / HTTP/1.1\n$H\ncontent-length: 1 1\n\nabc$S",
        400,
    ),
    by_hyper(
        "a length that is empty",
        b"POST / HTTP/1.1\n$H\ncontent-length:\n\n$S",
        400,
    ),
    by_hyper(
        "a length that is a word",
        b"POST / HTTP/1.1\n$H\ncontent-length: chunked\n\n$S",
        400,
    ),
    by_hyper(
        "a length beyond 64 bits",
        b"POST / HTTP/1.1\n$H\ncontent-length: 18446744073709551616\n\n$S",
        400,
    ),
    by_hyper(
        "the longest length of 64 bits",
        b"POST / HTTP/1.1\n$H\ncontent-length: 18446744073709551615\n\n$S",
        431,
    ),
    by_hyper(
        "chunks and a length that is none",
        b"POST / HTTP/1.1\n$H\ncontent-length: x\ntransfer-encoding: chunked\n\n0\n\n$S",
        400,
    ),
    by_hyper(
        "chunks in HTTP/1.0 (6.1)",
        b"POST / HTTP/1.0\n$H\ntransfer-encoding: chunked\n\n0\n\n$S",
        400,
    ),
    by_hyper(
        "another coding",
        b"POST / HTTP/1.1\n$H\ntransfer-encoding: gzip\n\n0\n\n$S",
        400,
    ),
    by_hyper(
        "identity",
        b"POST / HTTP/1.1\n$H\ntransfer-encoding: identity\n\n0\n\n$S",
        400,
    ),
    by_hyper(
        "no coding",
        b"POST / HTTP/1.1\n$H\ntransfer-encoding:\n\n0\n\n$S",
        400,
    ),
    by_hyper(
        "chunks that are not last",
        b"POST / HTTP/1.1\n$H\ntransfer-encoding: chunked, gzip\n\n0\n\n$S",
        400,
    ),
    by_hyper(
        "a word that begins like chunked",
        b"POST / HTTP/1.1\n$H\ntransfer-encoding: chunkedx\n\n0\n\n$S",
        400,
    ),
    by_hyper(
        "a parameter of chunked",
        b"POST / HTTP/1.1\n$H\ntransfer-encoding: chunked;a\n\n0\n\n$S",
        400,
    ),
    by_hyper(
        "a quoted coding",
        b"POST / HTTP/1.1\n$H\ntransfer-encoding: \"chunked\"\n\n0\n\n$S",
        400,
    ),
    by_hyper(
        "a vertical tab before the coding",
        b"POST / HTTP/1.1\n$H\ntransfer-encoding: \x0bchunked\n\n0\n\n$S",
        400,
    ),
    by_hyper(
        "a space before its colon",
        b"POST / HTTP/1.1\n$H\ntransfer-encoding : chunked\n\n0\n\n$S",
        400,
    ),
    by_hyper(
        "a folded coding",
        b"POST / HTTP/1.1\n$H\ntransfer-encoding:\n chunked\n\n0\n\n$S",
        400,
    ),
    by_hyper(
        "codings in two lines, the last another",
        b"POST / HTTP/1.1\n$H\ntransfer-encoding: chunked\ntransfer-encoding: identity\n\n0\n\n$S",
        400,
    ),
    refused(
        "two codings",
        b"POST / HTTP/1.1\n$H\ntransfer-encoding: gzip, chunked\n\n0\n\n$S",
    ),
    refused(
        "chunked twice",
        b"POST / HTTP/1.1\n$H\ntransfer-encoding: chunked, chunked\n\n0\n\n$S",
    ),
    refused(
        "chunked in two lines",
        b"POST / HTTP/1.1\n$H\ntransfer-encoding: chunked\ntransfer-encoding: chunked\n\n0\n\n$S",
    ),
    refused(
        "codings in two lines",
        b"POST / HTTP/1.1\n$H\ntransfer-encoding: identity\ntransfer-encoding: chunked\n\n0\n\n$S",
    ),
    refused(
        "an empty member before",
        b"POST / HTTP/1.1\n$H\ntransfer-encoding: ,chunked\n\n0\n\n$S",
    ),
    refused(
        "bytes beyond ASCII in an earlier coding",
        b"POST / HTTP/1.1\n$H\ntransfer-encoding: \xff\ntransfer-encoding: chunked\n\n0\n\n$S",
    ),
];

#[tokio::test]
async fn bodies() {
    judge(&Rig::start().await, CASES).await;
    judge(&Rig::start().await, REFUSED).await;
}

/// The head is fine and the function has begun: it sees the body break off, and what follows is nobody's request.
#[tokio::test]
async fn chunks_that_are_malformed_end_both_connections() {
    let rig = Rig::start().await;
    for chunks in [
        "x\nabc\n0\n\n",
        "-1\nabc\n0\n\n",
        "0x3\nabc\n0\n\n",
        "3 \nabcd\n0\n\n",
        "3\nabcd\n0\n\n",
        "3{LF}abc{CR}x0\n\n",
        "11111111111111111\na\n0\n\n",
        "\nabc\n0\n\n",
        "3;a{CR}b\nabc\n0\n\n",
        "3\nabc0\n\n",
    ] {
        let sent = format!("POST / HTTP/1.1\n$H\ntransfer-encoding: chunked\n\n{chunks}$S");
        let answers = rig.exchange(&crate::table::wire(sent.as_bytes())).await;
        let heard = rig.heard();
        let is_whole = |request: &&String| !request.starts_with("half a request");
        assert!(
            answers.matches("HTTP/1.1 ").count() <= 1,
            "{chunks:?} {answers}"
        );
        assert!(
            !answers.starts_with("HTTP/1.1 200 "),
            "{chunks:?} {answers}"
        );
        assert_eq!(
            heard.iter().filter(is_whole).count(),
            0,
            "{chunks:?} {heard:?}"
        );
    }
}
