//! Owns every bound of the door: what may be sent, how big, how deep, how long, how many.
//! It decides nothing; whoever reads a number here refuses by it.

use std::time::Duration;

/// The bounds that differ between installations and tests. The defaults are the product's.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once, web sockets and event streams included.
    pub connections: usize,
    /// Bytes of a request body.
    pub body_bytes: usize,
    /// Bytes of one WebSocket message.
    pub message_bytes: usize,
    /// Operations at once on one WebSocket.
    pub socket_operations: usize,
    /// Subscriptions at once of one token, over all transports.
    pub token_subscriptions: usize,
    /// Time for a request's head, and for an idle connection's next one.
    pub head: Duration,
    /// Time for a request's body.
    pub body: Duration,
    /// Time for a query or a mutation.
    pub operation: Duration,
    /// Queries that run at once, at most half of them of one token; the others wait for their turn. Mutations do not: they
    /// wait for the writer.
    pub queries: usize,
    /// How long a query waits for its turn before it is told to come back.
    pub turn: Duration,
    /// Time for `connection_init` on a WebSocket.
    pub init: Duration,
    /// Pause between signs of life (WebSocket pings, event stream comments); the token is looked up again
    /// with each.
    pub heartbeat: Duration,
    /// Silence after which a WebSocket is closed.
    pub silence: Duration,
    /// Time a peer may refuse to take bytes.
    pub write: Duration,
    /// Failed logins of one address within a window; the next ones wait.
    pub login_failures: u32,
    /// How long failed logins count.
    pub login_window: Duration,
    /// Time that open connections get to end after a shutdown was asked for.
    pub closing: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 1_024,
            body_bytes: 1024 * 1024,
            message_bytes: 1024 * 1024,
            socket_operations: 100,
            token_subscriptions: 256,
            head: Duration::from_secs(10),
            body: Duration::from_secs(10),
            operation: Duration::from_secs(30),
            queries: 8,
            turn: Duration::from_secs(2),
            init: Duration::from_secs(10),
            heartbeat: Duration::from_secs(12),
            silence: Duration::from_secs(30),
            write: Duration::from_secs(10),
            login_failures: 10,
            login_window: Duration::from_mins(1),
            closing: Duration::from_secs(5),
        }
    }
}

