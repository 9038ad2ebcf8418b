//! The rules of a job's life in random sequences, beside a reference that was written from the contract alone.
//! Pure: no store, no clock, no process.

mod lifecycle;
mod reference;
mod rules;
