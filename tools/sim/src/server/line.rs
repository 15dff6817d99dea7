//! The TCP connection under TLS and HTTP, with a hand on it: the place of every fault of the network.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::broadcast::LineControl;

/// A socket that is reset, not closed, when it was cut.
#[derive(Debug)]
pub(super) struct Line {
    tcp: TcpStream,
    control: Arc<LineControl>,
}

impl Line {
    pub(super) fn new(tcp: TcpStream, control: Arc<LineControl>) -> Self {
        Self { tcp, control }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.control.is_cut.load(Ordering::Relaxed) {
            // Linger of zero makes the close that follows a RST; failing, it is a FIN.
            let _ = self.tcp.set_zero_linger();
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
