//! Accepting HTTP connections: how many at once, and how long a client may take to say what it wants.
//!
//! Owns the bounds that stand before any request is read; what is asked is the router's.

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt;

/// Most connections at once, those of event streams included; one more is closed as soon as it comes.
pub const CONNECTIONS_MAX: usize = 2_048;
/// Longest time for the whole header of a request, and longest silence between two requests.
pub const HEADER_MAX: Duration = Duration::from_secs(10);
/// How long answers under way may take once the node goes down.
pub const DRAIN_MAX: Duration = Duration::from_secs(5);
/// Pause after a failed accept: without a file left to open, the next would fail at once.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// The places for connections, counted.
#[derive(Clone, Debug)]
pub struct Connections {
    places: Arc<Semaphore>,
    places_max: usize,
    header_max: Duration,
}

impl Default for Connections {
    fn default() -> Connections {
        Connections::new(CONNECTIONS_MAX, HEADER_MAX)
    }
}

impl Connections {
    /// Room for `places_max`, each with so long for a header.
    pub fn new(places_max: usize, header_max: Duration) -> Connections {
        Connections { places: Arc::new(Semaphore::new(places_max)), places_max, header_max }
    }

    /// How many stand.
    pub fn count(&self) -> usize {
        self.places_max - self.places.available_permits()
    }
}

/// Serves until `shutdown` is done; answers under way then have [`DRAIN_MAX`].
pub async fn serve(
    listener: TcpListener,
    router: Router,
    connections: Connections,
    shutdown: impl Future<Output = ()>,
) {
    let graceful = GracefulShutdown::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                if let Ok(place) = connections.places.clone().try_acquire_owned() {
                    converse(stream, peer, router.clone(), connections.header_max, &graceful, place);
                }
            }
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "no HTTP connection can be accepted");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(DRAIN_MAX, graceful.shutdown()).await.is_err() {
        tracing::warn!("HTTP answers were cut off");
    }
}

/// One connection, in a task of its own.
fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    header_max: Duration,
    graceful: &GracefulShutdown,
    place: OwnedSemaphorePermit,
) {
    // Events are small, and each is wanted at once; a socket that refuses only makes them later.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_max)
        .serve_connection(TokioIo::new(stream), service);
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        let _place = place;
        if let Err(error) = connection.await {
            tracing::debug!(%peer, %error, "an HTTP connection broke");
        }
    });
}

/// The connection came to nothing before it was accepted; the listener is well.
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

    async fn listening(connections: &Connections) -> (SocketAddr, oneshot::Sender<()>, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", axum::routing::get(|| async { "here" }));
        let (down, is_down) = oneshot::channel();
        let shutdown = async { is_down.await.unwrap_or_default() };
        (address, down, tokio::spawn(serve(listener, router, connections.clone(), shutdown)))
    }

    async fn answered(stream: &mut TcpStream) -> bool {
        stream.write_all(REQUEST).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"here") {
            if stream.read_buf(&mut answer).await.unwrap_or(0) == 0 {
                return false;
            }
        }
        answer.starts_with(b"HTTP/1.1 200")
    }

    /// Reads to the end, which the other side sets.
    async fn ends(stream: &mut TcpStream) {
        let mut rest = Vec::new();
        // A reset is an end too.
        let _ = stream.read_to_end(&mut rest).await;
    }

    #[tokio::test]
    async fn one_connection_too_many_is_closed_and_the_others_go_on() {
        let connections = Connections::new(2, HEADER_MAX);
        let (address, _down, _serving) = listening(&connections).await;
        let mut first = TcpStream::connect(address).await.unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        assert!(answered(&mut first).await && answered(&mut second).await);
        let mut third = TcpStream::connect(address).await.unwrap();
        ends(&mut third).await;
        assert_eq!(connections.count(), 2);
        assert!(answered(&mut second).await);
        drop(first);
        while connections.count() == 2 {
            tokio::task::yield_now().await;
        }
        assert!(answered(&mut TcpStream::connect(address).await.unwrap()).await);
    }

    #[tokio::test]
    async fn who_does_not_finish_a_header_is_cut_off() {
        let connections = Connections::new(1, Duration::from_millis(50));
        let (address, _down, _serving) = listening(&connections).await;
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(&REQUEST[..20]).await.unwrap();
        ends(&mut slow).await;
        let mut silent = TcpStream::connect(address).await.unwrap();
        ends(&mut silent).await;
        while connections.count() > 0 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn going_down_ends_idle_connections_at_once() {
        let connections = Connections::default();
        let (address, down, serving) = listening(&connections).await;
        let mut idle = TcpStream::connect(address).await.unwrap();
        assert!(answered(&mut idle).await);
        down.send(()).unwrap();
        serving.await.unwrap();
        ends(&mut idle).await;
        assert!(TcpStream::connect(address).await.is_err());
    }
}
