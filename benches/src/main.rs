//! What the runtime costs: `agent-benches overhead`, `http`, `fidelity`, `limits`, `store`, `storm`, `idle`, `growth`,
//! `inflight`, `crash`, `simulate` or `peers`.
#![expect(clippy::print_stdout, reason = "it prints its tables")]

mod client;
mod crowd;
mod fidelity;
mod fleet;
mod http;
mod limits;
mod measure;
mod overhead;
mod peers;
mod simulate;
mod store;
mod storm;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let which = std::env::args().nth(1).unwrap_or_default();
    match which.as_str() {
        "overhead" => overhead::run(),
        "idle" | "growth" | "inflight" | "crash" => crowd::run(&which),
        "http" => http::run(),
        "fidelity" => fidelity::run(),
        "serve-scripted" => fidelity::serve(&std::env::args().nth(2).unwrap_or_default()),
        "limits" => limits::run(),
        "store" => store::run(),
        "storm" => storm::run(),
        "peers" => peers::run(),
        "simulate" => match std::env::args().nth(2) {
            None => simulate::run(),
            Some(shape) => simulate::one(&shape),
        },
        "one" => peers::one(std::env::args().skip(2)),
        "serve" => http::serve(&std::env::args().nth(2).unwrap_or_default()),
        _ => {
            Err("say which: overhead, http, fidelity, limits, store, storm, idle, growth, inflight, crash, simulate or peers"
                .into())
        }
    }
}
