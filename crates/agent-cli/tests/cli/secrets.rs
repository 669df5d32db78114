//! No key in any output, whatever fails.

use crate::support::{FLEET, KEY, Place, all_bytes};

#[test]
fn no_failure_at_trace_level_shows_the_key_anywhere() {
    let place = Place::new();
    let timeouts = "[timeouts]\nbase = \"300ms\"\nper_1k_tokens = \"0s\"\n";
    place.write("fleet.toml", &format!("{FLEET}{timeouts}"));
    place.tasks(30);
    let kinds = ["hang", "reset", "close", "truncate", "malformed", "html", "empty", "no_usage"];
    let mut scenario = String::new();
    for (ordinal, kind) in (1..).zip(kinds) {
        scenario += &format!("[[fault]]\nkind = \"{kind}\"\ncalls = [{ordinal}]\n");
    }
    for (ordinal, status) in (9..).zip([400, 401, 403, 404, 413, 429, 500, 529]) {
        scenario +=
            &format!("[[fault]]\nkind = \"status\"\nstatus = {status}\ncalls = [{ordinal}]\n");
    }
    let mock = place.mock(&scenario);
    let mut run = place.run(&mock.url, &["-vvv"]);
    let output = run.env("IMPRESARIO_LOG", "trace").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "some tasks must have failed");
    let mut seen = output.stdout;
    seen.extend(output.stderr);
    assert!(seen.len() > 10_000, "trace logs are missing");
    for command in [&["audit", "--store", "store"][..], &["usage", "export", "--store", "store"]] {
        seen.extend(place.output(command).stdout);
    }
    seen.extend(all_bytes(&place.path("store")));
    seen.extend(place.read("out.jsonl").into_bytes());
    let secret = &KEY.as_bytes()["sk-ant-api03-".len()..KEY.len() - 4];
    let shown = seen.windows(secret.len()).any(|window| window == secret);
    assert!(!shown, "the key is shown");
}
