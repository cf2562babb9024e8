//! What a link does for every packet, frame and request.

use divan::Bencher;
use ginnel_benches::hot::HotPath;

fn main() {
    divan::main();
}

#[divan::bench]
fn decode_data(bencher: Bencher<'_, '_>) {
    bencher.bench_local(HotPath::DecodeData.operation());
}

#[divan::bench]
fn decode_rest(bencher: Bencher<'_, '_>) {
    bencher.bench_local(HotPath::DecodeRest.operation());
}

#[divan::bench]
fn encode_head(bencher: Bencher<'_, '_>) {
    bencher.bench_local(HotPath::EncodeHead.operation());
}

#[divan::bench]
fn decode_head(bencher: Bencher<'_, '_>) {
    bencher.bench_local(HotPath::DecodeHead.operation());
}

#[divan::bench]
fn control_round_trip(bencher: Bencher<'_, '_>) {
    bencher.bench_local(HotPath::ControlRoundTrip.operation());
}

#[divan::bench]
fn heartbeat(bencher: Bencher<'_, '_>) {
    bencher.bench_local(HotPath::Heartbeat.operation());
}

#[divan::bench]
fn chunks_advance(bencher: Bencher<'_, '_>) {
    bencher.bench_local(HotPath::ChunksAdvance.operation());
}
