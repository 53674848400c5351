//! The self-checkout under faults: customers shop at several lanes while deliveries come late, twice and out of order,
//! and processes are killed. What comes of it must be what comes of the same customers when nothing fails.
//!
//! ```text
//! customer ──► scanner ──► basket ──────┐
//!    │                       ▲          ├─► weight-check
//!    ├──► scale ─────────────┼──────────┘        ▲
//!    │                       │                   │
//!    └──► payment ───────────┴───────────────────┘
//!            └──► bank
//! ```
//!
//! [`Shop`] runs the programs that were built as a [`Plan`] says; [`Books`] reads their journals afterwards, by the
//! description of the format and without the crate that writes them: it checks what must hold of one run, and compares
//! it with another.

mod books;
mod plan;
mod report;
mod shop;

pub use books::{Books, Found, Payment};
pub use plan::{Plan, Policy};
pub use report::Report;
pub use shop::Shop;
