//! A timer for deadlines that move with every request.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep, sleep_until};

/// Rings when a deadline has passed. A deadline that moves away costs nothing: the timer stays as it is, and looks again when it fires.
#[derive(Debug, Default)]
pub(crate) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Ready if the deadline has passed; else the task is woken then or before.
    pub(crate) fn poll(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self
            .0
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }

    /// The task is woken within this time, or at the deadline that it knows already.
    pub(crate) fn wake_within(&mut self, time: Duration, cx: &mut Context<'_>) {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep(time)));
        while sleep.as_mut().poll(cx).is_ready() {
            sleep.as_mut().reset(Instant::now() + time);
        }
    }

    /// Waits until then; for ever if there is no such time.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn until(&mut self, deadline: Option<Instant>) {
        match deadline {
            Some(deadline) => poll_fn(|cx| self.poll(deadline, cx)).await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_wakes_again_and_again() {
        let start = Instant::now();
        let mut alarm = Alarm::default();
        let mut woken = 0;
        poll_fn(|cx| {
            alarm.wake_within(Duration::from_secs(10), cx);
            woken += 1;
            if woken > 3 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        assert_eq!(start.elapsed().as_secs(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn it_rings_at_the_deadline_wherever_that_has_moved() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut alarm = Alarm::default();
        for deadlines in [[9, 10], [30, 20], [25, 21]] {
            let [first, last] = deadlines.map(|seconds| start + second * seconds);
            let mut polled = false;
            poll_fn(|cx| {
                let deadline = if polled { last } else { first };
                if !std::mem::replace(&mut polled, true) {
                    cx.waker().wake_by_ref();
                }
                alarm.poll(deadline, cx)
            })
            .await;
            assert_eq!(Instant::now(), last);
        }
    }
}
