//! Several workers over one PostgreSQL database: whatever one is asked, all of them do, and what one leaves another takes
//! over. Everything through the front door.

mod chaos;
mod parts;
mod restarts;
mod takeover;
mod together;
