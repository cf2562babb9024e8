//! Datagrams: what is read is written as the same bytes, whatever follows.

#![no_main]

use ginnel_proto::datagram::Datagram;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some(datagram) = Datagram::decode(bytes) else {
        return;
    };
    let encoded = datagram.encode();
    assert_eq!(Some(&encoded[..]), bytes.get(..encoded.len()));
    assert_eq!(Datagram::decode(&encoded), Some(datagram));
});
