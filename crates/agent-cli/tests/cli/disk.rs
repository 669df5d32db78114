//! Disks that are full, read-only or broken: what was told is kept, and the message says what to do.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::{
    FLEET, Place, begun, billed, ids, json, nanos, signal, sleep, stderr, wait_until,
};

const SLOW: &str = "[latency]\nbase = \"20ms\"\n[output]\ntokens = 20\n";

#[expect(clippy::print_stderr, reason = "who reads the tests' result must know")]
fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
}

/// The layer that lets a folder's disk fail.
struct Disk {
    layer: PathBuf,
    flag: PathBuf,
    root: PathBuf,
}

impl Disk {
    /// `None` where there is no C compiler.
    fn of(place: &Place) -> Option<Disk> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/tools/diskfault.c");
        let layer = place.path("diskfault.so");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-w", "-o"])
            .args([&layer, &source])
            .arg("-ldl")
            .status();
        if !compiled.is_ok_and(|status| status.success()) {
            skipped("no C compiler, so no disk failed");
            return None;
        }
        let root = place.path(".").canonicalize().unwrap().join("store");
        Some(Disk { layer, flag: place.path("flag"), root })
    }

    fn under<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let layer = [("LD_PRELOAD", &self.layer), ("DF_ROOT", &self.root), ("DF_FLAG", &self.flag)];
        command.envs(layer)
    }

    fn does(&self, how: &str) {
        std::fs::write(&self.flag, how).unwrap();
    }

    fn is_good(&self) {
        std::fs::remove_file(&self.flag).unwrap();
    }
}

/// Exit code 2, and a message with each of `words`.
fn assert_refused(output: &Output, words: &[&str]) {
    let message = stderr(output);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(output.stdout.is_empty());
    for word in words {
        assert!(message.contains(word), "{word:?} is missing: {message}");
    }
}

fn place_with(tasks: usize) -> Place {
    let place = Place::new();
    place.write("fleet.toml", FLEET);
    place.tasks(tasks);
    place
}

/// What the store has on its books, and that it can be read.
fn usage(place: &Place) -> serde_json::Value {
    json(&place.output(&["usage", "--store", "store"]))["total"].clone()
}

#[test]
fn a_disk_that_fills_up_stops_the_run_and_loses_nothing_that_was_told() {
    let place = place_with(200);
    let Some(disk) = Disk::of(&place) else { return };
    let mock = place.mock(SLOW);
    let mut run = place.run(&mock.url, &[]);
    let run = begun(disk.under(&mut run), || place.read("out.jsonl").lines().count() >= 8);
    disk.does("full");
    // What is in flight ends; then nobody is asked anything any more, and nothing is told.
    sleep(2_000);
    let (asked, told) = (place.read("ledger.jsonl"), place.read("out.jsonl"));
    let output = run.wait_with_output().unwrap();
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(3), "{message}");
    assert_eq!(json(&output)["status"], "stopped");
    assert!(message.contains("store") && message.contains("No space left"), "{message}");
    assert_eq!(place.read("ledger.jsonl"), asked, "an attempt left while the store was down");
    assert_eq!(place.read("out.jsonl"), told, "an outcome was told while the store was down");

    // A restart on the full disk is refused and damages nothing, however often it is tried.
    for _ in 0..3 {
        let mut again = place.run(&mock.url, &["--resume"]);
        let refused = disk.under(&mut again).output().unwrap();
        assert_refused(&refused, &["store", "No space left", "free"]);
    }
    disk.is_good();
    let resumed = place.run(&mock.url, &["--resume"]).output().unwrap();
    assert_eq!(resumed.status.code(), Some(0), "{}", stderr(&resumed));
    assert!(place.read("out.jsonl").starts_with(&told), "what was told is not what is kept");
    assert_eq!(ids(&place).len(), 200);
    let summary = json(&resumed);
    assert_eq!(summary["tasks"]["completed"], 200);
    let charged = nanos(&summary["cost_usd"]) + nanos(&summary["presumed_cost_usd"]);
    assert!(billed(&place) <= charged, "{} billed, {charged} charged", billed(&place));
    assert_eq!(usage(&place)["cost_usd"], summary["cost_usd"]);
}

