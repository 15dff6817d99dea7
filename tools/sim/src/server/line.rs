//! The TCP connection under TLS and HTTP, with a hand on it: the place of every fault of the network.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use crate::line_control::LineControl;
use crate::wall_clock::WallClock;

/// What a dead line takes in and forgets at once.
const FORGOTTEN_BYTES: usize = 4096;

/// A socket that is reset, not closed, when it was cut; that trickles, or is dead, when it is told to be.
#[derive(Debug)]
pub(super) struct Line {
    tcp: TcpStream,
    control: Arc<LineControl>,
    clock: WallClock,
    /// Between two drops of a drip.
    pause: Option<Pin<Box<Sleep>>>,
}

impl Line {
    pub(super) fn new(tcp: TcpStream, control: Arc<LineControl>, clock: WallClock) -> Self {
        Self { tcp, control, clock, pause: None }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.control.is_cut() {
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
        if !self.control.is_dead() {
            return Pin::new(&mut self.tcp).poll_read(cx, buf);
        }
        let mut forgotten = [0; FORGOTTEN_BYTES];
        loop {
            let mut unheard = ReadBuf::new(&mut forgotten);
            ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut unheard))?;
            if unheard.filled().is_empty() {
                // The client has given up.
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.control.is_dead() {
            return Poll::Ready(Ok(buf.len()));
        }
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        let Some(drip) = self.control.dripping(&self.clock) else {
            return Pin::new(&mut self.tcp).poll_write(cx, buf);
        };
        let drop = &buf[..buf.len().min(drip.bytes)];
        let written = ready!(Pin::new(&mut self.tcp).poll_write(cx, drop));
        if !drip.every.is_zero() {
            self.pause = Some(Box::pin(tokio::time::sleep(drip.every)));
        }
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.control.is_dead() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
