//! What is on disk, whole or not.

use std::fs;
use std::path::Path;

use super::Files;
use super::world::{World, copy_folder};
use crate::error::ErrorKind;
use crate::vector::metric::Metric;
use crate::vector::{Change, Request};

/// Flipped bytes that a file is tried with, beside the other damages.
const FLIPS: usize = 40;

pub(crate) fn an_index_is_found_again(world: &mut World) {
    world.fill(1..300);
    world.apply(vec![Change::Delete { passage: 7 }]);
    world.index().flush().expect("written");
    let (durable, stats) = (world.index().durable(), world.index().stats());
    world.open().expect("open again");
    assert_eq!(world.index().durable(), durable);
    if world.subject.files == Files::Index {
        assert_eq!(durable, world.watermark());
        let stats = stats.expect("known");
        assert_eq!(stats.entries, 298);
        assert!(stats.file_bytes > 298 * 24, "{stats:?}");
    }
    world.check(10, None);
    world.check(400, None);
}

pub(crate) fn an_index_of_something_else_is_not_used(world: &mut World) {
    world.fill(1..100);
    world.index().flush().expect("written");
    let old = world.spec.clone();
    let other_metric = world.subject.metrics.iter().find(|one| **one != old.metric);
    for what in ["database", "model", "dimensions", "metric"] {
        let mut world = again(world);
        match what {
            "database" => world.spec.database = [9; 16],
            "model" => world.spec.model = [9; 32],
            "dimensions" => world.spec.dimensions = 25,
            _ => world.spec.metric = *other_metric.unwrap_or(&Metric::Dot),
        }
        if what == "metric" && other_metric.is_none() {
            continue;
        }
        world.open().expect("a new one");
        if world.subject.files == Files::Index {
            assert_eq!(world.index().durable(), 0, "{what}");
            assert_eq!(world.index().stats().expect("known").entries, 0);
        }
        world.check(10, None);
        world.fill(50..70);
        world.check(30, None);
        world.reopen();
        world.check(30, None);
    }
}

/// A world without rows, in whose folder lie the files of this one.
fn again(world: &World) -> World {
    let mut other = world.with_dimensions(world.spec.dimensions);
    let folder = other.next_folder();
    copy_folder(&world.folder(), &folder);
    other
}

pub(crate) fn an_index_half_made_is_not_used(world: &mut World) {
    world.fill(1..200);
    let some: Vec<_> = world.rows.all().into_iter().take(50).collect();
    world.index().clear().expect("cleared");
    let some: Vec<_> = some.into_iter().map(Change::Upsert).collect();
    world.index().apply(&some, 0).expect("half");
    world.index().flush().expect("written");
    world.open().expect("opens");
    if world.subject.files == Files::Index {
        assert_eq!(world.index().durable(), 0);
        assert_eq!(world.index().stats().expect("known").entries, 0);
    }
    world.catch_up().expect("made anew");
    world.check(10, None);
}

pub(crate) fn damaged_files_give_no_wrong_answer(world: &mut World) {
    world.fill(1..400);
    world.index().flush().expect("written");
    world.close();
    let whole = world.folder();
    let names: Vec<_> = fs::read_dir(&whole).map_or_else(
        |_| Vec::new(),
        |files| {
            let name = |file: std::io::Result<fs::DirEntry>| file.expect("a file").file_name();
            files.map(name).collect()
        },
    );
    assert_eq!(names.is_empty(), world.subject.files == Files::None);
    for name in names {
        let bytes = fs::read(whole.join(&name)).expect("readable");
        for damage in damages(world, bytes.len()) {
            println!("file={} damage={damage:?}", name.display());
            let folder = world.next_folder();
            copy_folder(&whole, &folder);
            inflict(&damage, &folder.join(&name), &bytes);
            survive(world);
        }
    }
}

#[derive(Debug)]
enum Damage {
    Missing,
    Folder,
    Cut(usize),
    Longer,
    Garbage,
    Flip(usize),
}

fn damages(world: &mut World, length: usize) -> Vec<Damage> {
    let mut damages = vec![
        Damage::Missing,
        Damage::Folder,
        Damage::Cut(0),
        Damage::Cut(1),
        Damage::Cut(length / 2),
        Damage::Cut(length.saturating_sub(1)),
        Damage::Longer,
        Damage::Garbage,
    ];
    if length > 0 {
        let early = (0..8).map(|_| world.dice.usize(..length.min(200)));
        damages.extend(early.map(Damage::Flip));
        damages.extend((0..FLIPS).map(|_| Damage::Flip(world.dice.usize(..length))));
    }
    damages
}

fn inflict(damage: &Damage, path: &Path, bytes: &[u8]) {
    fs::remove_file(path).expect("there");
    let mut bytes = bytes.to_vec();
    match damage {
        Damage::Missing => return,
        Damage::Folder => return fs::create_dir(path).expect("a folder"),
        Damage::Cut(length) => bytes.truncate(*length),
        Damage::Longer => bytes.extend([0x5a; 5000]),
        Damage::Garbage => bytes.iter_mut().for_each(|byte| *byte = 0xa5),
        Damage::Flip(at) => *bytes.get_mut(*at).expect("within") ^= 0x40,
    }
    fs::write(path, bytes).expect("written");
}

/// An error, now or at a search, or an index whose answers are right; and in
/// any case one that can be made anew.
fn survive(world: &mut World) {
    if world.open().is_err() {
        return;
    }
    let mut right = world.catch_up().is_ok();
    for wanted in [1, 5, 10, 1, 5, 10, 1, 5, 10, 398, 500] {
        let query = world.vector();
        let request = Request {
            query: &query,
            wanted,
            filter: None,
        };
        match world.index().search(request, &world.rows) {
            Ok(found) if right => world.judge(request, &found),
            Ok(_) => {}
            Err(_) => right = false,
        }
    }
    if !right && world.index().clear().is_ok() {
        world.rebuild().expect("made anew");
        world.check(10, None);
    }
}

pub(crate) fn a_folder_that_cannot_be_is_told(world: &mut World) {
    let folder = world.next_folder();
    fs::write(&folder, "a file where the folder should be").expect("written");
    let Err(error) = world.open() else {
        assert_eq!(world.subject.files, Files::None);
        return;
    };
    let kind = error.kind();
    let told = matches!(kind, ErrorKind::Unavailable | ErrorKind::Denied);
    assert!(told, "kind={kind:?} {error}");
    fs::remove_file(&folder).expect("there");
    world.open().expect("once the folder can be");
    world.fill(1..20);
    world.check(10, None);
}
