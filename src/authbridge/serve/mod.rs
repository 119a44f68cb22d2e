//! Connections, from the accept loop to single requests. The loop itself never reads, so a silent client delays nobody.

mod accept;
mod connection;
mod prefix;

pub(crate) use accept::{Listeners, bind};
pub(crate) use connection::{
    Connection, Handler, Http2Bounds, Stream, Times, Tunnel, drive_http2, serve_http,
};
pub(crate) use prefix::{Begins, Prefixed};
