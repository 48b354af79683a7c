//! API keys in the store: what is kept of them, and that every process sees what another one does.

use std::{
    fs,
    time::{Duration, Instant, SystemTime},
};

use crate::{
    access::{Gate, KeyName, Limits, Refused, Scope},
    config::Auth,
    jobs::{Keys, KeysError, testing::Bench},
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
