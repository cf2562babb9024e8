//! Against a model of a path: bytes leave it at its speed, and the round trip
//! tells of its queue one round trip later.

use std::collections::VecDeque;

use super::*;

const STEP: Duration = Duration::from_millis(1);

/// Far more than any path here carries, so that only the pace decides.
const WINDOW: u64 = 1 << 30;

struct Model {
    state: State,
    now: Instant,
    /// Bytes a second.
    carries: f64,
    base: Duration,
    /// Bytes.
    queue: f64,
    /// How long the queue was, the oldest last.
    seen: VecDeque<Duration>,
}

/// What came of some time.
#[derive(Debug, Clone, Copy)]
struct Ran {
    /// The part of the path that was used.
    share: f64,
    /// The queue on average, and its longest.
    mean: Duration,
    longest: Duration,
}

impl Model {
    fn new(megabits: f64, base: Duration) -> Self {
        let now = Instant::now() + Duration::from_secs(3600);
        Self {
            state: State::new(now),
            now,
            carries: megabits * 1e6 / 8.0,
            base,
            queue: 0.0,
            seen: VecDeque::new(),
        }
    }

    /// Lets bulk streams send all they may, beside so many bytes a second of
    /// others.
    fn run(&mut self, time: Duration, others: f64) -> Ran {
        let end = self.now + time;
        let (mut sent, mut steps) = (0.0, 0.0);
        let (mut mean, mut longest) = (0.0, Duration::ZERO);
        while self.now < end {
            self.now += STEP;
            let rtt = self.base + self.seen.back().copied().unwrap_or_default();
            let path = Path {
                rtt,
                window: WINDOW,
            };
            if self.state.is_due(self.now) {
                self.state.look(path, self.now);
            }
            while self.state.even <= self.now {
                let piece = self.state.piece();
                self.state.spend(piece, self.now);
                self.queue += as_float(piece as u64);
                sent += as_float(piece as u64);
            }
            let passed = (others - self.carries) * STEP.as_secs_f64();
            self.queue = (self.queue + passed).max(0.0);
            let queue = Duration::from_secs_f64(self.queue / self.carries);
            self.seen.push_front(queue);
            self.seen
                .truncate(usize::try_from(self.base.as_millis()).unwrap().max(1));
            mean += queue.as_secs_f64();
            longest = longest.max(queue);
            steps += 1.0;
        }
        Ran {
            share: sent / time.as_secs_f64() / self.carries,
            mean: Duration::from_secs_f64(mean / steps),
            longest,
        }
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn any_path_is_filled_and_its_queue_stays_short() {
    for megabits in [2.0, 20.0, 100.0, 1000.0, 10_000.0] {
        for base_ms in [1, 5, 20, 50, 150, 300] {
            let mut model = Model::new(megabits, Duration::from_millis(base_ms));
            let start = model.run(seconds(20), 0.0);
            // Long enough that a floor is forgotten several times.
            let later = model.run(seconds(120), 0.0);
            let what = format!("{megabits} Mbit/s, {base_ms} ms: {start:?}, then {later:?}");
            assert!(later.share > 0.9, "{what}");
            assert!(later.mean < QUEUE_TARGET * 5 / 4, "{what}");
            assert!(later.longest < QUEUE_TARGET * 5 / 2, "{what}");
        }
    }
}

#[test]
fn it_starts_quickly() {
    let mut model = Model::new(1000.0, Duration::from_millis(50));
    assert!(model.run(seconds(2), 0.0).share > 0.5);
    // On a machine's own path there is nothing to hold back.
    let mut model = Model::new(20_000.0, Duration::from_millis(1));
    assert!(model.run(seconds(1), 0.0).share > 0.5);
    assert!(model.run(seconds(1), 0.0).share > 0.95);
}

#[test]
fn others_come_first_and_what_they_leave_is_used_again() {
    let mut model = Model::new(100.0, Duration::from_millis(50));
    model.run(seconds(10), 0.0);
    // Three quarters of the path, as a call with video: it keeps them.
    let beside = model.run(seconds(20), 0.75 * model.carries);
    assert!((0.2..0.26).contains(&beside.share), "{beside:?}");
    assert!(beside.mean < QUEUE_TARGET * 2, "{beside:?}");
    // More than it carries for some seconds, as who fills all queues does.
    let full = model.run(seconds(3), 1.02 * model.carries);
    assert!(full.share < 0.2, "{full:?}");
    let alone = model.run(seconds(10), 0.0);
    assert!(alone.share > 0.75, "{alone:?}");
}

#[test]
fn a_longer_path_is_taken_for_what_it_is_after_a_while() {
    let mut model = Model::new(100.0, Duration::from_millis(20));
    model.run(seconds(20), 0.0);
    model.base = Duration::from_millis(80);
    model.run(3 * FLOOR_FOR, 0.0);
    let later = model.run(seconds(20), 0.0);
    assert!(later.share > 0.8, "{later:?}");
}

#[test]
fn congestion_control_has_the_last_word() {
    let now = Instant::now() + seconds(3600);
    let mut state = State::new(now);
    let path = Path {
        rtt: Duration::from_millis(50),
        window: 20_000,
    };
    for step in 1..1000 {
        state.look(path, now + STEP * step);
        state.spend(1000, now + STEP * step);
    }
    let speed = state.speed(now + seconds(1));
    assert!((speed - 1.25 * 20_000.0 / 0.05).abs() < 1.0, "{speed}");
}

#[tokio::test(start_paused = true)]
async fn turns_come_at_the_speed_and_after_a_rest_it_starts_again() {
    let pace = Pace::new();
    let path = || Path {
        rtt: Duration::from_millis(50),
        window: WINDOW,
    };
    let begun = Instant::now();
    let mut sent = 0;
    while begun.elapsed() < Duration::from_millis(100) {
        sent += pace.turn(1 << 20, path).await;
    }
    // 64 KiB in a round trip and half of the queue's target, and a quarter more
    // in the second.
    assert!((105_000..150_000).contains(&sent), "{sent}");
    assert!(pace.state().window > 1.3 * WINDOW_START);
    tokio::time::advance(REST + Duration::from_millis(100)).await;
    pace.turn(1, path).await;
    assert!(pace.state().window <= WINDOW_START);
    assert_eq!(pace.turn(7, path).await, 7, "no more than there is");
}

/// A turn that is due at once is given at once: a timer, even one that is over,
/// may take a millisecond, which is 64 KiB at 64 MB/s.
#[tokio::test(start_paused = true)]
async fn a_turn_that_is_due_takes_no_time() {
    let pace = Pace::new();
    let path = || Path {
        rtt: Duration::from_micros(200),
        window: WINDOW,
    };
    let began = Instant::now();
    // Until it is as fast as the path.
    while began.elapsed() < Duration::from_secs(2) {
        pace.turn(64 << 10, path).await;
        // What is sent takes some time.
        tokio::time::advance(Duration::from_micros(50)).await;
    }
    let began = Instant::now();
    for _ in 0..1000 {
        pace.turn(64 << 10, path).await;
        tokio::time::advance(Duration::from_micros(50)).await;
    }
    let took = began.elapsed();
    assert!(took < Duration::from_millis(60), "{took:?}");
}
