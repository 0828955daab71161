//! What the stories need: the program, a client, and a way to wait.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

/// The longest wait of a story for anything.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// The activator's program.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_thaw-activator");

/// The program of the functions.
pub(crate) fn function() -> PathBuf {
    example("function")
}

/// The program of an example. Cargo builds it with the tests, unless one test is named.
pub(crate) fn example(name: &str) -> PathBuf {
    let beside = Path::new(PROGRAM).parent().unwrap();
    let program = beside.join("examples").join(name);
    assert!(
        program.is_file(),
        "{} is missing: run `cargo build -p activator --examples`",
        program.display()
    );
    program
}

/// An activator in local mode, with a directory of its own. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Thaw {
    pub(crate) child: Child,
    pub(crate) dir: TempDir,
    pub(crate) port: u16,
    said: Arc<Mutex<Vec<String>>>,
}

impl Thaw {
    /// One Function with one entrypoint `web` at `/` that has these fields.
    pub(crate) async fn with(fields: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        write(&dir, "function.yaml", &manifest(&[("web", "/", fields)]));
        Self::start(dir, &[]).await
    }

    /// What `function.yaml` in the directory says.
    pub(crate) async fn start(dir: TempDir, args: &[&str]) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(["local", "-f", "function.yaml", "--port", "0"])
            .args(args)
            .current_dir(&dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = Arc::<Mutex<Vec<String>>>::default();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let heard = said.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                heard.lock().unwrap().push(line);
            }
        });
        let mut thaw = Self {
            child,
            dir,
            port: 0,
            said,
        };
        let url = thaw.says("listening on http://").await;
        let port = url.trim_end_matches('/').rsplit(':').next();
        thaw.port = port.unwrap().parse().unwrap();
        thaw
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        get(self.port, "localhost", path).await
    }

    pub(crate) async fn get_from(&self, host: &str, path: &str) -> Answer {
        get(self.port, host, path).await
    }

    /// The process that answers, and how many invocations it has had.
    pub(crate) async fn visit(&self, path: &str) -> (Pid, u32) {
        let answer = self.get(path).await;
        let (pid, count) = answer.ok().split_once(' ').unwrap();
        (pid_of(pid), count.parse().unwrap())
    }

    /// Waits for a line that holds this.
    pub(crate) async fn says(&self, text: &str) -> String {
        let line = || {
            let said = self.said.lock().unwrap();
            said.iter().find(|line| line.contains(text)).cloned()
        };
        eventually(&format!("a line with {text:?}"), line).await
    }

    /// Everything that it has said.
    pub(crate) fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&mut self) {
        let child = &mut self.child;
        eventually("the activator ends", || child.try_wait().unwrap()).await;
    }
}

impl Drop for Thaw {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            eprintln!("the activator said:\n{}", self.said().join("\n"));
        }
    }
}

/// A Function `shop` with these entrypoints: name, path, fields.
pub(crate) fn manifest(entrypoints: &[(&str, &str, &str)]) -> String {
    let entrypoint = |(name, path, fields): &(&str, &str, &str)| {
        format!("    - {{name: {name}, path: {path}, {fields}}}\n")
    };
    let entrypoints: String = entrypoints.iter().map(entrypoint).collect();
    format!(
        "apiVersion: thaw.dev/v1alpha1\nkind: Function\nmetadata: {{name: shop, namespace: prod}}\nspec:\n  image: none:1\n  entrypoints:\n{entrypoints}"
    )
}

/// The fields of an entrypoint that runs the function with these words.
pub(crate) fn runs(words: &str) -> String {
    format!("command: [{:?}], args: [{words}]", function())
}

pub(crate) fn write(dir: &TempDir, file: &str, text: &str) {
    std::fs::write(dir.path().join(file), text).unwrap();
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The function's text.
    #[track_caller]
    pub(crate) fn ok(&self) -> &str {
        assert_eq!(self.status, 200, "{self:?}");
        &self.body
    }

    #[track_caller]
    pub(crate) fn pid(&self) -> Pid {
        pid_of(self.ok())
    }

    /// Checks that this is Thaw's own answer, and that the detail holds these texts.
    #[track_caller]
    pub(crate) fn is_error(&self, status: u16, code: &str, detail: &[&str]) {
        let problem: serde_json::Value = serde_json::from_str(&self.body).expect(&self.body);
        assert_eq!(
            (self.status, problem["code"].as_str()),
            (status, Some(code)),
            "{self:?}"
        );
        assert_eq!(self.header("thaw-error"), code);
        let said = problem["detail"].as_str().unwrap();
        for part in detail {
            assert!(said.contains(part), "{part:?} is not in {said:?}");
        }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .filter(|(header, _)| *header == name)
            .map(|(_, value)| value)
            .next()
            .unwrap_or_default()
    }
}

async fn get(port: u16, host: &str, path: &str) -> Answer {
    let answer = timeout(LONG, ask(port, host, path)).await;
    answer.expect("an answer")
}

/// The answer, however long it takes.
pub(crate) async fn ask(port: u16, host: &str, path: &str) -> Answer {
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: {host}:{port}\r\nconnection: close\r\n\r\n");
    let mut text = String::new();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").expect(&text);
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

/// Waits until there is something.
pub(crate) async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LONG;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

#[track_caller]
pub(crate) fn pid_of(text: &str) -> Pid {
    Pid::from_raw(text.parse().expect(text)).unwrap()
}

/// Whether the process runs. One that has ended and that nobody has waited for does not.
pub(crate) fn is_alive(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid()));
    let is_zombie = stat.is_ok_and(|stat| stat.rsplit_once(") Z").is_some());
    test_kill_process(pid).is_ok() && !is_zombie
}

/// Waits until the process has ended.
pub(crate) async fn dead(pid: Pid) {
    eventually(&format!("{pid:?} ends"), || (!is_alive(pid)).then_some(())).await;
}

/// What a ticker has counted.
pub(crate) fn ticks(file: &Path) -> u64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.parse().unwrap_or(0)
}

/// Waits until a ticker has counted so far.
pub(crate) async fn ticked(file: &Path, count: u64) {
    let what = format!("{count} ticks of {}", file.display());
    eventually(&what, || (ticks(file) >= count).then_some(())).await;
}
