//! What the runtime costs: `agent-benches overhead`, `http`, `fidelity`, `limits`, `store`, `storm`, `idle`, `growth`,
//! `inflight` or `crash`.
#![expect(clippy::print_stdout, reason = "it prints its tables")]

mod crowd;
mod fidelity;
mod http;
mod limits;
mod measure;
mod overhead;
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
        "serve-scripted" => fidelity::serve(),
        "limits" => limits::run(),
        "store" => store::run(),
        "storm" => storm::run(),
        "serve" => http::serve(&std::env::args().nth(2).unwrap_or_default()),
        _ => {
            Err("say which: overhead, http, fidelity, limits, store, storm, idle, growth, inflight or crash"
                .into())
        }
    }
}
