//! The ways that a message goes: the engine's frame ring, a bare seqlock, iceoryx2.

use std::error::Error;
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;
use std::sync::atomic::{Ordering, fence};

use cobring_frame::{
    EngineDir, FrameHead, FrameLayout, FrameRing, Next, Reader, Segment, SegmentSpec, WindowRows,
};
use cobring_pipeline::config::auto_frame_slots;

use crate::shared::SharedWords;

/// Bytes of a payload.
pub(super) const SIZES: [usize; 2] = [256, 2_048];
/// Radius of the frames that the engine publishes unless told otherwise.
const RADIUS: usize = 20;

/// A way, with the bytes of its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Medium {
    /// The engine's ring, with frames of that size.
    Frames(usize),
    /// The engine's ring, with its own frames, for the reader of that number alone.
    Engine(usize),
    /// A sequence and a payload, as many as the ring has.
    SeqlockRing(usize),
    /// One of them.
    SeqlockSlot(usize),
    #[cfg(feature = "peers")]
    Iceoryx2(usize),
}

/// The writing end.
pub(crate) trait Sender {
    fn send(&mut self, payload: &[u64]) -> Result<(), Box<dyn Error>>;
}

/// The reading end.
pub(crate) trait Receiver {
    /// Reads the next message, if it is there: the sum of its words.
    fn poll(&mut self) -> Result<Option<u64>, Box<dyn Error>>;
}

fn sum(words: &[u64]) -> u64 {
    words.iter().fold(0, |sum, &word| sum.wrapping_add(word))
}

impl Medium {
    /// Fills a payload with what no other message has; the sum that its reader must find.
    pub(super) fn fill(self, payload: &mut [u64], number: u64) -> u64 {
        for (word, at) in payload.iter_mut().zip(1u64..) {
            *word = (number + 1).wrapping_mul(at).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        sum(&payload[self.summed()])
    }

    /// The words that readers sum up: all, but of the engine's own frames what Python has as arrays without a copy.
    fn summed(self) -> Range<usize> {
        match self {
            Self::Engine(_) => {
                let head_words = size_of::<FrameHead>() / 8;
                head_words..head_words + 2 * layout().buckets()
            }
            _ => 0..self.payload_words(),
        }
    }

    pub(super) fn payload_words(self) -> usize {
        match self {
            Self::Engine(_) => layout().size_bytes() / 8,
            Self::Frames(bytes) | Self::SeqlockRing(bytes) | Self::SeqlockSlot(bytes) => bytes / 8,
            #[cfg(feature = "peers")]
            Self::Iceoryx2(bytes) => bytes / 8,
        }
    }

    /// The reader that it is for; `None` for all.
    pub(super) fn reader(self) -> Option<usize> {
        if let Self::Engine(reader) = self { Some(reader) } else { None }
    }

    /// As the readers' command line has it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Engine(reader) => format!("engine-{reader}"),
            Self::Frames(bytes) => format!("frames-{bytes}"),
            Self::SeqlockRing(bytes) => format!("seqlock-ring-{bytes}"),
            Self::SeqlockSlot(bytes) => format!("seqlock-slot-{bytes}"),
            #[cfg(feature = "peers")]
            Self::Iceoryx2(bytes) => format!("iceoryx2-{bytes}"),
        }
    }

    pub(super) fn peer(self) -> &'static str {
        match self {
            Self::Engine(_) | Self::Frames(_) => "cobring",
            Self::SeqlockRing(_) => "bare seqlock, as many slots",
            Self::SeqlockSlot(_) => "bare seqlock, one slot",
            #[cfg(feature = "peers")]
            Self::Iceoryx2(_) => "iceoryx2",
        }
    }

    pub(super) fn sender(
        self,
        dir: &Path,
        engine_dir: &EngineDir,
    ) -> Result<Box<dyn Sender>, Box<dyn Error>> {
        let path = dir.join(self.name());
        Ok(match self {
            Self::Frames(_) | Self::Engine(_) => Box::new(self.ring(engine_dir)?),
            Self::SeqlockRing(_) | Self::SeqlockSlot(_) => {
                Box::new(Seqlock::new(self, |count| SharedWords::create(&path, count))?)
            }
            #[cfg(feature = "peers")]
            Self::Iceoryx2(_) => crate::peers::iceoryx2::sender(&path, self.payload_words())?,
        })
    }

    pub(super) fn receiver(self, dir: &Path) -> Result<Box<dyn Receiver>, Box<dyn Error>> {
        let path = dir.join(self.name());
        Ok(match self {
            Self::Frames(_) | Self::Engine(_) => {
                let reader = Reader::open(dir, &self.name())?;
                let frame = vec![0; reader.frame_size_bytes() / 8];
                Box::new(Frames { reader, frame, summed: self.summed() })
            }
            Self::SeqlockRing(_) | Self::SeqlockSlot(_) => {
                Box::new(Seqlock::new(self, |_| SharedWords::open(&path))?)
            }
            #[cfg(feature = "peers")]
            Self::Iceoryx2(_) => crate::peers::iceoryx2::receiver(&path)?,
        })
    }

    /// A segment of such frames. Only the engine's own have a schema that says what is in them.
    fn ring(self, dir: &EngineDir) -> Result<FrameRing, Box<dyn Error>> {
        let schema = layout().schema(WindowRows::default(), &[]);
        let is_engine = matches!(self, Self::Engine(_));
        let mut segment = Segment::create(
            dir,
            &SegmentSpec {
                symbol: self.name(),
                epoch: 1,
                schema: if is_engine { schema.to_json() } else { "{}".to_owned() },
                schema_id: schema.id(),
                frame_size_bytes: self.payload_words() * 8,
                slot_count: auto_frame_slots(1),
                windows: if is_engine { schema.window_specs() } else { Vec::new() },
            },
        )?;
        segment.touch();
        Ok(segment.ring)
    }
}

