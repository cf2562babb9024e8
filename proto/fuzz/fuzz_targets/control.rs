//! Control messages: what decodes keeps its limits and reads back the same.

#![no_main]

use bytes::Bytes;
use ginnel_proto::control::Control;
use ginnel_proto::limits::{CAPABILITIES_MAX, HEARTBEAT_RANGE, SERVICES_MAX, TEXT_MAX};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    let Ok(Some(control)) = Control::decode(Bytes::copy_from_slice(payload)) else {
        return;
    };
    check(&control);
    let again = Control::decode(control.encode()).expect("what we write can be read");
    assert_eq!(again, Some(control));
});

fn check(control: &Control) {
    match control {
        Control::Hello(hello) => {
            assert!(hello.agent.len() <= TEXT_MAX);
            assert!(hello.capabilities.len() <= CAPABILITIES_MAX);
        }
        Control::Welcome(welcome) => {
            assert!(welcome.relay.len() <= TEXT_MAX);
            assert!(welcome.capabilities.len() <= CAPABILITIES_MAX);
            assert!(welcome.heartbeat >= HEARTBEAT_RANGE.0);
            assert!(welcome.heartbeat <= HEARTBEAT_RANGE.1);
        }
        Control::Register(register) => assert!(register.services.len() <= SERVICES_MAX),
        Control::Registered(registered) => assert!(registered.addresses.len() <= SERVICES_MAX),
        Control::Goodbye(goodbye) => assert!(goodbye.reason.len() <= TEXT_MAX),
        _ => {}
    }
}
