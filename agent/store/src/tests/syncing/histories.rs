//! Whatever people do on devices, in whatever order these hear of it, they agree.

use super::*;

/// What a person does on a device.
#[derive(Debug, Clone)]
enum Step {
    Put {
        device: usize,
        name: u8,
        texts: Vec<u8>,
        vectors: bool,
    },
    Delete {
        device: usize,
        name: u8,
    },
    DeleteModel {
        device: usize,
    },
    Wait {
        device: usize,
        ms: u64,
    },
    Send {
        device: usize,
    },
    Read {
        device: usize,
        other: usize,
    },
    Again {
        device: usize,
        other: usize,
        batch: prop::sample::Index,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let device = 0..3_usize;
    prop_oneof![
        6 => (device.clone(), 0..3_u8, prop::collection::vec(0..4_u8, 1..4), any::<bool>())
            .prop_map(|(device, name, texts, vectors)| Step::Put { device, name, texts, vectors }),
        2 => (device.clone(), 0..3_u8).prop_map(|(device, name)| Step::Delete { device, name }),
        1 => device.clone().prop_map(|device| Step::DeleteModel { device }),
        2 => (device.clone(), 0..5_000_u64).prop_map(|(device, ms)| Step::Wait { device, ms }),
        3 => device.clone().prop_map(|device| Step::Send { device }),
        3 => (device.clone(), device.clone()).prop_map(|(device, other)| Step::Read { device, other }),
        2 => (device.clone(), device, any::<prop::sample::Index>())
            .prop_map(|(device, other, batch)| Step::Again { device, other, batch }),
    ]
}

impl Step {
    async fn run(&self, devices: &mut [Device]) {
        match self {
            Self::Put {
                device,
                name,
                texts,
                vectors,
            } => {
                devices[*device].model().await;
                let texts: Vec<String> = texts.iter().map(|it| format!("text {it}")).collect();
                let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                let new = document(&format!("{name}.md"), &texts);
                let new = NewDocument {
                    vectors: new.vectors.filter(|_| *vectors),
                    ..new
                };
                devices[*device].store.put(new).await.expect("stored");
            }
            Self::Delete { device, name } => {
                let id = DocumentId::of_source("notes", &format!("{name}.md"));
                devices[*device].store.delete(id).await.expect("deleted");
            }
            Self::DeleteModel { device } => {
                let deleted = devices[*device].store.delete_model(model().id).await;
                deleted.expect("deleted");
            }
            Self::Wait { device, ms } => {
                devices[*device].clock.fetch_add(*ms, Ordering::Relaxed);
            }
            Self::Send { device } => devices[*device].send().await,
            Self::Read { device, other } if device != other => {
                devices[*device].read(&devices[*other]).await;
            }
            // Out of order, or once more.
            Self::Again {
                device,
                other,
                batch,
            } if device != other => {
                let log = &devices[*other].log;
                if !log.is_empty() {
                    let batch = log[batch.index(log.len())].clone();
                    let (sequence, device) = (batch.header.place.sequence, &devices[*device]);
                    let peers = device.store.peers().await.expect("read");
                    let read = peers.iter().any(|peer| {
                        peer.device == batch.header.place.device && peer.sequence >= sequence
                    });
                    // Ahead of its turn the reader would lose its place.
                    if read {
                        device.store.apply(batch).await.expect("applied");
                    }
                }
            }
            Self::Read { .. } | Self::Again { .. } => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn devices_that_have_read_all_agree(steps in prop::collection::vec(step(), 1..60)) {
        futures(async {
            let mut devices = [Device::new("desk").await, Device::new("lap").await, Device::new("phone").await];
            for step in &steps {
                step.run(&mut devices).await;
            }
            exchange(&mut devices).await;
            // What had to be told again.
            exchange(&mut devices).await;
            let dump = devices[0].dump().await;
            for device in &devices[1..] {
                prop_assert_eq!(&device.dump().await, &dump);
            }
            for device in &devices {
                prop_assert_eq!(device.store.check().await.expect("checked"), []);
                // Nothing is kept of what was before.
                let dead = "SELECT count(*) FROM passage WHERE rowid NOT IN
                                (SELECT rowid FROM live_passage)";
                prop_assert_eq!(device.rows(dead), 0);
            }
            Ok(())
        })?;
    }
}
