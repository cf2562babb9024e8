//! Breaks of the agent: transfers go on, and little travels twice.

use ginnel_agent::config::Config as AgentConfig;
use ginnel_agent::sync::{Changes, schedule};
use ginnel_store::transfer::State;
use ginnel_tests::artifacts::{Mover, artifact, safetensors};
use ginnel_tests::lab::{Lab, LabAgent, restart_agent_with};

use super::{MIB, assert_done, object};

/// Stops an agent and starts it again.
async fn restarted(agent: LabAgent) -> LabAgent {
    restarted_with(agent, |_| {}).await
}

pub(super) async fn restarted_with(
    agent: LabAgent,
    change: impl FnOnce(&mut AgentConfig),
) -> LabAgent {
    let LabAgent {
        daemon,
        device,
        state,
    } = agent;
    daemon.stop.cancel();
    daemon.wait().await.expect("stopped");
    let daemon = restart_agent_with(&state, change).await;
    let agent = LabAgent {
        daemon,
        device,
        state,
    };
    agent.connected().await;
    agent
}

#[tokio::test]
async fn a_push_goes_on_after_the_agent_was_gone() {
    let lab = Lab::start().await;
    let agent = lab.another_agent("alice", "desktop").await;
    let mover = Mover::of(&agent).await;
    let name = "models/phi.safetensors";
    let model = safetensors("", &[(1, 45 * MIB)]);
    mover.write(name, &model);
    mover.sync.set_bandwidth(Some(15 * MIB as u64));
    let id = mover.sync.push(artifact(name)).await.expect("begun").id;
    let before = mover
        .until(id, |it| it.progress.sent > 10 * MIB as u64)
        .await;
    assert_eq!(before.state, State::Running);
    drop(mover);
    let agent = restarted(agent).await;
    let mover = Mover::of(&agent).await;
    let done = mover.over(id).await;
    assert_done(&done);
    assert!(
        done.progress.sent >= before.progress.sent,
        "it went backwards"
    );
    let twice = done.progress.sent - model.len() as u64;
    assert!(twice <= 16 * MIB as u64, "sent twice: {twice}");
    assert_eq!(object(&lab, name), model);
}

#[tokio::test]
async fn a_pull_goes_on_after_the_agent_was_gone() {
    let lab = Lab::start().await;
    let laptop = Mover::of(&lab.agent).await;
    let name = "models/phi.safetensors";
    let model = safetensors("", &[(1, 60 * MIB)]);
    laptop.write(name, &model);
    assert_done(&laptop.push(name).await);
    let agent = lab.another_agent("alice", "desktop").await;
    let mover = Mover::of(&agent).await;
    mover.sync.set_bandwidth(Some(30 * MIB as u64));
    let pull = mover.sync.pull(artifact(name), Changes::Keep).await;
    let id = pull.expect("begun").id;
    let before = mover.until(id, |it| it.progress.sent > 0).await;
    assert_eq!(before.state, State::Running);
    drop(mover);
    let agent = restarted(agent).await;
    let mover = Mover::of(&agent).await;
    let done = mover.over(id).await;
    assert_done(&done);
    let twice = done.progress.sent - model.len() as u64;
    assert!(twice <= 64 * MIB as u64, "fetched twice: {twice}");
    assert!(
        done.progress.sent >= before.progress.sent,
        "it went backwards"
    );
    assert_eq!(mover.read(name), model);
}

/// It is told what it waits for, and nothing moves; what was begun before goes
/// on once it may.
#[tokio::test]
async fn outside_its_schedule_nothing_moves() {
    let lab = Lab::start().await;
    let agent = lab.another_agent("alice", "desktop").await;
    // From two to three hours from now, whatever the time is.
    let hour = i32::from(schedule::now().hour());
    let later = format!("{:02}:00-{:02}:00", (hour + 2) % 24, (hour + 3) % 24);
    let later = later.parse().expect("a schedule");
    let agent = restarted_with(agent, |config| config.sync.schedule = Some(later)).await;
    let mover = Mover::of(&agent).await;
    let name = "models/phi.safetensors";
    let model = safetensors("", &[(1, MIB)]);
    mover.write(name, &model);
    let id = mover.sync.push(artifact(name)).await.expect("begun").id;
    let told = mover.until(id, |it| it.last_error.is_some()).await;
    let reason = told.last_error.unwrap_or_default();
    assert!(reason.contains("models.schedule"), "{reason}");
    assert_eq!((told.state, told.progress.sent), (State::Queued, 0));
    assert!(!lab.relay_state().join("bucket").join(name).exists());
    drop(mover);
    let agent = restarted(agent).await;
    let mover = Mover::of(&agent).await;
    assert_done(&mover.over(id).await);
    assert_eq!(object(&lab, name), model);
}
