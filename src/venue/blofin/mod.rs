//! BloFin: its wire, and nothing else. Bytes become records and records become bytes here;
//! no other module knows a field name, an error code or a path of the venue.

pub mod book;
pub mod codec;
pub mod reply;
pub mod request;
pub mod sign;
