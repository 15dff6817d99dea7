//! A file as a stream of bytes in one reused buffer, decompressed where its first bytes say so.
//!
//! Guarantees: what is not consumed yet is one contiguous slice; memory is one buffer that grows to the
//! largest record or line and stays. One that was opened to be looked through first keeps what is consumed until it is
//! rewound or let go. Does not: know lines or records.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const CHUNK_BYTES: usize = 256 * 1024;
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const MAGIC_BYTES_MAX: usize = 4;

/// Counts what is read of the file itself, for progress bars.
struct Counted {
    file: File,
    bytes: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(target)?;
        self.bytes.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

pub(crate) struct Source {
    path: PathBuf,
    reader: Box<dyn Read + Send>,
    /// Bytes read but not consumed are `buffer[start..end]`.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    at_end: bool,
    /// What was consumed is kept, for [`Self::rewind`].
    is_held: bool,
    /// Bytes consumed, decompressed.
    offset: u64,
    file_size_bytes: u64,
    file_read_bytes: Arc<AtomicU64>,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source")
            .field("path", &self.path)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

impl Source {
    /// Read once, from its beginning to its end.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut source = Self::open_held(path)?;
        source.let_go();
        Ok(source)
    }

    /// To be read again from its beginning: by [`Self::rewind`], which is to come while little was consumed.
    pub(crate) fn open_held(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let mut magic = Vec::with_capacity(MAGIC_BYTES_MAX);
        file.by_ref().take(MAGIC_BYTES_MAX as u64).read_to_end(&mut magic)?;
        file.rewind()?;
        let file_read_bytes = Arc::new(AtomicU64::new(0));
        let whole = Counted { file, bytes: Arc::clone(&file_read_bytes) };
        let reader: Box<dyn Read + Send> = if magic.starts_with(GZIP_MAGIC) {
            let buffered = BufReader::with_capacity(CHUNK_BYTES, whole);
            Box::new(flate2::bufread::MultiGzDecoder::new(buffered))
        } else if magic.starts_with(ZSTD_MAGIC) {
            let buffered = BufReader::with_capacity(CHUNK_BYTES, whole);
            Box::new(zstd::stream::read::Decoder::with_buffer(buffered)?)
        } else {
            Box::new(whole)
        };
        Ok(Self {
            path: path.to_owned(),
            reader,
            buffer: vec![0; CHUNK_BYTES],
            start: 0,
            end: 0,
            at_end: false,
            is_held: true,
            offset: 0,
            file_size_bytes: metadata.len(),
            file_read_bytes,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Offset of the first available byte, decompressed.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes read of the file, and its size: as stored, so compressed.
    pub(crate) fn progress(&self) -> (u64, u64) {
        (self.file_read_bytes.load(Ordering::Relaxed), self.file_size_bytes)
    }

    pub(crate) fn available(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    pub(crate) fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.end - self.start);
        self.start += count;
        self.offset += count as u64;
    }

    /// What is consumed from now on is given up, and what was consumed before.
    pub(crate) fn let_go(&mut self) {
        self.is_held = false;
    }

    /// Goes back to the first byte, and gives up from now on what is consumed; whether it was still there.
    pub(crate) fn rewind(&mut self) -> bool {
        if self.is_held {
            (self.start, self.offset) = (0, 0);
        }
        std::mem::take(&mut self.is_held)
    }

    /// Reads on until `wanted` bytes are available; whether they are.
    pub(crate) fn fill(&mut self, wanted: usize) -> io::Result<bool> {
        while self.available().len() < wanted {
            if !self.read_more()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Makes at least one more byte available; `false` at the end.
    pub(crate) fn read_more(&mut self) -> io::Result<bool> {
        if self.at_end {
            return Ok(false);
        }
        if self.start == self.end && !self.is_held {
            (self.start, self.end) = (0, 0);
        }
        if self.end == self.buffer.len() {
            if self.start > self.buffer.len() / 2 && !self.is_held {
                self.buffer.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            } else {
                let size = self.buffer.len() * 2;
                self.buffer.resize(size, 0);
            }
        }
        loop {
            match self.reader.read(&mut self.buffer[self.end..]) {
                Ok(0) => {
                    self.at_end = true;
                    return Ok(false);
                }
                Ok(count) => {
                    self.end += count;
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
