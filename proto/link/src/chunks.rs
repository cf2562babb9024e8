//! Several slices as one buffer, so that one system call writes them all.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// A piece of a body: slices as they came off the wire, not joined.
///
/// QUIC delivers a slice for each packet, about 1.4 kB. A socket that takes
/// up to 64 of them in one vectored write needs neither a copy nor a system
/// call for each.
#[derive(Debug, Default, Clone)]
pub struct Chunks {
    slices: VecDeque<Bytes>,
    remaining: usize,
}

impl Chunks {
    /// No bytes, with room for `count` slices.
    #[must_use]
    pub fn with_capacity(count: usize) -> Self {
        Self {
            slices: VecDeque::with_capacity(count),
            remaining: 0,
        }
    }

    /// Appends a slice. Empty ones vanish.
    pub fn push(&mut self, slice: Bytes) {
        if !slice.is_empty() {
            self.remaining += slice.len();
            self.slices.push_back(slice);
        }
    }

    /// Whether no byte is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.remaining == 0
    }
}

impl From<Bytes> for Chunks {
    fn from(slice: Bytes) -> Self {
        let mut chunks = Self::default();
        chunks.push(slice);
        chunks
    }
}

impl Buf for Chunks {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn chunk(&self) -> &[u8] {
        self.slices.front().map_or(&[], |slice| slice)
    }

    fn chunks_vectored<'a>(&'a self, to: &mut [IoSlice<'a>]) -> usize {
        let pairs = to.iter_mut().zip(&self.slices);
        pairs.map(|(to, slice)| *to = IoSlice::new(slice)).count()
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.remaining, "advanced past the end");
        self.remaining -= count;
        while let Some(front) = self.slices.front_mut() {
            if count < front.len() {
                front.advance(count);
                return;
            }
            count -= front.len();
            self.slices.pop_front();
        }
    }

    fn copy_to_bytes(&mut self, count: usize) -> Bytes {
        match self.slices.front_mut() {
            Some(front) if front.len() == count => {
                self.remaining -= count;
                self.slices.pop_front().unwrap_or_default()
            }
            Some(front) if front.len() > count => {
                self.remaining -= count;
                front.split_to(count)
            }
            _ => {
                // Asked for more than one slice as one: only a copy can.
                let mut joined = bytes::BytesMut::with_capacity(count);
                bytes::BufMut::put(&mut joined, self.take(count));
                joined.freeze()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn abc() -> Chunks {
        let mut chunks = Chunks::default();
        for slice in ["abc", "", "de", "f"] {
            chunks.push(Bytes::from_static(slice.as_bytes()));
        }
        chunks
    }

    #[test]
    fn advancing_crosses_slices() {
        for count in 0..=6 {
            let mut chunks = abc();
            chunks.advance(count);
            assert_eq!(chunks.remaining(), 6 - count);
            assert_eq!(chunks.copy_to_bytes(6 - count), &b"abcdef"[count..]);
            assert!(chunks.is_empty());
        }
    }

    #[test]
    fn all_slices_go_into_one_vectored_write() {
        let chunks = abc();
        let mut to = [IoSlice::new(&[]); 8];
        assert_eq!(chunks.chunks_vectored(&mut to), 3);
        assert_eq!(&*to[1], b"de");
        let mut short = [IoSlice::new(&[]); 2];
        assert_eq!(chunks.chunks_vectored(&mut short), 2);
    }

    #[test]
    fn a_whole_slice_is_taken_without_a_copy() {
        let slice = Bytes::from(vec![1, 2, 3]);
        let at = slice.as_ptr();
        let mut chunks = Chunks::from(slice);
        assert_eq!(chunks.copy_to_bytes(3).as_ptr(), at);
    }

    #[test]
    #[should_panic(expected = "advanced past the end")]
    fn advancing_past_the_end_is_a_bug() {
        abc().advance(7);
    }
}
