//! HTTP/2 as bytes, so that what no client library sends can be sent.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED_OR_PRIORITY: u8 = 0x28;

/// What became of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Status(u16),
    Reset,
    /// The whole connection ended.
    Gone,
}

/// Fields of a head or of trailers.
pub(crate) type Fields<'a> = &'a [(&'a str, &'a str)];

/// A frame with fields.
pub(crate) fn headers(stream: u32, fields: Fields<'_>, flags: u8) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        // Literal without indexing, new name (RFC 7541 §6.2.2), without Huffman coding.
        block.push(0);
        for text in [name, value] {
            // Beyond ASCII a character is one byte here.
            let bytes: Vec<u8> = text.chars().map(|c| u8::try_from(c).unwrap()).collect();
            assert!(bytes.len() < 127, "a longer length takes more bytes");
            block.push(bytes.len() as u8);
            block.extend(bytes);
        }
    }
    frame(HEADERS, flags | END_HEADERS, stream, &block)
}

/// The whole head of a request without a body.
pub(crate) fn last_headers(stream: u32, fields: Fields<'_>) -> Vec<u8> {
    headers(stream, fields, END_STREAM)
}

pub(crate) fn last_data(stream: u32, bytes: &[u8]) -> Vec<u8> {
    frame(DATA, END_STREAM, stream, bytes)
}

pub(crate) fn data(stream: u32, bytes: &[u8]) -> Vec<u8> {
    frame(DATA, 0, stream, bytes)
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Sends these frames on a connection of their own, and says what became of the streams 1, 3 and so on.
pub(crate) async fn exchange<const N: usize>(to: SocketAddr, frames: &[u8]) -> [Outcome; N] {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let opening = [PREFACE, &frame(SETTINGS, 0, 0, &[]), frames].concat();
    stream.write_all(&opening).await.unwrap();
    let mut outcomes = [None; N];
    let reading = async {
        while outcomes.contains(&None) {
            let Some((kind, flags, id, payload)) = read(&mut stream).await else {
                break;
            };
            let outcome = match kind {
                HEADERS => Outcome::Status(status(flags, &payload)),
                RST_STREAM => Outcome::Reset,
                GOAWAY => break,
                _ => continue,
            };
            outcomes[id as usize / 2].get_or_insert(outcome);
        }
    };
    let ended = timeout(Duration::from_secs(30), reading).await;
    assert!(ended.is_ok(), "nothing becomes of a stream: {outcomes:?}");
    outcomes.map(|outcome| outcome.unwrap_or(Outcome::Gone))
}

async fn read(stream: &mut TcpStream) -> Option<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let [a, b, c, kind, flags, id @ ..] = head;
    let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
    stream.read_exact(&mut payload).await.ok()?;
    Some((kind, flags, u32::from_be_bytes(id), payload))
}

/// `:status` comes first, and is in the static table (RFC 7541, appendix A) or a literal with three digits.
fn status(flags: u8, block: &[u8]) -> u16 {
    assert_eq!(flags & PADDED_OR_PRIORITY, 0, "hyper writes neither");
    match block {
        [0x88, ..] => 200,
        [0x89, ..] => 204,
        [0x8c, ..] => 400,
        [0x8d, ..] => 404,
        other => panic!("another status: {other:?}"),
    }
}
