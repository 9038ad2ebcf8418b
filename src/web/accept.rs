//! Owns the listener: the accept loop, the cap on connections, and the orderly end of all of them.
//! The loop must never die of a connection or of a lack of file descriptors.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::pin;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Extensions, Request};
use axum::response::Response;
use futures_util::FutureExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tower_service::Service as _;

use super::execute::Door;
use super::limits::{
    ACCEPT_PAUSE, DESCRIPTORS_RECOVERED, DESCRIPTORS_RESERVED, DESCRIPTORS_RESERVED_PART, HEAD_BYTES_MAX,
    SEND_BUFFER_BYTES, SHORTAGE_LOOK,
};
use super::media::Media;
use super::pipe::{Pipe, piped};
use super::stall::Stalling;
use super::transport::{GRAPHQL_PATH, graphql, harden, refused, routes};
use super::{Backend, DoorConfig};
use crate::base::clock::{sleep, within};
use crate::base::{descriptors, points, task};

/// A connection's place under the cap, and its writing side; whoever keeps the connection alive holds a copy.
#[derive(Debug, Clone)]
pub struct Place {
    _permit: Arc<OwnedSemaphorePermit>,
    pipe: Arc<Pipe>,
}

impl Place {
    /// The writing side.
    pub fn pipe(&self) -> Arc<Pipe> {
        Arc::clone(&self.pipe)
    }
}

/// The address at the other end of the connection: the proxy's, when there is one.
#[derive(Debug, Clone, Copy)]
pub struct Peer(IpAddr);

impl Peer {
    /// The address that a request came from.
    pub fn of(extensions: &Extensions) -> IpAddr {
        extensions.get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0)
    }
}

/// What a connection over the cap is told.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\n\
content-length: 0\r\n\r\n";

/// The listener and everything that its connections share.
pub struct Entrance<B: Backend> {
    /// `None` once the door is closed.
    listener: Option<TcpListener>,
    door: Arc<Door<B>>,
    router: Router,
    places: Arc<Semaphore>,
    /// Why nobody is let in for now, as it was told last.
    shortage: Option<&'static str>,
}

impl<B: Backend> Entrance<B> {
    /// A door at this listener, which nobody passes before `serve`.
    pub fn new(
        listener: TcpListener,
        backend: B,
        config: DoorConfig,
        shutdown: CancellationToken,
    ) -> Entrance<B> {
        let address = listener.local_addr().unwrap_or((Ipv4Addr::UNSPECIFIED, 0).into());
        let places = Arc::new(Semaphore::new(config.limits.connections));
        let door = Arc::new(Door::new(backend, address, config, shutdown));
        let router = routes(Arc::clone(&door));
        Entrance { listener: Some(listener), door, router, places, shortage: None }
    }

    /// Serves until the shutdown, then ends open streams (web sockets with 1001), lets requests finish and returns.
    /// May be called again after a panic.
    pub async fn serve(&mut self) {
        while let Some(listener) = &self.listener {
            let reserve = descriptors::reserve(DESCRIPTORS_RESERVED, DESCRIPTORS_RESERVED_PART);
            let wanted = if self.shortage.is_some() { reserve + DESCRIPTORS_RECOVERED } else { reserve };
            let shortage = (descriptors::left() < wanted).then_some("descriptors are used up");
            tell(&self.door, &mut self.shortage, shortage);
            // Whoever comes meanwhile waits in the system's queue, and costs nothing.
            let (pause, is_open) =
                if shortage.is_some() { (ACCEPT_PAUSE, false) } else { (SHORTAGE_LOOK, true) };
            let accepted = tokio::select! {
                biased;
                () = self.door.shutdown.cancelled() => break,
                accepted = listener.accept(), if is_open => accepted,
                () = sleep(pause) => continue,
            };
            match accepted {
                Ok((stream, address)) => self.admit(stream, Peer(address.ip())),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections for a moment");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        self.listener = None;
        self.door.connections.close();
        if within(self.door.limits.closing, self.door.connections.wait()).await.is_none() {
            tracing::warn!(left = self.door.connections.len(), "connections were cut at shutdown");
        }
    }

    fn admit(&self, stream: TcpStream, peer: Peer) {
        points::reach("door.accept");
        let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() else {
            tracing::warn!(most = self.door.limits.connections, "a connection over the cap was refused");
            let _ = stream.try_write(FULL);
            return;
        };
        let connection =
            converse(Arc::clone(&self.door), self.router.clone(), stream, (Arc::new(permit), peer));
        task::spawn(self.door.connections.track_future(connection));
    }
}

/// Tells when it is news.
fn tell<B: Backend>(door: &Door<B>, told: &mut Option<&'static str>, shortage: Option<&'static str>) {
    if *told != shortage {
        *told = shortage;
        door.backend.tell_shortage(shortage);
    }
}

/// One connection, from its first byte to its last or to its upgrade.
async fn converse<B: Backend>(
    door: Arc<Door<B>>,
    router: Router,
    stream: TcpStream,
    (permit, peer): (Arc<OwnedSemaphorePermit>, Peer),
) {
    let _ = stream.set_nodelay(true);
    // The kernel would take megabytes for a peer that does not read before a write is refused.
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(&stream, SEND_BUFFER_BYTES);
    let (connection, pipe) = piped(stream);
    let place = Place { _permit: permit, pipe };
    let service = service_fn(|request: Request<Incoming>| {
        answer(&door, router.clone(), request, (place.clone(), peer)).map(Ok::<_, Infallible>)
    });
    let io = TokioIo::new(Stalling::new(connection, door.limits.write));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(door.limits.head)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(io, service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = door.shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection broke");
    }
}

/// One request: judged by its head first, on every path alike.
async fn answer<B: Backend>(
    door: &Arc<Door<B>>,
    mut router: Router,
    request: Request<Incoming>,
    (place, peer): (Place, Peer),
) -> Response {
    let admitted = door.gate.admit(request.uri(), request.headers());
    let mut response = if let Err(refusal) = admitted {
        refused(refusal, Media::Json)
    } else {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(place);
        request.extensions_mut().insert(peer);
        if request.uri().path() == GRAPHQL_PATH {
            // A quarter of a small query's time would be the router's.
            graphql(State(Arc::clone(door)), request).await
        } else {
            router.call(request).await.unwrap_or_else(|never: Infallible| match never {})
        }
    };
    harden(&mut response);
    response
}
