//! The way to a PostgreSQL server may be encrypted, and a server that is not the right one is refused.

use beadle::base::clock::SystemClock;
use beadle::base::random::SystemRandom;
use beadle::store::{Fault, Store};
use sqlx::{Connection as _, PgConnection};

use super::stage::block_on;
use crate::support::postgres::{encrypted_server, postgres_url};

async fn open(url: &str) -> Result<(), Fault> {
    let store = Store::open_postgres_with(url, 3, &SystemClock, &SystemRandom).await?;
    store.close().await;
    Ok(())
}

#[test]
fn a_server_is_reached_by_tls_and_its_certificate_is_checked() {
    let Some(server) = encrypted_server() else { return };
    block_on(async {
        let checked = server.url("verify-full", &server.authority);
        open(&checked).await.expect("the server is the right one");
        let mut connection = PgConnection::connect(&checked).await.expect("the server answers");
        let is_encrypted: bool =
            sqlx::query_scalar("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
                .fetch_one(&mut connection)
                .await
                .expect("the server tells");
        assert!(is_encrypted);
        let fault = open(&server.url("verify-full", &server.stranger)).await.expect_err("another authority");
        println!("another authority: {fault}");
        assert!(fault.message.contains("certificate"), "{fault}");
        let by_number = checked.replace("@localhost", "@127.0.0.1");
        let fault = open(&by_number).await.expect_err("the certificate is for another name");
        println!("another name: {fault}");
        assert!(fault.message.contains("certificate"), "{fault}");
        open(&server.url("verify-ca", &server.authority)).await.expect("the name is not looked at");
        open(&server.url("require", &server.authority)).await.expect("encrypted, and not checked");
    });
}

#[test]
fn a_server_without_tls_is_refused_where_it_is_required() {
    let Some(url) = postgres_url() else { return };
    block_on(async {
        let fault = open(&format!("{url}&sslmode=require")).await.expect_err("there is no TLS");
        println!("{fault}");
        assert!(fault.message.contains("does not support TLS"), "{fault}");
    });
}
