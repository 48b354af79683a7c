//! Stores whose file is gone, replaced or damaged: nothing is accepted that would not be kept.

use std::{fs, path::Path};

use sqlx::{Connection, SqliteConnection};

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

async fn connect(file: &Path) -> SqliteConnection {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
    SqliteConnection::connect_with(&options).await.expect("the store's file")
}

/// All that was written is in the file itself from here on.
async fn empty_log(connection: &mut SqliteConnection) {
    let emptied = sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(connection).await;
    let (busy, ..): (i64, i64, i64) = emptied.expect("a row");
    assert_eq!(busy, 0, "nobody else reads or writes it");
}

#[tokio::test]
async fn a_store_in_which_damage_was_met_is_not_trusted_until_all_of_it_is_sound() {
    let bench = Bench::new().await;
    bench.enqueue("a").await;
    let file = Jobs::file(bench.dir.path());
    let mut connection = connect(&file).await;
    let size: i64 = sqlx::query_scalar("PRAGMA page_size").fetch_one(&mut connection).await.expect("a number");
    let root = sqlx::query_scalar("SELECT rootpage FROM sqlite_schema WHERE name = 'keys'").fetch_one(&mut connection).await;
    let root: i64 = root.expect("the table's page, counted from 1");
    empty_log(&mut connection).await;
    connection.close().await.expect("closed");
    let (size, root) = (usize::try_from(size).expect("positive"), usize::try_from(root).expect("positive"));
    let whole = fs::read(&file).expect("a file");
    // What is asked of jobs reads no page of the keys.
    let mut damaged = whole.clone();
    damaged[(root - 1) * size..root * size].fill(0xA5);
    for (what, contents, is_met) in [("a page", damaged.as_slice(), true), ("its end", &whole[..size], false)] {
        fs::write(&file, contents).expect("damaged");
        if is_met {
            let met = bench.jobs.store().keys().await.expect_err("its page is damaged");
            assert!(matches!(met, Error::Corrupt(_)), "{met:?}");
        }
        for _ in 0..2 {
            let enqueued = bench.jobs.enqueue(&Client::local(), &new_job("b"), None).await;
            assert!(matches!(enqueued, Err(Error::Corrupt(_))), "{what}: {enqueued:?}");
            let reserved = bench.jobs.reserve(&Client::local(), "k", "hash").await.err();
            assert!(matches!(reserved, Some(Error::Corrupt(_))), "{what}: {reserved:?}");
            let checked = bench.jobs.check().await;
            assert!(matches!(checked, Err(Error::Corrupt(_))), "{what}: {checked:?}");
        }
        fs::write(&file, &whole).expect("put back");
        bench.jobs.check().await.expect("it is sound");
        bench.jobs.store().keys().await.expect("no connection remembers the damage");
    }
    bench.enqueue("b").await;
}

#[tokio::test]
async fn a_row_that_breaks_a_rule_of_its_table_is_no_damage() {
    let bench = Bench::new().await;
    let mut connection = connect(&Jobs::file(bench.dir.path())).await;
    for sql in
        ["PRAGMA ignore_check_constraints = ON", "INSERT INTO keys (id, name, scope, created) VALUES ('x', 'bad', 'root', 1)"]
    {
        sqlx::query(sql).execute(&mut connection).await.expect("it is done");
    }
    connection.close().await.expect("closed");
    Store::open(bench.dir.path()).await.expect("it is sound");
}

#[tokio::test]
async fn a_damaged_store_is_told_at_start_with_the_way_out() {
    let bench = Bench::new().await;
    for name in ["a", "b", "c"] {
        bench.enqueue(name).await;
    }
    bench.jobs.store().close().await;
    let file = Jobs::file(bench.dir.path());
    let mut connection = connect(&file).await;
    empty_log(&mut connection).await;
    connection.close().await.expect("closed");
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
