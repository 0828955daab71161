//! A function for the stories of local mode: what a small program in any language would do, and what a bad one does.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "it is a program of its own, with neither runtime nor log"
)]

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Command, exit},
    thread,
    time::Duration,
};

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["serve", ..] => serve(),
        ["crash"] => {
            println!("reading the settings");
            eprintln!("there are no settings");
            exit(3)
        }
        ["deaf"] => {
            println!("still loading");
            loop {
                thread::park();
            }
        }
        ["tick", file] => tick(file),
        ["tick-apart", file] => {
            rustix::process::setsid()?;
            tick(file)
        }
        ["tick-both", ours, theirs] => {
            spawn("tick", theirs)?;
            tick(ours)
        }
        _ => Err(io::Error::other(format!("what is {words:?}?"))),
    }
}

/// Counts in a file, for ever.
fn tick(file: &str) -> io::Result<()> {
    let next = format!("{file}.next");
    for count in 1_u64.. {
        fs::write(&next, count.to_string())?;
        fs::rename(&next, file)?;
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Starts this program again; its process id.
fn spawn(word: &str, file: &str) -> io::Result<u32> {
    let program = std::env::current_exe()?;
    Ok(Command::new(program).args([word, file]).spawn()?.id())
}

fn serve() -> io::Result<()> {
    let port = std::env::var("PORT").map_err(io::Error::other)?;
    let listener = TcpListener::bind(format!("127.0.0.1:{port}"))?;
    println!("listening on {port}");
    let mut count = 0;
    for stream in listener.incoming() {
        // A connection that breaks is the client's affair.
        answer_all(stream?, &mut count).ok();
    }
    Ok(())
}

fn answer_all(stream: TcpStream, count: &mut u32) -> io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    while let Some(line) = lines.next() {
        let line = line?;
        // Until the empty line that ends the head.
        while !lines.next().transpose()?.unwrap_or_default().is_empty() {}
        *count += 1;
        let path = line.split(' ').nth(1).unwrap_or_default();
        let text = answer(path, *count)?;
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", text.len());
        (&stream).write_all(format!("{head}{text}").as_bytes())?;
    }
    Ok(())
}

fn answer(path: &str, count: u32) -> io::Result<String> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let (name, value) = query.split_once('=').unwrap_or((query, ""));
    let pid = std::process::id();
    match path.rsplit('/').next().unwrap_or_default() {
        "crash" => {
            println!("now it happens");
            eprintln!("cannot go on");
            exit(7)
        }
        "spawn" => Ok(spawn(name, value)?.to_string()),
        "env" => Ok(std::env::var(name).unwrap_or_default()),
        "together" => {
            together(name.parse().map_err(io::Error::other)?, Path::new(value))?;
            Ok(pid.to_string())
        }
        _ => Ok(format!("{pid} {count}")),
    }
}

/// Waits until so many processes are in here at once.
fn together(count: usize, place: &Path) -> io::Result<()> {
    fs::write(place.join(std::process::id().to_string()), "")?;
    while fs::read_dir(place)?.count() < count {
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}
