//! API keys in the store: what is kept of them, and that every process sees what another one does.

use std::{
    fs,
    time::{Duration, Instant, SystemTime},
};

use sqlx::Connection as _;

use crate::{
    access::{Gate, KeyName, Limits, Refused, Scope},
    config::Auth,
    jobs::{Error, Jobs, Keys, KeysError, testing::Bench},
};

const NO_LIMITS: Limits = Limits { images_per_second: None, burst: None, in_flight: None };

fn name(text: &str) -> KeyName {
    text.parse().expect("a name")
}

fn is_let_in(gate: &Gate, text: &str) -> Result<bool, Refused> {
    let admitted = gate.admit(Scope::Predict, || Ok(text), (Instant::now(), SystemTime::now()))?;
    Ok(admitted.is_some())
}

#[tokio::test]
async fn what_one_process_does_another_sees() {
    let bench = Bench::new().await;
    let (server, other) = (bench.jobs.keys(), Keys::open(bench.dir.path()).await.expect("an existing store"));
    let gate = server.gate(Auth::Auto).await.expect("it can be read");
    assert!(!gate.is_closed());
    let (_, new) = other.create(&name("ci"), Scope::Predict, NO_LIMITS, None).await.expect("a new name");
    server.renew(&gate).await.expect("it can be read");
    assert!(gate.is_closed());
    assert_eq!(is_let_in(&gate, new.reveal()), Ok(true));
    let yesterday = SystemTime::now() - Duration::from_secs(86_400);
    other.set(&name("ci"), |key| key.expires = Some(yesterday)).await.expect("it is there");
    server.renew(&gate).await.expect("it can be read");
    assert_eq!(is_let_in(&gate, new.reveal()), Err(Refused::Expired { name: name("ci") }));
    other.revoke(&name("ci")).await.expect("it is there");
    server.renew(&gate).await.expect("it can be read");
    assert_eq!(is_let_in(&gate, new.reveal()), Err(Refused::Unknown));
    assert!(gate.is_closed(), "the last key is gone, and nobody is let in");
    let again = server.gate(Auth::Auto).await.expect("it can be read");
    assert!(again.is_closed(), "nor after a restart");
}

#[tokio::test]
async fn a_server_keeps_its_gate_up_to_date_by_itself() {
    let bench = Bench::new().await;
    let (server, other) = (bench.jobs.keys(), Keys::open(bench.dir.path()).await.expect("an existing store"));
    let gate = server.gate(Auth::Auto).await.expect("it can be read");
    let keeping = tokio::spawn({
        let gate = gate.clone();
        async move { server.keep(&gate).await }
    });
    other.create(&name("ci"), Scope::Predict, NO_LIMITS, None).await.expect("a new name");
    let closes = async {
        while !gate.is_closed() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), closes).await.expect("it sees the key");
    keeping.abort();
}

#[tokio::test]
async fn names_are_unique_among_keys_in_force() {
    let bench = Bench::new().await;
    let keys = bench.jobs.keys();
    let create = async |scope| keys.create(&name("ci"), scope, NO_LIMITS, None).await;
    let (first, _) = create(Scope::Admin).await.expect("a new name");
    assert!(matches!(create(Scope::Predict).await, Err(KeysError::Exists { .. })));
    keys.revoke(&name("ci")).await.expect("it is there");
    assert!(matches!(keys.revoke(&name("ci")).await, Err(KeysError::Unknown { .. })));
    assert!(matches!(keys.set(&name("ci"), |_| {}).await, Err(KeysError::Unknown { .. })));
    let (second, _) = create(Scope::Train).await.expect("the name is free");
    assert_ne!(first.id, second.id);
    let in_force = keys.list().await.expect("it can be read");
    assert_eq!(in_force.iter().map(|key| (&key.id, key.scope)).collect::<Vec<_>>(), [(&second.id, Scope::Train)]);
    let revoked = keys.revoked().await.expect("it can be read");
    assert!(revoked.len() == 1 && revoked[0].id == first.id && revoked[0].revoked.is_some(), "{revoked:?}");
}

#[tokio::test]
async fn what_is_set_is_kept() {
    let bench = Bench::new().await;
    let keys = bench.jobs.keys();
    let limits = Limits { images_per_second: Some(20), burst: Some(64), in_flight: Some(4) };
    let (made, _) = keys.create(&name("phone"), Scope::Predict, limits, None).await.expect("a new name");
    let [kept] = &keys.list().await.expect("it can be read")[..] else { panic!("one key") };
    assert_eq!((&kept.id, &kept.name, kept.scope, kept.limits), (&made.id, &made.name, made.scope, limits));
    assert_eq!((kept.created, kept.expires, kept.revoked), (made.created, None, None));
    let changed = keys.set(&name("phone"), |key| key.limits.in_flight = None).await.expect("it is there");
    assert_eq!(changed.limits, Limits { in_flight: None, ..limits });
    let no_rate = keys.set(&name("phone"), |key| key.limits.images_per_second = None).await;
    assert!(matches!(no_rate, Err(KeysError::Burst)), "{no_rate:?}");
    assert_eq!(keys.list().await.expect("it can be read")[0].limits, changed.limits, "nothing is half changed");
    let burst = Limits { burst: Some(1), ..NO_LIMITS };
    let burst = keys.create(&name("b"), Scope::Predict, burst, None).await;
    assert!(matches!(burst, Err(KeysError::Burst)), "{burst:?}");
}

