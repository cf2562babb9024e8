//! What kind of file a blob is, told by its first bytes, and its tensors.

use std::collections::BTreeMap;
use std::io::Read;

use crate::gguf;
use crate::safetensors;
use crate::tensor::Tensor;

/// How many of a file's first bytes tell its kind.
pub const PROBE: usize = 512;

/// The kind of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// <https://github.com/huggingface/safetensors#format>
    Safetensors,
    /// <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>
    Gguf,
    /// Bytes that nothing is known of.
    Other,
}

/// What the header of a model's file says, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The length of everything before the tensors' numbers, in bytes.
    pub length: u64,
    /// Free text beside the tensors: names to values, values for people.
    pub metadata: BTreeMap<String, String>,
    /// In the order of their places; they do not overlap.
    pub tensors: Vec<Tensor>,
}

/// Why a file is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// Loading a pickle runs whatever code is in it.
    #[error(
        "file is a Python pickle, which runs code when it is loaded; hint: convert it to safetensors"
    )]
    Pickle,
    /// It has no bytes.
    #[error("file is empty")]
    Empty,
    /// Its name promises another format.
    #[error("file is not what its name says, expected={0}")]
    NotAsNamed(&'static str),
    /// It ends before what its header tells.
    #[error("file is cut short, {what}, size={size}, needed={needed}")]
    Short {
        /// What lies behind its end.
        what: String,
        /// Its size in bytes.
        size: u64,
        /// The size that its header tells, in bytes.
        needed: u64,
    },
    /// The header contradicts the format or itself.
    #[error("header is wrong, {0}")]
    Header(String),
    /// It cannot be read.
    #[error("file cannot be read, reason={0}")]
    Read(#[from] std::io::Error),
}

impl Format {
    /// The format of a file of this name that begins with these bytes: all of
    /// it, or at least [`PROBE`].
    ///
    /// # Errors
    /// A pickle, an empty file, or a name that promises another format.
    pub fn detect(name: &str, first: &[u8]) -> Result<Self, FormatError> {
        if first.is_empty() {
            return Err(FormatError::Empty);
        }
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
        let ending = ending.to_ascii_lowercase();
        if is_pickle(&ending, first) {
            return Err(FormatError::Pickle);
        }
        let format = Self::of(first);
        match (ending.as_str(), format) {
            ("gguf", Self::Safetensors | Self::Other) => Err(FormatError::NotAsNamed("GGUF")),
            ("safetensors", Self::Gguf | Self::Other) => {
                Err(FormatError::NotAsNamed("safetensors"))
            }
            (_, format) => Ok(format),
        }
    }

    fn of(first: &[u8]) -> Self {
        if first.starts_with(gguf::MAGIC) {
            Self::Gguf
        } else if safetensors::begins(first) {
            Self::Safetensors
        } else {
            Self::Other
        }
    }

    /// Reads and checks the header of a file of `size` bytes, from its first
    /// byte on. `None` for a file that nothing is known of.
    ///
    /// # Errors
    /// The file cannot be read, is cut short, or its header lies.
    pub fn header(self, from: &mut impl Read, size: u64) -> Result<Option<Header>, FormatError> {
        match self {
            Self::Safetensors => safetensors::read(from, size).map(Some),
            Self::Gguf => gguf::read(from, size).map(Some),
            Self::Other => Ok(None),
        }
    }

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Safetensors => "safetensors",
            Self::Gguf => "gguf",
            Self::Other => "other",
        }
    }
}

impl Header {
    /// Puts tensors into the order of their places.
    ///
    /// # Errors
    /// Two overlap, or one ends behind the file's end.
    pub(crate) fn new(
        length: u64,
        metadata: BTreeMap<String, String>,
        mut tensors: Vec<Tensor>,
        size: u64,
    ) -> Result<Self, FormatError> {
        tensors.sort_by_key(|tensor| (tensor.place.start, tensor.place.end));
        let mut end = length;
        for tensor in &tensors {
            if tensor.place.start < end || tensor.place.end < tensor.place.start {
                let name = tensor.name.escape_debug();
                let reason = format!("tensors overlap, name={name}");
                return Err(FormatError::Header(reason));
            }
            end = tensor.place.end;
            if end > size {
                let what = format!("tensor={}", tensor.name.escape_debug());
                return Err(FormatError::Short {
                    what,
                    size,
                    needed: end,
                });
            }
        }
        Ok(Self {
            length,
            metadata,
            tensors,
        })
    }

