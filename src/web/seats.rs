//! Owns the count of subscriptions that each token has open, and gives a seat back when it is dropped.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::errors::{Code, Refusal};

/// Subscriptions at once, by token.
#[derive(Debug, Clone, Default)]
pub struct Seats(Arc<Mutex<HashMap<i64, usize>>>);

impl Seats {
    /// How many are taken of all tokens.
    pub fn taken(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }

    /// One more for this token, unless it has as many as it may.
    pub fn take(&self, key: i64, most: usize) -> Result<Seat, Refusal> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(key).or_default();
        if *count >= most {
            let message = format!("this token has {most} subscriptions already: end one first");
            return Err(Refusal::new(Code::TooMany, message));
        }
        *count += 1;
        Ok(Seat { seats: self.clone(), key })
    }
}

/// One subscription of a token; given back when dropped.
#[derive(Debug)]
pub struct Seat {
    seats: Seats,
    key: i64,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_counted_by_token_and_given_back() {
        let seats = Seats::default();
        let held: Vec<Seat> = (0..3).map(|_| seats.take(1, 3).expect("there are three")).collect();
        assert_eq!(seats.take(1, 3).unwrap_err().code, Code::TooMany);
        assert!(seats.take(2, 3).is_ok());
        drop(held);
        assert!(seats.take(1, 3).is_ok());
        assert!(seats.0.lock().unwrap().is_empty());
    }
}
