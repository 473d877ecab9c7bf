//! Compressing by several threads, with the same bytes for any number of them.
//!
//! The input is cut into pieces of fixed size. Each is compressed alone, with the end of the one before as a dictionary,
//! and ends at a byte; so the pieces, one after the other, are one deflate stream in one gzip member that every reader
//! understands. What the pieces become depends on the compressor's version, which Cargo.lock fixes, and on nothing else.
//!
//! [`Stored`] packs without compressing: for what is compressed already.

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::thread;

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

/// No flags, no time, no hint of the level, an unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// What is compressed alone.
const PIECE: usize = 128 << 10;
/// How far back a deflate stream may refer.
const WINDOW: usize = 32 << 10;
/// What is held before it is compressed.
const BATCH: usize = 16 * PIECE;
const MOST_THREADS: usize = 8;

/// A gzip member, compressed while it is written.
pub(super) struct Gzip<W> {
    out: W,
    /// The end of what was compressed, then what is not yet.
    held: Vec<u8>,
    /// How much of `held` is compressed already.
    done: usize,
    sum: Crc,
    threads: usize,
}

impl<W: Write> Gzip<W> {
    pub(super) fn new(out: W) -> io::Result<Self> {
        Self::with_threads(out, thread::available_parallelism().map_or(1, NonZeroUsize::get).min(MOST_THREADS))
    }

    fn with_threads(mut out: W, threads: usize) -> io::Result<Self> {
        out.write_all(&HEADER)?;
        Ok(Self { out, held: Vec::new(), done: 0, sum: Crc::new(), threads })
    }

    /// Compresses what is held; the end of it stays as a dictionary.
    fn compress(&mut self, last: bool) -> io::Result<()> {
        let (held, done) = (&self.held, self.done);
        let mut starts: Vec<usize> = (done..held.len()).step_by(PIECE).collect();
        if starts.is_empty() {
            starts.push(done);
        }
        let piece = |compressor: &mut Compress, start: usize| {
            let end = held.len().min(start + PIECE);
            let finish = last && end == held.len();
            deflate(compressor, &held[start.saturating_sub(WINDOW)..start], &held[start..end], finish)
        };
        let share = starts.len().div_ceil(self.threads);
        let several = |starts: &[usize]| -> io::Result<Vec<Vec<u8>>> {
            let mut compressor = Compress::new(Compression::default(), false);
            starts.iter().map(|start| piece(&mut compressor, *start)).collect()
        };
        let compressed: Vec<io::Result<Vec<Vec<u8>>>> = thread::scope(|scope| {
            let mut shares = starts.chunks(share);
            let own = shares.next().unwrap_or_default();
            let others: Vec<_> = shares.map(|share| scope.spawn(move || several(share))).collect();
            let died = |_| Err(io::Error::other("a thread that compressed has died"));
            let own = several(own);
            std::iter::once(own).chain(others.into_iter().map(|other| other.join().unwrap_or_else(died))).collect()
        });
        for pieces in compressed {
            for piece in pieces? {
                self.out.write_all(&piece)?;
            }
        }
        let kept = self.held.len().saturating_sub(WINDOW);
        self.held.drain(..kept);
        self.done = self.held.len();
        Ok(())
    }

    /// Ends the member.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.compress(true)?;
        self.out.write_all(&self.sum.sum().to_le_bytes())?;
        self.out.write_all(&self.sum.amount().to_le_bytes())?;
        Ok(self.out)
    }
}

impl<W: Write> Write for Gzip<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // The last piece is compressed otherwise than the rest, so a full batch waits for what follows.
        if self.held.len() - self.done == BATCH && !bytes.is_empty() {
            self.compress(false)?;
        }
        let taken = bytes.len().min(BATCH - (self.held.len() - self.done));
        self.held.extend_from_slice(&bytes[..taken]);
        self.sum.update(&bytes[..taken]);
        Ok(taken)
    }

    /// Nothing: what is held stays held, or the pieces would depend on it.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn deflate(compressor: &mut Compress, dictionary: &[u8], piece: &[u8], finish: bool) -> io::Result<Vec<u8>> {
    compressor.reset();
    if !dictionary.is_empty() {
        compressor.set_dictionary(dictionary).map_err(io::Error::other)?;
    }
    let flush = if finish { FlushCompress::Finish } else { FlushCompress::Sync };
    let mut out = Vec::with_capacity(piece.len() / 2 + 256);
    loop {
        // Whole, because `reset` sets the counters back.
        let read = usize::try_from(compressor.total_in()).map_err(io::Error::other)?;
        let status = compressor.compress_vec(&piece[read..], &mut out, flush).map_err(io::Error::other)?;
        if status == Status::StreamEnd || (!finish && out.len() < out.capacity()) {
            return Ok(out);
        }
        out.reserve(piece.len() / 2 + 256);
    }
}

