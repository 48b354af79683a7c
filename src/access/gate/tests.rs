//! Who is let in, by which keys there are and what they may do.

use super::{super::NewKey, *};

const SECOND: Duration = Duration::from_secs(1);

fn key(name: &str, scope: Scope, limits: Limits) -> (NewKey, Key) {
    let new = NewKey::random().expect("the system has randomness");
    let (id, digest) = (new.id.clone(), new.digest);
    let name = name.parse().expect("a name");
    let key = Key { id, name, digest, scope, limits, created: SystemTime::now(), expires: None, revoked: None };
    (new, key)
}

fn admit(gate: &Gate, text: &str, needs: Scope) -> Result<Option<Admitted>, Refused> {
    gate.admit(needs, || Ok(text), (Instant::now(), SystemTime::now()))
}

#[test]
fn what_there_is_decides_whether_a_key_is_needed() {
    let check = |auth, in_use: bool, closed: bool| {
        let gate = Gate::new(auth, Vec::new(), in_use, Instant::now());
        assert_eq!(gate.is_closed(), closed, "{auth:?} {in_use}");
        let open = gate.admit(Scope::Admin, || Err(Refused::Missing), (Instant::now(), SystemTime::now()));
        assert_eq!(matches!(open, Ok(None)), !closed, "{auth:?} {in_use}");
        assert!(open.is_ok() || matches!(open, Err(Refused::Missing)), "{auth:?} {in_use}");
    };
    check(Auth::Auto, false, false);
    // Keys that are revoked, or were: a server that was closed does not open.
    check(Auth::Auto, true, true);
    check(Auth::Required, false, true);
    check(Auth::Required, true, true);
    check(Auth::Off, true, false);
}

#[test]
fn keys_that_are_lost_let_nobody_in_and_say_so() {
    let gate = |auth, made| Gate::new(auth, Vec::new(), made, Instant::now());
    for auth in [Auth::Auto, Auth::Required] {
        let lost = gate(auth, Made::Lost);
        assert!(lost.is_closed() && lost.admits_nobody() && lost.has_lost_keys());
        let refused = lost.admit(Scope::Predict, || Err(Refused::Missing), (Instant::now(), SystemTime::now()));
        assert!(matches!(refused, Err(Refused::Lost)), "{refused:?}");
        let text = Refused::Lost.to_string();
        assert!(["graft keys create", "`keys-were-made`", "`server.auth`"].iter().all(|way| text.contains(way)), "{text}");
    }
    assert!(!gate(Auth::Off, Made::Lost).has_lost_keys() && !gate(Auth::Auto, Made::Ever).has_lost_keys());
    let open = gate(Auth::Auto, Made::Never);
    open.close();
    assert!(open.is_closed() && !open.has_lost_keys());
}

#[test]
fn a_key_lets_in_where_its_scope_reaches() {
    let keys = Scope::ALL.map(|scope| key(scope.name(), scope, Limits::default()));
    let gate = Gate::new(Auth::Auto, keys.iter().map(|(_, key)| key.clone()).collect(), true, Instant::now());
    for (new, key) in &keys {
        for needs in Scope::ALL {
            let admitted = admit(&gate, new.reveal(), needs);
            match key.scope >= needs {
                true => assert_eq!(admitted.expect("in").expect("by key").client(), Client::key(key.name.as_str())),
                false => {
                    let expected = Refused::Scope { name: key.name.clone(), has: key.scope, needs };
                    assert_eq!(admitted.expect_err("not in"), expected);
                }
            }
        }
    }
}

#[test]
fn only_the_whole_key_lets_in() {
    let (new, known) = key("ci", Scope::Admin, Limits::default());
    let (other, _) = key("other", Scope::Admin, Limits::default());
    let gate = Gate::new(Auth::Auto, vec![known], true, Instant::now());
    let text = new.reveal();
    let last = if text.ends_with('0') { "1" } else { "0" };
    let almost = format!("{}{last}", &text[..text.len() - 1]);
    for wrong in [other.reveal(), &almost] {
        assert_eq!(admit(&gate, wrong, Scope::Predict).expect_err("not in"), Refused::Unknown);
    }
    for wrong in ["", "ci", &text[..20], &"x".repeat(100_000)] {
        let refused = admit(&gate, wrong, Scope::Predict).expect_err("not in");
        assert!(matches!(refused, Refused::Malformed(_)), "{refused}");
    }
    assert!(admit(&gate, text, Scope::Predict).is_ok());
}