    /// How many numbers all tensors have together.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        let counts = self.tensors.iter().filter_map(Tensor::parameters);
        counts.fold(0, u64::saturating_add)
    }

    /// The type that most of the numbers' bytes are of: a model's
    /// quantization. `None` without tensors.
    #[must_use]
    pub fn quantization(&self) -> Option<&str> {
        let mut bytes = BTreeMap::<&str, u64>::new();
        for tensor in &self.tensors {
            let length = tensor.place.end - tensor.place.start;
            *bytes.entry(&tensor.kind).or_default() += length;
        }
        let most = bytes.into_iter().max_by_key(|(_, bytes)| *bytes);
        most.map(|(kind, _)| kind)
    }

    /// The kind of model, where the file says it.
    #[must_use]
    pub fn architecture(&self) -> Option<&str> {
        self.metadata
            .get("general.architecture")
            .map(String::as_str)
    }
}

/// By its first bytes: the protocols from 2 on name themselves, and a
/// checkpoint of PyTorch is an archive with `data.pkl` in front. By its name
/// only where older protocols have no mark.
fn is_pickle(ending: &str, first: &[u8]) -> bool {
    const NAME_AT: usize = 30;
    let marked = matches!(first, [0x80, 2..=5, ..]) && !safetensors::begins(first);
    let archive = first.starts_with(b"PK\x03\x04")
        && first
            .get(NAME_AT..)
            .is_some_and(|rest| rest.windows(8).take(256).any(|name| name == b"data.pkl"));
    let named = matches!(ending, "pkl" | "pickle" | "pt" | "pth" | "ckpt");
    marked || archive || (named && Format::of(first) == Format::Other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(start: u64, end: u64) -> Tensor {
        Tensor {
            name: format!("t{start}"),
            kind: "F32".into(),
            shape: vec![(end - start) / 4],
            place: start..end,
        }
    }

    #[test]
    fn a_kind_is_told_by_content_and_held_to_the_name() {
        let safetensors = [&2_u64.to_le_bytes()[..], b"{}"].concat();
        let detect = |name, first: &[u8]| Format::detect(name, first).ok();
        assert_eq!(detect("a.gguf", b"GGUF\x03\0\0\0"), Some(Format::Gguf));
        assert_eq!(detect("a", b"GGUF\x03\0\0\0"), Some(Format::Gguf));
        assert_eq!(
            detect("a.safetensors", &safetensors),
            Some(Format::Safetensors)
        );
        assert_eq!(detect("a.jsonl", b"{\"a\": 1}\n"), Some(Format::Other));
        assert_eq!(detect("a.safetensors", b"GGUF\x03\0\0\0"), None);
        assert_eq!(detect("A.GGUF", &safetensors), None);
        assert_eq!(detect("a.gguf", b"PK\x05\x06"), None);
        assert!(matches!(
            Format::detect("a.gguf", b""),
            Err(FormatError::Empty)
        ));
    }

    #[test]
    fn pickles_are_refused_whatever_they_are_called() {
        let mut archive = b"PK\x03\x04".to_vec();
        archive.resize(30, 0);
        archive.extend_from_slice(b"archive/data.pkl rest");
        for (name, first) in [
            ("model.bin", &b"\x80\x02\x8a\x0a"[..]),
            ("notes.txt", b"\x80\x04\x95"),
            ("model.bin", &archive),
            ("old.pkl", b"(dp0\nS'a'\n"),
            ("old.PTH", b"whatever"),
        ] {
            let refused = Format::detect(name, first);
            assert!(matches!(refused, Err(FormatError::Pickle)), "{name}");
        }
        let mut plain = archive.clone();
        plain.truncate(30);
        plain.extend_from_slice(b"readme.txt");
        assert_eq!(Format::detect("a.zip", &plain).ok(), Some(Format::Other));
        // 0x0280 is a length too.
        let table = [&0x0280_u64.to_le_bytes()[..], b"{"].concat();
        let found = Format::detect("a.safetensors", &table).ok();
        assert_eq!(found, Some(Format::Safetensors));
        // No table is that long, or shorter than two braces.
        for length in [1_u64, 100_000_001] {
            let text = [&length.to_le_bytes()[..], b"{"].concat();
            assert_eq!(Format::detect("a", &text).ok(), Some(Format::Other));
        }
    }

    #[test]
    fn tensors_do_not_overlap_and_end_in_the_file() {
        let header = |tensors, size| Header::new(10, BTreeMap::new(), tensors, size);
        let two = vec![place(14, 22), place(10, 14)];
        let sorted = header(two.clone(), 22).expect("in order");
        assert_eq!(sorted.tensors, vec![place(10, 14), place(14, 22)]);
        assert_eq!(sorted.parameters(), 3);
        assert_eq!(sorted.quantization(), Some("F32"));
        assert!(matches!(
            header(two, 21),
            Err(FormatError::Short {
                size: 21,
                needed: 22,
                ..
            })
        ));
        for wrong in [vec![place(10, 18), place(14, 22)], vec![place(6, 14)]] {
            assert!(matches!(header(wrong, 99), Err(FormatError::Header(_))));
        }
    }
}
