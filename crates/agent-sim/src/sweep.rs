//! The same scenario with other values: each combination of them, side by side.

use crate::engine::SimulationError;
use crate::report::{Report, seeds, simulate_all};
use crate::scenario::{Change, ChangeError, Scenario};

/// Values that one key is given, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Axis {
    /// The changes, all of one path.
    pub changes: Vec<Change>,
}

impl std::str::FromStr for Axis {
    type Err = ChangeError;

    /// Reads `agent.0.count=50,100`; numbers also as a range with a step, `50..400:50`.
    fn from_str(text: &str) -> Result<Axis, ChangeError> {
        let form = || ChangeError::Form(text.to_owned());
        let (path, values) = text.split_once('=').ok_or_else(form)?;
        let values: Vec<String> = match range(values) {
            Some((from, to, step)) if (to - from) / step >= MOST => {
                return Err(ChangeError::TooMany { range: text.to_owned(), most: MOST });
            }
            Some((from, to, step)) => {
                (from..=to).step_by(step as usize).map(|value| value.to_string()).collect()
            }
            None if is_meant_as_range(values) => {
                return Err(ChangeError::Range { range: text.to_owned() });
            }
            None => listed(values),
        };
        let twice = values.iter().enumerate().find(|(at, value)| values[..*at].contains(value));
        if let Some((_, value)) = twice {
            let (axis, value) = (text.to_owned(), value.clone());
            return Err(ChangeError::Twice { axis, value });
        }
        let changes =
            values.iter().map(|value| Change::new(path, value)).collect::<Result<_, _>>()?;
        Ok(Axis { changes })
    }
}

/// What stands between commas, but for those within brackets, braces and quotes.
fn listed(text: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    let (mut depth, mut quote) = (0_usize, None);
    for letter in text.chars() {
        match (letter, quote) {
            (',', None) if depth == 0 => {
                all.push(String::new());
                continue;
            }
            ('[' | '{', None) => depth += 1,
            (']' | '}', None) => depth = depth.saturating_sub(1),
            ('"' | '\'', None) => quote = Some(letter),
            (letter, Some(open)) if letter == open => quote = None,
            _ => {}
        }
        // One at least, from the start.
        all.last_mut().expect("there is one").push(letter);
    }
    all
}

/// Most values of a range.
const MOST: u64 = 1_000;

/// First, last and step of `50..400:50`; the last is a value too where a step leads to it.
fn range(text: &str) -> Option<(u64, u64, u64)> {
    let (from, rest) = text.split_once("..")?;
    let (to, step) = rest.split_once(':')?;
    let [from, to, step] = [from, to, step].map(|number| number.trim().parse::<u64>().ok());
    let (from, to, step) = (from?, to?, step.filter(|step| *step > 0)?);
    (from <= to).then_some((from, to, step))
}

/// Whether there are numbers on both sides of `..`.
fn is_meant_as_range(text: &str) -> bool {
    let Some((from, rest)) = text.split_once("..") else { return false };
    let to = rest.split_once(':').map_or(rest, |(to, _)| to);
    [from, to].iter().all(|number| number.trim().parse::<f64>().is_ok())
}

/// One combination, and what it came to.
#[derive(Debug, Clone)]
pub struct Point {
    /// Its changes, one of each axis.
    pub changes: Vec<Change>,
    /// What it came to; without sensitivities.
    pub report: Report,
}

/// All combinations of the values of all axes, the last axis changing fastest.
///
/// # Errors
///
/// [`ChangeError::SweptTwice`] where two axes are of one value.
pub fn combinations(axes: &[Axis]) -> Result<Vec<Vec<Change>>, ChangeError> {
    let firsts: Vec<&Change> = axes.iter().filter_map(|axis| axis.changes.first()).collect();
    for (at, first) in firsts.iter().enumerate() {
        if firsts[..at].iter().any(|before| before.is_of_one_with(first)) {
            return Err(ChangeError::SweptTwice { path: first.path() });
        }
    }
    Ok(axes.iter().fold(vec![Vec::new()], |all, axis| {
        let longer = |before: &Vec<Change>| {
            let before = before.clone();
            let with = move |change: &Change| [before.clone(), vec![change.clone()]].concat();
            axis.changes.iter().map(with).collect::<Vec<_>>()
        };
        all.iter().flat_map(longer).collect()
    }))
}