#[tokio::test]
async fn no_file_holds_a_key() {
    let bench = Bench::new().await;
    let keys = bench.jobs.keys();
    let (_, new) = keys.create(&name("ci"), Scope::Admin, NO_LIMITS, None).await.expect("a new name");
    let secret = new.reveal().rsplit('_').next().expect("it has a secret").to_owned();
    bench.jobs.store().close().await;
    let raw: Vec<u8> =
        (0..secret.len() / 2).map(|at| u8::from_str_radix(&secret[2 * at..2 * at + 2], 16).expect("hexadecimal")).collect();
    // The log of what was written last, too, where it has not been merged yet.
    let files = fs::read_dir(bench.dir.path()).expect("it is there").flatten().filter(|entry| entry.path().is_file());
    let file: Vec<u8> = files.flat_map(|entry| fs::read(entry.path()).expect("it can be read")).collect();
    assert!(file.windows(new.id.0.len()).any(|window| window == new.id.0.as_bytes()), "the id is stored");
    for sought in [secret.as_bytes(), &raw] {
        assert!(!file.windows(sought.len()).any(|window| window == sought));
    }
}

/// Runs `sql` on the store of `bench`, whatever its table forbids.
async fn forced(bench: &Bench, sql: &'static str) {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(Jobs::file(bench.dir.path()));
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await.expect("the store's file");
    sqlx::query("PRAGMA ignore_check_constraints = ON").execute(&mut connection).await.expect("a pragma");
    sqlx::query(sql).execute(&mut connection).await.expect("it is done");
    connection.close().await.expect("closed");
}

#[tokio::test]
async fn a_row_that_cannot_be_read_locks_out_its_holder_alone() {
    for (column, sql) in [
        ("scope", "UPDATE keys SET scope = 'root' WHERE name = 'bad'"),
        ("images_per_second", "UPDATE keys SET images_per_second = 99999999999 WHERE name = 'bad'"),
        ("burst", "UPDATE keys SET burst = -1 WHERE name = 'bad'"),
        ("in_flight", "UPDATE keys SET in_flight = 0 WHERE name = 'bad'"),
        ("digest", "UPDATE keys SET digest = NULL WHERE name = 'bad'"),
        ("digest", "UPDATE keys SET digest = x'00' WHERE name = 'bad'"),
        ("name", "UPDATE keys SET name = 'b a d' WHERE name = 'bad'"),
    ] {
        let bench = Bench::new().await;
        let keys = bench.jobs.keys();
        let (_, good) = keys.create(&name("good"), Scope::Predict, NO_LIMITS, None).await.expect("a new name");
        let (_, bad) = keys.create(&name("bad"), Scope::Predict, NO_LIMITS, None).await.expect("a new name");
        let gate = keys.gate(Auth::Auto).await.expect("it can be read");
        assert_eq!(is_let_in(&gate, bad.reveal()), Ok(true));
        forced(&bench, sql).await;
        keys.renew(&gate).await.expect("the others can be read");
        assert_eq!(is_let_in(&gate, good.reveal()), Ok(true), "{sql}");
        assert_eq!(is_let_in(&gate, bad.reveal()), Err(Refused::Unknown), "{sql}");
        assert_eq!(keys.list().await.expect("the others can be read").len(), 1);
        let [found] = &keys.unreadable().await.expect("the others can be read")[..] else { panic!("one is bad: {sql}") };
        let known = (column != "name").then(|| name("bad"));
        assert_eq!((found.column, &found.name), (column, &known), "{sql}");
        if known.is_some() {
            let set = keys.set(&name("bad"), |key| key.scope = Scope::Admin).await;
            assert!(matches!(set, Err(KeysError::Unreadable(_))), "{set:?}");
            keys.revoke(&name("bad")).await.expect("what cannot be read can be ended");
        }
    }
}

#[tokio::test]
async fn a_store_that_is_lost_opens_no_server() {
    let bench = Bench::new().await;
    let (dir, server) = (bench.dir.path(), bench.jobs.keys());
    let open = server.gate(Auth::Auto).await.expect("it can be read");
    assert!(!open.is_closed() && Keys::marker(dir).is_none());
    let (_, new) = server.create(&name("ci"), Scope::Predict, NO_LIMITS, None).await.expect("a new name");
    let marker = Keys::marker(dir).expect("it is kept that there are keys");
    // A server that has not seen the key yet, while the store is moved away.
    let aside = dir.join("aside");
    let file = Jobs::file(dir);
    fs::rename(&file, &aside).expect("moved");
    assert!(matches!(server.renew(&open).await, Err(Error::Gone)));
    assert!(open.is_closed());
    bench.jobs.store().close().await;
    for log in ["jobs.db-wal", "jobs.db-shm"] {
        drop(fs::remove_file(dir.join(log)));
    }
    let fresh = Keys::open(dir).await.expect("a new store");
    let gate = fresh.gate(Auth::Auto).await.expect("it can be read");
    assert_eq!(is_let_in(&gate, new.reveal()), Err(Refused::Lost));
    assert!(gate.has_lost_keys());
    // Either way out.
    fs::remove_file(&marker).expect("it is there");
    fresh.renew(&gate).await.expect("it can be read");
    assert!(gate.has_lost_keys(), "a server that runs does not open");
    assert!(!fresh.gate(Auth::Auto).await.expect("it can be read").is_closed(), "one that is started does");
    fresh.create(&name("ci"), Scope::Predict, NO_LIMITS, None).await.expect("a new name");
    fresh.renew(&gate).await.expect("it can be read");
    assert!(gate.is_closed() && !gate.has_lost_keys());
    // A server that sees keys says so, too, for folders of an earlier graft.
    fs::remove_file(&marker).expect("it is there");
    fresh.renew(&gate).await.expect("it can be read");
    assert!(Keys::marker(dir).is_some());
    fresh.revoke(&name("ci")).await.expect("it is there");
    fresh.renew(&gate).await.expect("it can be read");
    assert!(gate.is_closed() && gate.admits_nobody() && !gate.has_lost_keys(), "the last one was revoked, and not lost");
}
