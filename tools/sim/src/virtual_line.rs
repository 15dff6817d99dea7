//! The line to a client in virtual time: what the exchange has written, how it trickles, and what has arrived.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::broadcast::{ClientQueue, Outgoing};
use crate::line_control::LineControl;
use crate::wall_clock::WallClock;

/// What arrives at a client. After `Close`, `Ended` or `Reset` nothing does any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// A whole text message, however many frames it came in, at the instant of its last byte.
    Text(Bytes),
    /// A ping; a client owes [`crate::VirtualExchange::pong`] with this payload.
    Ping(Bytes),
    /// A close frame with this code, and the end of the connection after it.
    Close(u16),
    /// The end (FIN) without a close frame.
    Ended,
    /// A reset (RST).
    Reset,
}

#[derive(Debug)]
pub(crate) struct VirtualLine {
    queue: ClientQueue,
    written: mpsc::UnboundedReceiver<Outgoing>,
    /// Written and not yet arrived, with the bytes that still have to.
    under_way: VecDeque<(Delivered, usize)>,
    /// Between two drops of a drip.
    next_drop_ns: i64,
    arrived: VecDeque<Delivered>,
    /// Nothing comes after what has arrived.
    is_over: bool,
}

impl VirtualLine {
    pub(crate) fn new() -> Self {
        let (sender, written) = mpsc::unbounded_channel();
        let (queued_bytes, line) = (Arc::default(), Arc::new(LineControl::default()));
        Self {
            queue: ClientQueue { sender, queued_bytes, line },
            written,
            under_way: VecDeque::new(),
            next_drop_ns: 0,
            arrived: VecDeque::new(),
            is_over: false,
        }
    }

    /// The exchange's end.
    pub(crate) fn queue(&self) -> &ClientQueue {
        &self.queue
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.queue.line.is_dead()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// When something more arrives by itself.
    pub(crate) fn due_ns(&self) -> Option<i64> {
        (!self.under_way.is_empty() && !self.is_over).then_some(self.next_drop_ns)
    }

    /// Behind all that the exchange has written.
    pub(crate) fn write(&self, outgoing: Outgoing) {
        // This end is here.
        let _ = self.queue.sender.send(outgoing);
    }

    /// Lets everything arrive that can by `now_ns`, which the clock shows; true when the connection has ended by it.
    pub(crate) fn carry(&mut self, now_ns: i64, clock: &WallClock) -> bool {
        if self.is_over {
            return false;
        }
        while let Ok(outgoing) = self.written.try_recv() {
            let sent = match outgoing {
                Outgoing::Text(text) => {
                    (text.len() + header(text.len()), Delivered::Text(text.into()))
                }
                Outgoing::Fragments(text, bytes) => {
                    let frames = text.as_bytes().chunks(bytes);
                    let size = frames.map(|frame| frame.len() + header(frame.len())).sum();
                    (size, Delivered::Text(text.into()))
                }
                Outgoing::Ping(payload) => {
                    (payload.len() + header(payload.len()), Delivered::Ping(payload))
                }
                Outgoing::Close(code, reason) => (4 + reason.len(), Delivered::Close(code.into())),
            };
            self.under_way.push_back((sent.1, sent.0));
        }
        if self.is_dead() {
            self.forget_under_way();
        } else {
            self.flow(now_ns, clock);
        }
        if self.queue.line.is_ended() && !self.is_over {
            self.forget_under_way();
            let is_cut = self.queue.line.is_cut();
            self.arrived.push_back(if is_cut { Delivered::Reset } else { Delivered::Ended });
            self.is_over = true;
        }
        self.is_over
    }

    fn flow(&mut self, now_ns: i64, clock: &WallClock) {
        if now_ns < self.next_drop_ns || self.under_way.is_empty() {
            return;
        }
        let mut budget = usize::MAX;
        let drip = self.queue.line.dripping(clock);
        if let Some(drip) = drip.filter(|drip| !drip.every.is_zero()) {
            budget = drip.bytes;
            self.next_drop_ns = now_ns + i64::try_from(drip.every.as_nanos()).unwrap_or(i64::MAX);
        }
        while let Some((_, left)) = self.under_way.front_mut() {
            if *left > budget {
                *left -= budget;
                return;
            }
            budget -= *left;
            let Some((delivered, _)) = self.under_way.pop_front() else { return };
            self.is_over |= matches!(delivered, Delivered::Close(_));
            self.arrived.push_back(delivered);
            if self.is_over {
                self.forget_under_way();
            }
        }
    }

    /// The next thing that has arrived.
    pub(crate) fn take(&mut self) -> Option<Delivered> {
        let delivered = self.arrived.pop_front()?;
        self.no_longer_queued(&delivered);
        Some(delivered)
    }

    fn forget_under_way(&mut self) {
        while let Some((delivered, _)) = self.under_way.pop_front() {
            self.no_longer_queued(&delivered);
        }
    }

    fn no_longer_queued(&self, delivered: &Delivered) {
        if let Delivered::Text(text) = delivered {
            self.queue.queued_bytes.fetch_sub(text.len(), Ordering::Relaxed);
        }
    }
}

/// Of a frame from the server: RFC 6455, 5.2.
fn header(payload: usize) -> usize {
    match payload {
        0..=125 => 2,
        126..=65_535 => 4,
        _ => 10,
    }
}
