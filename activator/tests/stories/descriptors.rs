//! A process that may open no more files.

use std::{env, fs::File, process::Command};

use tokio::net::TcpStream;

use crate::support::{HOST, Manifest, Raw, Thaw, soon};

const TEST: &str =
    "descriptors::without_file_descriptors_those_who_are_there_go_on_and_others_wait";
/// Set in the process that has few.
const FEW: &str = "THAW_TEST_FEW_FILES";

/// The limit counts for a whole process: the test runs itself once more in one of its own.
#[test]
fn without_file_descriptors_those_who_are_there_go_on_and_others_wait() {
    if env::var_os(FEW).is_some() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        return runtime.block_on(story());
    }
    let limited = Command::new("sh")
        .args(["-c", r#"ulimit -n 200 && exec "$@""#, "sh"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", TEST, "--nocapture"])
        .env(FEW, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&limited.stdout);
    assert!(limited.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
}

async fn story() {
    let thaw = Thaw::start(Manifest::default()).await;
    let mut good = thaw.client().await;
    good.get("/").await.instance();

    let mut files: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    // One for the client, and none for the other end of its connection.
    files.pop();
    let mut waits = Raw::connect(thaw.address).await;
    assert!(TcpStream::connect(thaw.address).await.is_err());
    waits
        .write(&format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n"))
        .await;
    for _ in 0..50 {
        good.get("/").await.instance();
    }
    assert!(waits.heard_nothing());

    drop(files);
    let head = soon("an answer", waits.head()).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    good.get("/").await.instance();
}
