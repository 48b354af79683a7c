//! What many share: so much of something together, and for each client a share of what the others leave.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::Client;

/// A bound on bytes, places or anything else that is counted; cheap to clone.
///
/// Each client has at most a part of what the others leave (dynamic thresholds of Choudhury and Hahne, 1998): with a half, that is half
/// of all for one that is alone, a third each for two that want more, a ninth each for eight. So there is something left for whoever
/// comes next, however many hold what they may.
#[derive(Debug, Clone)]
pub struct Budget {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    bound: u64,
    percent: u8,
    least: u64,
    /// A plain mutex: held for sums only.
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    total: u64,
    /// Only those that hold something.
    by_client: HashMap<Client, u64>,
}

/// What a client holds of a [`Budget`], given back when dropped.
#[derive(Debug)]
pub struct Share {
    budget: Budget,
    client: Client,
    /// A plain mutex: taken before that of the budget, for sums only.
    held: Mutex<u64>,
}

/// Which bound leaves no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exceeded {
    /// What all clients may have together: too little is left, for this client at least.
    Bound,
    /// What one client may have, even if it is alone.
    Client,
}

/// A part of the bound that is kept free of whoever has more than a little, and of first requests that need much: an eighth.
const KEPT_FREE: u64 = 8;

/// A part of the bound that a client may have of what is kept free, whatever it has: a 128th, as of 1024 connections the eight that a
/// browser opens at once.
const LITTLE: u64 = 128;

impl Budget {
    /// At most `bound`, whoever has it.
    pub fn new(bound: u64) -> Self {
        Self::shared(bound, 100, 0)
    }

    /// At most `bound` for all, and `percent` of what the others leave for each client; one that is alone may have `least`, and so may one
    /// that has nothing else, for one thing, as long as an eighth of the bound stays free.
    pub fn shared(bound: u64, percent: u8, least: u64) -> Self {
        Self { inner: Arc::new(Inner { bound, percent, least: least.min(bound), used: Mutex::default() }) }
    }

    /// What all may have together.
    pub fn bound(&self) -> u64 {
        self.inner.bound
    }

    /// What one client may have at the most: if it is alone.
    pub fn per_client(&self) -> u64 {
        self.inner.per_client()
    }

    /// What all have now.
    pub fn used(&self) -> u64 {
        self.lock().total
    }

    /// An empty share of `client`.
    pub fn share(&self, client: &Client) -> Share {
        Share { budget: self.clone(), client: client.clone(), held: Mutex::new(0) }
    }

    /// A share of `amount`.
    ///
    /// # Errors
    /// The bound that it does not fit in.
    pub fn take(&self, client: &Client, amount: u64) -> Result<Share, Exceeded> {
        let share = self.share(client);
        share.raise_to(amount).map(|()| share)
    }

    /// Whether `client` could have `amount` more now.
    ///
    /// # Errors
    /// The bound that it does not fit in.
    pub fn check(&self, client: &Client, amount: u64) -> Result<(), Exceeded> {
        self.inner.fits(&self.lock(), client, 0, amount)
    }

