//! One entry of a table, and its judge.
//!
//! In what is sent and heard, a line ends with `\n` for CR LF; `{LF}` and `{CR}` are these bytes alone, `$H` is the host with an id, and `$S`
//! is the request `/smuggled`. After each entry comes a request `/next` on the same connection: where a head is refused, nobody may
//! hear it.

use crate::rig::Rig;

/// One entry.
pub(crate) struct Case {
    why: &'static str,
    sent: &'static [u8],
    verdict: Verdict,
}

enum Verdict {
    /// The function hears these bytes, the fields in any order and without those that Thaw always adds; then it hears `/next`.
    Passes(&'static str),
    /// The same, but the connection ends with the answer.
    PassesOnce(&'static str),
    /// Thaw answers, and the connection ends.
    Refused(u16, &'static str),
    /// Thaw answers, and goes on.
    Answered(u16),
    /// What hyper refuses is told in words of ours, and the connection ends.
    ByHyper(u16),
}

pub(crate) const fn passes(why: &'static str, sent: &'static [u8], heard: &'static str) -> Case {
    let verdict = Verdict::Passes(heard);
    Case { why, sent, verdict }
}

pub(crate) const fn once(why: &'static str, sent: &'static [u8], heard: &'static str) -> Case {
    let verdict = Verdict::PassesOnce(heard);
    Case { why, sent, verdict }
}

pub(crate) const fn refused(why: &'static str, sent: &'static [u8]) -> Case {
    coded(why, sent, 400, "BadRequest")
}

pub(crate) const fn coded(
    why: &'static str,
    sent: &'static [u8],
    status: u16,
    code: &'static str,
) -> Case {
    let verdict = Verdict::Refused(status, code);
    Case { why, sent, verdict }
}

pub(crate) const fn answered(why: &'static str, sent: &'static [u8], status: u16) -> Case {
    let verdict = Verdict::Answered(status);
    Case { why, sent, verdict }
}

/// What hyper refuses before Thaw sees it. The place to tighten when Thaw answers for it: the body may be empty today.
pub(crate) const fn by_hyper(why: &'static str, sent: &'static [u8], status: u16) -> Case {
    let verdict = Verdict::ByHyper(status);
    Case { why, sent, verdict }
}

/// Judges a table. What is refused comes first, and nothing may have booted for it.
pub(crate) async fn judge(rig: &Rig, cases: &[Case]) {
    let mut wrong = Vec::new();
    let passing =
        |case: &&Case| matches!(case.verdict, Verdict::Passes(_) | Verdict::PassesOnce(_));
    for case in cases.iter().filter(|case| !passing(case)) {
        case.judge(rig, &mut wrong).await;
    }
    // `/next` after OPTIONS * is a request like any other.
    if !cases
        .iter()
        .any(|case| matches!(case.verdict, Verdict::Answered(_)))
        && rig.boots() > 0
    {
        wrong.push("something booted for a request that was refused".to_owned());
    }
    for case in cases.iter().filter(passing) {
        case.judge(rig, &mut wrong).await;
    }
    let count = (wrong.len(), cases.len());
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        count.0,
        count.1,
        wrong.join("\n")
    );
}

impl Case {
    async fn judge(&self, rig: &Rig, wrong: &mut Vec<String>) {
        let mut bytes = wire(self.sent);
        bytes.extend(wire(b"GET /next HTTP/1.1\n$H\nconnection: close\n\n"));
        let answers = rig.exchange(&bytes).await;
        let heard: Vec<String> = rig
            .heard()
            .iter()
            .map(|request| in_order(request))
            .collect();
        let next = expected("GET /next HTTP/1.1\n\n");
        let count = answers.matches("HTTP/1.1 ").count() + answers.matches("HTTP/1.0 ").count();
        let begins = |status: u16| {
            let first = answers.get(8..12);
            answers.starts_with("HTTP/1.") && first == Some(&format!(" {status}"))
        };
        let is_right = match self.verdict {
            Verdict::Passes(text) => begins(200) && count == 2 && heard == [expected(text), next],
            Verdict::PassesOnce(text) => begins(200) && count == 1 && heard == [expected(text)],
            Verdict::Refused(status, code) => {
                let code = format!("\r\nthaw-error: {code}\r\n");
                begins(status) && count == 1 && answers.contains(&code) && heard.is_empty()
            }
            Verdict::Answered(status) => begins(status) && count == 2 && heard == [next],
            Verdict::ByHyper(status) => {
                let is_thaws = answers.contains("\r\nthaw-error: ") && answers.ends_with('}');
                begins(status) && is_thaws && count == 1 && heard.is_empty()
            }
        };
        if !is_right {
            wrong.push(format!(
                "- {}\n  answers {answers:?}\n  heard {heard:#?}",
                self.why
            ));
        }
    }
}

/// The bytes of a text.
pub(crate) fn wire(text: &[u8]) -> Vec<u8> {
    let smuggled = b"GET /smuggled HTTP/1.1\n$H\n\n";
    let mut bytes = text.to_vec();
    for (short, long) in [
        (&b"$S"[..], &smuggled[..]),
        (b"$H", b"host: shop.test\nx-request-id: r"),
        (b"\n", b"\r\n"),
        (b"{LF}", b"\n"),
        (b"{CR}", b"\r"),
    ] {
        bytes = replaced(&bytes, short, long);
    }
    bytes
}

fn replaced(bytes: &[u8], short: &[u8], long: &[u8]) -> Vec<u8> {
    let (mut rest, mut out) = (bytes, Vec::new());
    while let Some(at) = rest.windows(short.len()).position(|part| part == short) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(long);
        rest = &rest[at + short.len()..];
    }
    out.extend_from_slice(rest);
    out
}

/// The same request with its fields in order: theirs among different names says nothing (RFC 9110 §5.3).
pub(crate) fn in_order(request: &str) -> String {
    let (head, body) = request.split_once("\r\n\r\n").unwrap_or((request, ""));
    let mut lines: Vec<&str> = head.split("\r\n").collect();
    if let Some(fields) = lines.get_mut(1..) {
        fields.sort_unstable();
    }
    format!("{}\n\n{body}", lines.join("\n"))
}

/// What the function should hear: what is written in the table, and for every name that is not there what Thaw always adds.
pub(crate) fn expected(text: &str) -> String {
    let (head, body) = text.split_once("\n\n").unwrap();
    let lines: Vec<&str> = head.split('\n').collect();
    let value = |name: &str| {
        let mut values = lines.iter().filter_map(|line| line.split_once(": "));
        values.find(|line| line.0 == name).map(|line| line.1)
    };
    let host = value("host").unwrap_or("shop.test");
    let quote = if host.contains(':') { "\"" } else { "" };
    let mut head = head.to_owned();
    for (name, usual) in [
        ("host", host),
        ("x-request-id", "r"),
        ("thaw-path-prefix", "/"),
        ("cdn-loop", "thaw"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", host),
        (
            "forwarded",
            &format!("for=127.0.0.1;host={quote}{host}{quote};proto=http"),
        ),
    ] {
        if value(name).is_none() {
            head += &format!("\n{name}: {usual}");
        }
    }
    in_order(&format!(
        "{}\r\n\r\n{}",
        head.replace('\n', "\r\n"),
        body.replace('\n', "\r\n")
    ))
}
