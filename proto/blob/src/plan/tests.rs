use std::ops::ControlFlow;

use proptest::prelude::*;

use super::*;

/// A blob of chunks that are borders' work: each as long as told, filled with
/// its letter.
fn blob(chunks: &[(u8, usize)]) -> (Vec<u8>, ChunkIndex) {
    let mut bytes = Vec::new();
    let mut tensors = Vec::new();
    for &(letter, length) in chunks {
        let start = bytes.len() as u64;
        bytes.resize(bytes.len() + length, letter);
        tensors.push(crate::tensor::Tensor {
            name: format!("at {start}"),
            kind: "U8".into(),
            shape: Vec::new(),
            place: start..bytes.len() as u64,
        });
    }
    let header = crate::format::Header {
        length: 0,
        metadata: Default::default(),
        tensors,
    };
    let size = bytes.len() as u64;
    let go_on = |_| ControlFlow::Continue(());
    let index = ChunkIndex::build(&mut &*bytes, size, Some(&header), go_on).expect("built");
    assert_eq!(index.chunks().len(), chunks.len());
    (bytes, index)
}

const K: usize = 2048;

#[test]
fn what_is_somewhere_is_not_lacking() {
    let (_, first) = blob(&[(b'a', K), (b'b', K), (b'c', K)]);
    let (_, second) = blob(&[(b'c', K), (b'd', K)]);
    let (_, wanted) = blob(&[
        (b'x', K),
        (b'b', K),
        (b'c', K),
        (b'd', K),
        (b'y', 2 * K),
        (b'z', K),
    ]);
    let mut stock = Stock::default();
    stock.add(0, &first);
    stock.add(7, &second);
    let sources = stock.sources(&wanted);
    let at = |blob, offset| Source::Stock { blob, offset };
    let k = K as u64;
    assert_eq!(
        sources,
        [
            Source::Lacking,
            at(0, k),
            at(0, 2 * k),
            at(7, k),
            Source::Lacking,
            Source::Lacking
        ]
    );
    let run = |chunks, source, length| Run {
        chunks,
        source,
        length,
    };
    let whole = runs(&wanted, &sources, 0, u64::MAX);
    assert_eq!(
        whole,
        [
            run(0..1, Source::Lacking, k),
            run(1..3, at(0, k), 2 * k),
            run(3..4, at(7, k), k),
            run(4..6, Source::Lacking, 3 * k)
        ]
    );
    let short = runs(&wanted, &sources, 2, k);
    let starts: Vec<_> = short.iter().map(|run| run.chunks.clone()).collect();
    assert_eq!(starts, [2..3, 3..4, 4..5, 5..6]);
}

#[test]
fn what_goes_on_in_another_blob_is_another_run() {
    let (_, first) = blob(&[(b'a', K)]);
    let (_, second) = blob(&[(b'd', K), (b'b', K)]);
    let (_, wanted) = blob(&[(b'a', K), (b'b', K)]);
    let mut stock = Stock::default();
    stock.add(0, &first);
    stock.add(1, &second);
    let found = runs(&wanted, &stock.sources(&wanted), 0, u64::MAX);
    let chunks: Vec<_> = found.into_iter().map(|run| run.chunks).collect();
    assert_eq!(chunks, [0..1, 1..2]);
}

#[test]
fn small_gaps_are_fetched_with_what_surrounds_them() {
    let letters: Vec<_> = (0..10).map(|letter| (letter, K)).collect();
    let (_, wanted) = blob(&letters);
    let lacking = [0, 1, 3, 7, 9];
    let is_lacking = |number| lacking.contains(&number);
    let k = K as u64;
    assert_eq!(
        ranges(&wanted, is_lacking, 0, u64::MAX),
        [0..2, 3..4, 7..8, 9..10]
    );
    assert_eq!(ranges(&wanted, is_lacking, k, u64::MAX), [0..4, 7..10]);
    assert_eq!(
        ranges(&wanted, is_lacking, k, 2 * k),
        [0..2, 3..4, 7..8, 9..10]
    );
    let all = ranges(&wanted, is_lacking, 9 * k, u64::MAX);
    assert_eq!((all.len(), &all[0]), (1, &(0..10)));
    assert!(ranges(&wanted, |_| false, k, k).is_empty());
}

#[test]
fn bits_are_read_as_they_were_written() {
    let mut chosen = Chosen::none(10);
    chosen.add(0);
    chosen.add(9);
    chosen.add(10);
    assert_eq!(*chosen.encode(), [1, 2]);
    assert_eq!(Chosen::decode(&[1, 2], 10), Some(chosen.clone()));
    assert_eq!(chosen.numbers().collect::<Vec<_>>(), [0, 9]);
    for wrong in [&[1][..], &[1, 2, 0], &[1, 4], &[1, 128]] {
        assert_eq!(Chosen::decode(wrong, 10), None, "{wrong:?}");
    }
    assert!(Chosen::decode(&[255], 8).is_some());
    assert!(Chosen::decode(&[], 0).is_some());
    let (_, index) = blob(&[(b'a', K), (b'b', 3 * K), (b'c', K)]);
    let mut chosen = Chosen::none(3);
    chosen.add(1);
    assert_eq!(chosen.length(&index), 3 * K as u64);
}

#[test]
fn a_byte_lies_in_one_chunk() {
    let (_, index) = blob(&[(b'a', K), (b'b', K)]);
    let k = K as u64;
    let found = [0, k - 1, k, 2 * k - 1, 2 * k].map(|offset| chunk_at(&index, offset));
    assert_eq!(found, [Some(0), Some(0), Some(1), Some(1), None]);
}

proptest! {
    /// Put together from stock and from what was lacking, a blob is itself.
    #[test]
    fn runs_make_the_blob(
        old in prop::collection::vec((0_u8..6, 1_usize..4), 0..20),
        new in prop::collection::vec((0_u8..8, 1_usize..4), 1..20),
        length_max in 1_u64..20_000,
    ) {
        let scale = |chunks: Vec<(u8, usize)>| -> Vec<_> {
            chunks.into_iter().map(|(letter, length)| (letter, length * K)).collect()
        };
        let (old_bytes, old) = blob(&scale(old));
        let (new_bytes, new) = blob(&scale(new));
        let mut stock = Stock::default();
        stock.add(0, &old);
        let sources = stock.sources(&new);
        let mut made = Vec::new();
        for run in runs(&new, &sources, 0, length_max) {
            let length = usize::try_from(run.length).expect("small");
            let (from, start) = match run.source {
                Source::Stock { offset, .. } => (&old_bytes, usize::try_from(offset).expect("small")),
                Source::Lacking => (&new_bytes, made.len()),
            };
            made.extend_from_slice(&from[start..start + length]);
        }
        prop_assert_eq!(made, new_bytes);
    }

    #[test]
    fn arbitrary_bits_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..9), count in 0_usize..70) {
        if let Some(chosen) = Chosen::decode(&bytes, count) {
            prop_assert_eq!(&*chosen.encode(), bytes);
        }
    }
}
