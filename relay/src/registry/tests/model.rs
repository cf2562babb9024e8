//! Random histories against a model small enough to be right.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// One step of a history. Users, names, codes and keys are few, so that they
/// meet.
#[derive(Debug, Clone)]
enum Step {
    Invite {
        user: u8,
        name: Option<u8>,
        code: u8,
    },
    Redeem {
        code: u8,
        name: Option<u8>,
        key: u8,
    },
    Revoke {
        name: u8,
    },
    Wait {
        minutes: u8,
    },
}

/// What must hold, whatever happened.
#[derive(Debug, Default)]
struct Model {
    now_ms: i64,
    /// The identity that each code made: device, key, certificate.
    made: BTreeMap<u8, (DeviceId, u8, Vec<u8>)>,
    owners: BTreeMap<DeviceName, UserName>,
    newest: BTreeMap<DeviceName, Serial>,
    revoked: BTreeSet<DeviceName>,
    serials: u8,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn every_history_keeps_the_promises(steps in prop::collection::vec(any_step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("runtime");
        runtime.block_on(async {
            let registry = Registry::open(OpenOptions {
                executor: Executor::Inline,
                ..options(Location::Memory)
            })
            .await
            .expect("opens");
            let mut model = Model { now_ms: NOW, ..Model::default() };
            for step in steps {
                model.apply(&registry, step).await?;
                model.check(&registry).await?;
            }
            Ok::<_, TestCaseError>(())
        })?;
    }
}

fn any_step() -> impl Strategy<Value = Step> {
    let name = || prop::option::of(0..3_u8);
    prop_oneof![
        3 => (0..2_u8, name(), 0..6_u8).prop_map(|(user, name, code)| Step::Invite { user, name, code }),
        6 => (0..6_u8, name(), 0..3_u8).prop_map(|(code, name, key)| Step::Redeem { code, name, key }),
        1 => (0..3_u8).prop_map(|name| Step::Revoke { name }),
        1 => (1..40_u8).prop_map(|minutes| Step::Wait { minutes }),
    ]
}

impl Model {
    async fn apply(
        &mut self,
        registry: &Registry,
        step: Step,
    ) -> std::result::Result<(), TestCaseError> {
        match step {
            Step::Invite { user, name, code } => {
                let name = name.map(name_of);
                let invitation =
                    invitation(&format!("user-{user}"), name.as_deref(), &code_of(code));
                // Refused where the id, or another user, has it: that is tested elsewhere.
                let _ = registry.invite(invitation, self.now_ms).await;
            }
            Step::Redeem { code, name, key } => self.redeem(registry, code, name, key).await?,
            Step::Revoke { name } => {
                let name = device(&name_of(name));
                if registry
                    .revoke_device(&name, self.now_ms)
                    .await
                    .expect("answered")
                {
                    prop_assert!(self.owners.contains_key(&name));
                    prop_assert!(self.revoked.insert(name), "revoked twice");
                }
            }
            Step::Wait { minutes } => self.now_ms += i64::from(minutes) * MINUTE,
        }
        Ok(())
    }

    async fn redeem(
        &mut self,
        registry: &Registry,
        code: u8,
        name: Option<u8>,
        key: u8,
    ) -> std::result::Result<(), TestCaseError> {
        self.serials += 1;
        let name = name.map(name_of);
        let claim = claim(&code_of(code), name.as_deref(), key);
        let answer = registry
            .redeem(claim, self.now_ms, issue(self.serials, self.now_ms))
            .await;
        let Ok(redeemed) = answer else {
            return Ok(());
        };
        let DeviceId { user, device } = redeemed.device.clone();
        prop_assert!(!self.revoked.contains(&device), "a revoked name joined");
        if let Some(owner) = self.owners.insert(device.clone(), user.clone()) {
            prop_assert_eq!(owner, user, "a name changed its owner");
        }
        let identity = (redeemed.device, key, redeemed.certificate_der);
        match self.made.get(&code) {
            Some(earlier) => prop_assert_eq!(earlier, &identity, "one code, two identities"),
            None => {
                self.newest.insert(device, serial(self.serials));
                self.made.insert(code, identity);
            }
        }
        Ok(())
    }

    /// Exactly the newest certificates of devices not revoked may link.
    async fn check(&self, registry: &Registry) -> std::result::Result<(), TestCaseError> {
        for (name, user) in &self.owners {
            for number in 1..=self.serials {
                let number = serial(number);
                let linked = registry
                    .authorize_link(
                        &DeviceId::new(user.clone(), name.clone()),
                        &number,
                        self.now_ms,
                    )
                    .await
                    .is_ok();
                let expected =
                    self.newest.get(name) == Some(&number) && !self.revoked.contains(name);
                prop_assert_eq!(linked, expected, "{} with serial {}", name, number);
            }
        }
        Ok(())
    }
}

fn name_of(number: u8) -> String {
    format!("device-{number}")
}

fn code_of(number: u8) -> String {
    format!("code-{number}")
}
