//! Names of other programs' files as names here.

use ginnel_proto::artifact::FILE_NAME_MAX;

/// The beginnings of names that say nothing without the name of what they are
/// part of.
const GENERIC: [&str; 6] = [
    "model",
    "adapter",
    "pytorch_model",
    "diffusion_pytorch_model",
    "consolidated",
    "mmproj",
];

/// A name with an ending, whatever is not allowed in it replaced.
pub(super) fn plain(stem: &str, ending: Option<&str>) -> String {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "._-+=@".contains(c);
    let mut name = String::with_capacity(stem.len());
    for c in stem.chars() {
        let c = if is_allowed(c) { c } else { '-' };
        let is_twice = matches!(c, '.' | '-') && name.ends_with(c);
        if !is_twice {
            name.push(c);
        }
    }
    let trimmed = name.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    let trimmed = trimmed.trim_end_matches(['.', '-']);
    let ending = ending.map(|ending| format!(".{ending}"));
    let ending = ending.unwrap_or_default();
    let room = FILE_NAME_MAX.saturating_sub(ending.len());
    let end = trimmed.len().min(room);
    // Only ASCII is left.
    format!("{}{ending}", trimmed.get(..end).unwrap_or_default())
}

/// The stem of a file of a repository: with the repository's name before it if
/// it says nothing by itself.
pub(super) fn of_repository(repository: &str, stem: &str) -> String {
    let is_generic = GENERIC.iter().any(|generic| {
        let rest = stem.strip_prefix(generic);
        rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphabetic()))
    });
    match is_generic {
        true => format!("{repository}-{stem}"),
        false => stem.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use ginnel_proto::artifact::FileName;

    use super::*;

    #[test]
    fn whatever_they_were_called_they_are_names() {
        for (stem, name) in [
            ("phi-3", "phi-3.gguf"),
            ("my model (1)", "my-model-1.gguf"),
            ("..hidden..x", "hidden.x.gguf"),
            ("käse", "k-se.gguf"),
            ("a/b\\c:d", "a-b-c-d.gguf"),
        ] {
            let plain = plain(stem, Some("gguf"));
            assert_eq!(plain, name);
            assert!(FileName::parse(&plain).is_ok(), "{plain}");
        }
        let long = plain(&"x".repeat(400), Some("safetensors"));
        assert_eq!(long.len(), FILE_NAME_MAX);
        assert!(long.ends_with("x.safetensors"));
        // Nothing is left of it: that is told, not guessed.
        assert!(FileName::parse(&plain("§§", None)).is_err());
    }

    #[test]
    fn names_that_say_nothing_get_that_of_their_repository() {
        for (stem, name) in [
            ("model", "mini-model"),
            ("model-00001-of-00002", "mini-model-00001-of-00002"),
            ("adapter_model", "mini-adapter_model"),
            ("modelica-q4", "modelica-q4"),
            ("phi", "phi"),
        ] {
            assert_eq!(of_repository("mini", stem), name);
        }
    }
}