/// Bytes of a document.
pub const DOCUMENT_BYTES_MAX: usize = 64 * 1024;
/// Tokens of a document.
pub const TOKENS_MAX: usize = 4_000;
/// Open brackets of any kind at once, which bounds the recursion of the parser.
pub const NESTING_MAX: usize = 32;
/// Selections after every fragment has been written out where it is spread.
pub const EXPANDED_MAX: u64 = 5_000;
/// Selections within selections, fragments too, after every fragment has been written out: it bounds the recursion of all
/// who walk the document.
pub const EXPANDED_DEPTH_MAX: usize = 64;
/// Values of arguments after every fragment has been written out.
pub const VALUES_MAX: u64 = 5_000;
/// Bytes of the texts among them.
pub const LITERAL_BYTES_MAX: u64 = 256 * 1024;
/// Steps of the look for fields that are answered under one key. A selection takes at most two; only what is selected
/// from an interface or a union takes more, as it is joined with every object that stands beside it.
pub const OVERLAP_STEPS_MAX: u64 = 20 * EXPANDED_MAX;
/// Aliases after every fragment has been written out.
pub const ALIASES_MAX: u64 = 100;
/// Root fields of one mutation, after every fragment has been written out.
pub const MUTATIONS_MAX: usize = 20;
/// Directives at one place.
pub const DIRECTIVES_MAX: usize = 8;
/// Operations in one document.
pub const OPERATIONS_MAX: usize = 20;
/// Variables of all operations of a document.
pub const VARIABLES_MAX: usize = 200;
/// Fragments spread inside each other.
pub const FRAGMENT_DEPTH_MAX: usize = 32;
/// Documents that are kept parsed.
pub const KNOWN_MAX: usize = 1_000;
/// Bytes of a document that is kept.
pub const KNOWN_TEXT_BYTES_MAX: usize = 16 * 1024;
/// Bytes of all that are kept, parsed.
pub const KNOWN_BYTES_MAX: usize = 8 * 1024 * 1024;
/// What a parsed document takes for each byte of its text.
pub const PARSED_BYTES_PER_BYTE: usize = 32;
/// What a selection takes whose fragment was written out.
pub const SELECTION_BYTES: u64 = 384;
/// What a value of an argument takes there.
pub const VALUE_BYTES: u64 = 96;
/// Documents that are remembered as having come once.
pub const ONCE_MAX: usize = 4_096;
/// Errors in one answer.
pub const ERRORS_MAX: usize = 20;
/// Characters of one error message.
pub const MESSAGE_CHARS_MAX: usize = 300;
/// Bytes of a bearer token.
pub const TOKEN_BYTES_MAX: usize = 512;
/// Addresses whose failed logins are remembered.
pub const LOGIN_ADDRESSES_MAX: usize = 1_024;
/// Tokens that are remembered as good.
pub const LOGIN_TOKENS_MAX: usize = 1_024;
/// Bytes of a `Last-Event-ID`.
pub const EVENT_ID_BYTES_MAX: usize = 512;
/// Bytes of an operation id on a WebSocket.
pub const OPERATION_ID_BYTES_MAX: usize = 128;
/// Messages that wait for a WebSocket's writer; a stream is not pulled while it is full.
pub const OUTGOING_MAX: usize = 64;
/// Bytes of a WebSocket's read buffer, which each has from its beginning: what a client says is mostly short.
pub const SOCKET_READ_BYTES: usize = 2 * 1024;
/// Bytes that a WebSocket gathers before it writes.
pub const SOCKET_WRITE_BYTES: usize = 4 * 1024;
/// Bytes that the kernel may hold for a peer that does not read.
pub const SEND_BUFFER_BYTES: usize = 128 * 1024;
/// Bytes of a request's head.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a refused body that are read and thrown away, so that the client gets to see the answer.
pub const DRAIN_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Time for throwing a refused body away.
pub const DRAIN_TIME: Duration = Duration::from_secs(2);
/// Time for the peer to answer a WebSocket's close frame.
pub const CLOSE_TIME: Duration = Duration::from_secs(1);
/// Descriptors that are kept for the daemon's own files and its jobs: with fewer left, nobody comes in. With a low limit
/// it is that part of it.
pub const DESCRIPTORS_RESERVED: u64 = 48;
/// See `DESCRIPTORS_RESERVED`.
pub const DESCRIPTORS_RESERVED_PART: u64 = 6;
/// So many more must be free before somebody comes in again.
pub const DESCRIPTORS_RECOVERED: u64 = 4;
/// How often it is looked whether descriptors run short while nobody comes.
pub const SHORTAGE_LOOK: Duration = Duration::from_secs(1);
/// Pause of the accept loop while descriptors are short, or after an error.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Subscriptions that are shared; what more is asked is executed for each caller alone.
pub const TOPICS_MAX: usize = 256;
/// Answers that a shared subscription holds for those who are a little behind.
pub const TOPIC_FRAMES_MAX: usize = 256;
/// Bytes of them, roughly; the newest one is always held.
pub const TOPIC_BYTES_MAX: usize = 512 * 1024;
/// How long those who take part in a shared subscription are waited for before its next answer.
pub const TOPIC_PACE: Duration = Duration::from_millis(25);
/// How long it rests between two answers, for each who takes part and at most: several times what the writes cost, so that
/// many who watch leave the daemon its cores. What happens meanwhile comes with one write.
pub const TOPIC_REST: Duration = Duration::from_micros(25);
pub const TOPIC_REST_MAX: Duration = Duration::from_millis(50);
/// Who takes longer for one answer goes on alone.
pub const TOPIC_SLOW_AFTER: Duration = Duration::from_secs(10);
