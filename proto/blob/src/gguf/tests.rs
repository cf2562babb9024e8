use proptest::prelude::*;

use super::*;

/// A file as the format's page describes it.
#[derive(Default)]
struct File {
    pairs: u64,
    tensors: u64,
    pair_bytes: Vec<u8>,
    tensor_bytes: Vec<u8>,
    numbers: usize,
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

impl File {
    fn pair(mut self, key: &str, kind: u32, value: &[u8]) -> Self {
        self.pairs += 1;
        self.pair_bytes.extend(string(key));
        self.pair_bytes.extend(kind.to_le_bytes());
        self.pair_bytes.extend(value);
        self
    }

    fn tensor(mut self, name: &str, shape: &[u64], kind: u32, offset: u64) -> Self {
        self.tensors += 1;
        self.tensor_bytes.extend(string(name));
        let dimensions = u32::try_from(shape.len()).expect("few");
        self.tensor_bytes.extend(dimensions.to_le_bytes());
        for size in shape {
            self.tensor_bytes.extend(size.to_le_bytes());
        }
        self.tensor_bytes.extend(kind.to_le_bytes());
        self.tensor_bytes.extend(offset.to_le_bytes());
        self
    }

    fn build(&self) -> Vec<u8> {
        let mut file = MAGIC.to_vec();
        file.extend(3_u32.to_le_bytes());
        file.extend(self.tensors.to_le_bytes());
        file.extend(self.pairs.to_le_bytes());
        file.extend(&self.pair_bytes);
        file.extend(&self.tensor_bytes);
        file.resize(file.len().next_multiple_of(32) + self.numbers, 0);
        file
    }
}

fn read_all(file: &[u8]) -> Result<Header, FormatError> {
    read(&mut &*file, file.len() as u64)
}

fn words(words: &[&str]) -> Vec<u8> {
    let mut bytes = 8_u32.to_le_bytes().to_vec();
    bytes.extend((words.len() as u64).to_le_bytes());
    bytes.extend(words.iter().flat_map(|word| string(word)));
    bytes
}

fn small() -> File {
    File {
        numbers: 32 + 34 * 2,
        ..File::default()
    }
    .pair("general.architecture", 8, &string("llama"))
    .pair("llama.context_length", 4, &4096_u32.to_le_bytes())
    .pair("tokenizer.words", 9, &words(&["a", "bc"]))
    .tensor("norm", &[4], 0, 0)
    .tensor("weight", &[32, 2], 8, 32)
}

#[test]
fn a_header_gives_places_and_texts() {
    let file = small().build();
    let header = read_all(&file).expect("right");
    let start = (file.len() - small().numbers) as u64;
    assert_eq!(header.length, start);
    assert_eq!(header.architecture(), Some("llama"));
    assert_eq!(header.metadata["llama.context_length"], "4096");
    assert_eq!(header.metadata["tokenizer.words"], "2 values");
    assert_eq!(header.tensors[0].place, start..start + 16);
    assert_eq!(header.tensors[1].place, start + 32..start + 32 + 68);
    assert_eq!(header.tensors[1].kind, "Q8_0");
    assert_eq!(header.tensors[1].shape, [2, 32]);
    assert_eq!(header.quantization(), Some("Q8_0"));
    assert_eq!(header.parameters(), 4 + 64);
}

#[test]
fn every_kind_of_value_is_read() {
    let file = File::default()
        .pair("u8", 0, &[200])
        .pair("i8", 1, &[200])
        .pair("u16", 2, &60_000_u16.to_le_bytes())
        .pair("i16", 3, &(-5_i16).to_le_bytes())
        .pair("i32", 5, &(-6_i32).to_le_bytes())
        .pair("f32", 6, &0.5_f32.to_le_bytes())
        .pair("bool", 7, &[1])
        .pair("u64", 10, &u64::MAX.to_le_bytes())
        .pair("i64", 11, &(-7_i64).to_le_bytes())
        .pair("f64", 12, &0.25_f64.to_le_bytes())
        .pair("long", 8, &string(&"x".repeat(5000)))
        .build();
    let header = read_all(&file).expect("right");
    let value = |key: &str| header.metadata[key].as_str();
    assert_eq!((value("u8"), value("i8")), ("200", "-56"));
    assert_eq!((value("u16"), value("i16")), ("60000", "-5"));
    assert_eq!((value("i32"), value("f32")), ("-6", "0.5"));
    assert_eq!(
        (value("bool"), value("u64")),
        ("true", "18446744073709551615")
    );
    assert_eq!((value("i64"), value("f64")), ("-7", "0.25"));
    assert_eq!(value("long").len(), 4096);
}

#[test]
fn a_type_of_tomorrow_ends_where_the_next_begins() {
    let file = File {
        numbers: 96,
        ..File::default()
    }
    .tensor("new", &[100], 77, 0)
    .tensor("norm", &[4], 0, 64)
    .tensor("last", &[100], 78, 80 + 16 - 32)
    .build();
    // Two at one place: the second begins before the first ends.
    assert!(read_all(&file).is_err());
    let file = File {
        numbers: 100,
        ..File::default()
    }
    .tensor("new", &[100], 77, 0)
    .tensor("last", &[100], 78, 64)
    .build();
    let header = read_all(&file).expect("right");
    let lengths: Vec<_> = header
        .tensors
        .iter()
        .map(|tensor| tensor.place.end - tensor.place.start)
        .collect();
    assert_eq!(lengths, [64, 36]);
    assert_eq!(header.tensors[0].kind, "type 77");
}

#[test]
fn what_lies_is_refused() {
    let refused = |file: Vec<u8>, expected: &str| {
        let error = read_all(&file).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}, not {expected}");
    };
    let mut cut = small().build();
    cut.pop();
    refused(cut, "cut short, tensor=weight");
    refused(small().build()[..40].to_vec(), "cut short");
    let changed = |at: usize, bytes: &[u8]| {
        let mut file = small().build();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    refused(changed(4, &1_u32.to_le_bytes()), "version");
    refused(changed(4, &3_u32.to_be_bytes()), "version");
    refused(changed(8, &u64::MAX.to_le_bytes()), "too many entries");
    refused(changed(16, &u64::MAX.to_le_bytes()), "too many entries");
    refused(changed(24, &u64::MAX.to_le_bytes()), "cut short");
    refused(changed(0, b"GGML"), "magic");
    let one = |file: File| file.build();
    refused(
        one(small().tensor("x", &[4], 0, 16)),
        "place of a tensor, name=x",
    );
    refused(one(small().tensor("x", &[4], 0, 0)), "overlap");
    refused(
        one(small().tensor("x", &[31], 8, 128)),
        "length of a tensor, name=x",
    );
    refused(
        one(small().tensor("x", &[u64::MAX, 2], 0, 128)),
        "length of a tensor",
    );
    refused(
        one(small().tensor("x", &[1], 0, u64::MAX - 31)),
        "length of a tensor",
    );
    refused(one(small().tensor("x", &[1; 9], 0, 128)), "dimensions");
    refused(one(small().tensor("norm", &[1], 0, 128)), "a name twice");
    refused(
        one(small().pair("general.architecture", 8, &string("x"))),
        "a key twice",
    );
    refused(one(small().pair("x", 99, &[])), "type of a value");
    refused(
        one(small().pair("general.alignment", 4, &3_u32.to_le_bytes())),
        "alignment, value=3",
    );
    refused(
        one(small().pair(&"k".repeat(70_000), 7, &[1])),
        "key is too long",
    );
    let mut nested = Vec::new();
    for _ in 0..6 {
        nested.extend(9_u32.to_le_bytes());
        nested.extend(1_u64.to_le_bytes());
    }
    refused(one(small().pair("x", 9, &nested)), "arrays in arrays");
    let mut endless = 8_u32.to_le_bytes().to_vec();
    endless.extend(u64::MAX.to_le_bytes());
    refused(one(small().pair("x", 9, &endless)), "cut short");
}

/// A header of a gigabyte is not read, however long the file is.
#[test]
fn a_header_has_a_limit() {
    let mut bytes = 0_u32.to_le_bytes().to_vec();
    bytes.extend((300_u64 << 20).to_le_bytes());
    let file = File::default().pair("x", 9, &bytes).build();
    let mut endless = file.as_slice().chain(io::repeat(0));
    let error = read(&mut endless, 1 << 30).expect_err("too long");
    assert!(error.to_string().contains("header is too long"), "{error}");
}

proptest! {
    #[test]
    fn arbitrary_files_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read_all(&[MAGIC, &3_u32.to_le_bytes(), &bytes].concat());
    }

    #[test]
    fn spoiled_headers_never_panic(at in 0_usize..400, byte in any::<u8>()) {
        let mut file = small().build();
        if let Some(place) = file.get_mut(at) {
            *place = byte;
        }
        let _ = read_all(&file);
    }
}