#[test]
fn a_disk_that_fails_for_a_while_delays_the_run_and_doubles_nothing() {
    let place = place_with(80);
    let Some(disk) = Disk::of(&place) else { return };
    let mock = place.mock(SLOW);
    let mut run = place.run(&mock.url, &[]);
    let mut run = begun(disk.under(&mut run), || true);
    for (how, lines) in [("sync fails", 4), ("full", 24)] {
        run = wait_until(run, || place.read("out.jsonl").lines().count() >= lines);
        disk.does(how);
        sleep(400);
        disk.is_good();
    }
    let output = run.wait_with_output().unwrap();
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{message}");
    assert!(message.contains("the store is down") && message.contains("is back"), "{message}");
    let summary = json(&output);
    assert_eq!((ids(&place).len(), summary["calls"]["attempts"].as_u64()), (80, Some(80)));
    assert_eq!(billed(&place), nanos(&summary["cost_usd"]));
    assert_eq!(usage(&place)["cost_usd"], summary["cost_usd"]);
    assert_eq!(usage(&place)["calls"], 80);
}

#[test]
fn a_folder_that_cannot_be_written_to_or_synced_is_refused_and_left_alone() {
    let place = place_with(5);
    let Some(disk) = Disk::of(&place) else { return };
    let mock = place.mock("");
    for (how, words) in [
        ("read-only", ["store", "cannot be written to", "allow writing"]),
        ("sync fails", ["store", "Input/output error", "mend its disk"]),
    ] {
        disk.does(how);
        let mut run = place.run(&mock.url, &[]);
        assert_refused(&disk.under(&mut run).output().unwrap(), &words);
        disk.is_good();
    }
    assert_eq!(place.read("ledger.jsonl"), "", "somebody was asked something");
    // An empty store is left, or none: the next run is not refused.
    let output = place.run(&mock.url, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));

    let before = usage(&place);
    disk.does("read-only");
    let mut run = place.run(&mock.url, &[]);
    assert_refused(&disk.under(&mut run).output().unwrap(), &["store", "allow writing"]);
    disk.is_good();
    assert_eq!(usage(&place), before);
}

#[test]
fn a_second_process_is_refused_the_store_and_does_the_first_no_harm() {
    let place = place_with(100);
    let mock = place.mock(SLOW);
    let run = begun(&mut place.run(&mock.url, &[]), || !place.read("out.jsonl").is_empty());
    let live = place.read("store/audit-live.jsonl");
    // It stands still, so that it cannot have ended before the others try.
    signal(&run, "-STOP");
    for more in [&[][..], &["--resume"], &["--discard-unfinished"]] {
        let mut second = place.impresario(&["run", "fleet.toml", "--tasks", "tasks.jsonl"]);
        second.args(["--provider-url", &mock.url, "--store", "store"]).args(more);
        assert_refused(&second.output().unwrap(), &["store", "in use by another process"]);
    }
    signal(&run, "-CONT");
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!((ids(&place).len(), billed(&place)), (100, nanos(&json(&output)["cost_usd"])));
    assert!(place.read("store/audit-live.jsonl").starts_with(&live), "the live file was cut");
}