/// A gzip member that holds its input as it is.
pub(super) struct Stored {
    out: Vec<u8>,
    /// Where the header of the last block is.
    block: usize,
}

/// What precedes the contents of a block: a mark and its length, twice.
const STORED_HEADER: usize = 5;
const LONGEST_STORED: usize = 0xffff;

impl Stored {
    pub(super) fn new() -> Self {
        let mut out = HEADER.to_vec();
        let block = out.len();
        out.extend_from_slice(&[0; STORED_HEADER]);
        Self { out, block }
    }

    /// How much was written.
    pub(super) fn len(&self) -> usize {
        let before = (self.block - HEADER.len()) / (STORED_HEADER + LONGEST_STORED);
        before * LONGEST_STORED + self.held()
    }

    /// How much the last block holds.
    fn held(&self) -> usize {
        self.out.len() - self.block - STORED_HEADER
    }

    /// What was written at `range`, to be changed; within the first block.
    pub(super) fn first_block(&mut self, range: std::ops::Range<usize>) -> Option<&mut [u8]> {
        if range.end > LONGEST_STORED {
            return None;
        }
        let start = HEADER.len() + STORED_HEADER;
        self.out.get_mut(start + range.start..start + range.end)
    }

    fn end_block(&mut self, last: bool) {
        let length = self.held().to_le_bytes();
        let header = [u8::from(last), length[0], length[1], !length[0], !length[1]];
        self.out[self.block..self.block + STORED_HEADER].copy_from_slice(&header);
    }

    /// Ends the member.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.end_block(true);
        let mut sum = Crc::new();
        for block in self.out[HEADER.len()..].chunks(STORED_HEADER + LONGEST_STORED) {
            sum.update(&block[STORED_HEADER..]);
        }
        self.out.extend_from_slice(&sum.sum().to_le_bytes());
        self.out.extend_from_slice(&sum.amount().to_le_bytes());
        self.out.shrink_to_fit();
        self.out
    }
}

impl Write for Stored {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.held() == LONGEST_STORED && !bytes.is_empty() {
            self.end_block(false);
            self.block = self.out.len();
            self.out.extend_from_slice(&[0; STORED_HEADER]);
        }
        let taken = bytes.len().min(LONGEST_STORED - self.held());
        self.out.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;
    use proptest::prelude::*;

    use super::*;

    /// Text-like bytes: compressible, but not trivially.
    fn text(length: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let mut out = Vec::with_capacity(length + 16);
        while out.len() < length {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            out.extend_from_slice(format!("word{} ", state >> 20).as_bytes());
        }
        out.truncate(length);
        out
    }

    fn compressed(bytes: &[u8], threads: usize, at_once: usize) -> Vec<u8> {
        let mut gzip = Gzip::with_threads(Vec::new(), threads).unwrap();
        for part in bytes.chunks(at_once) {
            gzip.write_all(part).unwrap();
        }
        gzip.finish().unwrap()
    }

    fn unpacked(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut decoder = GzDecoder::new(bytes);
        decoder.read_to_end(&mut out).unwrap();
        assert!(decoder.into_inner().is_empty(), "one member, and nothing after it");
        out
    }

    #[test]
    fn any_number_of_threads_gives_the_same() {
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, BATCH, BATCH + 1, 2 * BATCH + PIECE / 2] {
            let bytes = text(length);
            let one = compressed(&bytes, 1, 4096);
            assert!(unpacked(&one) == bytes, "{length} bytes");
            for (threads, at_once) in [(2, 4096), (3, usize::MAX), (8, 100_000)] {
                assert!(compressed(&bytes, threads, at_once) == one, "{length} bytes, {threads} threads");
            }
        }
        let bytes = text(4 * PIECE);
        assert!(compressed(&bytes, 2, 4096).len() < bytes.len() / 2, "dictionaries have an effect");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn stored_is_read_again(parts in prop::collection::vec(0_usize..100_000, 0..5)) {
            let bytes = text(parts.iter().sum());
            let mut stored = Stored::new();
            let mut at = 0;
            for part in parts {
                stored.write_all(&bytes[at..at + part]).unwrap();
                at += part;
                prop_assert_eq!(stored.len(), at);
            }
            prop_assert!(unpacked(&stored.finish()) == bytes);
        }
    }
}
