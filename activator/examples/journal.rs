//! A function for the storm of local mode: it writes down each of its invocations, and behaves as it is asked to.
//!
//! Its lines: `begin ID MICROSECONDS` since the epoch, `end ID`, `overlap ID` where another had not ended, and `crash` before it exits. What
//! a query may ask for, all in milliseconds or bytes: `sleep`, `pieces` of `size` with a `pause` before each but the first, and `die` at the
//! `head`, in the `body` or `after` the answer.
#![allow(
    clippy::disallowed_methods,
    reason = "it is a program of its own, without runtime"
)]

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::exit,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

fn main() -> io::Result<()> {
    let variable = |name| std::env::var(name).map_err(io::Error::other);
    let journal = Arc::new(Journal::new(Path::new(&variable("JOURNAL")?))?);
    let listener = TcpListener::bind(format!("127.0.0.1:{}", variable("PORT")?))?;
    for stream in listener.incoming() {
        let (stream, journal) = (stream?, journal.clone());
        // A connection that breaks is the client's affair.
        thread::spawn(move || answer_all(&stream, &journal).ok());
    }
    Ok(())
}

/// What happened in this process.
struct Journal {
    /// No process had it before.
    name: String,
    lines: File,
    inside: AtomicUsize,
}

impl Journal {
    fn new(place: &Path) -> io::Result<Self> {
        // Process ids come back.
        let name = format!("{}-{}", std::process::id(), now().as_nanos());
        let mut options = OpenOptions::new();
        let lines = options
            .append(true)
            .create_new(true)
            .open(place.join(&name))?;
        Ok(Self {
            name,
            lines,
            inside: AtomicUsize::new(0),
        })
    }

    /// A line is one write: a crash leaves it whole or not at all, and the lines of threads in their order.
    fn note(&self, line: &str) {
        let written = (&self.lines).write_all(format!("{line}\n").as_bytes());
        written.expect("there is room for a line");
    }

    fn begin<'a>(&'a self, id: &'a str) -> Invocation<'a> {
        let others = self.inside.fetch_add(1, Ordering::SeqCst);
        self.note(&format!("begin {id} {}", now().as_micros()));
        if others > 0 {
            self.note(&format!("overlap {id}"));
        }
        Invocation { journal: self, id }
    }

    fn crash(&self) -> ! {
        self.note("crash");
        exit(7)
    }
}

/// One invocation, until it is dropped.
struct Invocation<'a> {
    journal: &'a Journal,
    id: &'a str,
}

impl Drop for Invocation<'_> {
    fn drop(&mut self) {
        self.journal.note(&format!("end {}", self.id));
        self.journal.inside.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The part of a request that matters here.
struct Request {
    query: HashMap<String, String>,
    length: u64,
}

impl Request {
    /// `None` when the client has closed.
    fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut lines = from.lines();
        let Some(line) = lines.next().transpose()? else {
            return Ok(None);
        };
        let (_, query) = line.split_once('?').ok_or(io::ErrorKind::InvalidData)?;
        let query = query.split([' ', '&']);
        let query = query.filter_map(|field| field.split_once('='));
        let mut request = Self {
            query: query.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
            length: 0,
        };
        for line in lines {
            let line = line?.to_lowercase();
            if line.is_empty() {
                return Ok(Some(request));
            }
            if let Some(length) = line.strip_prefix("content-length: ") {
                request.length = length.parse().map_err(io::Error::other)?;
            }
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }

    fn text(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    fn number(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap_or(0)
    }
}

fn answer_all(stream: &TcpStream, journal: &Arc<Journal>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut from = BufReader::new(stream);
    while let Some(request) = Request::read(&mut from)? {
        let invocation = journal.begin(request.text("id"));
        let body = io::copy(&mut (&mut from).take(request.length), &mut io::sink())?;
        if body < request.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        answer(stream, journal, &request, invocation)?;
    }
    Ok(())
}

/// The invocation ends before the last bytes of its answer, after which another may come.
fn answer(
    mut to: &TcpStream,
    journal: &Arc<Journal>,
    request: &Request,
    invocation: Invocation<'_>,
) -> io::Result<()> {
    sleep(request.number("sleep"));
    let (pieces, size) = (request.number("pieces").max(1), request.number("size"));
    let die = request.text("die");
    if die == "head" {
        journal.crash();
    }
    let mut bytes = format!(
        "HTTP/1.1 200 OK\r\ninstance: {}\r\nreceived: {}\r\ncontent-length: {}\r\n\r\n",
        journal.name,
        request.length,
        pieces * size
    )
    .into_bytes();
    for _ in 1..pieces {
        bytes.resize(bytes.len() + size as usize, b'x');
        to.write_all(&bytes)?;
        bytes.clear();
        if die == "body" {
            journal.crash();
        }
        sleep(request.number("pause"));
    }
    bytes.resize(bytes.len() + size as usize, b'x');
    if die == "after" {
        let (journal, pause) = (journal.clone(), request.number("pause"));
        thread::spawn(move || {
            sleep(pause);
            journal.crash()
        });
    }
    drop(invocation);
    to.write_all(&bytes)
}

/// Since the epoch: other processes know it as well.
fn now() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("it is after 1970")
}

fn sleep(milliseconds: u64) {
    if milliseconds > 0 {
        thread::sleep(Duration::from_millis(milliseconds));
    }
}
