//! Clients and servers of other people, first with each other and then through Thaw, from zero and hot: nobody may see a difference.
//!
//! Their programs are in `e2e/interop`. This needs no cluster, but the activator's program and what `interop_packages` of `e2e/steps.sh`
//! installs; `e2e/test` sees to both.
//! - [`protocols`]: what is played, and on which functions
//! - [`pair`]: one client with one server, with and without Thaw between them
//! - [`served`]: a function that runs by itself, or functions behind Thaw
//! - [`transcript`]: what a client saw, and how two differ
//! - [`programs`]: where everything is

mod pair;
mod programs;
mod protocols;
mod served;
mod transcript;

use anyhow::Result;

use pair::{no_difference, slots};
use programs::Language::{Node, Python};
use protocols::{EVENTS, RPC, SOCKETS, WEB};

#[tokio::test]
async fn grpc_from_node_to_node() -> Result<()> {
    no_difference(&RPC, Node, Node).await
}

#[tokio::test]
async fn grpc_from_node_to_python() -> Result<()> {
    no_difference(&RPC, Node, Python).await
}

#[tokio::test]
async fn grpc_from_python_to_node() -> Result<()> {
    no_difference(&RPC, Python, Node).await
}

#[tokio::test]
async fn grpc_from_python_to_python() -> Result<()> {
    no_difference(&RPC, Python, Python).await
}

#[tokio::test]
async fn websockets_from_node_to_node() -> Result<()> {
    no_difference(&SOCKETS, Node, Node).await
}

#[tokio::test]
async fn websockets_from_node_to_python() -> Result<()> {
    no_difference(&SOCKETS, Node, Python).await
}

#[tokio::test]
async fn websockets_from_python_to_node() -> Result<()> {
    no_difference(&SOCKETS, Python, Node).await
}

#[tokio::test]
async fn websockets_from_python_to_python() -> Result<()> {
    no_difference(&SOCKETS, Python, Python).await
}

#[tokio::test]
async fn an_open_websocket_is_an_invocation_that_runs() -> Result<()> {
    slots().await
}

#[tokio::test]
async fn server_sent_events() -> Result<()> {
    no_difference(&EVENTS, Node, Node).await
}

#[tokio::test]
async fn the_odds_of_http_1() -> Result<()> {
    no_difference(&WEB, Node, Node).await
}
