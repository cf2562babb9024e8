//! Whether the index follows the rows, through everything it does with them.

use proptest::prelude::*;

use super::*;

const PASSAGES: i64 = 60;
const DIMENSIONS: usize = 5;

#[derive(Debug, Clone)]
enum Step {
    Upsert(Vec<i64>),
    Delete(Vec<i64>),
    Flush,
    Compact,
    /// Closed without a flush, opened, and given what it lacks again.
    Restart,
    Clear,
    Search {
        wanted: usize,
        filter: Option<Vec<i64>>,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let passages = || prop::collection::vec(0..PASSAGES, 0..30);
    prop_oneof![
        6 => passages().prop_map(Step::Upsert),
        2 => passages().prop_map(Step::Delete),
        2 => Just(Step::Flush),
        2 => Just(Step::Compact),
        2 => Just(Step::Restart),
        1 => Just(Step::Clear),
        6 => (1_usize..100, prop::option::of(passages()))
            .prop_map(|(wanted, filter)| Step::Search { wanted, filter }),
    ]
}

struct World {
    folder: tempfile::TempDir,
    spec: Spec,
    scan: Scan,
    memory: Memory,
    maker: Maker,
    /// All changes there ever were, the first has number 1.
    log: Vec<Vec<Change>>,
}

impl World {
    fn new(metric: Metric, seed: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let spec = spec(DIMENSIONS, metric);
        Self {
            scan: small(&folder, &spec),
            memory: Memory::default(),
            maker: Maker::new(seed, &spec, Kind::Groups),
            log: Vec::new(),
            folder,
            spec,
        }
    }

    fn change(&mut self, changes: Vec<Change>) {
        self.memory.apply(&changes);
        self.log.push(changes);
        self.catch_up(self.log.len() - 1);
    }

    /// Gives all changes after the one numbered `from`.
    fn catch_up(&self, from: usize) {
        for (changes, number) in self.log.iter().zip(1..).skip(from) {
            self.scan.apply(changes, number).expect("applies");
        }
    }

    fn durable(&self) -> usize {
        usize::try_from(self.scan.durable()).expect("small")
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Upsert(passages) => {
                let changes = passages
                    .into_iter()
                    .map(|passage| upsert(passage, self.maker.vector()));
                let changes = changes.collect();
                self.change(changes);
            }
            Step::Delete(passages) => self.change(passages.into_iter().map(delete).collect()),
            Step::Flush => {
                self.scan.flush().expect("flushes");
                assert_eq!(self.durable(), self.log.len());
            }
            Step::Compact => self.scan.compact().expect("compacts"),
            Step::Restart => {
                let before = self.durable();
                // The old one must be gone before another has its folder.
                let elsewhere = tempfile::tempdir().expect("a folder");
                self.scan = small(&elsewhere, &self.spec);
                self.scan = small(&self.folder, &self.spec);
                assert_eq!(self.scan.discarded(), None);
                self.scan.verify().expect("is whole");
                assert_eq!(self.durable(), before, "as it said");
                // Some of it twice.
                self.catch_up(before.saturating_sub(2));
            }
            Step::Clear => {
                self.scan.clear().expect("clears");
                assert_eq!(self.scan.durable(), 0);
                assert_eq!(self.scan.stats().expect("counts").file_bytes, 0);
                self.catch_up(0);
            }
            Step::Search { wanted, filter } => self.search(wanted, filter),
        }
        let stats = self.scan.stats().expect("counts");
        assert_eq!(stats.entries, self.memory.passages.len() as u64);
    }

    fn search(&mut self, wanted: usize, filter: Option<Vec<i64>>) {
        let filter: Option<Passages> = filter.map(|filter| filter.into_iter().collect());
        let query = self.maker.vector();
        let asked = Request {
            query: &query,
            wanted,
            filter: filter.as_ref(),
        };
        let (found, expected) = check(&self.scan, &self.memory, self.spec.metric, asked);
        assert!(found + 1 >= expected, "{found} of {expected}");
    }
}

fn small(folder: &tempfile::TempDir, spec: &Spec) -> Scan {
    let options = Options {
        segment_rows: 16,
        lists_from: 40,
        upkeep: Upkeep::Calls,
    };
    Scan::open(folder.path(), spec.clone(), options).expect("opens")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn it_follows_the_rows(
        metric in prop::sample::select(&Metric::ALL),
        seed in any::<u64>(),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut world = World::new(metric, seed);
        for step in steps {
            world.step(step);
        }
        world.search(100, None);
    }
}

#[test]
fn a_tail_is_sealed_and_segments_are_few() {
    let folder = tempfile::tempdir().expect("a folder");
    let spec = spec(8, Metric::Cosine);
    let scan = open(folder.path(), &spec);
    let mut maker = Maker::new(1, &spec, Kind::Even);
    let mut memory = Memory::default();
    for number in 0..60 {
        let changes = maker.upserts(number * 37..(number + 1) * 37);
        memory.apply(&changes);
        scan.apply(&changes, u64::try_from(number + 1).expect("positive"))
            .expect("applies");
        scan.compact().expect("compacts");
        let files = std::fs::read_dir(folder.path()).expect("lists").count();
        assert!(files <= 6, "{files} files");
    }
    assert!(
        scan.durable() >= 55,
        "what is sealed is durable: {}",
        scan.durable()
    );
    // Most die.
    let dead: Vec<_> = (0..2000).map(delete).collect();
    memory.apply(&dead);
    scan.apply(&dead, 100).expect("applies");
    scan.compact().expect("compacts");
    let stats = scan.stats().expect("counts");
    assert_eq!(stats.entries, 220);
    assert!(stats.dead * 4 <= 220, "{stats:?}");
    let query = maker.vector();
    assert_eq!(
        check(&scan, &memory, spec.metric, request(&query, 300)),
        (220, 220)
    );
    // All die.
    let dead: Vec<_> = (2000..2220).map(delete).collect();
    scan.apply(&dead, 101).expect("applies");
    scan.flush().expect("flushes");
    scan.compact().expect("compacts");
    assert_eq!(scan.stats().expect("counts").entries, 0);
    assert_eq!(
        std::fs::read_dir(folder.path()).expect("lists").count(),
        1,
        "the manifest"
    );
    assert_eq!(scan.durable(), 101);
    assert_eq!(
        scan.search(request(&query, 3), &memory).expect("answers"),
        []
    );
}
