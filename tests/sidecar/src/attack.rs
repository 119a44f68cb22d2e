//! What one neighbour does to take a sidecar from all others: it opens connections, says the beginning of something, and
//! stops there. Scenarios and the benchmark make the same attacks.

mod opening;
mod siege;

pub use opening::{
    CLOSED_WINDOW_STREAMS, closed_window, endless_header_block, half_client_hello, half_head,
    whole_client_hello,
};
pub use siege::{Siege, Then};

/// The address of the neighbour.
pub const NEIGHBOUR: &str = "127.0.0.2";
/// The address of an honest caller, who is another peer than the neighbour.
pub const HONEST: &str = "127.0.0.3";
