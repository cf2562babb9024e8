//! The simulation: a real relay and real agents over a network that a seed
//! decides.
//!
//! Everything above the socket is the code that ships: the relay's link tasks
//! and `proxy::forward`, the agent's `Keeper` and `Server`, quinn and rustls.
//! Below it is [`net`], which delays, loses, repeats and cuts. Time is tokio's
//! paused clock, so a day takes less than a second, and the same seed gives
//! the same events at the same times with packets of the same lengths. (Not
//! of the same bytes: TLS draws its own random numbers.)
//!
//! ```no_run
//! use std::time::Duration;
//! use ginnel_tests::sim::{self, event::Event};
//!
//! sim::run(7, async |world| {
//!     let laptop = world.device("laptop").await;
//!     world.at(Duration::from_secs(60), Event::RelayCrash { down: Duration::ZERO });
//!     world.run_for(Duration::from_secs(120)).await;
//!     assert_eq!(laptop.connects(), 2);
//! });
//! ```
//!
//! What is left out: the public side's sockets and the daemons' upkeep.
//!
//! `GINNEL_SIM_LOG` takes a filter, such as `info` or `quinn_proto=trace`, and
//! shows what the code under test logs, at simulated times.

pub mod ask;
pub mod clock;
pub mod day;
pub mod device;
pub mod dice;
pub mod event;
pub mod fault;
pub mod knowledge;
pub mod log;
pub mod net;
pub mod path;
pub mod relay;
pub mod report;
pub mod socket;
pub mod trace;
pub mod watch;
pub mod world;

use std::cell::Cell;
use std::sync::Once;

use self::trace::Trace;
use self::world::{World, WorldOptions};

/// Runs `story` in a world of its own, checks what must hold at its end, and
/// returns what happened.
///
/// # Panics
/// If the story does, or an invariant broke; the seed is printed.
pub fn run(seed: u64, story: impl AsyncFnOnce(&World)) -> Trace {
    run_with(seed, WorldOptions::default(), story)
}

/// As [`run`], in a world with other settings.
///
/// # Panics
/// As [`run`].
pub fn run_with(seed: u64, options: WorldOptions, story: impl AsyncFnOnce(&World)) -> Trace {
    log::start();
    count_panics();
    let panics = PANICS.get();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let _hint = Hint(seed);
    let trace = runtime.block_on(async {
        let world = World::new(seed, options).await;
        story(&world).await;
        world.end().await
    });
    // A panic in a task would otherwise end nothing but the task.
    assert_eq!(PANICS.get(), panics, "a task of the simulation panicked");
    trace
}

/// Says which seed failed.
struct Hint(u64);

impl Drop for Hint {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("simulation failed, seed={}", self.0);
        }
    }
}

thread_local! {
    static PANICS: Cell<u64> = const { Cell::new(0) };
}

fn count_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.set(PANICS.get() + 1);
            before(info);
        }));
    });
}
