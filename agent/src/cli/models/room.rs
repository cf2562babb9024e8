//! What `ginnel models gc` tells.

use std::io::Write;

use ginnel_daemon::quantity::bytes;

use crate::models::room::Room;

pub(super) fn write(room: &Room, is_dry: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let did = if is_dry { "Would take" } else { "Took" };
    for gone in &room.evicted {
        writeln!(out, "{did} {} away, {}", gone.name, bytes(gone.bytes))?;
    }
    if room.unfinished > 0 {
        let freed = bytes(room.unfinished);
        writeln!(out, "Took unfinished files away, {freed}")?;
    }
    let Some(budget) = room.budget else {
        writeln!(out, "Models take {}, there is no budget", bytes(room.after))?;
        writeln!(
            out,
            "hint: set models.budget in config.toml, or --budget 200GB"
        )?;
        return Ok(());
    };
    let (take, may) = (bytes(room.after), bytes(budget));
    let verb = if is_dry { "would take" } else { "take" };
    writeln!(out, "Models {verb} {take} of {may}")?;
    if room.after > budget {
        let kept = [
            (room.kept.unsynced, "not published as they are"),
            (
                room.kept.unconfirmed,
                "of which the relay does not say that it has them",
            ),
            (room.kept.pinned, "pinned"),
            (room.kept.in_use, "in use"),
        ];
        let kept = kept.into_iter().filter(|(size, _)| *size > 0);
        let kept: Vec<String> = kept
            .map(|(size, why)| format!("{} {why}", bytes(size)))
            .collect();
        writeln!(out, "What is left cannot go: {}", kept.join(", "))?;
    }
    Ok(())
}
