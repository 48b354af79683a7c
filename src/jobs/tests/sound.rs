//! Stores whose file is gone, replaced or damaged: nothing is accepted that would not be kept.

use std::fs;

use sqlx::Connection;

use crate::{
    jobs::{
        Error, Jobs, Store,
        testing::{Bench, new_job},
    },
    work::Client,
};

#[tokio::test]
async fn nothing_is_accepted_into_a_file_that_is_gone() {
    let bench = Bench::new().await;
    bench.enqueue("a").await;
    bench.jobs.check().await.expect("it is sound");
    let (file, aside) = (Jobs::file(bench.dir.path()), bench.dir.path().join("aside"));
    fs::rename(&file, &aside).expect("moved");
    for present in ["nothing", "another file"] {
        assert!(matches!(bench.jobs.check().await, Err(Error::Gone)), "{present}");
        assert!(matches!(bench.jobs.enqueue(&Client::local(), &new_job("b"), None).await, Err(Error::Gone)), "{present}");
        fs::copy(&aside, &file).expect("copied");
    }
    fs::rename(&aside, &file).expect("put back");
    bench.jobs.check().await.expect("it is sound");
    bench.enqueue("c").await;
}

#[tokio::test]
async fn a_damaged_store_is_told_at_start_with_the_way_out() {
    let bench = Bench::new().await;
    for name in ["a", "b", "c"] {
        bench.enqueue(name).await;
    }
    bench.jobs.store().close().await;
    let file = Jobs::file(bench.dir.path());
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&file);
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await.expect("the store's file");
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await.expect("nobody else has it open");
    connection.close().await.expect("closed");
    // All that was written is in the file itself from here on.
    let forget_log = || ["jobs.db-wal", "jobs.db-shm"].map(|log| drop(fs::remove_file(file.with_file_name(log))));
    let whole = fs::read(&file).expect("a file");
    for (what, from) in [("its header", 0), ("its pages", 4096)] {
        let mut damaged = whole.clone();
        damaged[from..].fill(0xA5);
        forget_log();
        fs::write(&file, damaged).expect("damaged");
        let error = Store::open(bench.dir.path()).await.expect_err("it is damaged");
        assert!(matches!(error, Error::Broken { .. }), "{what}: {error:?}");
        assert!(error.to_string().contains("put a copy of it back"), "{error}");
    }
    forget_log();
    fs::write(&file, whole).expect("put back");
    Store::open(bench.dir.path()).await.expect("it is sound");
}
