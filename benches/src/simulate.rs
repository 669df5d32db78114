//! What a simulation costs: CPU of a simulated task beside SimPy's, a day of calls, and a crowd. Each
//! run has a process of its own.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use agent_sim::engine::simulate;
use agent_sim::scenario::Scenario;
use serde_json::{Value, json};

use crate::Failure;
use crate::measure::{measure_here, peak};

const ROUNDS: usize = 3;
const PORT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/simpy_port.py");

/// A scenario's workers, tasks and requests a minute; how its tasks come.
struct Shape {
    name: &'static str,
    workers: u32,
    tasks: u32,
    per_minute: u32,
    arrival: &'static str,
}

/// One timer for the user's pause, one for the limit of requests, one for the answer.
const CLOSED: &str =
    r#"{ kind = "closed", users = WORKERS, think = { kind = "exponential", mean = "1s" } }"#;

const TASK: Shape =
    Shape { name: "task", workers: 1_000, tasks: 100_000, per_minute: 15_000, arrival: CLOSED };
const DAY: Shape = Shape {
    name: "day",
    workers: 2_000,
    tasks: 500_000,
    per_minute: 1_000,
    arrival: r#"{ kind = "poisson", rate = 5.787 }"#,
};
const CROWD: Shape = Shape {
    name: "crowd",
    workers: 100_000,
    tasks: 1_000_000,
    per_minute: 1_500_000,
    arrival: CLOSED,
};

impl Shape {
    fn scenario(&self) -> Result<Scenario, Failure> {
        let Shape { workers, tasks, per_minute, arrival, .. } = self;
        let arrival = arrival.replace("WORKERS", &workers.to_string());
        let budgets: String = ["global", "agent:worker", "project:web", "model:claude-haiku-4-5"]
            .iter()
            .chain(&["task:*"])
            .map(|scope| format!("[[budget]]\nscope = \"{scope}\"\nlimit = \"1000000.00\"\n"))
            .collect();
        let text = format!(
            r#"
[simulated]
latency = {{ base = "1s", per_output_token = "2ms", sigma = 0.3 }}
limits = "none"
[limits]
requests_per_minute = {per_minute}
max_concurrent = {workers}
[[agent]]
name = "worker"
model = "claude-haiku-4-5"
count = {workers}
max_tokens = 2000
rate_limit = {{ calls = 1000000 }}
{budgets}
[[workload]]
name = "task"
project_id = "web"
count = {tasks}
arrival = {arrival}
input = {{ kind = "lognormal", median = 500, sigma = 0.5 }}
output = {{ kind = "lognormal", median = 150, sigma = 0.5 }}
"#
        );
        Ok(Scenario::parse(&text)?)
    }
}

/// Simulates one shape in this process, and prints a line of figures.
pub(crate) fn one(name: &str) -> Result<(), Failure> {
    let shapes = [TASK, DAY, CROWD];
    let shape = shapes.iter().find(|shape| shape.name == name).ok_or("no such shape")?;
    let scenario = shape.scenario()?;
    let (took, run) = measure_here(|| simulate(&scenario, 1));
    let run = run?;
    if run.completed != u64::from(shape.tasks) {
        return Err(format!("{} of {} tasks completed", run.completed, shape.tasks).into());
    }
    let each = |took: Duration| (took.as_nanos() / u128::from(shape.tasks)) as u64;
    let line = json!({
        "cpu_ns": each(took.cpu), "wall_ns": each(took.wall), "bytes": peak(),
        "makespan_s": run.makespan.as_secs_f64(),
    });
    println!("{line}");
    Ok(())
}

/// The figures of one run.
struct Run {
    cpu_us: f64,
    wall_us: f64,
    mib: f64,
    makespan_s: f64,
}

fn run_of(command: &mut Command) -> Result<Run, Failure> {
    let output = command.output()?;
    let Ok(line) = serde_json::from_slice::<Value>(&output.stdout) else {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{command:?} printed no line of figures: {said}").into());
    };
    let figure = |name: &str| line[name].as_f64().unwrap_or_default();
    Ok(Run {
        cpu_us: figure("cpu_ns") / 1e3,
        wall_us: figure("wall_ns") / 1e3,
        mib: figure("bytes") / f64::from(1 << 20),
        makespan_s: figure("makespan_s"),
    })
}

fn ours(shape: &Shape) -> Result<Run, Failure> {
    run_of(Command::new(std::env::current_exe()?).args(["simulate", shape.name]))
}

fn simpy(shape: &Shape) -> Result<Run, Failure> {
    let numbers = [shape.workers, shape.tasks, shape.per_minute].map(|number| number.to_string());
    run_of(Command::new("python3").arg(PORT).args(numbers))
}

/// The run of the median CPU.
fn median(mut runs: Vec<Run>) -> Run {
    runs.sort_by(|one, other| one.cpu_us.total_cmp(&other.cpu_us));
    runs.swap_remove(runs.len() / 2)
}

fn show(shape: &Shape, whose: &str, run: &Run) {
    let Run { cpu_us, wall_us, mib, makespan_s } = run;
    let wall = wall_us * f64::from(shape.tasks) / 1e6;
    println!(
        "{:>7} workers {:>8} tasks {whose:<6} {cpu_us:>7.2} µs CPU a task {wall:>7.2} s wall \
         {mib:>6.0} MiB at most, makespan {makespan_s:.1} s",
        shape.workers, shape.tasks
    );
}

/// Measures and prints the table.
pub(crate) fn run() -> Result<(), Failure> {
    println!("median of {ROUNDS} rounds in turns");
    let has_simpy = Command::new("python3").args(["-c", "import simpy"]).output();
    let has_simpy = has_simpy.is_ok_and(|it| it.status.success()) && Path::new(PORT).exists();
    let (mut of_ours, mut of_simpy) = (Vec::new(), Vec::new());
    let (mut day, mut crowd) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        of_ours.push(ours(&TASK)?);
        if has_simpy {
            of_simpy.push(simpy(&TASK)?);
        }
        day.push(ours(&DAY)?);
        crowd.push(ours(&CROWD)?);
    }
    let (task, day, crowd) = (median(of_ours), median(day), median(crowd));
    show(&TASK, "ours", &task);
    if has_simpy {
        let peer = median(of_simpy);
        show(&TASK, "SimPy", &peer);
        println!("{:>40.2} × SimPy's CPU", task.cpu_us / peer.cpu_us);
    } else {
        println!("without SimPy: there is no python3 with it (pip install simpy)");
    }
    show(&DAY, "ours", &day);
    show(&CROWD, "ours", &crowd);
    println!("{:>40.2} × the CPU a task of 1,000 workers", crowd.cpu_us / task.cpu_us);
    Ok(())
}