#[test]
fn keys_come_and_go_with_the_store() {
    let (new, known) = key("ci", Scope::Predict, Limits::default());
    let gate = Gate::new(Auth::Auto, Vec::new(), false, Instant::now());
    assert!(matches!(admit(&gate, "", Scope::Admin), Ok(None)));
    gate.renew(vec![known.clone()], true, Instant::now());
    assert!(matches!(admit(&gate, new.reveal(), Scope::Predict), Ok(Some(_))));
    let expired = Key { expires: Some(SystemTime::now() - SECOND), ..known.clone() };
    gate.renew(vec![expired], true, Instant::now());
    assert_eq!(admit(&gate, new.reveal(), Scope::Predict).expect_err("expired"), Refused::Expired { name: known.name });
    gate.renew(Vec::new(), true, Instant::now());
    assert_eq!(admit(&gate, new.reveal(), Scope::Predict).expect_err("revoked"), Refused::Unknown);
}

#[test]
fn keys_that_cannot_be_read_let_nobody_in() {
    let (new, known) = key("ci", Scope::Predict, Limits::default());
    let read = Instant::now();
    let late = (read + MAX_AGE + SECOND, SystemTime::now());
    let gate = Gate::new(Auth::Auto, vec![known], true, read);
    assert!(gate.admit(Scope::Predict, || Ok(new.reveal()), (read + MAX_AGE, SystemTime::now())).is_ok());
    assert_eq!(gate.admit(Scope::Predict, || Ok(new.reveal()), late).expect_err("old"), Refused::Unreadable);
    // Where no key has ever been made, a store that fails is no reason to refuse everybody.
    let open = Gate::new(Auth::Auto, Vec::new(), false, read);
    assert!(matches!(open.admit(Scope::Predict, || Err(Refused::Missing), late), Ok(None)));
}

#[test]
fn what_was_asked_outlives_the_snapshot() {
    let limits = Limits { images_per_second: Some(1), burst: Some(5), in_flight: Some(1) };
    let (new, known) = key("ci", Scope::Predict, limits);
    let (gate, now) = (Gate::new(Auth::Auto, vec![known.clone()], true, Instant::now()), Instant::now());
    let admitted = admit(&gate, new.reveal(), Scope::Predict).expect("in").expect("by key");
    admitted.take(5, now).expect("the burst");
    gate.renew(vec![known.clone()], true, Instant::now());
    let is_full = || match admit(&gate, new.reveal(), Scope::Predict) {
        Err(Refused::InFlight { limit: 1, room: Some(room), .. }) => room.burst == 5,
        _ => false,
    };
    assert!(is_full(), "one is in flight");
    // Work that holds a clone counts, whoever else has left.
    let work = admitted.clone();
    drop(admitted);
    assert!(is_full(), "work goes on");
    drop(work);
    let again = admit(&gate, new.reveal(), Scope::Predict).expect("in").expect("by key");
    let refused = again.take(2, now).expect_err("the burst was used");
    assert_eq!((refused.retry_after(), refused.to_string().contains("`ci`")), (Some(2), true), "{refused}");
    let never = again.take(6, now).expect_err("more than a burst");
    assert_eq!(never, Refused::TooManyImages { name: known.name, images: 6, burst: 5 });
    assert_eq!(never.retry_after(), None);
}

#[test]
fn what_changes_is_told_once() {
    let [(_, one), (_, other)] = ["one", "other"].map(|name| key(name, Scope::Predict, Limits::default()));
    let gate = Gate::new(Auth::Auto, Vec::new(), false, Instant::now());
    let names = |keys: &[Key]| keys.iter().map(|key| key.name.clone()).collect::<Vec<_>>();
    let found = gate.renew(vec![other.clone(), one.clone()], true, Instant::now());
    assert_eq!((found.closed, found.begun, found.in_force), (true, names(&[one.clone(), other.clone()]), 2));
    let raised = Key { scope: Scope::Admin, ..one.clone() };
    let limited = Key { limits: Limits { in_flight: Some(1), ..Limits::default() }, ..other.clone() };
    let later = Key { expires: Some(SystemTime::now()), ..limited.clone() };
    for (keys, changed) in [
        ([raised.clone(), other.clone()], vec![(one.name.clone(), Scope::Admin)]),
        ([raised.clone(), limited], vec![(other.name.clone(), Scope::Predict)]),
        ([raised.clone(), later.clone()], vec![(other.name.clone(), Scope::Predict)]),
        ([raised.clone(), later.clone()], Vec::new()),
    ] {
        let found = gate.renew(keys.to_vec(), true, Instant::now());
        assert_eq!((found.closed, found.changed, found.begun.len() + found.ended.len()), (false, changed, 0));
    }
    let found = gate.renew(vec![later], true, Instant::now());
    assert_eq!((found.ended, found.changed, found.in_force), (names(&[one]), Vec::new(), 1));
}
