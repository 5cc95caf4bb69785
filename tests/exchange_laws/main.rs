//! The laws of the embedded exchange: order types, positions, brackets, money, and that no flow of
//! orders breaks its books. Worked numbers are the venue reference's (§8).

mod bench;
mod brackets;
mod flow;
mod money;
mod orders;
