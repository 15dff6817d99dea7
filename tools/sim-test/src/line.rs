//! A WebSocket without a socket: what the exchange sent, once it has travelled.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use cobring_pipeline::ingest::Line;
use cobring_pipeline::net::{
    NetError, Payload, ReadOutcome, Received, SendRefused, SlidingLimit, Verdict,
};
use cobring_sim::Delivered;
use cobring_types::Nanos;

use crate::canary::Tampered;
use crate::network::Network;

/// What a host is called in messages.
pub(crate) const HOST: &str = "exchange";
/// The venue's limit of incoming messages, with some room.
const SENDS_MAX: u32 = 5;
const SENDS_WINDOW: Nanos = Nanos(1_100 * Nanos::MILLISECOND.0);

/// The client's end.
#[derive(Debug)]
pub(crate) struct VirtualLine {
    number: u16,
    client: u64,
    network: Rc<RefCell<Network>>,
    unread: bool,
    outgoing: VecDeque<String>,
    /// Of the newest ping without an answer.
    pong: Option<Vec<u8>>,
    limit: SlidingLimit,
}

impl VirtualLine {
    pub(crate) fn new(number: u16, client: u64, network: Rc<RefCell<Network>>) -> Self {
        Self {
            number,
            client,
            network,
            unread: true,
            outgoing: VecDeque::new(),
            pong: None,
            limit: SlidingLimit::new(SENDS_MAX, SENDS_WINDOW),
        }
    }
}

impl Drop for VirtualLine {
    fn drop(&mut self) {
        self.network.borrow_mut().hang_up(self.client);
    }
}

impl Line for VirtualLine {
    fn number(&self) -> u16 {
        self.number
    }

    fn host(&self) -> &str {
        HOST
    }

    fn mark_readable(&mut self) {
        self.unread = true;
    }

    fn is_unread(&self) -> bool {
        self.unread
    }

    fn look(&mut self) -> bool {
        self.is_unread()
    }

    fn read(
        &mut self,
        now: Nanos,
        messages_max: usize,
        on: &mut impl FnMut(Received<'_>) -> Verdict,
    ) -> Result<ReadOutcome, NetError> {
        for _ in 0..messages_max {
            // Not borrowed while the engine works.
            let arrived = self.network.borrow_mut().arrived(self.client);
            let Some(delivered) = arrived else {
                self.unread = false;
                return Ok(ReadOutcome::Drained);
            };
            match delivered {
                Delivered::Text(text) => {
                    let tampered = self.network.borrow_mut().canary.meet(&text);
                    let text = match &tampered {
                        Tampered::Left => &text[..],
                        Tampered::Swallowed => continue,
                        Tampered::Changed(changed) => changed.as_slice(),
                    };
                    let received =
                        Received { payload: Payload::Text(text), ts_kernel: Nanos::UNDEF };
                    match on(received) {
                        Verdict::Taken => {}
                        Verdict::TakenStop => return Ok(ReadOutcome::Stopped),
                        Verdict::Refused => unreachable!("a fused engine takes every message"),
                    }
                }
                Delivered::Ping(payload) => {
                    self.pong = Some(payload.to_vec());
                    let _still_open = self.write(now);
                }
                Delivered::Close(code) => return Ok(ReadOutcome::Closed { code }),
                Delivered::Ended => {
                    return Err(NetError::Ended { host: HOST.to_owned() });
                }
                Delivered::Reset => {
                    let reason = "connection reset by peer".to_owned();
                    return Err(NetError::Lost { host: HOST.to_owned(), reason });
                }
            }
        }
        Ok(ReadOutcome::Spent)
    }

    fn next_send_at(&self, now: Nanos) -> Option<Nanos> {
        let waits = self.pong.is_some() || !self.outgoing.is_empty();
        waits.then(|| self.limit.not_before(now, 0))
    }

    fn write(&mut self, now: Nanos) -> Result<(), NetError> {
        if self.pong.is_some() && self.limit.take(now, 0) {
            let payload = self.pong.take().unwrap_or_default();
            self.network.borrow_mut().pong(self.client, payload);
        }
        while !self.outgoing.is_empty() && self.limit.take(now, 0) {
            if let Some(text) = self.outgoing.pop_front() {
                self.network.borrow_mut().say(self.client, text);
            }
        }
        Ok(())
    }

    fn send_text(&mut self, now: Nanos, text: String) -> Result<(), SendRefused> {
        self.outgoing.push_back(text);
        let _still_open = self.write(now);
        Ok(())
    }

    fn close(&mut self, _: Nanos, _: u16) {
        self.network.borrow_mut().hang_up(self.client);
    }
}
