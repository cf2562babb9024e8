//! Breaks of the agent: transfers go on, and little travels twice.

use ginnel_agent::sync::Changes;
use ginnel_store::transfer::State;
use ginnel_tests::artifacts::{Mover, artifact, safetensors};
use ginnel_tests::lab::{Lab, LabAgent, restart_agent};

use super::{MIB, assert_done, object};

/// Stops an agent and starts it again.
async fn restarted(agent: LabAgent) -> LabAgent {
    let LabAgent {
        daemon,
        device,
        state,
    } = agent;
    daemon.stop.cancel();
    daemon.wait().await.expect("stopped");
    let daemon = restart_agent(&state).await;
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
