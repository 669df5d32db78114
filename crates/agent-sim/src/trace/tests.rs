//! Readers of traces: each format, what is refused and how, and bounds.

mod hostile;

use std::io::{Read, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

const SECOND: u64 = 1_000_000_000;

fn sample(name: &str) -> Trace {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/traces").join(name);
    Trace::open(&path, None).unwrap_or_else(|error| panic!("{error}"))
}

fn read(text: &str) -> Result<Trace, TraceError> {
    Trace::read("t", text.as_bytes(), None)
}

/// The error in words, with its cause.
fn refusal(text: &str) -> String {
    refused(read(text))
}

fn refused(read: Result<Trace, TraceError>) -> String {
    let Err(error) = read else { panic!("it is to be refused") };
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
    format!("{error}{}", cause.unwrap_or_default())
}

/// The mean of what is known of a column.
fn mean(trace: &Trace, column: impl Fn(&Request) -> Option<u64>) -> u64 {
    let known: Vec<u64> = trace.requests.iter().filter_map(column).collect();
    known.iter().sum::<u64>() / known.len() as u64
}

#[test]
fn every_sample_is_told_by_its_first_line_and_read_whole() {
    for (name, format, requests, sessions) in [
        ("azure_code.csv.gz", Format::Plain, 3_500, 0),
        ("azure_conv.csv", Format::Azure, 500, 0),
        ("burstgpt.csv", Format::BurstGpt, 80, 39),
        ("claude_code.csv.gz", Format::ClaudeCode, 912, 10),
        ("exgentic.csv.gz", Format::Exgentic, 1_104, 23),
        ("lmcache_gaps.csv.gz", Format::LmcacheGaps, 3_911, 140),
        ("mini_swe.csv.gz", Format::MiniSwe, 402, 20),
        ("mooncake.csv", Format::MooncakeCsv, 40, 0),
        ("mooncake.jsonl", Format::Mooncake, 80, 0),
    ] {
        let trace = sample(name);
        assert_eq!(trace.format, format, "{name}");
        assert_eq!((trace.requests.len(), trace.sessions().len()), (requests, sessions), "{name}");
        assert!(trace.requests.is_sorted_by_key(|request| request.at_ns), "{name}");
        assert_eq!(trace.requests[0].at_ns, 0, "{name}");
        for request in &trace.requests {
            assert!(request.cached <= request.input, "{name}: {request:?}");
        }
    }
}

#[test]
fn azures_dates_become_times_from_the_first() {
    let trace = read(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n\
         2023-11-16 18:15:50.9951690,396,109\n2024-05-10 00:00:00.009930+00:00,1,2\n",
    )
    .unwrap();
    let request =
        |at_ns, input, output| Request { at_ns, input: Some(input), output, ..Request::default() };
    assert_eq!(trace.requests[..2], [request(0, 374, 44), request(4_314_579_000, 396, 109)]);
    assert_eq!(trace.requests[2].at_ns / SECOND, 15_140_653);
}

#[test]
fn the_shapes_of_the_samples_are_those_of_the_recordings() {
    let code = sample("azure_code.csv.gz");
    let output = mean(&code, |request| Some(u64::from(request.output)));
    assert!((20..35).contains(&output), "{output}");
    let agents = sample("exgentic.csv.gz");
    let failed = agents.requests.iter().filter(|request| request.failed).count();
    assert_eq!(failed, 76);
    assert!(agents.requests.iter().all(|request| !request.failed || request.total_ns.is_none()));
    let claude = sample("claude_code.csv.gz");
    let (first, total) =
        (mean(&claude, |request| request.first_ns), mean(&claude, |request| request.total_ns));
    assert!(SECOND < first && first < total && total < 60 * SECOND, "{first} {total}");
}

#[test]
fn a_failed_call_of_burstgpt_has_no_output_and_sessions_are_numbered_as_they_come() {
    let trace = read(
        "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens\n\
         100.0,b,43,GPT-4,906,446,1352\n101.5,a,,ChatGPT,36,0,36\n150,b,1,GPT-4,7,8,15\n\
         160,a,2,ChatGPT,40,9,49\n",
    )
    .unwrap();
    let turns = |request: &Request| (request.session, request.turn, request.failed);
    let found: Vec<_> = trace.requests.iter().map(turns).collect();
    assert_eq!(found[..3], [(Some(0), 0, false), (Some(1), 0, true), (Some(0), 1, false)]);
    let gaps: Vec<_> = trace.requests.iter().map(|request| request.gap_ns).collect();
    let (after_43, after_none) = (7 * SECOND, 58_500_000_000);
    assert_eq!(gaps, [None, None, Some(after_43), Some(after_none)]);
    assert_eq!(trace.requests[0].total_ns, Some(43 * SECOND));
    assert_eq!(trace.requests[1].total_ns, None);
    assert_eq!(trace.requests[2].model.as_deref(), Some("GPT-4"));
    let old = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n\
               5,ChatGPT,472,18,490,Conversation log\n";
    assert_eq!(read(old).unwrap().requests[0].session, None);
}

#[test]
fn what_a_mooncake_prompt_shares_with_those_before_is_cached() {
    let line = |at, input, hashes: &str| {
        format!(
            "{{\"timestamp\": {at}, \"input_length\": {input}, \"output_length\": 9, \
             \"hash_ids\": {hashes}, \"priority\": 1}}\n"
        )
    };
    let text = [
        line(0, 1_300, "[0, 1, 2]"),
        line(0, 1_400, "[0, 1, 3]"),
        line(3_000, 1_000, "[0, 1]"),
        line(6_000, 600, "[7, 1]"),
    ];
    let trace = read(&text.concat()).unwrap();
    let cached: Vec<_> = trace.requests.iter().map(|request| request.cached.unwrap()).collect();
    // The last shares no prefix; of the third, all blocks are known, the last of them not full.
    assert_eq!(cached, [0, 1_024, 1_000, 0]);
    assert_eq!(trace.requests[3].at_ns, 6 * SECOND);
    assert!(trace.notes[0].starts_with("cached input is derived"), "{:?}", trace.notes);
    let csv = "timestamp,input_length,output_length,hash_ids\n0,600,1,\"[5, 6]\"\n1,600,1,5 6\n";
    assert_eq!(read(csv).unwrap().requests[1].cached, Some(600));
    let bare = read("timestamp,input_length,output_length\n0,600,1\n").unwrap();
    assert_eq!((bare.requests[0].cached, bare.notes.len()), (None, 0));
}

#[test]
fn gaps_of_lmcache_follow_each_other_within_a_session() {
    let trace = read(
        "session,suite,model,pre_gap_s,output_tokens\n0,s,m,0.5,1\n0,s,m,1.0,2\n1,s,m,0.25,3\n",
    )
    .unwrap();
    let found: Vec<_> =
        trace.requests.iter().map(|request| (request.at_ns, request.output)).collect();
    assert_eq!(found, [(0, 3), (SECOND / 4, 1), (SECOND * 5 / 4, 2)]);
    assert_eq!(trace.requests[0].input, None);
    assert!(trace.notes.contains(&"input lengths were not recorded".to_owned()));
}

#[test]
fn requests_out_of_order_are_sorted_stably_and_told() {
    let trace = read("arrival_s,input_tokens,output_tokens\n2,1,1\n1,2,2\n1,3,3\n").unwrap();
    let outputs: Vec<_> = trace.requests.iter().map(|request| request.output).collect();
    assert_eq!(outputs, [2, 3, 1]);
    assert_eq!(trace.notes, ["1 request came before the one above; all are sorted"]);
}

#[test]
fn a_bad_value_is_named_by_line_and_column_with_what_would_be_right() {
    let plain = |row: &str| refusal(&format!("arrival_s,input_tokens,output_tokens\n0,1,1\n{row}"));
    for (row, column, found) in [
        ("-1,1,1", "arrival_s", "-1"),
        ("nan,1,1", "arrival_s", "nan"),
        ("inf,1,1", "arrival_s", "inf"),
        ("1e11,1,1", "arrival_s", "1e11"),
        (",1,1", "arrival_s", ""),
        ("soon,1,1", "arrival_s", "soon"),
        ("1,-1,1", "input_tokens", "-1"),
        ("1,1,1.5", "output_tokens", "1.5"),
        ("1,1,4294967296", "output_tokens", "4294967296"),
        ("1,1,", "output_tokens", ""),
    ] {
        let expected = match column {
            "arrival_s" => "a time from 0 to 1e10 s",
            _ => "a whole number from 0 to 4294967295",
        };
        assert_eq!(plain(row), format!("t:3: {column} is {found:?}; it must be {expected}"));
    }
    assert_eq!(plain("1,1"), "t:3: there are 2 fields; the header has 3");
    let quote = plain("1,\"1\"2,1");
    assert!(quote.starts_with("t:3: a quote does not end before a comma"), "{quote}");
    let date = refusal("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-13-40 00:00:00,1,1\n");
    assert!(date.starts_with("t:2: TIMESTAMP is \"2023-13-40 00:00:00\"; it must be a date"));
    let json = refusal("{\"timestamp\": -5, \"input_length\": 1, \"output_length\": 1}");
    assert_eq!(json, "t:1: timestamp is \"-5\"; it must be a time from 0 to 1e10 s");
    let key = refusal("{\"timestamp\": 5, \"input_length\": 1}");
    assert!(key.starts_with("t:1: missing field `output_length` at column"), "{key}");
    let empty = "\n\narrival_s,input_tokens,output_tokens\n\n0,1,x\n";
    assert!(refusal(empty).starts_with("t:5: output_tokens"), "empty lines count");
}

#[test]
fn a_file_of_no_known_format_is_refused_with_those_that_are() {
    let unknown = refusal("a,b\n1,2\n");
    assert!(unknown.contains("no known format: \"a,b\"; known are those"), "{unknown}");
    assert!(unknown.contains("azure (TIMESTAMP,ContextTokens,GeneratedTokens)"), "{unknown}");
    let forced = Trace::read("t", "a,b\n1,2\n".as_bytes(), Some(Format::Azure));
    let message = refused(forced);
    assert_eq!(
        message,
        "t:1: there is no column TIMESTAMP, which azure has; the columns are \"a,b\""
    );
    assert_eq!(refusal(""), "t has no requests; a trace has at least one");
    assert_eq!(refusal("arrival_s,input_tokens,output_tokens\n"), refusal("\n"));
    let missing = Trace::open(Path::new("no such file"), None);
    assert!(refused(missing).starts_with("no such file cannot be read: "));
    for format in Format::ALL {
        assert_eq!(Format::named(format.name()), Some(format));
    }
}

#[test]
fn spaces_a_byte_order_mark_and_other_line_ends_do_not_matter() {
    let text = "\u{feff}arrival_s , input_tokens,output_tokens\r\n 0.5, 1 ,2\r\n";
    assert_eq!(read(text).unwrap().requests[0].output, 2);
}

fn packed(content: impl Read) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    std::io::copy(&mut { content }, &mut encoder).unwrap();
    encoder.flush().unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_gzip_file_of_several_members_is_read_to_its_end() {
    let parts = ["arrival_s,input_tokens,output_tokens\n0,1,2\n1,3", ",4\n2,5,6\n", "3,7,8\n"];
    let bytes = parts.map(|part| packed(part.as_bytes())).concat();
    assert_eq!(Trace::read("t", &*bytes, None).unwrap(), read(&parts.concat()).unwrap());
}

#[test]
fn a_gzip_file_reads_as_what_is_in_it_and_a_damaged_one_is_refused() {
    let text = "arrival_s,input_tokens,output_tokens\n0,1,2\n1,3,4\n";
    let mut bytes = packed(text.as_bytes());
    assert_eq!(Trace::read("t", &*bytes, None).unwrap(), read(text).unwrap());
    bytes.truncate(bytes.len() - 9);
    assert!(refused(Trace::read("t", &*bytes, None)).starts_with("t cannot be read after line"));
}

#[test]
fn a_bomb_without_line_ends_is_refused_after_a_mebibyte() {
    let bomb = packed(std::io::repeat(b'0').take(32 << 20));
    assert!(bomb.len() < 1 << 18);
    let refused = refused(Trace::read("t", &*bomb, None));
    assert_eq!(refused, "t:1: the line has more than 1 MiB; a row of a trace is shorter");
}

#[test]
fn a_bomb_of_good_rows_is_refused_before_it_fills_the_memory() {
    let rows = "arrival_s,input_tokens,output_tokens\n".to_owned() + &"0,1,1\n".repeat(400_000);
    let refused = refused(Trace::read("t", &*packed(rows.as_bytes()), None));
    assert!(refused.contains("more than 100 times the bytes of the packed file"), "{refused}");
    assert!(Trace::read("t", rows.as_bytes(), None).is_ok());
}

#[test]
fn a_line_of_just_a_mebibyte_is_read() {
    let head = "arrival_s,input_tokens,output_tokens\n";
    let row = |length: usize| format!("{head}{}0,1,2\r\n", " ".repeat(length - 5));
    assert!(read(&row(MAX_LINE)).is_ok());
    assert!(refusal(&row(MAX_LINE + 1)).starts_with("t:2: the line has more than 1 MiB"));
}

#[test]
fn a_replay_is_faster_larger_and_a_part_as_it_is_asked_for() {
    let trace = || {
        read("session,suite,model,pre_gap_s,output_tokens\n0,s,m,1,10\n0,s,m,2,1\n0,s,m,4,0\n")
            .unwrap()
    };
    let replayed = |replay: Replay| {
        let trace = replay.apply(trace()).unwrap();
        let found = |request: &Request| (request.at_ns, request.gap_ns.unwrap(), request.output);
        trace.requests.iter().map(found).collect::<Vec<_>>()
    };
    let usual = Replay::default();
    let (half, one, two, four) = (SECOND / 2, SECOND, 2 * SECOND, 4 * SECOND);
    assert_eq!(replayed(usual), [(0, one, 10), (two, two, 1), (6 * SECOND, four, 0)]);
    let fast = replayed(Replay { speed: 2.0, scale: 0.1, ..usual });
    assert_eq!(fast, [(0, half, 1), (one, one, 1), (3 * SECOND, two, 0)]);
    let part = replayed(Replay { from_ns: one, for_ns: Some(four), ..usual });
    assert_eq!(part, [(one, two, 1)]);
    assert_eq!(replayed(Replay { limit: Some(1), ..usual }), [(0, one, 10)]);

    let nothing = Replay { limit: Some(0), ..usual }.apply(trace()).unwrap_err().to_string();
    assert!(nothing.ends_with("it lasts 6 s"), "{nothing}");
    let speed = Replay { speed: 0.0, ..usual }.apply(trace()).unwrap_err().to_string();
    assert_eq!(speed, "speed is 0; it must be a number from 0.001 to 1e6");
    assert!(Replay { scale: f64::NAN, ..usual }.apply(trace()).is_err());
}

#[test]
fn what_is_cached_of_a_prompt_is_scaled_with_it() {
    let line = |hashes: &str| {
        format!(
            "{{\"timestamp\":0,\"input_length\":2000,\"output_length\":8,\"hash_ids\":{hashes}}}\n"
        )
    };
    let trace = read(&(line("[1,2]") + &line("[1,2,3]"))).unwrap();
    let half = Replay { scale: 0.5, ..Replay::default() }.apply(trace).unwrap();
    let found = half.requests.iter().map(|it| (it.input, it.cached, it.output));
    assert_eq!(found.collect::<Vec<_>>(), [(Some(1_000), Some(0), 4), (Some(1_000), Some(512), 4)]);
}

#[test]
fn the_turns_of_a_session_are_in_their_order_where_the_file_has_them_in_another() {
    let trace = read(
        "session,call,start_s,input_chars,output_chars\n0,2,5.0,30,3\n0,0,5.0,10,3\n0,1,5.0,20,3\n",
    )
    .unwrap();
    let turns: Vec<u32> = trace.sessions()[&0].iter().map(|request| request.turn).collect();
    assert_eq!(turns, [0, 1, 2]);
}
