//! What surrounds the network: how a text becomes a vector, as the files of
//! `sentence-transformers` say.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use serde::Deserialize;
use serde_json::Value;

use crate::Error;
use crate::folder::{self, Json, SETTINGS_MAX};

/// Everything but the network and the vocabulary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recipe {
    pub(crate) pooling: Pooling,
    /// Whether vectors are brought to length 1.
    pub(crate) unit_length: bool,
    /// The most tokens of a text, with the two special ones, if it is said.
    pub(crate) tokens_max: Option<u64>,
    /// Put before each passage.
    pub(crate) passage_prompt: String,
    /// Put before each query.
    pub(crate) query_prompt: String,
}

/// How the vectors of the tokens become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pooling {
    Mean,
    /// The vector of the first token.
    First,
    /// The largest of each dimension.
    Max,
}

impl Recipe {
    /// Reads and checks the files; without `modules.json` it is mean pooling,
    /// as `sentence-transformers` has it.
    pub(crate) fn read(folder: &Path, hidden: usize) -> Result<Self, Error> {
        let modules = folder::optional::<Vec<Module>>(folder, "modules.json")?;
        let (pooling, unit_length) = match modules {
            Some(modules) => steps(folder, &modules, hidden)?,
            None => (PoolingChoice::default(), false),
        };
        let Prompts { passage, query } = Prompts::read(folder)?;
        let has_prompt = !passage.is_empty() || !query.is_empty();
        if has_prompt && !pooling.includes_prompt {
            let file = folder.join("modules.json");
            let what = "pooling without the prompt not supported";
            return Err(Error::unfit(&file, what, "include_prompt true", "false"));
        }
        Ok(Self {
            pooling: pooling.mode,
            unit_length,
            tokens_max: tokens_max(folder)?,
            passage_prompt: passage,
            query_prompt: query,
        })
    }
}

#[derive(Deserialize)]
struct Module {
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

impl Module {
    /// The name of the class without its package, which has changed over time.
    fn class(&self) -> &str {
        self.kind.rsplit('.').next().unwrap_or_default()
    }
}

/// The steps of `modules.json`: the network, pooling, and perhaps unit length.
fn steps(
    folder: &Path,
    modules: &Json<Vec<Module>>,
    hidden: usize,
) -> Result<(PoolingChoice, bool), Error> {
    let classes: Vec<&str> = modules.value.iter().map(Module::class).collect();
    let unit_length = match classes[..] {
        ["Transformer", "Pooling"] => false,
        ["Transformer", "Pooling", "Normalize"] => true,
        _ => {
            let expected = "Transformer, Pooling and perhaps Normalize";
            let what = "modules not supported";
            return Err(Error::unfit(
                &modules.file,
                what,
                expected,
                classes.join(", "),
            ));
        }
    };
    let [network, pooling, ..] = &modules.value[..] else {
        unreachable!("two or three classes were matched")
    };
    if !network.path.is_empty() {
        let what = "path of the Transformer not supported";
        return Err(Error::unfit(&modules.file, what, "\"\"", &network.path));
    }
    let mut components = Path::new(&pooling.path).components();
    let (Some(Component::Normal(_)), None) = (components.next(), components.next()) else {
        let what = "path of the Pooling not supported";
        return Err(Error::unfit(
            &modules.file,
            what,
            "a folder's name",
            &pooling.path,
        ));
    };
    let name = format!("{}/config.json", pooling.path);
    let file = folder::json::<PoolingFile>(folder, &name, SETTINGS_MAX)?;
    Ok((file.value.check(&file.file, hidden)?, unit_length))
}

#[derive(Debug, Clone, Copy)]
struct PoolingChoice {
    mode: Pooling,
    includes_prompt: bool,
}

impl Default for PoolingChoice {
    fn default() -> Self {
        Self {
            mode: Pooling::Mean,
            includes_prompt: true,
        }
    }
}

#[derive(Deserialize)]
struct PoolingFile {
    #[serde(alias = "word_embedding_dimension")]
    embedding_dimension: Option<u64>,
    pooling_mode: Option<Value>,
    #[serde(default = "yes")]
    include_prompt: bool,
    #[serde(default)]
    pooling_mode_cls_token: bool,
    #[serde(default)]
    pooling_mode_max_tokens: bool,
    #[serde(default)]
    pooling_mode_mean_tokens: bool,
    #[serde(default)]
    pooling_mode_mean_sqrt_len_tokens: bool,
    #[serde(default)]
    pooling_mode_weightedmean_tokens: bool,
    #[serde(default)]
    pooling_mode_lasttoken: bool,
}

impl PoolingFile {
    fn check(&self, file: &Path, hidden: usize) -> Result<PoolingChoice, Error> {
        if let Some(found) = self.embedding_dimension
            && usize::try_from(found) != Ok(hidden)
        {
            let what = "embedding dimension is not hidden_size";
            return Err(Error::unfit(file, what, hidden, found));
        }
        let modes = self.modes();
        let mode = match modes[..] {
            // Nothing said is the mean, as in `sentence-transformers`.
            ["mean"] | [] => Pooling::Mean,
            ["cls"] => Pooling::First,
            ["max"] => Pooling::Max,
            _ => {
                let found = modes.join(", ");
                let what = "pooling not supported";
                return Err(Error::unfit(file, what, "one of mean, cls and max", found));
            }
        };
        let includes_prompt = self.include_prompt;
        Ok(PoolingChoice {
            mode,
            includes_prompt,
        })
    }

