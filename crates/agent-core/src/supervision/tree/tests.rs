//! Who is restarted with whom, and what happens where that does not help.

use super::*;

fn policy(max_restarts: u32) -> Supervision {
    Supervision { max_restarts, within: Duration::from_secs(10), ..Supervision::default() }
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000)
}

/// Workers 0 to 2 in `inner`, 3 and 4 in `outer`, 5 in none.
fn tree(inner: Strategy, outer: Strategy) -> Tree {
    let specs = [
        GroupSpec::new("outer", outer).policy(policy(1)),
        GroupSpec::new("inner", inner).policy(policy(2)).parent("outer"),
    ];
    let agents = [
        ("a", Some("inner"), 0..2),
        ("b", Some("inner"), 2..3),
        ("c", Some("outer"), 3..5),
        ("d", None, 5..6),
    ];
    Tree::new(&specs, &agents, &Supervision::default()).unwrap()
}

fn restarted(verdict: Option<Verdict>) -> (String, Vec<u32>) {
    match verdict {
        Some(Verdict::Restart { group, workers, .. }) => (group, workers),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_strategy_says_who_is_restarted_with_the_one_that_died() {
    for (strategy, workers) in [
        (Strategy::OneForOne, vec![1]),
        (Strategy::OneForAll, vec![0, 1, 2]),
        (Strategy::RestForOne, vec![1, 2]),
    ] {
        let verdict = tree(strategy, Strategy::OneForOne).died(1, false, at(0), 0.0);
        assert_eq!(restarted(verdict), ("inner".to_owned(), workers));
    }
    let mut tree = tree(Strategy::OneForAll, Strategy::OneForAll);
    assert_eq!(tree.died(5, false, at(0), 0.0), None);
}

#[test]
fn a_group_that_restarts_too_often_is_a_child_that_died_and_at_the_top_the_run_ends() {
    // The groups of a group come after its workers.
    let mut tree = tree(Strategy::OneForOne, Strategy::RestForOne);
    for _ in 0..2 {
        let inner = ("inner".to_owned(), vec![0]);
        assert_eq!(restarted(tree.died(0, false, at(0), 0.0)), inner);
    }
    let whole = ("outer".to_owned(), vec![0, 1, 2]);
    assert_eq!(restarted(tree.died(0, false, at(1), 0.0)), whole);
    // Started again by its parent, it may restart as often as before.
    for _ in 0..2 {
        assert_eq!(restarted(tree.died(0, false, at(2), 0.0)).0, "inner");
    }
    let end = Verdict::End { group: "outer".to_owned() };
    assert_eq!(tree.died(0, false, at(3), 0.0), Some(end));
}

#[test]
fn whoever_is_restarted_by_the_parent_of_its_group_begins_anew_and_nobody_else() {
    let once = |name: &str| GroupSpec::new(name, Strategy::OneForOne).policy(policy(1));
    let often = |name: &str| GroupSpec::new(name, Strategy::OneForAll).policy(policy(9));
    let specs = [
        often("top"),
        once("left").parent("top"),
        once("right").parent("top"),
        once("below").parent("right"),
    ];
    let agents = [
        ("t", Some("top"), 0..1),
        ("l", Some("left"), 1..2),
        ("r", Some("right"), 2..3),
        ("b", Some("below"), 3..4),
    ];
    let mut tree = Tree::new(&specs, &agents, &Supervision::default()).unwrap();
    // Each has used up what it may.
    for worker in [1, 2, 3] {
        assert_ne!(restarted(tree.died(worker, false, at(0), 0.0)).0, "top");
    }
    let Some(Verdict::Restart { group, workers, anew, .. }) = tree.died(1, false, at(1), 0.0)
    else {
        panic!("nothing is restarted");
    };
    assert_eq!((&*group, workers, anew), ("top", vec![0, 1, 2, 3], vec![1, 2, 3]));
    // A restarted supervisor begins with an empty history, and so do those below it.
    for (worker, group) in [(1, "left"), (2, "right"), (3, "below")] {
        assert_eq!(restarted(tree.died(worker, false, at(1), 0.0)).0, group);
    }
    // What its own group does is counted on.
    let anew = |verdict| match verdict {
        Some(Verdict::Restart { anew, .. }) => anew,
        other => panic!("{other:?}"),
    };
    assert_eq!(anew(tree.died(0, false, at(1), 0.0)), [1, 2, 3]);
    assert_eq!(anew(tree.died(3, false, at(1), 0.0)), Vec::<u32>::new());
}

#[test]
fn a_window_that_has_passed_counts_no_more() {
    let mut tree = tree(Strategy::OneForAll, Strategy::OneForAll);
    for second in [0, 11, 22, 33, 44] {
        assert_eq!(restarted(tree.died(2, false, at(second), 0.0)).0, "inner");
    }
}

#[test]
fn a_worker_that_dies_too_often_by_itself_fails_its_group() {
    let mut tree = tree(Strategy::OneForOne, Strategy::OneForAll);
    let verdict = restarted(tree.died(1, true, at(0), 0.0));
    assert_eq!(verdict, ("outer".to_owned(), vec![3, 4, 0, 1, 2]));
    let end = Verdict::End { group: "outer".to_owned() };
    assert_eq!(tree.died(3, true, at(0), 0.0), Some(end));
}

#[test]
fn the_pause_is_that_of_the_group_that_restarts() {
    let mut tree = tree(Strategy::OneForAll, Strategy::OneForOne);
    let pauses = [200, 400].map(Duration::from_millis);
    for expected in pauses {
        match tree.died(0, false, at(0), 0.0) {
            Some(Verdict::Restart { pause, .. }) => assert_eq!(pause, expected),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_is_no_tree_is_refused_by_name() {
    let group = |name: &str, parent: Option<&str>| GroupSpec {
        parent: parent.map(Into::into),
        ..GroupSpec::new(name, Strategy::OneForOne)
    };
    let build = |specs: &[GroupSpec], of: &str| {
        let agents = [("a", Some(of), 0..1)];
        Tree::new(specs, &agents, &Supervision::default()).unwrap_err()
    };
    let same = build(&[group("x", None), group("x", None)], "x");
    assert_eq!(same, TreeError::SameName("x".into()));
    let (who, unknown) = ("agent \"a\"".to_owned(), "y".to_owned());
    assert_eq!(build(&[group("x", None)], "y"), TreeError::Unknown { who, group: unknown });
    let cycle = build(&[group("x", Some("y")), group("y", Some("x"))], "x");
    assert_eq!(cycle, TreeError::Cycle("x".into()));
    let empty = build(&[group("x", None), group("y", None)], "x");
    assert_eq!(empty, TreeError::Empty("y".into()));
}
