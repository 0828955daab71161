//! One request to an instance, on a connection of its own.

use std::{io, time::Duration};

use crds::function::Protocol;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::{
    body::{Bytes, Incoming},
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::instance::Address;

/// To connect to an instance that accepted a moment ago.
const CONNECT: Duration = Duration::from_secs(5);

/// Why there is no good answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    /// The manifest's path is no path after all.
    #[error("cannot be asked: {0}")]
    Unaskable(#[from] http::Error),
    /// It does not accept any more.
    #[error("the instance accepts no connection any more: {0}")]
    Gone(#[from] io::Error),
    /// No answer.
    #[error("the instance broke off: {0}")]
    Broken(#[from] hyper::Error),
    /// Not a good one.
    #[error("answered {0} where 2xx or 3xx is needed")]
    Refused(StatusCode),
}

/// `GET path`, read to its end.
pub(super) async fn ask(address: Address, host: &str, path: &str) -> Result<(), Problem> {
    let connecting = TcpStream::connect(address.socket);
    let stream = tokio::time::timeout(CONNECT, connecting)
        .await
        .map_err(io::Error::from)??;
    let io = TokioIo::new(stream);
    let status = match address.protocol {
        Protocol::Http1 => {
            let (mut sender, connection) = http1::handshake(io).await?;
            tokio::spawn(async move { connection.await.ok() });
            read(sender.send_request(request(path, Some(host))?).await?).await?
        }
        Protocol::H2c => {
            let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
            tokio::spawn(async move { connection.await.ok() });
            let target = format!("http://{host}{path}");
            read(sender.send_request(request(&target, None)?).await?).await?
        }
    };
    if status.is_success() || status.is_redirection() {
        Ok(())
    } else {
        Err(Problem::Refused(status))
    }
}

fn request(target: &str, host: Option<&str>) -> http::Result<Request<Empty<Bytes>>> {
    let mut request = Request::get(target)
        .header(header::USER_AGENT, "thaw")
        .header("x-request-id", Uuid::new_v4().to_string());
    if let Some(host) = host {
        request = request.header(header::HOST, host);
    }
    request.body(Empty::new())
}

/// The instance is busy until its answer has ended.
async fn read(response: Response<Incoming>) -> Result<StatusCode, hyper::Error> {
    let (head, mut body) = response.into_parts();
    while let Some(frame) = body.frame().await {
        frame?;
    }
    Ok(head.status)
}