    /// The newer field has precedence over the older ones.
    fn modes(&self) -> Vec<&str> {
        let name = |mode: &'_ Value| match mode.as_str() {
            Some("mean") => "mean",
            Some("cls") => "cls",
            Some("max") => "max",
            Some(_) | None => "another",
        };
        match &self.pooling_mode {
            Some(Value::Array(modes)) => return modes.iter().map(name).collect(),
            Some(mode) => return vec![name(mode)],
            None => {}
        }
        let flags = [
            (self.pooling_mode_cls_token, "cls"),
            (self.pooling_mode_max_tokens, "max"),
            (self.pooling_mode_mean_tokens, "mean"),
            (self.pooling_mode_mean_sqrt_len_tokens, "mean_sqrt_len"),
            (self.pooling_mode_weightedmean_tokens, "weightedmean"),
            (self.pooling_mode_lasttoken, "lasttoken"),
        ];
        let set = flags.into_iter().filter(|(set, _)| *set);
        set.map(|(_, mode)| mode).collect()
    }
}

#[derive(Debug, Default)]
struct Prompts {
    passage: String,
    query: String,
}

#[derive(Deserialize)]
struct PromptsFile {
    #[serde(default)]
    prompts: BTreeMap<String, Option<String>>,
    default_prompt_name: Option<String>,
}

impl Prompts {
    /// As `encode_query` and `encode_document` of `sentence-transformers`
    /// choose among them.
    fn read(folder: &Path) -> Result<Self, Error> {
        let name = "config_sentence_transformers.json";
        let Some(Json { file, value }) = folder::optional::<PromptsFile>(folder, name)? else {
            return Ok(Self::default());
        };
        let default = match &value.default_prompt_name {
            None => None,
            Some(name) if value.prompts.contains_key(name) => Some(&**name),
            Some(name) => {
                let what = "default_prompt_name is not among the prompts";
                return Err(Error::unfit(&file, what, "a name of a prompt", name));
            }
        };
        let choose = |names: &[&str]| {
            let mut names = names.iter().copied().chain(default);
            let prompt = names.find_map(|name| value.prompts.get(name));
            prompt.cloned().flatten().unwrap_or_default()
        };
        Ok(Self {
            passage: choose(&["document", "passage", "corpus"]),
            query: choose(&["query"]),
        })
    }
}

#[derive(Deserialize)]
struct LengthFile {
    max_seq_length: Option<u64>,
    #[serde(default)]
    do_lower_case: bool,
}

fn tokens_max(folder: &Path) -> Result<Option<u64>, Error> {
    let name = "sentence_bert_config.json";
    let Some(Json { file, value }) = folder::optional::<LengthFile>(folder, name)? else {
        return Ok(None);
    };
    if value.do_lower_case {
        let what = "do_lower_case not supported, tokenizer.json says it";
        return Err(Error::unfit(&file, what, "false", "true"));
    }
    Ok(value.max_seq_length)
}

fn yes() -> bool {
    true
}
