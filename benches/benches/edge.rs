//! What the relay's edge does for every request before it is forwarded.

use divan::Bencher;
use ginnel_benches::hot::HotPath;

fn main() {
    divan::main();
}

#[divan::bench]
fn scan_request(bencher: Bencher<'_, '_>) {
    bencher.bench_local(HotPath::ScanRequest.operation());
}
