//! Owns the stock server: axum and async-graphql as their guides show them, and beside them a greeting and a list
//! without GraphQL. It must stay without any trick.

use std::sync::Arc;
use std::time::Duration;

use async_graphql::http::{WebSocket, WebSocketProtocols, WsMessage};
use async_graphql::{Request, Schema};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket as Stream, WebSocketUpgrade};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::{SinkExt as _, StreamExt as _};
use sqlx::SqlitePool;
use sqlx::sqlite::SqlitePoolOptions;
use tokio::net::TcpListener;

use super::schema::{Changes, Event, Mutation, Query, Stock};
use super::sql;

/// Events a second for those who follow.
pub const EVENTS_PER_SECOND: u32 = 100;
/// Jobs of the list without GraphQL.
const PAGE: usize = 20;
/// Connections to the database.
const POOL: u32 = 4;

type Stocked = Schema<Query, Mutation, Changes>;

/// Serves until it is killed. With a path it keeps each mutation in a transaction of its own.
pub fn run(path: Option<&str>) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    runtime.block_on(serve(path));
}

async fn serve(path: Option<&str>) {
    let stock = Stock::new(opened(path).await);
    let schema = Schema::build(Query, Mutation, Changes).data(Arc::clone(&stock)).finish();
    tokio::spawn(publish(Arc::clone(&stock)));
    let lists = Router::new().route("/list", get(list)).with_state(stock);
    let app = Router::new()
        .route("/graphql", post(graphql).get(follow))
        .with_state(schema)
        .merge(lists)
        .route("/hello", get(async || "hello"));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    println!("{}", listener.local_addr().expect("it is bound"));
    axum::serve(listener, app).await.expect("it serves");
}

/// The database with the shared table, and a connection that looks into it once a second.
async fn opened(path: Option<&str>) -> Option<SqlitePool> {
    let path = path?;
    drop(sql::open(path.as_ref()));
    let pool = SqlitePoolOptions::new().max_connections(POOL).min_connections(POOL);
    let options = path.parse::<sqlx::sqlite::SqliteConnectOptions>().expect("a path");
    let options = options.filename(path).synchronous(sqlx::sqlite::SqliteSynchronous::Full);
    let pool = pool.connect_with(options).await.expect("the database opens");
    let polled = pool.clone();
    tokio::spawn(async move {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        loop {
            second.tick().await;
            let ready = "SELECT id FROM jobs WHERE state = 0 AND queue = 'none' LIMIT 1";
            let _ = sqlx::query(ready).fetch_optional(&polled).await;
        }
    });
    Some(pool)
}

async fn publish(stock: Arc<Stock>) {
    let mut tick = tokio::time::interval(Duration::from_secs(1) / EVENTS_PER_SECOND);
    for number in 0.. {
        tick.tick().await;
        if stock.events.receiver_count() > 0 {
            let _ = stock.events.send(Event::numbered(number));
        }
    }
}

async fn graphql(State(schema): State<Stocked>, body: Bytes) -> Response {
    let request: Request = serde_json::from_slice(&body).expect("the client sends requests");
    let answer = schema.execute(request).await;
    json(serde_json::to_vec(&answer).expect("an answer is JSON"))
}

async fn list(State(stock): State<Arc<Stock>>) -> Response {
    let nodes: Vec<_> = stock.page(PAGE).iter().map(super::schema::Job::plain).collect();
    let page = serde_json::json!({"data": {"jobs": {"nodes": nodes}}});
    json(serde_json::to_vec(&page).expect("a page is JSON"))
}

fn json(body: Vec<u8>) -> Response {
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

async fn follow(State(schema): State<Stocked>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.protocols(["graphql-transport-ws"]).on_upgrade(|stream| talk(schema, stream))
}

async fn talk(schema: Stocked, stream: Stream) {
    let (mut sink, stream) = stream.split();
    let said = stream.filter_map(async |message| match message {
        Ok(Message::Text(text)) => Some(text.as_bytes().to_vec()),
        _ => None,
    });
    let said = said.boxed();
    let mut answers = WebSocket::new(schema, said, WebSocketProtocols::GraphQLWS);
    while let Some(answer) = answers.next().await {
        let message = match answer {
            WsMessage::Text(text) => Message::Text(text.into()),
            WsMessage::Close(code, reason) => {
                Message::Close(Some(CloseFrame { code, reason: reason.into() }))
            }
        };
        if sink.send(message).await.is_err() {
            return;
        }
    }
}
