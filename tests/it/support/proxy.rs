//! Owns the way between a daemon and its PostgreSQL server, so that a test can cut it off, or have it say nothing.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::wait::span;

/// How often a way that says nothing is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A way to a server, open until it is dropped.
pub struct Proxy {
    port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Nothing goes through, and nobody is told.
    is_silent: AtomicBool,
    is_over: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// A way to the server that listens on this socket.
    pub fn to(socket: PathBuf) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for near in listener.incoming() {
                if shared.is_over.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(near), Ok(far)) = (near, UnixStream::connect(&socket)) else { continue };
                join(&shared, &near, &far);
            }
        });
        Proxy { port, state }
    }

    /// Where a client finds the server.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on nothing goes through, until `speak`.
    pub fn fall_silent(&self) {
        self.state.is_silent.store(true, Ordering::SeqCst);
    }

    /// Ends the silence: what was held goes on.
    pub fn speak(&self) {
        self.state.is_silent.store(false, Ordering::SeqCst);
    }

    /// Cuts every connection that is open now.
    pub fn cut(&self) {
        for one in self.state.open.lock().expect("nobody panics with it").drain(..) {
            let _ = one.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::SeqCst);
        self.cut();
        // Wakes the listener, which sees that it is over.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn join(state: &Arc<State>, near: &TcpStream, far: &UnixStream) {
    let twin = |one: &TcpStream| one.try_clone().expect("descriptors are left");
    let far_twin = || far.try_clone().expect("descriptors are left");
    let _ = near.set_nodelay(true);
    state.open.lock().expect("nobody panics with it").push(twin(near));
    let (shared, from, to) = (Arc::clone(state), twin(near), far_twin());
    thread::spawn(move || pass(&shared, from, &to));
    let (shared, from, to) = (Arc::clone(state), far_twin(), twin(near));
    thread::spawn(move || pass(&shared, from, &to));
}

/// Hands on what comes. At the end of one side both are closed.
fn pass<R: Read, W>(state: &State, mut from: R, to: &W)
where
    for<'a> &'a W: Write,
    W: Ends,
{
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count) = from.read(&mut bytes) {
        while state.is_silent.load(Ordering::SeqCst) && !state.is_over.load(Ordering::SeqCst) {
            span(LOOK_EVERY);
        }
        let mut to_write = to;
        if count == 0 || to_write.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    to.end();
}

/// A stream that can be closed on both sides.
trait Ends {
    fn end(&self);
}

impl Ends for TcpStream {
    fn end(&self) {
        let _ = self.shutdown(Shutdown::Both);
    }
}

impl Ends for UnixStream {
    fn end(&self) {
        let _ = self.shutdown(Shutdown::Both);
    }
}
