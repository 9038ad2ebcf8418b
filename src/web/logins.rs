//! Owns the patience with wrong tokens: who fails too often from one address waits, without another look at the
//! store. It must never shut out a token that was good a moment ago: on one machine everybody has one address.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::limits::{LOGIN_ADDRESSES_MAX, LOGIN_TOKENS_MAX, Limits};

/// Failed logins by address, and tokens that were good lately.
#[derive(Debug)]
pub struct Logins {
    failures_max: u32,
    window: Duration,
    failures: Mutex<HashMap<IpAddr, Failures>>,
    /// By a keyed hash: the tokens themselves are not kept.
    good: Mutex<HashMap<u64, Instant>>,
    hasher: RandomState,
}

/// The failures of an address since its window began.
#[derive(Debug, Clone, Copy)]
struct Failures {
    began: Instant,
    count: u32,
}

impl Logins {
    /// Nobody has failed yet.
    pub fn new(limits: &Limits) -> Logins {
        Logins {
            failures_max: limits.login_failures,
            window: limits.login_window,
            failures: Mutex::default(),
            good: Mutex::default(),
            hasher: RandomState::new(),
        }
    }

    /// Whether a token from this address may be looked up now; else how long to wait.
    pub fn admit(&self, peer: IpAddr, token: &str, now: Instant) -> Result<(), Duration> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(failures) = failures.get(&network(peer)).copied() else { return Ok(()) };
        let age = now.saturating_duration_since(failures.began);
        if failures.count < self.failures_max || age >= self.window {
            return Ok(());
        }
        let good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        if good.contains_key(&self.hasher.hash_one(token)) {
            Ok(())
        } else {
            Err(self.window.saturating_sub(age))
        }
    }

    /// This token was not known.
    pub fn failed(&self, peer: IpAddr, token: &str, now: Instant) {
        self.good.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.hasher.hash_one(token));
        let mut table = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let peer = network(peer);
        if table.len() >= LOGIN_ADDRESSES_MAX && !table.contains_key(&peer) {
            table.retain(|_, old| now.saturating_duration_since(old.began) < self.window);
            if table.len() >= LOGIN_ADDRESSES_MAX {
                forget_oldest(&mut table, |failures| failures.began);
            }
        }
        let failures = table.entry(peer).or_insert(Failures { began: now, count: 0 });
        if now.saturating_duration_since(failures.began) >= self.window {
            *failures = Failures { began: now, count: 0 };
        }
        failures.count = failures.count.saturating_add(1);
    }

    /// This token is good.
    pub fn succeeded(&self, token: &str, now: Instant) {
        let mut good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        let key = self.hasher.hash_one(token);
        if good.len() >= LOGIN_TOKENS_MAX && !good.contains_key(&key) {
            forget_oldest(&mut good, |at| *at);
        }
        good.insert(key, now);
    }
}

/// Whom an address belongs to: a host has a whole /64 of IPv6.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address @ IpAddr::V4(_) => address,
    }
}

fn forget_oldest<K: Copy + Eq + std::hash::Hash, V>(table: &mut HashMap<K, V>, age: impl Fn(&V) -> Instant) {
    let oldest = table.iter().min_by_key(|(_, value)| age(value)).map(|(key, _)| *key);
    if let Some(oldest) = oldest {
        table.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::base::clock::{Clock as _, SystemClock};

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

    fn logins() -> (Logins, Instant) {
        let limits = Limits { login_failures: 3, login_window: Duration::from_mins(1), ..Limits::default() };
        (Logins::new(&limits), SystemClock.monotonic())
    }

    #[test]
    fn who_fails_too_often_waits_until_the_window_is_over() {
        let (logins, start) = logins();
        let at = |seconds| start + Duration::from_secs(seconds);
        for second in 0..3 {
            assert_eq!(logins.admit(HERE, "wrong", at(second)), Ok(()));
            logins.failed(HERE, "wrong", at(second));
        }
        assert_eq!(logins.admit(HERE, "wrong", at(10)), Err(Duration::from_secs(50)));
        assert_eq!(logins.admit(THERE, "wrong", at(10)), Ok(()));
        assert_eq!(logins.admit(HERE, "wrong", at(60)), Ok(()));
        logins.failed(HERE, "wrong", at(60));
        assert_eq!(logins.admit(HERE, "wrong", at(61)), Ok(()), "a new window has begun");
    }

    #[test]
    fn a_token_that_was_good_goes_through_until_it_fails() {
        let (logins, now) = logins();
        logins.succeeded("good", now);
        for _ in 0..9 {
            logins.failed(HERE, "wrong", now);
        }
        assert_eq!(logins.admit(HERE, "good", now), Ok(()));
        assert!(logins.admit(HERE, "other", now).is_err());
        logins.failed(HERE, "good", now);
        assert!(logins.admit(HERE, "good", now).is_err(), "it was revoked");
    }

    #[test]
    fn a_network_of_ipv6_is_one_address_and_an_ipv4_address_has_one_spelling() {
        let parse = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(network(parse("2001:db8:1:2::1")), network(parse("2001:db8:1:2:ffff::9")));
        assert_ne!(network(parse("2001:db8:1:2::1")), network(parse("2001:db8:1:3::1")));
        assert_eq!(network(parse("::ffff:10.0.0.1")), THERE);
    }

    #[test]
    fn both_tables_are_bounded() {
        let (logins, now) = logins();
        for number in 0..u32::try_from(LOGIN_ADDRESSES_MAX * 2).unwrap() {
            logins.failed(IpAddr::V4(number.into()), "wrong", now);
        }
        assert_eq!(logins.failures.lock().unwrap().len(), LOGIN_ADDRESSES_MAX);
        for number in 0..LOGIN_TOKENS_MAX * 2 {
            logins.succeeded(&number.to_string(), now);
        }
        assert_eq!(logins.good.lock().unwrap().len(), LOGIN_TOKENS_MAX);
    }
}