/// Simulates scenarios with all their replicas, on all processors at once.
///
/// # Errors
///
/// That of the first run that could not be simulated.
pub fn sweep(scenarios: Vec<(Vec<Change>, Scenario)>) -> Result<Vec<Point>, SimulationError> {
    let jobs: Vec<(&Scenario, u64)> = scenarios
        .iter()
        .flat_map(|(_, scenario)| seeds(scenario).map(move |seed| (scenario, seed)))
        .collect();
    let mut runs = simulate_all(&jobs)?.into_iter();
    let of = |scenario: &Scenario, runs: &mut dyn Iterator<Item = _>| {
        Report::new(scenario, runs.take(seeds(scenario).count()).collect(), Vec::new())
    };
    let reports: Vec<Report> =
        scenarios.iter().map(|(_, scenario)| of(scenario, &mut runs)).collect();
    let changes = scenarios.into_iter().map(|(changes, _)| changes);
    Ok(changes.zip(reports).map(|(changes, report)| Point { changes, report }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_stands_twice_is_refused_and_ranges_have_their_ends() {
        let said = |text: &str| text.parse::<Axis>().map_err(|error| error.to_string());
        let twice = "agent.0.count=5,7,5 has the value 5 twice; write it once";
        assert_eq!(said("agent.0.count=5,7,5").unwrap_err(), twice);
        assert_eq!(said("agent.0.count=1..10:3").unwrap().changes.len(), 4);
        assert!(said("agent.0.count=1..5000:1").unwrap_err().contains("more than 1000 values"));
        for none in ["8..2:2", "2..8", "2..8:0", "2..8:-1", "0.1..0.5:0.1"] {
            let said = said(&format!("agent.0.count={none}")).unwrap_err();
            assert!(said.contains(none) && said.contains("such as 50..400:50"), "{said}");
        }
        assert_eq!(said("workload.0.arrival.file=../a.csv,../b.csv").unwrap().changes.len(), 2);
        let tables = "workload.0.arrival={kind=\"poisson\",rate=1},{kind=\"a,b\",steps=[1,2]}";
        let values: Vec<_> =
            said(tables).unwrap().changes.iter().map(|it| it.value().to_owned()).collect();
        let whole = ["{kind=\"poisson\",rate=1}", "{kind=\"a,b\",steps=[1,2]}"];
        assert_eq!(values, whole, "a comma within a table parts no values");
    }

    #[test]
    fn a_value_that_is_swept_twice_is_refused() {
        let axes = |all: [&str; 2]| all.map(|axis| axis.parse::<Axis>().unwrap());
        let twice = combinations(&axes(["agent.0.count=5,7", "agent.\"0\".count=9"]));
        let said = "agent.\"0\".count is swept twice; write all its values behind one --sweep";
        assert_eq!(twice.unwrap_err().to_string(), said);
        assert_eq!(combinations(&axes(["run.seed=5,7", "agent.0.count=9"])).unwrap().len(), 2);
    }

    #[test]
    fn each_point_has_all_of_its_own_runs() {
        let text = "[run]\nseed = 5\nreplicas = 3\nsensitivity = false\n\
                    [simulated]\nlatency = { base = \"1s\" }\n\
                    [[agent]]\nname = \"a\"\nmodel = \"claude-haiku-4-5\"\n\
                    [[workload]]\nname = \"w\"\ncount = ";
        let scenario = |count: u32| Scenario::parse(&format!("{text}{count}\n")).unwrap();
        let points = sweep(vec![(Vec::new(), scenario(2)), (Vec::new(), scenario(4))]).unwrap();
        let runs = |point: &Point| {
            let runs = point.report.replicas.iter();
            runs.map(|run| (run.seed, run.completed)).collect::<Vec<_>>()
        };
        assert_eq!(runs(&points[0]), [(5, 2), (6, 2), (7, 2)]);
        assert_eq!(runs(&points[1]), [(5, 4), (6, 4), (7, 4)]);
    }
}
