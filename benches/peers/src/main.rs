//! What others need for what the runtime does: `peers PEER SCENARIO N` measures one scenario in a
//! process of its own, on one thread, and prints one JSON line. See `README.md`.

mod kameo_peer;
mod measure;
mod ractor_peer;
mod tokio_peer;

use std::error::Error;

use measure::{Scenario, Took};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Workers that tasks fan out to.
const WORKERS: u64 = 10_000;
/// Actors that crash in turn.
const FRAGILE: u64 = 10_000;

const USAGE: &str =
    "usage: peers (ractor|kameo|tokio) (idle|tasks|crash) N; see benches/peers/README.md";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or(USAGE);
    let (peer, scenario, n) = (next()?, next()?.parse::<Scenario>()?, next()?.parse()?);
    // What the default hook prints would be dearer than the restart.
    std::panic::set_hook(Box::new(|_| {}));
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let took: Took = runtime.block_on(async {
        match peer.as_str() {
            "ractor" => ractor_peer::run(scenario, n).await,
            "kameo" => kameo_peer::run(scenario, n).await,
            "tokio" => tokio_peer::run(scenario, n).await,
            _ => Err(USAGE.into()),
        }
    })?;
    println!("{}", took.line(&peer, scenario, n));
    Ok(())
}
