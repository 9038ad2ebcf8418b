//! The `beadle` program.

fn main() {}
