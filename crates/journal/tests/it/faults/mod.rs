//! Tests that ask the journal for faults, see `journal::fault`: `cargo test -p journal --features faults`.

mod clock;
mod disk;
mod image;
mod kills;
mod order;
mod power;
mod put_back;
mod reads;