fn layout() -> FrameLayout {
    FrameLayout::new(RADIUS, 0).expect("invariant: the shipped radius fits")
}

impl FromStr for Medium {
    type Err = Box<dyn Error>;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let (way, number) = name.rsplit_once('-').ok_or("a medium without a number")?;
        let bytes = number.parse()?;
        match way {
            "engine" => Ok(Self::Engine(bytes)),
            "frames" => Ok(Self::Frames(bytes)),
            "seqlock-ring" => Ok(Self::SeqlockRing(bytes)),
            "seqlock-slot" => Ok(Self::SeqlockSlot(bytes)),
            #[cfg(feature = "peers")]
            "iceoryx2" => Ok(Self::Iceoryx2(bytes)),
            _ => Err(format!("medium {name}: there is none").into()),
        }
    }
}

impl Sender for FrameRing {
    fn send(&mut self, payload: &[u64]) -> Result<(), Box<dyn Error>> {
        self.publish(payload);
        // As a fold does behind each frame.
        self.prefetch_next();
        Ok(())
    }
}

struct Frames {
    reader: Reader,
    frame: Vec<u64>,
    summed: Range<usize>,
}

impl Receiver for Frames {
    fn poll(&mut self) -> Result<Option<u64>, Box<dyn Error>> {
        match self.reader.next(&mut self.frame)? {
            Next::Frame { .. } => Ok(Some(sum(&self.frame[self.summed.clone()]))),
            Next::Empty => Ok(None),
            Next::Lapped { lost } => Err(format!("{lost} frames were missed").into()),
        }
    }
}

/// Words before the payload: it begins on a line of its own, as in the engine's ring.
const HEAD_WORDS: usize = 8;

/// Message n has the sequence 2n + 1 while it is written, 2n + 2 once it is whole; nothing else is there.
struct Seqlock {
    words: SharedWords,
    slots: u64,
    slot_words: usize,
    next: u64,
    out: Vec<u64>,
}

impl Seqlock {
    fn new(
        medium: Medium,
        words: impl FnOnce(usize) -> std::io::Result<SharedWords>,
    ) -> Result<Self, Box<dyn Error>> {
        let slots = if matches!(medium, Medium::SeqlockSlot(_)) {
            1
        } else {
            u64::from(auto_frame_slots(1))
        };
        let payload_words = medium.payload_words();
        let slot_words = HEAD_WORDS + payload_words;
        let words = words(usize::try_from(slots)? * slot_words)?;
        Ok(Self { words, slots, slot_words, next: 0, out: vec![0; payload_words] })
    }

    fn slot(&self) -> usize {
        usize::try_from(self.next % self.slots).unwrap_or_default() * self.slot_words
    }
}

impl Sender for Seqlock {
    fn send(&mut self, payload: &[u64]) -> Result<(), Box<dyn Error>> {
        let slot = self.slot();
        self.words.word(slot).store(2 * self.next + 1, Ordering::Relaxed);
        fence(Ordering::Release); // to the reader's second look
        self.words.copy_in(slot + HEAD_WORDS, payload);
        self.words.word(slot).store(2 * self.next + 2, Ordering::Release); // to the reader's first look
        self.next += 1;
        Ok(())
    }
}

impl Receiver for Seqlock {
    fn poll(&mut self) -> Result<Option<u64>, Box<dyn Error>> {
        let slot = self.slot();
        let whole = 2 * self.next + 2;
        if self.words.word(slot).load(Ordering::Acquire) != whole {
            return Ok(None);
        }
        self.words.copy_out(slot + HEAD_WORDS, &mut self.out);
        fence(Ordering::Acquire); // from the writer's odd sequence
        if self.words.word(slot).load(Ordering::Relaxed) != whole {
            return Err("a message was overwritten".into());
        }
        self.next += 1;
        Ok(Some(sum(&self.out)))
    }
}
