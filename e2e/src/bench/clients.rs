//! Requests at given times, whether earlier ones are answered or not: a slow answer makes no later request wait, and each latency counts
//! from the time at which its request was meant to go.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use hdrhistogram::Histogram;
use http::{Request, StatusCode, header::HOST};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    runtime::Handle,
    time::{Instant, timeout},
};
use tokio_util::task::TaskTracker;

/// The longest that a request waits for its answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// When requests go: first faster and faster, which is not counted, then evenly.
#[derive(Clone, Copy, Debug)]
pub struct Arrivals {
    /// Requests per second.
    pub rate: u32,
    /// How long the rate grows from nothing.
    pub ramp: Duration,
    /// How long it stays.
    pub time: Duration,
}

impl Arrivals {
    /// From the start, and whether it counts.
    fn all(self) -> impl Iterator<Item = (Duration, bool)> {
        let (rate, ramp) = (f64::from(self.rate), self.ramp.as_secs_f64());
        // At t of the ramp, rate * t² / (2 * ramp) have gone.
        let growing = (0..count(rate * ramp / 2.0))
            .map(move |n| (f64::from(n) * 2.0 * ramp / rate).sqrt())
            .map(|at| (Duration::from_secs_f64(at), false));
        let even = (0..count(rate * self.time.as_secs_f64()))
            .map(move |n| (Duration::from_secs_f64(ramp + f64::from(n) / rate), true));
        growing.chain(even)
    }
}

fn count(of: f64) -> u32 {
    of as u32
}

/// Where requests go: to one port of the loopback interface, each to the next host.
#[derive(Clone, Debug)]
pub struct Target {
    /// The port.
    pub port: u16,
    /// The path.
    pub path: String,
    /// The hosts.
    pub hosts: Vec<String>,
}

/// What became of the requests that count.
#[derive(Debug)]
pub struct Outcome {
    /// From the intended start until the answer had ended, in microseconds, of those that were answered with 200.
    pub latencies: Histogram<u64>,
    /// By how much requests went too late, in microseconds: what the client itself added to the latencies.
    pub late: Histogram<u64>,
    /// Everything else than 200, of those that do not count too.
    pub failures: BTreeMap<String, u64>,
}

#[derive(Debug)]
struct Clients {
    target: Target,
    idle: Mutex<Vec<Sender>>,
    outcome: Mutex<Outcome>,
}

type Sender = SendRequest<Empty<Bytes>>;

/// Sends them all and waits for the answers.
///
/// # Errors
/// The thread that starts them panicked.
pub async fn send(arrivals: Arrivals, target: Target) -> Result<Outcome> {
    let histogram = || Histogram::new(3).context("make a histogram");
    let clients = Arc::new(Clients {
        target,
        idle: Mutex::default(),
        outcome: Mutex::new(Outcome {
            latencies: histogram()?,
            late: histogram()?,
            failures: BTreeMap::new(),
        }),
    });
    let (tasks, runtime) = (TaskTracker::new(), Handle::current());
    let starter = {
        let (clients, tasks) = (clients.clone(), tasks.clone());
        // The runtime's timers count whole milliseconds; a thread sleeps to some microseconds.
        tokio::task::spawn_blocking(move || {
            let begun = Instant::now();
            for (number, (at, counts)) in arrivals.all().enumerate() {
                let intended = begun + at;
                #[expect(clippy::disallowed_methods, reason = "on a thread of its own")]
                std::thread::sleep(intended.saturating_duration_since(Instant::now()));
                let request = clients.clone().request(number, intended, counts);
                tasks.spawn_on(request, &runtime);
            }
        })
    };
    starter.await.context("start the requests")?;
    tasks.close();
    tasks.wait().await;
    let clients = Arc::into_inner(clients).context("every request has ended")?;
    Ok(clients.outcome.into_inner()?)
}

impl Clients {
    async fn request(self: Arc<Self>, number: usize, intended: Instant, counts: bool) {
        let late = intended.elapsed();
        let status = timeout(PATIENCE, self.exchange(number)).await;
        let took = intended.elapsed();
        let mut outcome = self.outcome.lock().expect("nothing panics under this lock");
        let failure = match status {
            Ok(Ok(StatusCode::OK)) if counts => {
                outcome.latencies += micros(took);
                outcome.late += micros(late);
                return;
            }
            Ok(Ok(StatusCode::OK)) => return,
            Ok(Ok(status)) => status.to_string(),
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => format!("no answer within {PATIENCE:?}"),
        };
        *outcome.failures.entry(failure).or_default() += 1;
    }

    async fn exchange(&self, number: usize) -> Result<StatusCode> {
        let Target { path, hosts, .. } = &self.target;
        let host = &hosts[number % hosts.len()];
        let request = Request::get(path.as_str())
            .header(HOST, host)
            .body(Empty::new())?;
        let mut sender = self.connection().await?;
        sender.ready().await?;
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        answer.into_body().collect().await?;
        self.idle
            .lock()
            .expect("nothing panics under this lock")
            .push(sender);
        Ok(status)
    }

    async fn connection(&self) -> Result<Sender> {
        let idle = self
            .idle
            .lock()
            .expect("nothing panics under this lock")
            .pop();
        if let Some(sender) = idle {
            return Ok(sender);
        }
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.target.port)).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move { connection.await.ok() });
        Ok(sender)
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Outcome {
    /// The headings of [`Self::line`].
    pub fn heading() -> String {
        format!(
            "{:36}{:>9}{:>8}{:>9}{:>9}{:>9}{:>9}{:>14}",
            "", "answers", "failed", "p50 ms", "p95 ms", "p99 ms", "max ms", "late p99 ms"
        )
    }

    /// One line of a table.
    pub fn line(&self, what: &str) -> String {
        let ms = |micros: u64| micros as f64 / 1e3;
        let of = |p| ms(self.latencies.value_at_quantile(p));
        let failed: u64 = self.failures.values().sum();
        format!(
            "{what:36}{:>9}{failed:>8}{:>9.2}{:>9.2}{:>9.2}{:>9.2}{:>14.2}",
            self.latencies.len(),
            of(0.5),
            of(0.95),
            of(0.99),
            ms(self.latencies.max()),
            ms(self.late.value_at_quantile(0.99)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_come_faster_and_faster_and_then_evenly() {
        let arrivals = Arrivals {
            rate: 100,
            ramp: Duration::from_secs(4),
            time: Duration::from_secs(2),
        };
        let all: Vec<_> = arrivals.all().collect();
        let (even, growing): (Vec<_>, Vec<_>) = all.iter().partition(|(_, counts)| *counts);
        assert_eq!((growing.len(), even.len()), (200, 200));
        let by_half = growing.iter().filter(|(at, _)| *at < arrivals.ramp / 2);
        assert_eq!(by_half.count(), 50);
        assert_eq!(even[0].0, Duration::from_secs(4));
        assert_eq!(even[100].0, Duration::from_secs(5));
        assert!(all.is_sorted());
    }
}
