//! The path of a request: one text that is both matched and forwarded, byte for byte.
//!
//! Servers read a path in different ways: they decode it or not, drop empty segments and `;parameters` or not, take `\` for `/` or not.
//! If Thaw chose one of them, functions would get another path than the client sent, and its choice would be wrong for some function.
//! So nothing is changed. What is refused instead, with 400:
//! - what no path may hold (RFC 3986 §3.3): a backslash, bytes beyond ASCII, a `%` that is no escape, an escaped control character;
//! - an encoded slash or backslash in a segment's `;parameters`: whether it ends them is where readers differ most;
//! - a segment that is `.` or `..` in any spelling, encoded, with parameters or between encoded slashes: its reader leaves the entrypoint;
//! - what another reading would bring to *another entrypoint* of the function ([`Host::route`](crate::routes::Host::route)).
//!
//! `/files/a%2Fb`, `/search/C%2B%2B;v=1` and `//` are thus fine wherever they mean the same entrypoint to every reader. Two things are not
//! seen: servers that decode twice, and those that ignore case.

use std::borrow::Cow;

use percent_encoding::percent_decode;

/// Checks a path.
///
/// # Errors
/// What is wrong, for the client.
pub(crate) fn check(path: &str) -> Result<(), &'static str> {
    if !path.starts_with('/') {
        return Err("the request target is not a path");
    }
    let bytes = path.as_bytes();
    let (mut is_escaped, mut is_parameter) = (false, false);
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            b'\\' => return Err("the path has a backslash; send %5C"),
            0x80.. => return Err("the path is not ASCII; percent-encode it"),
            0..0x20 | 0x7f => return Err("the path has a control character"),
            b'/' => is_parameter = false,
            b';' => is_parameter = true,
            b'%' => {
                is_escaped = true;
                match escape(&bytes[at + 1..])? {
                    b'/' | b'\\' if is_parameter => {
                        return Err("the path has an encoded slash in a parameter");
                    }
                    escaped => is_parameter |= escaped == b';',
                }
            }
            _ => {}
        }
    }
    let may_have_dots = is_escaped || path.contains("/.");
    if may_have_dots && segments(&reading(path)).any(is_dots) {
        return Err("the path has a . or .. segment; send the path itself");
    }
    Ok(())
}

/// The byte that is escaped here, behind a `%`.
fn escape(rest: &[u8]) -> Result<u8, &'static str> {
    let digit = |at: usize| char::from(*rest.get(at)?).to_digit(16);
    let byte = digit(0)
        .zip(digit(1))
        .and_then(|(high, low)| u8::try_from(high << 4 | low).ok());
    match byte {
        Some(0..0x20 | 0x7f) => Err("the path has an escaped control character"),
        Some(byte) => Ok(byte),
        None => Err("the path has a % that is not followed by two hexadecimal digits"),
    }
}

/// Whether every server reads this path alike.
pub(crate) fn is_plain(path: &str) -> bool {
    !path.bytes().any(|byte| matches!(byte, b'%' | b';' | b'\\')) && !path.contains("//")
}

/// The reading that reaches deepest: all is decoded. Together with [`segments`], which drops all that may be dropped, it comes by every
/// entrypoint that another reading comes by.
pub(crate) fn reading(path: &str) -> Cow<'_, [u8]> {
    Cow::from(percent_decode(path.as_bytes()))
}

/// The segments of a reading, without parameters and empty ones.
pub(crate) fn segments(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| matches!(byte, b'/' | b'\\'))
        .map(without_parameters)
        .filter(|segment| !segment.is_empty())
}

fn without_parameters(segment: &[u8]) -> &[u8] {
    let end = segment.iter().position(|&byte| byte == b';');
    &segment[..end.unwrap_or(segment.len())]
}

fn is_dots(segment: &[u8]) -> bool {
    matches!(segment, b"." | b"..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_segments_are_refused_in_every_spelling() {
        for path in [
            "/.",
            "/..",
            "/a/../b",
            "/a/./b",
            "/a/%2E%2e/b",
            "/a/.%2e",
            "/a/..;x=1/b",
            "/a/..;",
            "/a/%2e%2e;/b",
            "/a%2f..%2fb",
            "/a/..%2fb",
            "/a%5C..%5Cb",
            "/a/..%5cb",
            "/a;x%2f../b",
            "/a/%2e",
            "/..%3bx/b",
        ] {
            assert!(check(path).is_err(), "{path}");
        }
    }

    #[test]
    fn dots_inside_segments_and_encoded_text_are_fine() {
        for path in [
            "/",
            "//",
            "/a.b",
            "/...",
            "/.well-known/x",
            "/a%2Fb",
            "/v1..2",
            "/@s%2fname",
            "/J%C3%B6rg",
            "/a;b=c",
            "/%ff",
            "/a%20b",
            "/100%25",
            "/a|b",
        ] {
            assert!(check(path).is_ok(), "{path}");
        }
    }

    #[test]
    fn what_no_path_may_hold_is_refused() {
        for path in [
            "",
            "*",
            "a",
            "?x",
            "/a\\b",
            "/\u{e9}",
            "/%",
            "/%2",
            "/%zz",
            "/%u002e",
            "/%00",
            "/a%0d%0ab",
            "/%7f",
            "/%1F",
            "/a%",
            "/a;b%2fc",
            "/a%3bb%5Cc",
        ] {
            assert!(check(path).is_err(), "{path}");
        }
    }

    #[test]
    fn a_reading_is_decoded_and_has_no_parameters() {
        let text = reading("/%61;x=%41//b%2Fc%5Cd%3By");
        let segments: Vec<_> = segments(&text).map(String::from_utf8_lossy).collect();
        assert_eq!(segments, ["a", "b", "c", "d"]);
    }
}
