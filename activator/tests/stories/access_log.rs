//! One line for each request, once its answer has ended.

use std::{
    io,
    sync::{Arc, Mutex},
};

use crate::support::{Manifest, Thaw, client, eventually};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// The lines about requests whose path begins like this.
    fn lines(&self, path: &str) -> Vec<serde_json::Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        let wanted = |line: &serde_json::Value| line["path"].as_str().unwrap().starts_with(path);
        lines.filter(wanted).collect()
    }
}

// On one thread, so that the log is this story's alone.
#[tokio::test]
async fn a_request_is_logged_when_its_answer_has_ended() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_env_filter("access=info")
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let thaw = Thaw::start(Manifest::default()).await;

    let answer = thaw.get("/whole?pieces=3&size=10&secret=1").await;
    assert_eq!(answer.body.len(), 30);
    let line = log.lines("/whole").remove(0);
    assert_eq!(line["path"], "/whole");
    assert_eq!(
        (&line["status"], &line["boot"]),
        (&200.into(), &"cold".into())
    );
    assert_eq!(
        (&line["response_bytes"], &line["is_whole"]),
        (&30.into(), &true.into())
    );
    assert_eq!(
        (&line["function"], &line["entrypoint"]),
        (&"shop".into(), &"web".into())
    );
    assert_eq!(line["request_id"], answer.header("x-request-id"));

    assert_eq!(thaw.get("/empty?status=204").await.status, 204);
    let line = log.lines("/empty").remove(0);
    assert_eq!(
        (&line["status"], &line["boot"], &line["is_whole"]),
        (&204.into(), &"hot".into(), &true.into())
    );

    let mut request = client::get("/nobody");
    request
        .headers_mut()
        .insert("host", "nobody.test".parse().unwrap());
    thaw.client()
        .await
        .ask(request)
        .await
        .is_error(404, "NoRoute");
    let line = log.lines("/nobody").remove(0);
    assert_eq!(
        (&line["status"], &line["error"]),
        (&404.into(), &"NoRoute".into())
    );

    let leaving = thaw.getting("/left?gate=never");
    thaw.inside(1).await;
    leaving.abort();
    eventually("the line is there", || !log.lines("/left").is_empty()).await;
    let line = log.lines("/left").remove(0);
    assert_eq!(
        (&line["status"], &line["is_whole"]),
        (&0.into(), &false.into())
    );
}