#[test]
fn a_store_of_another_format_is_refused_by_every_command_and_left_as_it_is() {
    let place = place_with(5);
    let mock = place.mock("");
    let output = place.run(&mock.url, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let before = usage(&place);
    let set_format = |format: u32| {
        let db = sled::open(place.path("store")).unwrap();
        db.insert("m:format", &format.to_be_bytes()).unwrap();
        db.flush().unwrap();
    };
    for (format, told) in [
        (3, ["store", "format 3", "up to 2", "update this program"]),
        (0, ["store", "unknown format", "no store of this program", "name another folder"]),
    ] {
        set_format(format);
        for _ in 0..2 {
            assert_refused(&place.run(&mock.url, &[]).output().unwrap(), &told);
            assert_refused(&place.run(&mock.url, &["--resume"]).output().unwrap(), &told);
            for command in ["usage", "usage export", "audit", "store verify", "verify", "calibrate"]
            {
                let words: Vec<&str> = command.split(' ').chain(["--store", "store"]).collect();
                assert_refused(&place.output(&words), &told);
            }
        }
    }
    set_format(2);
    assert_eq!(usage(&place), before);
}

#[test]
fn an_index_file_that_a_kill_left_half_written_does_not_keep_the_store_shut() {
    let place = place_with(5);
    let mock = place.mock("");
    assert_eq!(place.run(&mock.url, &[]).output().unwrap().status.code(), Some(0));
    let before = usage(&place);
    place.write("store/snap.FFFFFFFFFFFFFFFF.generating", "");
    assert_eq!(usage(&place), before);
}

/// Runs `script` with a disk of 160 MB of its own at `disk`; `None` where that is not allowed.
fn on_a_small_disk(place: &Place, script: &str) -> Option<Output> {
    let mount = "mkdir -p disk && mount -t tmpfs -o size=160m none disk || exit 99\n";
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c"]).arg(format!("{mount}{script}"));
    command.current_dir(place.path(".")).env("IMPRESARIO", env!("CARGO_BIN_EXE_impresario"));
    command.env("ANTHROPIC_API_KEY", crate::support::KEY);
    let output = command.output().ok();
    let output = output.filter(|output| output.status.code() != Some(99));
    let mounted = output.filter(|output| !stderr(output).contains("unshare"));
    if mounted.is_none() {
        skipped("no disk of its own may be mounted, so none was really full");
    }
    mounted
}

#[test]
fn a_disk_that_is_really_full_is_survived_and_a_restart_on_it_is_refused_untouched() {
    // More than fit into what the log has already.
    const TASKS: usize = 400;
    let place = place_with(TASKS);
    let mock = place.mock(SLOW);
    let script = r#"
run() { "$IMPRESARIO" run fleet.toml --tasks tasks.jsonl --out out.jsonl --store disk/store --provider-url URL "$@"; }
run >first.json 2>first.txt &
until [ -s out.jsonl ]; do sleep 0.02; done
dd if=/dev/zero of=disk/ballast bs=64k 2>/dev/null
until grep -q 'is down' first.txt || ! kill -0 $!; do sleep 0.02; done
rm disk/ballast
wait $!; echo "first $?"
dd if=/dev/zero of=disk/ballast bs=64k 2>/dev/null
before=$(cd disk/store && find . -type f | sort | xargs md5sum)
for n in 1 2 3; do run 2>second.txt; echo "second $?"; done
cat second.txt
[ "$before" = "$(cd disk/store && find . -type f | sort | xargs md5sum)" ] && echo untouched
rm disk/ballast
"$IMPRESARIO" usage --format json --store disk/store >usage.json
echo "usage $?"
"#;
    let Some(output) = on_a_small_disk(&place, &script.replace("URL", &mock.url)) else { return };
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    let logs = place.read("first.txt");
    assert!(said.contains("first 0"), "{said} {logs}");
    assert!(logs.contains("is down") && logs.contains("is back"), "{logs}");
    assert_eq!(said.matches("second 2").count(), 3, "{said}");
    for word in ["disk/store", "MiB are free", "free space", "untouched", "usage 0"] {
        assert!(said.contains(word), "{word:?} is missing: {said}");
    }
    let summary: serde_json::Value = serde_json::from_str(&place.read("first.json")).unwrap();
    assert_eq!((ids(&place).len(), billed(&place)), (TASKS, nanos(&summary["cost_usd"])));
    let usage: serde_json::Value = serde_json::from_str(&place.read("usage.json")).unwrap();
    assert_eq!(usage["total"]["cost_usd"], summary["cost_usd"]);
}
