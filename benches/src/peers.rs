//! Ours beside ractor, kameo, bare tokio tasks and Erlang: each scenario of `benches/peers/README.md`
//! in a process of its own, in turns.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::Failure;
use crate::crowd;
use crate::measure::{Took, each};

const ROUNDS: usize = 3;
/// What is measured, and how many of it.
const SCENARIOS: [(&str, u32); 3] = [("idle", 1_000_000), ("tasks", 1_000_000), ("crash", 200_000)];
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers");

/// What one run of one scenario came to, each for one of its many.
#[derive(Debug, Clone, Copy)]
struct Run {
    cpu_ns: u64,
    wall_ns: u64,
    bytes: u64,
}

/// Measures ours in this process, and prints a line as the peers do.
pub(crate) fn one(mut arguments: impl Iterator<Item = String>) -> Result<(), Failure> {
    let mut next = || arguments.next().ok_or("usage: agent-benches one (idle|tasks|crash) N");
    let (scenario, n): (String, u32) = (next()?, next()?.parse()?);
    let (took, bytes): (Took, u64) = actix::System::new().block_on(async {
        Ok::<_, Failure>(match scenario.as_str() {
            "idle" => crowd::idlers(n, n).await?,
            "tasks" => (crowd::tasks(10_000, n, false).await?, 0),
            "crash" => (crowd::restarts(n).await?, 0),
            _ => return Err(format!("no scenario {scenario:?}").into()),
        })
    })?;
    let nanos = |took| (each(took, n) * 1e3) as u64;
    let line = json!({
        "peer": "impresario", "scenario": scenario, "n": n,
        "cpu_ns": nanos(took.cpu), "wall_ns": nanos(took.wall), "bytes": bytes,
    });
    println!("{line}");
    Ok(())
}

/// The command that measures a scenario of a peer.
type Measures = Box<dyn Fn(&str, u32) -> Command>;

/// Who can be measured here, ours first.
fn peers(erlang: Option<&Path>) -> Result<Vec<(&'static str, Measures)>, Failure> {
    let ours = std::env::current_exe()?;
    let one = move |scenario: &str, n: u32| {
        let mut command = Command::new(&ours);
        command.args(["one", scenario, &n.to_string()]);
        command
    };
    let mut peers: Vec<(_, Measures)> = vec![("impresario", Box::new(one))];
    let program = PathBuf::from(FOLDER).join("target/release/peers");
    if program.exists() {
        for peer in ["ractor", "kameo", "tokio"] {
            let program = program.clone();
            let measures = move |scenario: &str, n: u32| {
                let mut command = Command::new(&program);
                command.args([peer, scenario, &n.to_string()]);
                command
            };
            peers.push((peer, Box::new(measures)));
        }
    } else {
        println!(
            "without ractor, kameo and tokio: build them with `cargo build --release --manifest-path \
             benches/peers/Cargo.toml`"
        );
    }
    match erlang {
        Some(folder) => {
            let folder = folder.to_owned();
            let measures = move |scenario: &str, n: u32| {
                let mut command = Command::new("erl");
                command.args(["-noinput", "+S", "1", "+sbwt", "none", "+P", "4000000", "-pa"]);
                command.arg(&folder).args(["-run", "peers", "main", scenario, &n.to_string()]);
                command
            };
            peers.push(("erlang", Box::new(measures)));
        }
        None => println!("without Erlang: there is no `erlc` here (Debian: erlang-base)"),
    }
    Ok(peers)
}

/// Compiles the program of Erlang into `folder`; whether it could be done.
fn compile_erlang(folder: &Path) -> bool {
    let source = Path::new(FOLDER).join("peers.erl");
    let compiled = Command::new("erlc").arg("-o").arg(folder).arg(source).status();
    compiled.is_ok_and(|status| status.success())
}

fn measure(command: &mut Command) -> Result<Run, Failure> {
    let output = command.env("MIMALLOC_ALLOW_THP", "0").output()?;
    let text = String::from_utf8(output.stdout)?;
    let Ok(line) = serde_json::from_str::<Value>(&text) else {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{command:?} printed no line of figures: {text}{said}").into());
    };
    let figure = |name: &str| line[name].as_u64().ok_or_else(|| format!("no {name} in {line}"));
    Ok(Run { cpu_ns: figure("cpu_ns")?, wall_ns: figure("wall_ns")?, bytes: figure("bytes")? })
}

fn median(runs: &[Run], of: impl Fn(&Run) -> u64) -> u64 {
    let mut sorted: Vec<u64> = runs.iter().map(of).collect();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}

pub(crate) fn run() -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let erlang = compile_erlang(folder.path()).then_some(folder.path());
    let peers = peers(erlang)?;
    for (scenario, n) in SCENARIOS {
        let mut runs = vec![Vec::new(); peers.len()];
        for _ in 0..ROUNDS {
            for ((_, command), runs) in peers.iter().zip(&mut runs) {
                runs.push(measure(&mut command(scenario, n))?);
            }
        }
        println!("\n{scenario}: {n}, median of {ROUNDS} rounds");
        println!("{:<12} {:>9} {:>9} {:>9} {:>9}", "", "CPU ns", "÷ ours", "wall ns", "bytes");
        let ours = median(&runs[0], |run| run.cpu_ns);
        for ((name, _), runs) in peers.iter().zip(&runs) {
            let cpu = median(runs, |run| run.cpu_ns);
            let (wall, bytes) = (median(runs, |run| run.wall_ns), median(runs, |run| run.bytes));
            let ratio = cpu as f64 / ours.max(1) as f64;
            let bytes = if scenario == "idle" { bytes.to_string() } else { "–".to_owned() };
            println!("{name:<12} {cpu:>9} {ratio:>9.2} {wall:>9} {bytes:>9}");
        }
    }
    Ok(())
}