    fn give_back(&self, client: &Client, amount: u64) {
        if amount == 0 {
            return;
        }
        let mut used = self.lock();
        used.total -= amount;
        if let Some(own) = used.by_client.get_mut(client) {
            *own -= amount;
            if *own == 0 {
                used.by_client.remove(client);
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Used> {
        self.inner.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Whether a share of `client` that is `held` may be larger by `more`.
    fn fits(&self, used: &Used, client: &Client, held: u64, more: u64) -> Result<(), Exceeded> {
        let own = used.by_client.get(client).copied().unwrap_or_default();
        let others = used.total - own;
        let wanted = own.saturating_add(more);
        let (left, is_alone, is_first) = (self.bound - others, others == 0, own == held);
        // What is kept free is for those who have nothing or little.
        let kept = if self.percent < 100 { self.bound.div_ceil(KEPT_FREE) } else { 0 };
        let little = if kept == 0 { 0 } else { self.little(is_first) };
        let room = if is_alone { left } else { left.saturating_sub(kept) };
        match () {
            () if more == 0 || wanted <= self.share(others).min(room) => Ok(()),
            () if (is_alone || is_first) && wanted <= self.least.min(room) => Ok(()),
            () if wanted <= little.min(left) => Ok(()),
            () if wanted > self.per_client() && self.per_client() < self.bound => Err(Exceeded::Client),
            () => Err(Exceeded::Bound),
        }
    }

    /// What one client may have at the most.
    fn per_client(&self) -> u64 {
        self.share(0).max(self.least)
    }

    /// How much one may have, out of what is kept free, too: half of that who has nothing else, one at least.
    fn little(&self, is_first: bool) -> u64 {
        let part = if is_first { KEPT_FREE * 2 } else { LITTLE };
        (self.bound / part).max(1)
    }

    /// What a client may have while the others have `others`.
    fn share(&self, others: u64) -> u64 {
        (u128::from(self.bound - others) * u128::from(self.percent) / 100) as u64
    }
}

impl Share {
    /// Raises it to `total`; smaller totals change nothing.
    ///
    /// # Errors
    /// The bound that this does not fit in; nothing has changed then.
    pub fn raise_to(&self, total: u64) -> Result<(), Exceeded> {
        self.grow(|held| total.saturating_sub(held))
    }

    /// Raises it by `more`.
    ///
    /// # Errors
    /// As [`Self::raise_to`].
    pub fn add(&self, more: u64) -> Result<(), Exceeded> {
        self.grow(|_| more)
    }

    fn grow(&self, more: impl FnOnce(u64) -> u64) -> Result<(), Exceeded> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let more = more(*held);
        if more == 0 {
            return Ok(());
        }
        let mut used = self.budget.lock();
        self.budget.inner.fits(&used, &self.client, *held, more)?;
        used.total += more;
        *used.by_client.entry(self.client.clone()).or_default() += more;
        *held += more;
        Ok(())
    }

    /// A share of `amount` for the same client beside it, which is given back by itself.
    ///
    /// # Errors
    /// The bound that it does not fit in.
    pub fn beside(&self, amount: u64) -> Result<Self, Exceeded> {
        self.budget.take(&self.client, amount)
    }

    /// What its client may have at the most.
    pub fn most(&self) -> u64 {
        self.budget.per_client()
    }

    /// Whether it could be raised by `more` now.
    ///
    /// # Errors
    /// The bound that this does not fit in.
    pub fn check(&self, more: u64) -> Result<(), Exceeded> {
        let held = self.held();
        self.budget.inner.fits(&self.budget.lock(), &self.client, held, more)
    }

    /// Lowers it to `total`; larger totals change nothing.
    pub fn lower_to(&self, total: u64) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let less = held.saturating_sub(total);
        *held -= less;
        self.budget.give_back(&self.client, less);
    }

    /// How much it is.
    pub fn held(&self) -> u64 {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose it is.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The same as shares of one each.
    pub fn into_ones(self) -> Vec<Self> {
        let count = std::mem::take(&mut *self.held.lock().unwrap_or_else(PoisonError::into_inner));
        let one = || Self { budget: self.budget.clone(), client: self.client.clone(), held: Mutex::new(1) };
        (0..count).map(|_| one()).collect()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.give_back(&self.client, self.held());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u8) -> Client {
        Client::address([10, 0, 0, number].into())
    }

    #[test]
    fn all_have_the_bound_and_each_a_share_of_what_the_others_leave() {
        let budget = Budget::shared(10, 60, 0);
        let [first, second] = [budget.share(&client(1)), budget.share(&client(1))];
        assert_eq!(first.raise_to(4), Ok(()));
        assert_eq!((first.raise_to(2), first.held()), (Ok(()), 4), "a smaller total changes nothing");
        assert_eq!(second.raise_to(3), Err(Exceeded::Client), "4 and 3 are more than 60%");
        assert_eq!((second.raise_to(2), budget.used()), (Ok(()), 6));
        let other = budget.share(&client(2));
        assert_eq!(other.raise_to(3), Err(Exceeded::Bound), "60% of the four that are left");
        assert_eq!((other.held(), other.raise_to(2)), (0, Ok(())));
        drop((first, second));
        assert_eq!((budget.used(), budget.check(&client(1), 4)), (2, Ok(())));
        assert_eq!(budget.check(&client(1), 5), Err(Exceeded::Bound));
        assert_eq!(other.raise_to(u64::MAX), Err(Exceeded::Client));
        let whole = Budget::new(10);
        let all = whole.take(&client(1), 10).expect("whoever comes may have all");
        assert_eq!((all.add(1), whole.check(&client(2), 1)), (Err(Exceeded::Bound), Err(Exceeded::Bound)));
    }

    #[test]
    fn however_many_want_more_something_is_left_for_the_next() {
        let budget = Budget::shared(256, 50, 64);
        let mut held = Vec::new();
        let mut rounds = 0;
        while rounds * 8 == held.len() {
            held.extend((0..8).filter_map(|number| budget.take(&client(number), 1).ok()));
            rounds += 1;
        }
        assert_eq!((rounds, budget.used()), (29, 224), "a ninth each, and an eighth is kept free");
        let small = budget.take(&client(9), 1).expect("it has nothing");
        assert_eq!((budget.check(&client(9), 1), budget.check(&client(9), 2)), (Ok(()), Err(Exceeded::Bound)), "or little");
        drop(small);
        assert_eq!((budget.check(&client(9), 16), budget.check(&client(9), 17)), (Ok(()), Err(Exceeded::Bound)));
    }

    #[test]
    fn places_that_are_kept_for_good_are_not_all_taken_by_a_few() {
        let budget = Budget::shared(64, 50, 1);
        let mut taken = Vec::new();
        for number in 0..8 {
            taken.extend((0..64).filter_map(|_| budget.take(&client(number), 1).ok()));
        }
        assert_eq!(budget.used(), 61, "32, 16, 8, and one for each of the other five, out of the eighth that is kept free");
        for number in 8..11 {
            taken.push(budget.take(&client(number), 1).expect("it has none"));
        }
        assert_eq!(budget.take(&client(11), 1).err(), Some(Exceeded::Bound));
    }

    #[test]
    fn a_first_request_may_be_larger_than_its_share() {
        let budget = Budget::shared(256, 50, 64);
        let large: Vec<_> = (0..4).map(|number| budget.take(&client(number), 64)).collect();
        let taken = large.iter().filter(|share| share.is_ok()).count();
        assert_eq!((taken, budget.used()), (3, 192), "the fourth leaves no eighth for others");
        assert_eq!(budget.check(&client(5), 32), Ok(()));
        assert_eq!(budget.check(&client(0), 1), Err(Exceeded::Bound), "it has its first");
        let small = Budget::shared(64, 50, 64);
        let growing = small.share(&client(1));
        assert_eq!((growing.add(40), growing.add(24)), (Ok(()), Ok(())), "one that is alone may have all that one may need");
        assert_eq!(small.check(&client(2), 1), Err(Exceeded::Bound));
    }

    #[test]
    fn what_is_added_at_the_same_time_is_counted_twice() {
        let share = Budget::new(u64::MAX).share(&client(1));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|_| share.add(1).expect("there is room")));
            }
        });
        assert_eq!(share.held(), 40_000);
    }

    #[test]
    fn what_is_needed_no_longer_is_given_back() {
        let budget = Budget::new(10);
        let share = budget.take(&client(1), 8).expect("there is room");
        share.lower_to(9);
        assert_eq!((share.held(), budget.used()), (8, 8));
        share.lower_to(3);
        assert_eq!((share.held(), budget.used(), budget.check(&client(2), 7)), (3, 3, Ok(())));
        drop(share);
        assert_eq!((budget.used(), budget.lock().by_client.len()), (0, 0));
    }

    #[test]
    fn nothing_is_kept_of_clients_that_hold_nothing() {
        let budget = Budget::new(1000);
        for number in 0..=255 {
            drop(budget.take(&client(number), 3).expect("there is room"));
        }
        assert_eq!((budget.used(), budget.lock().by_client.len()), (0, 0));
    }

    #[test]
    fn ones_are_given_back_one_by_one() {
        let budget = Budget::shared(4, 50, 3);
        assert_eq!(budget.per_client(), 3, "what one request may need is a share, however small");
        let mut ones = budget.take(&client(1), 3).expect("there is room").into_ones();
        assert_eq!((ones.len(), budget.used()), (3, 3));
        ones.pop();
        assert_eq!(budget.used(), 2);
        drop(ones);
        assert_eq!(budget.used(), 0);
    }
}
