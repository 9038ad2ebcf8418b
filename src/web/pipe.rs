//! Owns the two sides of a connection, of which the writing one has two users: the connection's own task, and whoever
//! tells many connections the same and pushes it to each without waking its task. It must never let one of them begin in
//! the middle of what the other writes, nor wait in a push.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;

/// The writing side of a connection.
#[derive(Debug)]
pub struct Pipe {
    side: Mutex<Side>,
    /// Told when a push leaves a rest.
    cut: Notify,
}

#[derive(Debug)]
struct Side {
    half: OwnedWriteHalf,
    /// What the peer has not taken yet of a message that was pushed.
    rest: Bytes,
    /// Whether the peer has taken a part only of what the task writes.
    is_midway: bool,
    /// Whether the task has messages in its hands that go before any other.
    is_held: bool,
}

/// What became of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// The message is on its way, before anything else that is written.
    Gone,
    /// It was not begun: the task must write it.
    Not,
}

/// Keeps pushes away until dropped.
#[derive(Debug)]
pub struct Hold<'a>(&'a Pipe);

impl Pipe {
    /// Writes a whole message at once, or nothing. What the peer does not take of it now is left to the task, which
    /// `cut` wakes.
    pub fn push(&self, message: &Bytes) -> Pushed {
        let mut side = self.side();
        if side.is_held || side.is_midway || !side.rest.is_empty() {
            return Pushed::Not;
        }
        match side.half.try_write(message) {
            Ok(0) | Err(_) => Pushed::Not,
            Ok(count) => {
                if count < message.len() {
                    side.rest = message.slice(count..);
                    self.cut.notify_one();
                }
                Pushed::Gone
            }
        }
    }

    /// Resolves when a push has left a rest: a flush by the task writes it.
    pub async fn cut(&self) {
        self.cut.notified().await;
    }

    /// The task takes messages into its hands: what is pushed meanwhile would overtake them.
    pub fn hold(&self) -> Hold<'_> {
        self.side().is_held = true;
        Hold(self)
    }

    fn side(&self) -> MutexGuard<'_, Side> {
        self.side.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.0.side().is_held = false;
    }
}

impl Side {
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.rest.is_empty() {
            let count = ready!(Pin::new(&mut self.half).poll_write(cx, &self.rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            drop(self.rest.split_to(count));
        }
        Poll::Ready(Ok(()))
    }

    /// Notes how much the peer took of what the task had.
    fn note(&mut self, outcome: &Poll<io::Result<usize>>, length: usize) {
        if let Poll::Ready(Ok(count)) = outcome {
            self.is_midway = *count < length;
        }
    }
}

/// A connection as its own task has it.
#[derive(Debug)]
pub struct Piped {
    reading: OwnedReadHalf,
    pipe: Arc<Pipe>,
}

/// Both sides of a connection: for its task, and for those who push.
pub fn piped(stream: TcpStream) -> (Piped, Arc<Pipe>) {
    let (reading, half) = stream.into_split();
    let side = Side { half, rest: Bytes::new(), is_midway: false, is_held: false };
    let pipe = Arc::new(Pipe { side: Mutex::new(side), cut: Notify::new() });
    (Piped { reading, pipe: Arc::clone(&pipe) }, pipe)
}

impl AsyncRead for Piped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.reading).poll_read(cx, buffer)
    }
}

// Whoever writes brings all that is not written yet, each time: what was taken whole ends with a message.
impl AsyncWrite for Piped {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut side = self.pipe.side();
        ready!(side.poll_rest(cx))?;
        let outcome = Pin::new(&mut side.half).poll_write(cx, bytes);
        side.note(&outcome, bytes.len());
        outcome
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut side = self.pipe.side();
        ready!(side.poll_rest(cx))?;
        let outcome = Pin::new(&mut side.half).poll_write_vectored(cx, slices);
        side.note(&outcome, slices.iter().map(|slice| slice.len()).sum());
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        self.pipe.side().half.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut side = self.pipe.side();
        ready!(side.poll_rest(cx))?;
        Pin::new(&mut side.half).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut side = self.pipe.side();
        ready!(side.poll_rest(cx))?;
        Pin::new(&mut side.half).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// More than the system takes for a peer that does not read.
    const MUCH: usize = 8 * 1024 * 1024;

    /// A connection, both of its sides here, and its peer.
    async fn connected() -> (Piped, Arc<Pipe>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
        let address = listener.local_addr().expect("it has an address");
        let (peer, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let stream = accepted.expect("it is accepted").0;
        rustix::net::sockopt::set_socket_send_buffer_size(&stream, 16 * 1024).expect("it is a socket");
        stream.writable().await.expect("it is open");
        let (connection, pipe) = piped(stream);
        (connection, pipe, peer.expect("it is let in"))
    }

    /// Letters that say where they stand.
    fn letters(length: usize) -> Vec<u8> {
        (0..length).map(|at| b'a' + u8::try_from(at % 23).expect("few letters")).collect()
    }

    #[tokio::test]
    async fn the_rest_of_a_push_goes_before_all_else() {
        let (mut connection, pipe, mut peer) = connected().await;
        let message = Bytes::from(letters(MUCH));
        assert_eq!(pipe.push(&message), Pushed::Gone);
        assert_eq!(pipe.push(&Bytes::from_static(b"late")), Pushed::Not, "the first one is not out yet");
        pipe.cut().await;
        let writing = async {
            connection.write_all(b"behind").await.expect("the peer reads");
            assert_eq!(pipe.push(&Bytes::from_static(b"!")), Pushed::Gone);
        };
        let mut came = vec![0; MUCH + 7];
        let (read, ()) = tokio::join!(peer.read_exact(&mut came), writing);
        read.expect("all of it comes");
        assert!(came[..MUCH] == message && &came[MUCH..] == b"behind!", "in order and whole");
    }

    #[tokio::test]
    async fn nothing_is_pushed_into_the_middle_of_what_the_task_writes() {
        let (mut connection, pipe, mut peer) = connected().await;
        let message = letters(MUCH);
        let count = connection.write(&message).await.expect("it is open");
        assert!(count < MUCH);
        assert_eq!(pipe.push(&Bytes::from_static(b"!")), Pushed::Not);
        let mut came = vec![0; MUCH];
        let writing = connection.write_all(&message[count..]);
        let (read, written) = tokio::join!(peer.read_exact(&mut came), writing);
        assert!(read.is_ok() && written.is_ok() && came == message);
        let hold = pipe.hold();
        assert_eq!(
            pipe.push(&Bytes::from_static(b"!")),
            Pushed::Not,
            "the task has something that goes first"
        );
        drop(hold);
        assert_eq!(pipe.push(&Bytes::from_static(b"!")), Pushed::Gone);
        assert_eq!(peer.read_u8().await.expect("it comes"), b'!');
    }
}
