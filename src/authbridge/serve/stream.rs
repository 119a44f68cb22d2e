//! Byte stream in both directions, whatever carries it: TCP, TLS, or a connection that changed its protocol.

use tokio::io::{AsyncRead, AsyncWrite};

/// Byte stream in both directions.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}
